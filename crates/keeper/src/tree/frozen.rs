//! A tree as it was at one moment, and a tree made from it again.
//!
//! Prevents fuzzy snapshots: what is written belongs to one transaction, though the tree goes on
//! meanwhile. Freezing takes microseconds; the parts that change afterwards are copied, a chunk of
//! nodes at a time.

use std::collections::BTreeMap;

use mainstay_zk_proto::jute::{Jute, Malformed, Reader};

use super::Tree;
use super::access::{Entry, List, ListId};
use super::nodes::{Facts, FrozenNodes, Node, NodeId};

/// A tree as it was.
#[derive(Clone, Debug)]
pub(crate) struct FrozenTree {
    nodes: FrozenNodes,
    lists: Vec<(ListId, List)>,
    digest: u64,
}

/// Makes a tree from what a [`FrozenTree`] said: first all lists, then all nodes.
#[derive(Debug, Default)]
pub(crate) struct TreeLoader {
    lists: BTreeMap<i32, List>,
    /// The tree, once the root was there, with the last node of each depth.
    grown: Option<(Tree, Vec<NodeId>)>,
}

impl Tree {
    /// The tree as it is now.
    pub(crate) fn freeze(&self) -> FrozenTree {
        FrozenTree {
            nodes: self.nodes.freeze(),
            lists: self.lists.all(),
            digest: self.digest,
        }
    }
}

impl FrozenTree {
    pub(crate) const fn digest(&self) -> u64 {
        self.digest
    }

    /// Says each access list.
    pub(crate) fn lists<E>(&self, mut emit: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut out = Vec::new();
        for (id, list) in &self.lists {
            out.clear();
            id.to_wire().write(&mut out);
            i32::try_from(list.len())
                .unwrap_or(i32::MAX)
                .write(&mut out);
            for entry in &**list {
                entry.perms.write(&mut out);
                (&*entry.scheme).write(&mut out);
                (&*entry.id).write(&mut out);
            }
            emit(&out)?;
        }
        Ok(())
    }

    /// Says each node, parents before their children.
    pub(crate) fn nodes<E>(&self, mut emit: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut out = Vec::new();
        self.nodes.walk(|depth, node| {
            out.clear();
            write_node(depth, node, &mut out);
            emit(&out)
        })
    }
}

fn write_node(depth: u32, node: &Node, out: &mut Vec<u8>) {
    i32::try_from(depth).unwrap_or(i32::MAX).write(out);
    node.name().write(out);
    node.data().write(out);
    let facts = &node.facts;
    for number in [
        facts.czxid,
        facts.mzxid,
        facts.pzxid,
        facts.ctime_ms,
        facts.mtime_ms,
        facts.owner,
    ] {
        number.write(out);
    }
    for number in [
        facts.version,
        facts.creates,
        facts.aversion,
        facts.acl.to_wire(),
    ] {
        number.write(out);
    }
}

impl TreeLoader {
    /// Hears of an access list.
    pub(crate) fn list(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let id = reader.read()?;
        let count: i32 = reader.read()?;
        let entries = (0..count).map(|_| {
            Ok(Entry {
                perms: reader.read()?,
                scheme: reader.read::<&str>()?.into(),
                id: reader.read::<&str>()?.into(),
            })
        });
        let list: Vec<Entry> = entries.collect::<Result<_, Malformed>>()?;
        self.lists.insert(id, list.into());
        Ok(())
    }

    /// Hears of a node.
    pub(crate) fn node(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let depth: i32 = reader.read()?;
        let name: &str = reader.read()?;
        let data: Option<&[u8]> = reader.read()?;
        let (czxid, mzxid, pzxid) = (reader.read()?, reader.read()?, reader.read()?);
        let (ctime_ms, mtime_ms, owner) = (reader.read()?, reader.read()?, reader.read()?);
        let (version, creates, aversion) = (reader.read()?, reader.read()?, reader.read()?);
        let list = self.known(reader.read()?)?;
        if self.grown.is_none() {
            self.grown = Some((Tree::bare(), Vec::new()));
        }
        let Some((tree, path)) = &mut self.grown else {
            return Ok(());
        };
        let facts = Facts {
            czxid,
            mzxid,
            pzxid,
            ctime_ms,
            mtime_ms,
            owner,
            version,
            creates,
            aversion,
            acl: tree.lists.take(list),
        };
        let wrong = Malformed::Unknown {
            what: "depth of a node",
            value: depth,
        };
        let depth = usize::try_from(depth).map_err(|_| wrong)?;
        if depth > path.len() || (depth == 0) != path.is_empty() {
            return Err(wrong);
        }
        path.truncate(depth);
        let id = match path.last() {
            None => tree.replace_root(data, facts),
            Some(&parent) if tree.nodes.child(parent, name).is_some() => return Err(wrong),
            Some(&parent) => tree.add(parent, name, data, facts),
        };
        path.push(id);
        Ok(())
    }

    /// The tree, if its content is what `digest` says.
    pub(crate) fn finish(self, digest: u64) -> Option<Tree> {
        let (mut tree, _) = self.grown?;
        tree.count_quotas();
        (tree.digest == digest).then_some(tree)
    }

    fn known(&self, id: i32) -> Result<List, Malformed> {
        let found = self.lists.get(&id).cloned();
        found.ok_or(Malformed::Unknown {
            what: "access list",
            value: id,
        })
    }
}
