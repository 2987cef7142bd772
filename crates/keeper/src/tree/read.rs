//! What can be asked of the tree.
//!
//! Prevents an answer to somebody who may not have it.

use mainstay_zk_proto::acl::{Id, perms};
use mainstay_zk_proto::mode::Owner;
use mainstay_zk_proto::{Code, Stat};

use super::access::Entry;
use super::{Tree, access};

/// A node's data and stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// The data; null when they were set so.
    pub data: Option<&'a [u8]>,
    /// The stat.
    pub stat: Stat,
}

/// A node's children and stat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Their names, the newest first.
    pub names: Vec<&'a str>,
    /// The stat.
    pub stat: Stat,
}

impl Tree {
    /// A node's data. Its stat alone is [`Tree::stat`], which everybody may know.
    ///
    /// # Errors
    ///
    /// [`Code::NoNode`], [`Code::NoAuth`].
    pub fn data(&self, path: &str, identities: &[Id<'_>]) -> Result<Data<'_>, Code> {
        let id = self.nodes.find(path).ok_or(Code::NoNode)?;
        self.allows(id, perms::READ, identities)?;
        let node = self.nodes.at(id);
        Ok(Data {
            data: node.data(),
            stat: node.stat(),
        })
    }

    /// A node's children.
    ///
    /// # Errors
    ///
    /// [`Code::NoNode`], [`Code::NoAuth`].
    pub fn children(&self, path: &str, identities: &[Id<'_>]) -> Result<Listed<'_>, Code> {
        let id = self.nodes.find(path).ok_or(Code::NoNode)?;
        self.allows(id, perms::READ, identities)?;
        let children = self.nodes.children(id);
        Ok(Listed {
            names: children.map(|child| self.nodes.at(child).name()).collect(),
            stat: self.nodes.at(id).stat(),
        })
    }

    /// A node's access list. Who may not set it does not see the digests of passwords.
    ///
    /// # Errors
    ///
    /// [`Code::NoNode`], [`Code::NoAuth`].
    pub fn acl(&self, path: &str, identities: &[Id<'_>]) -> Result<(Vec<Entry>, Stat), Code> {
        let id = self.nodes.find(path).ok_or(Code::NoNode)?;
        let node = self.nodes.at(id);
        let list = self.lists.list(node.facts.acl);
        access::check(list, perms::READ | perms::ADMIN, identities)?;
        let may_see = access::check(list, perms::ADMIN, identities).is_ok();
        let shown = list.iter().cloned().map(|entry| match &*entry.scheme {
            "digest" if !may_see => masked(entry),
            _ => entry,
        });
        Ok((shown.collect(), node.stat()))
    }

    /// How many nodes are below a node.
    ///
    /// # Errors
    ///
    /// [`Code::NoNode`], [`Code::NoAuth`].
    pub fn below(&self, path: &str, identities: &[Id<'_>]) -> Result<usize, Code> {
        let id = self.nodes.find(path).ok_or(Code::NoNode)?;
        self.allows(id, perms::READ, identities)?;
        Ok(self.nodes.below(id))
    }

    /// Paths of the nodes that go with `session` and begin with `prefix`, sorted.
    pub fn ephemerals(&self, session: i64, prefix: &str) -> Vec<String> {
        let nodes = self.ephemerals.get(&session).into_iter().flatten();
        let mut paths: Vec<String> = nodes
            .map(|&id| self.nodes.path(id))
            .filter(|path| path.starts_with(prefix))
            .collect();
        paths.sort_unstable();
        paths
    }

    /// Sessions that have nodes which go with them.
    pub fn ephemeral_sessions(&self) -> impl Iterator<Item = i64> {
        self.ephemerals.keys().copied()
    }

    /// Nodes that may go by `time_ms`, with the transaction that last changed them: containers that
    /// had children and have none any more, and nodes that nobody changed for their time to live.
    pub fn expired(&self, time_ms: i64) -> Vec<(String, i64)> {
        let childless = |&&id: &&_| self.nodes.at(id).children() == 0;
        let used = self
            .containers
            .iter()
            .filter(childless)
            .filter(|&&id| self.nodes.at(id).facts.creates != 0);
        let old = self.mortal.iter().filter(childless).filter(|&&id| {
            let facts = &self.nodes.at(id).facts;
            let age_ms = time_ms.saturating_sub(facts.mtime_ms);
            matches!(Owner::from_wire(facts.owner), Owner::Ttl { ms } if age_ms > ms)
        });
        used.chain(old)
            .map(|&id| (self.nodes.path(id), self.nodes.at(id).facts.mzxid))
            .collect()
    }
}

/// The user without the digest of the password.
fn masked(entry: Entry) -> Entry {
    let user = entry.id.split(':').next().unwrap_or_default();
    Entry {
        id: format!("{user}:x").into(),
        ..entry
    }
}
