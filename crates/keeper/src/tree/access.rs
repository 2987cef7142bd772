//! Who may do what: access lists, kept once each, and the schemes of identities.
//!
//! Prevents a million nodes from keeping a million copies of the same list, and two opinions of
//! who matches whom. Sources: ZooKeeper's `PrepRequestProcessor.fixupACL`,
//! `ZooKeeperServer.checkACL` and its authentication providers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use mainstay_zk_proto::Code;
use mainstay_zk_proto::acl::{Acl, Id};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// An entry of an access list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Bits of [`perms`](mainstay_zk_proto::acl::perms).
    pub perms: i32,
    /// The scheme.
    pub scheme: Box<str>,
    /// Who, in the scheme's own form.
    pub id: Box<str>,
}

/// An access list, in its order.
pub(super) type List = Arc<[Entry]>;

/// A list in [`Lists`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListId(u32);

impl ListId {
    /// A number that stands for the list within one snapshot.
    pub(super) const fn to_wire(self) -> i32 {
        self.0.cast_signed()
    }
}

/// All access lists in use, each once.
#[derive(Debug, Default)]
pub(super) struct Lists {
    kept: Vec<Option<Kept>>,
    free: Vec<u32>,
    ids: BTreeMap<List, u32>,
}

#[derive(Debug)]
struct Kept {
    list: List,
    digest: u64,
    uses: u32,
}

impl Lists {
    /// The identifier of `list`, used once more.
    pub(super) fn take(&mut self, list: List) -> ListId {
        if let Some(&id) = self.ids.get(&list) {
            if let Some(kept) = &mut self.kept[id as usize] {
                kept.uses += 1;
            }
            return ListId(id);
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.kept.push(None);
            // There are fewer lists than nodes, whose number a u32 holds.
            u32::try_from(self.kept.len() - 1).unwrap_or(u32::MAX)
        });
        self.ids.insert(Arc::clone(&list), id);
        self.kept[id as usize] = Some(Kept {
            digest: digest(&list),
            list,
            uses: 1,
        });
        ListId(id)
    }

    /// Uses `id` once more.
    pub(super) fn keep(&mut self, id: ListId) {
        if let Some(kept) = &mut self.kept[id.0 as usize] {
            kept.uses += 1;
        }
    }

    /// Uses `id` once less.
    pub(super) fn release(&mut self, id: ListId) {
        let slot = &mut self.kept[id.0 as usize];
        let Some(kept) = slot else { return };
        kept.uses -= 1;
        if kept.uses == 0 {
            self.ids.remove(&kept.list);
            *slot = None;
            self.free.push(id.0);
        }
    }

    /// The list.
    pub(super) fn list(&self, id: ListId) -> &[Entry] {
        self.kept[id.0 as usize]
            .as_ref()
            .map_or(&[], |kept| &kept.list)
    }

    /// The list, to be kept for longer.
    pub(super) fn shared(&self, id: ListId) -> List {
        let kept = self.kept[id.0 as usize].as_ref();
        kept.map_or_else(|| [].into(), |kept| Arc::clone(&kept.list))
    }

    /// All lists in use.
    pub(super) fn all(&self) -> Vec<(ListId, List)> {
        let used = self.ids.iter();
        used.map(|(list, &id)| (ListId(id), Arc::clone(list)))
            .collect()
    }

    /// A number for the list's content.
    pub(super) fn digest(&self, id: ListId) -> u64 {
        self.kept[id.0 as usize]
            .as_ref()
            .map_or(0, |kept| kept.digest)
    }

    /// How many different lists are in use.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}

fn digest(list: &[Entry]) -> u64 {
    list.iter().fold(0, |seed, entry| {
        let seed = xxh3_64_with_seed(&entry.perms.to_be_bytes(), seed);
        let seed = xxh3_64_with_seed(entry.scheme.as_bytes(), seed);
        xxh3_64_with_seed(entry.id.as_bytes(), seed)
    })
}

/// The list that a request asks for: without duplicates, `auth` replaced by who asks.
///
/// # Errors
///
/// [`Code::InvalidAcl`] when it is empty or names somebody who cannot be.
pub(super) fn resolve(wanted: &[Acl<'_>], identities: &[Id<'_>]) -> Result<List, Code> {
    let mut list: Vec<Entry> = Vec::with_capacity(wanted.len());
    let mut add = |perms, id: Id<'_>| {
        let entry = Entry {
            perms,
            scheme: id.scheme.into(),
            id: id.id.into(),
        };
        if !list.contains(&entry) {
            list.push(entry);
        }
    };
    for acl in wanted {
        match acl.id.scheme {
            "auth" => {
                let mut proved = identities
                    .iter()
                    .filter(|id| is_proved(id.scheme))
                    .peekable();
                proved.peek().ok_or(Code::InvalidAcl)?;
                for &id in proved {
                    add(acl.perms, id);
                }
            },
            _ if is_valid(acl.id) => add(acl.perms, acl.id),
            _ => return Err(Code::InvalidAcl),
        }
    }
    if list.is_empty() {
        return Err(Code::InvalidAcl);
    }
    Ok(list.into())
}

/// Whether an identity of this scheme was proved, rather than just seen.
fn is_proved(scheme: &str) -> bool {
    matches!(scheme, "digest" | "x509" | "sasl")
}

fn is_valid(id: Id<'_>) -> bool {
    match id.scheme {
        "world" => id.id == "anyone",
        // Two parts, as Java's `split` counts them: empty ones at the end are none.
        "digest" => id.id.trim_end_matches(':').split(':').count() == 2,
        "ip" => Net::parse(id.id).is_some(),
        "x509" => id.id.contains('='),
        "sasl" => !id.id.is_empty(),
        _ => false,
    }
}

/// Whether one of `identities` may do `perm` by `list`.
///
/// # Errors
///
/// [`Code::NoAuth`].
pub(super) fn check(list: &[Entry], perm: i32, identities: &[Id<'_>]) -> Result<(), Code> {
    let is_super = || identities.iter().any(|id| id.scheme == "super");
    let allowed = || {
        list.iter()
            .filter(|entry| entry.perms & perm != 0)
            .any(|entry| matches(entry, identities))
    };
    if list.is_empty() || allowed() || is_super() {
        Ok(())
    } else {
        Err(Code::NoAuth)
    }
}

fn matches(entry: &Entry, identities: &[Id<'_>]) -> bool {
    if &*entry.scheme == "world" {
        return &*entry.id == "anyone";
    }
    identities
        .iter()
        .filter(|id| *id.scheme == *entry.scheme)
        .any(|id| match id.scheme {
            "ip" => Net::parse(&entry.id).is_some_and(|net| net.contains(id.id)),
            _ => *id.id == *entry.id,
        })
}

/// An address or the network around it, `10.0.0.0/8`.
struct Net {
    bits: u128,
    /// Bits that must be the same.
    mask: u128,
    v4: bool,
}

impl Net {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (bits, width) = bits(address);
        let length = length.unwrap_or(width);
        let mask = match width.checked_sub(length)? {
            128 => 0,
            low => u128::MAX << low,
        };
        Some(Self {
            bits,
            mask,
            v4: address.is_ipv4(),
        })
    }

    fn contains(&self, address: &str) -> bool {
        let Ok(address) = address.parse::<IpAddr>() else {
            return false;
        };
        address.is_ipv4() == self.v4 && (bits(address).0 ^ self.bits) & self.mask == 0
    }
}

const fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (v4.to_bits() as u128, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use mainstay_zk_proto::acl::perms;

    use super::*;

    const ALICE: Id<'_> = Id {
        scheme: "digest",
        id: "alice:hash",
    };

    const fn acl<'a>(perms: i32, scheme: &'a str, id: &'a str) -> Acl<'a> {
        Acl {
            perms,
            id: Id { scheme, id },
        }
    }

    fn list(acl: Acl<'_>) -> List {
        resolve(&[acl], &[ALICE]).expect("valid")
    }

    #[test]
    fn equal_lists_are_kept_once_and_go_with_their_last_use() {
        let mut lists = Lists::default();
        let open = || list(Acl::OPEN);
        let one = lists.take(open());
        let two = lists.take(open());
        assert_eq!((one, lists.len()), (two, 1));
        lists.release(one);
        assert_eq!(lists.list(two), &*open());
        lists.release(two);
        assert_eq!(lists.len(), 0);
    }

    #[test]
    fn auth_stands_for_who_asks_and_duplicates_go() {
        let wanted = [acl(31, "auth", ""), acl(31, "digest", "alice:hash")];
        let list = resolve(&wanted, &[ALICE]).expect("alice is known");
        assert_eq!(list.len(), 1);
        assert_eq!(&*list[0].id, "alice:hash");
        let seen = Id {
            scheme: "ip",
            id: "127.0.0.1",
        };
        assert_eq!(
            resolve(&[acl(31, "auth", "")], &[seen]),
            Err(Code::InvalidAcl),
            "an address is seen, not proved"
        );
    }

    #[test]
    fn lists_that_nobody_could_match_are_refused() {
        assert_eq!(resolve(&[], &[]), Err(Code::InvalidAcl));
        for (scheme, id) in [
            ("world", "me"),
            ("digest", "alice"),
            ("digest", "a:b:c"),
            ("ip", "300.0.0.1"),
            ("ip", "10.0.0.0/33"),
            ("nobody", "x"),
            ("super", "x"),
        ] {
            let wanted = [acl(31, scheme, id)];
            assert_eq!(
                resolve(&wanted, &[]),
                Err(Code::InvalidAcl),
                "{scheme}:{id}"
            );
        }
    }

    #[test]
    fn permissions_go_to_those_who_are_named_and_to_the_super_user() {
        let only_alice = list(acl(perms::READ, "digest", "alice:hash"));
        assert_eq!(check(&only_alice, perms::READ, &[ALICE]), Ok(()));
        assert_eq!(
            check(&only_alice, perms::WRITE, &[ALICE]),
            Err(Code::NoAuth)
        );
        assert_eq!(check(&only_alice, perms::READ, &[]), Err(Code::NoAuth));
        let root = Id {
            scheme: "super",
            id: "",
        };
        assert_eq!(check(&only_alice, perms::WRITE, &[root]), Ok(()));
    }

    #[test]
    fn a_network_holds_its_addresses() {
        let local = list(acl(perms::ALL, "ip", "10.1.0.0/16"));
        let from = |id| [Id { scheme: "ip", id }];
        assert_eq!(check(&local, perms::READ, &from("10.1.2.3")), Ok(()));
        assert_eq!(
            check(&local, perms::READ, &from("10.2.2.3")),
            Err(Code::NoAuth)
        );
        assert_eq!(check(&local, perms::READ, &from("::1")), Err(Code::NoAuth));
        let any = list(acl(perms::ALL, "ip", "::/0"));
        assert_eq!(check(&any, perms::READ, &from("::1")), Ok(()));
    }
}
