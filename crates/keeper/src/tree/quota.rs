//! Quotas: how many nodes and bytes may be below a node, and how many there are.
//!
//! Prevents one application from filling the memory of all. As in ZooKeeper, a quota of `/app` is a
//! pair of nodes below `/zookeeper/quota/app`: `zookeeper_limits` is written by operators, and
//! `zookeeper_stats` is kept here: its data follow what is counted, without a new version and
//! without an event. A node counts for the nearest quota at or above it. Soft limits are for those
//! who look at them; hard ones are kept where members are told to keep them.
//!
//! Always holds: where there is no quota, nothing is looked up.

use std::collections::BTreeSet;

use mainstay_zk_proto::Code;

use super::Tree;
use super::nodes::{Node, NodeId};

/// Above the quotas.
const QUOTA: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// Where there are quotas.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    /// Off while a tree is loaded, whose numbers are there already.
    is_counting: bool,
    /// Whether hard limits are kept.
    pub(super) is_enforced: bool,
    /// Paths of the nodes that have one.
    of: BTreeSet<String>,
}

impl Quotas {
    /// The nearest node at or above `path` that has one.
    fn nearest<'a>(&self, path: &'a str) -> Option<&'a str> {
        let up = |path: &&'a str| path.rsplit_once('/').map(|(above, _)| above);
        std::iter::successors(Some(path), up).find(|path| self.of.contains(*path))
    }
}

/// Numbers as these nodes have them: `count=4,bytes=5=;countHardLimit=9`. What is not there, or is no
/// number, is -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbers {
    count: i64,
    bytes: i64,
    count_hard: i64,
    bytes_hard: i64,
}

impl Numbers {
    fn read(data: Option<&[u8]>) -> Self {
        let text = data.and_then(|data| std::str::from_utf8(data).ok());
        let number = |wanted: &str| {
            let pairs = text.unwrap_or_default().split([',', ';']);
            let values = pairs.filter_map(|pair| {
                let mut words = pair.split('=');
                let key = words.next()?;
                (key == wanted).then(|| words.next()?.parse().ok())?
            });
            // Where a key stands twice, the last one counts.
            values.fold(-1, |_, value| value)
        };
        Self {
            count: number("count"),
            bytes: number("bytes"),
            count_hard: number("countHardLimit"),
            bytes_hard: number("byteHardLimit"),
        }
    }
}

fn stats(count: i64, bytes: i64) -> Box<[u8]> {
    format!("count={count},bytes={bytes}").into_bytes().into()
}

/// What a node counts for.
pub(super) fn bytes_of(data: Option<&[u8]>) -> i64 {
    data.map_or(0, |data| i64::try_from(data.len()).unwrap_or(i64::MAX))
}

impl Tree {
    /// From now on what changes is counted.
    pub(super) fn count_quotas(&mut self) {
        self.quotas.is_counting = true;
    }

    /// From now on hard limits are kept, or not.
    pub(crate) const fn enforce_quotas(&mut self, is_enforced: bool) {
        self.quotas.is_enforced = is_enforced;
    }

    /// Counts all anew: another program's numbers may be those of another moment.
    pub(super) fn recount_quotas(&mut self) {
        for path in self.quotas.of.clone() {
            self.recount(&path);
        }
    }

    /// Checks that so much more below `path` is within its quota.
    ///
    /// # Errors
    ///
    /// [`Code::QuotaExceeded`].
    pub(super) fn within_quota(&self, path: &str, count: i64, bytes: i64) -> Result<(), Code> {
        if !self.quotas.is_enforced || self.quotas.of.is_empty() {
            return Ok(());
        }
        let Some(limited) = self.quotas.nearest(path) else {
            return Ok(());
        };
        let (Some(limits), Some(used)) =
            (self.numbers(limited, LIMITS), self.numbers(limited, STATS))
        else {
            return Ok(());
        };
        let exceeds = |more: i64, used: i64, limit: i64| {
            more != 0 && limit > -1 && used.saturating_add(more) > limit
        };
        if exceeds(count, used.count, limits.count_hard)
            || exceeds(bytes, used.bytes, limits.bytes_hard)
        {
            return Err(Code::QuotaExceeded);
        }
        Ok(())
    }

    /// A node came, or its name says that it makes a quota.
    pub(super) fn quota_put(&mut self, id: NodeId) {
        let node = self.nodes.at(id);
        if node.name() == LIMITS
            && let Some(limited) = limited_by(&self.nodes.path(id), LIMITS)
        {
            self.quotas.of.insert(limited.to_owned());
        }
        let bytes = bytes_of(self.nodes.at(id).data());
        self.count(|tree| tree.nodes.path(id), 1, bytes);
    }

    /// The node at `id` is about to go.
    pub(super) fn quota_take(&mut self, id: NodeId) {
        let node = self.nodes.at(id);
        let bytes = bytes_of(node.data());
        if node.name() == LIMITS
            && let Some(limited) = limited_by(&self.nodes.path(id), LIMITS)
        {
            self.quotas.of.remove(limited);
        }
        self.count(|tree| tree.nodes.path(id), -1, -bytes);
    }

    /// A node got other data, of which it has so many more bytes.
    pub(super) fn quota_replace(&mut self, id: NodeId, more: i64) {
        self.count(|tree| tree.nodes.path(id), 0, more);
    }

    /// A client made a node: if it is to hold a quota's numbers, it gets them.
    pub(super) fn quota_created(&mut self, id: NodeId) {
        if self.nodes.at(id).name() == STATS {
            let path = self.nodes.path(id);
            if let Some(limited) = limited_by(&path, STATS) {
                self.recount(limited);
            }
        }
    }

    fn count(&mut self, path: impl FnOnce(&Self) -> String, count: i64, bytes: i64) {
        if !self.quotas.is_counting || self.quotas.of.is_empty() {
            return;
        }
        let path = path(self);
        let Some(limited) = self.quotas.nearest(&path) else {
            return;
        };
        // A quota without its second node is not counted.
        if let Some(used) = self.numbers(limited, STATS) {
            let (count, bytes) = (used.count + count, used.bytes + bytes);
            self.set_stats(limited, &stats(count, bytes));
        }
    }

    fn recount(&mut self, limited: &str) {
        let (mut count, mut bytes) = (0, 0);
        let mut waiting: Vec<NodeId> = self.nodes.find(limited).into_iter().collect();
        while let Some(id) = waiting.pop() {
            count += 1;
            bytes += bytes_of(self.nodes.at(id).data());
            waiting.extend(self.nodes.children(id));
        }
        self.set_stats(limited, &stats(count, bytes));
    }

    fn quota_node(&self, limited: &str, name: &str) -> Option<NodeId> {
        self.nodes.find(&format!("{QUOTA}{limited}/{name}"))
    }

    fn numbers(&self, limited: &str, name: &str) -> Option<Numbers> {
        let node: &Node = self.nodes.at(self.quota_node(limited, name)?);
        Some(Numbers::read(node.data()))
    }

    fn set_stats(&mut self, limited: &str, data: &[u8]) {
        if let Some(id) = self.quota_node(limited, STATS) {
            drop(self.swap(id, self.nodes.at(id).with_data(Some(data))));
            self.restamp(id);
        }
    }
}

/// The node that the quota node `name` at `path` is for; the root has no quota.
fn limited_by<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let limited = path
        .strip_prefix(QUOTA)?
        .strip_suffix(name)?
        .strip_suffix('/')?;
    (limited.len() > 1).then_some(limited)
}

#[cfg(test)]
mod tests {
    use mainstay_zk_proto::acl::Acl;
    use mainstay_zk_proto::jute::Reader;
    use mainstay_zk_proto::multi::Operations;
    use mainstay_zk_proto::request::{Create, Delete, Request, SetData};

    use super::*;
    use crate::tree::{Change, Done, Part, Stamp, TreeLoader};

    fn create<'a>(path: &'a str, data: &'a str) -> Request<'a> {
        Request::Create(Create {
            path,
            data: Some(data.as_bytes()),
            acl: vec![Acl::OPEN],
            flags: 0,
        })
    }

    fn set<'a>(path: &'a str, data: &'a str) -> Request<'a> {
        Request::SetData(SetData {
            path,
            data: Some(data.as_bytes()),
            version: -1,
        })
    }

    const fn delete(path: &str) -> Request<'_> {
        Request::Delete(Delete { path, version: -1 })
    }

    fn apply(tree: &mut Tree, request: &Request<'_>) -> Result<Done, Code> {
        let change = Change {
            session: 1,
            identities: &[],
            request,
        };
        let stamp = Stamp {
            zxid: 5,
            time_ms: 5,
        };
        tree.apply(change, stamp, &mut Vec::new())
    }

    fn used(tree: &Tree, limited: &str) -> String {
        let path = format!("{QUOTA}{limited}/{STATS}");
        let data = tree.data(&path, &[]).expect("there is a quota").data;
        String::from_utf8(data.unwrap_or_default().to_vec()).expect("text")
    }

    /// `/a` with `/a/old` of three bytes, and a quota on it.
    fn limited(limits: &str) -> Tree {
        let mut tree = Tree::new();
        for (path, data) in [
            ("/a", "x"),
            ("/a/old", "old"),
            ("/zookeeper/quota/a", ""),
            ("/zookeeper/quota/a/zookeeper_limits", limits),
            ("/zookeeper/quota/a/zookeeper_stats", "count=0,bytes=0"),
        ] {
            apply(&mut tree, &create(path, data)).expect("it is new");
        }
        tree.enforce_quotas(true);
        tree
    }

    #[test]
    fn what_is_below_a_quota_is_counted_from_its_beginning_and_nothing_else_is() {
        let mut tree = limited("count=1,bytes=1");
        assert_eq!(
            used(&tree, "/a"),
            "count=2,bytes=4",
            "soft limits only tell"
        );
        for request in [
            create("/a/new", "12345"),
            create("/ab", "elsewhere"),
            set("/a/old", "longer"),
            set("/a/new", ""),
            delete("/a/old"),
        ] {
            apply(&mut tree, &request).expect("nothing refuses it");
        }
        assert_eq!(used(&tree, "/a"), "count=2,bytes=1");
        let stats = tree
            .stat("/zookeeper/quota/a/zookeeper_stats")
            .expect("there");
        assert_eq!(stats.version, 0, "counting is no change that clients made");
    }

    #[test]
    fn hard_limits_refuse_what_goes_beyond_where_they_are_kept() {
        let mut tree = limited("count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=3");
        assert_eq!(
            apply(&mut tree, &set("/a/old", "0123456789")),
            Err(Code::QuotaExceeded)
        );
        apply(&mut tree, &set("/a/old", "012345678")).expect("ten in all");
        apply(&mut tree, &create("/a/third", "")).expect("three in all");
        let before = tree.digest();
        assert_eq!(
            apply(&mut tree, &create("/a/fourth", "")),
            Err(Code::QuotaExceeded)
        );
        assert_eq!(tree.digest(), before);
        apply(&mut tree, &delete("/a/third")).expect("less is always within");
        tree.enforce_quotas(false);
        apply(&mut tree, &create("/a/third", "much too much")).expect("nobody keeps it");
        apply(&mut tree, &create("/a/fourth", "")).expect("nobody keeps it");
        assert_eq!(used(&tree, "/a"), "count=4,bytes=23");
    }

    #[test]
    fn the_nearest_quota_counts_and_goes_with_its_limits() {
        let mut tree = limited("count=9,bytes=-1");
        for (path, data) in [
            ("/a/b", "1"),
            ("/zookeeper/quota/a/b", ""),
            ("/zookeeper/quota/a/b/zookeeper_limits", "count=9,bytes=-1"),
            ("/zookeeper/quota/a/b/zookeeper_stats", ""),
            ("/a/b/c", "22"),
        ] {
            apply(&mut tree, &create(path, data)).expect("it is new");
        }
        assert_eq!(used(&tree, "/a"), "count=3,bytes=5");
        assert_eq!(used(&tree, "/a/b"), "count=2,bytes=3");
        let limits = "/zookeeper/quota/a/b/zookeeper_limits";
        apply(&mut tree, &delete(limits)).expect("it is there");
        apply(&mut tree, &create("/a/b/d", "333")).expect("it is new");
        assert_eq!(used(&tree, "/a"), "count=4,bytes=8");
        assert_eq!(used(&tree, "/a/b"), "count=2,bytes=3");
    }

    #[test]
    fn a_multi_that_fails_leaves_the_numbers_as_they_were() {
        let mut tree = limited("count=-1,bytes=-1=;countHardLimit=3");
        let before = tree.digest();
        for last in [create("/a/too-many", ""), delete("/nowhere")] {
            let operations = vec![
                set("/a/old", "longer than before"),
                create("/a/third", "3"),
                delete("/zookeeper/quota/a/zookeeper_stats"),
                create("/zookeeper/quota/a/zookeeper_stats", ""),
                last,
            ];
            let done = apply(&mut tree, &Request::Multi(Operations(operations)));
            let Ok(Done::Multi(parts)) = done else {
                panic!("{done:?}");
            };
            assert!(matches!(parts.last(), Some(Part::Failed(_))), "{parts:?}");
            assert_eq!(tree.digest(), before);
            assert_eq!(used(&tree, "/a"), "count=2,bytes=4");
        }
    }

    #[test]
    fn a_tree_that_was_loaded_counts_on() {
        let mut tree = limited("count=-1,bytes=-1=;countHardLimit=3");
        let frozen = tree.freeze();
        let mut loader = TreeLoader::default();
        let read =
            |record: &[u8], what: &mut dyn FnMut(&mut Reader<'_>)| what(&mut Reader::new(record));
        frozen
            .lists(|list| -> Result<(), ()> {
                read(list, &mut |words| loader.list(words).expect("whole"));
                Ok(())
            })
            .expect("all");
        frozen
            .nodes(|node| -> Result<(), ()> {
                read(node, &mut |words| loader.node(words).expect("whole"));
                Ok(())
            })
            .expect("all");
        let mut loaded = loader.finish(frozen.digest()).expect("the same");
        loaded.enforce_quotas(true);
        for tree in [&mut tree, &mut loaded] {
            apply(tree, &create("/a/third", "3")).expect("three in all");
            assert_eq!(
                apply(tree, &create("/a/fourth", "")),
                Err(Code::QuotaExceeded)
            );
            assert_eq!(used(tree, "/a"), "count=3,bytes=5");
        }
        assert_eq!(tree.digest(), loaded.digest());
    }

    #[test]
    fn numbers_are_read_as_tools_write_them() {
        let numbers = |text: &str| {
            let Numbers {
                count,
                bytes,
                count_hard,
                bytes_hard,
            } = Numbers::read(Some(text.as_bytes()));
            [count, bytes, count_hard, bytes_hard]
        };
        assert_eq!(
            numbers("count=4,bytes=5=;byteHardLimit=7;countHardLimit=6"),
            [4, 5, 6, 7]
        );
        assert_eq!(numbers("bytes=5;count=4"), [4, 5, -1, -1]);
        assert_eq!(numbers("count=,bytes=x,,=;"), [-1; 4]);
        assert_eq!(numbers(""), [-1; 4]);
    }
}
