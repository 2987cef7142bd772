//! Who belongs to the ensemble, and what becomes of that by a change that somebody asks for.
//!
//! Prevents a change that is half understood: the whole next list is made of the present one and
//! the request, or the request is refused with the reason that ZooKeeper would give
//! (`PrepRequestProcessor` of 3.8).

use std::collections::BTreeMap;

use mainstay_zk_proto::Code;
use mainstay_zk_proto::request::Reconfig;

use crate::zoo_cfg::Member;

/// Numbers of members: one is part of each session's number.
const NUMBERS: std::ops::RangeInclusive<u64> = 0..=254;

/// The members by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ensemble(pub BTreeMap<u64, Member>);

/// A change that somebody asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Members to add, or to write anew: `server.N=…`, separated by commas.
    pub joining: Option<String>,
    /// Numbers of members to remove, separated by commas.
    pub leaving: Option<String>,
    /// All members, instead of the two above.
    pub members: Option<String>,
    /// The version that the present members must have; -1 for any.
    pub version: i64,
    /// No fewer members may have a vote afterwards.
    pub voters_min: usize,
    /// Whether who asks may change `/zookeeper/config`.
    pub is_allowed: bool,
}

impl Change {
    /// What a client asks for.
    pub(crate) fn of(request: &Reconfig<'_>, voters_min: usize, is_allowed: bool) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            joining: owned(request.joining),
            leaving: owned(request.leaving),
            members: owned(request.members),
            version: request.version,
            voters_min,
            is_allowed,
        }
    }

    /// Whether it says what becomes of this member: one that gives all members does of everybody.
    pub(crate) fn names(&self, number: u64) -> bool {
        let is_it = |item: &str| item.parse() == Ok(number);
        let joins = |item| numbered(item).is_ok_and(|(joiner, _)| joiner == number);
        self.members.is_some()
            || items(self.leaving.as_deref()).any(is_it)
            || items(self.joining.as_deref()).any(joins)
    }
}

impl Ensemble {
    /// Reads lines of `server.N=…`; a last one with a version may follow.
    ///
    /// # Errors
    ///
    /// [`Code::BadArguments`].
    pub fn read(text: &str) -> Result<Self, Code> {
        let mut members = BTreeMap::new();
        for line in text.split('\n').map(str::trim) {
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            if line.split('=').next().map(str::trim) == Some("version") {
                continue;
            }
            let (number, member) = numbered(line)?;
            members.insert(number, member);
        }
        Ok(Self(members))
    }

    /// The list after `change`.
    ///
    /// # Errors
    ///
    /// [`Code::BadArguments`].
    pub fn after(&self, change: &Change) -> Result<Self, Code> {
        let next = match &change.members {
            Some(members) => Self::read(&members.replace(',', "\n"))?,
            None => self.with(change)?,
        };
        let voters = next.0.values().filter(|member| !member.is_observer);
        if voters.count() < change.voters_min.max(1) {
            return Err(Code::BadArguments);
        }
        Ok(next)
    }

    /// Whether all members have numbers that they can have here. ZooKeeper takes any, so that who may
    /// not change anything hears of that first.
    pub(crate) fn has_numbers(&self) -> bool {
        self.0.keys().all(|number| NUMBERS.contains(number))
    }

    fn with(&self, change: &Change) -> Result<Self, Code> {
        let mut next = self.clone();
        for number in items(change.leaving.as_deref()) {
            let number = number.trim().parse().map_err(|_| Code::BadArguments)?;
            next.0.remove(&number);
        }
        for joiner in items(change.joining.as_deref()) {
            let (number, member) = numbered(joiner)?;
            // Clients find members in this list, so it has to say where they are.
            if member.client.is_none() && member.secure_client.is_none() {
                return Err(Code::BadArguments);
            }
            next.0.remove(&number);
            let taken: Vec<String> = next.0.values().flat_map(Member::own_addresses).collect();
            let own = member.own_addresses();
            if own.iter().any(|address| taken.contains(address)) {
                return Err(Code::BadArguments);
            }
            next.0.insert(number, member);
        }
        Ok(next)
    }
}

fn items(list: Option<&str>) -> impl Iterator<Item = &str> {
    let items = list.unwrap_or_default().split(',').map(str::trim);
    items.filter(|item| !item.is_empty())
}

/// A member with its number, from `server.N=…`.
fn numbered(text: &str) -> Result<(u64, Member), Code> {
    let (key, value) = text.trim().split_once('=').ok_or(Code::BadArguments)?;
    let number = key.trim().strip_prefix("server.").map(str::parse);
    let Some(Ok(number)) = number else {
        return Err(Code::BadArguments);
    };
    let member = Member::read(value).map_err(|_words| Code::BadArguments)?;
    Ok((number, member))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Ensemble {
        Ensemble::read("server.1=a:1:2;3\nserver.2=b:1:2;3\nserver.3=c:1:2;3\nversion=a")
            .expect("valid")
    }

    fn change(joining: &str, leaving: &str) -> Change {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Change {
            joining: some(joining),
            leaving: some(leaving),
            version: -1,
            voters_min: 2,
            ..Change::default()
        }
    }

    fn numbers(ensemble: &Ensemble) -> Vec<u64> {
        ensemble.0.keys().copied().collect()
    }

    #[test]
    fn members_join_and_leave_at_once_and_one_that_is_there_is_written_anew() {
        let next = three().after(&change("server.4=d:1:2:observer;3,server.2=e:1:2;3", "1,9"));
        let next = next.expect("valid");
        assert_eq!(numbers(&next), [2, 3, 4]);
        assert_eq!(next.0[&2].host, "e");
        assert!(next.0[&4].is_observer);
    }

    #[test]
    fn a_whole_list_takes_the_place_of_the_present_one_whatever_separates_it() {
        for members in [
            "server.7=g:1:2,server.8=h:1:2",
            "server.7=g:1:2\nserver.8=h:1:2\nversion=3",
        ] {
            let whole = Change {
                members: Some(members.to_owned()),
                ..change("server.9=i:1:2;3", "")
            };
            assert_eq!(numbers(&three().after(&whole).expect("valid")), [7, 8]);
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_bad_argument() {
        for (joining, leaving) in [
            ("some thing", ""),
            ("server.x=d:1:2;3", ""),
            // Where clients come to is missing.
            ("server.4=d:1:2", ""),
            // Another member's address.
            ("server.4=a:1:5;6", ""),
            ("", "one"),
            // Too few would have a vote.
            ("", "1,2"),
            ("server.2=b:1:2:observer;3,server.1=a:1:2:observer;3", ""),
        ] {
            let refused = three().after(&change(joining, leaving));
            assert_eq!(refused, Err(Code::BadArguments), "{joining} {leaving}");
        }
        let whole = Change {
            members: Some("group.1=1:2".to_owned()),
            ..change("", "")
        };
        assert_eq!(three().after(&whole), Err(Code::BadArguments));
    }

    #[test]
    fn a_number_that_no_session_could_name_is_known() {
        for (number, fits) in [(0, true), (1, true), (254, true), (255, false)] {
            let next = three().after(&change(&format!("server.{number}=d:1:2;3"), ""));
            assert_eq!(next.expect("valid").has_numbers(), fits, "{number}");
        }
    }

    #[test]
    fn on_one_machine_members_may_share_what_only_looks_the_same() {
        let local = Ensemble::read("server.1=localhost:1:2;0.0.0.0:3").expect("valid");
        let next = local.after(&change("server.2=localhost:4:5;0.0.0.0:3", ""));
        assert_eq!(numbers(&next.expect("valid")), [1, 2]);
    }
}
