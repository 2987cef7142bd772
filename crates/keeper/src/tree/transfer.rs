//! A tree node by node, as other programs keep it.
//!
//! Prevents a second idea of what a node is: what comes from outside becomes a node by the same
//! steps as one that a client makes.

use std::collections::BTreeMap;

use mainstay_zk_proto::Stat;

use super::Tree;
use super::access::Entry;
use super::nodes::{Facts, NodeId};

/// A node with its whole path. Its stat counts creations of children where clients see changes.
#[derive(Debug)]
pub(crate) struct PathNode<'a> {
    /// Empty for the root.
    pub(crate) path: String,
    pub(crate) data: Option<&'a [u8]>,
    pub(crate) acl: &'a [Entry],
    pub(crate) stat: Stat,
}

/// A node that comes from outside, with its path; its stat counts creations of children.
pub(crate) type ForeignNode = (String, Option<Vec<u8>>, Vec<Entry>, Stat);

impl Tree {
    /// The tree of these nodes, parents before their children.
    ///
    /// # Errors
    ///
    /// The path of a node whose parent is not there.
    pub(crate) fn of_nodes(nodes: impl Iterator<Item = ForeignNode>) -> Result<Self, String> {
        let mut tree = Self::bare();
        let mut ids = BTreeMap::from([(String::new(), NodeId::ROOT)]);
        for (path, data, acl, stat) in nodes {
            let facts = Facts {
                czxid: stat.czxid,
                mzxid: stat.mzxid,
                pzxid: stat.pzxid,
                ctime_ms: stat.ctime,
                mtime_ms: stat.mtime,
                owner: stat.ephemeral_owner,
                version: stat.version,
                creates: stat.cversion,
                aversion: stat.aversion,
                acl: tree.lists.take(acl.into()),
            };
            let Some((above, name)) = path.rsplit_once('/') else {
                tree.replace_root(data.as_deref(), facts);
                continue;
            };
            let Some(&parent) = ids.get(above) else {
                return Err(path);
            };
            let id = tree.add(parent, name, data.as_deref(), facts);
            ids.insert(path, id);
        }
        tree.count_quotas();
        tree.recount_quotas();
        Ok(tree)
    }

    /// All nodes, parents before their children.
    pub(crate) fn nodes_by_path(&self) -> Vec<PathNode<'_>> {
        let mut all = Vec::with_capacity(self.nodes.len());
        let mut waiting = vec![(String::new(), NodeId::ROOT)];
        while let Some((path, id)) = waiting.pop() {
            for child in self.nodes.children(id) {
                waiting.push((format!("{path}/{}", self.nodes.at(child).name()), child));
            }
            let node = self.nodes.at(id);
            let cversion = node.facts.creates;
            all.push(PathNode {
                path,
                data: node.data(),
                acl: self.lists.list(node.facts.acl),
                stat: Stat {
                    cversion,
                    ..node.stat()
                },
            });
        }
        all
    }
}
