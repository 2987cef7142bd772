//! A snapshot that Apache ZooKeeper reads: the way back.

use std::collections::BTreeMap;

use mainstay_zk_proto::acl::{Acl, Id};
use mainstay_zk_proto::jute::Jute as _;

use super::snapshot::{MAGIC, OPEN_LIST, VERSION};
use crate::state::State;
use crate::tree::Entry;

/// The content of the file `version-2/snapshot.<zxid in hex>`, and that name. Sessions are not in
/// it: ZooKeeper derives their passwords, ours are random, and their ephemeral nodes go with them.
pub fn export(state: &State) -> (String, Vec<u8>) {
    let mut out = Vec::new();
    MAGIC.write(&mut out);
    VERSION.write(&mut out);
    // The database's number.
    (-1_i64).write(&mut out);
    // No sessions.
    0_i32.write(&mut out);
    let nodes = state.tree().nodes_by_path();
    let mut lists: BTreeMap<&[Entry], i64> = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.stat.ephemeral_owner <= 0) {
        let next = i64::try_from(lists.len() + 1).unwrap_or(i64::MAX);
        lists.entry(node.acl).or_insert(next);
    }
    i32::try_from(lists.len())
        .unwrap_or(i32::MAX)
        .write(&mut out);
    for (list, id) in &lists {
        id.write(&mut out);
        list.iter().map(acl).collect::<Vec<_>>().write(&mut out);
    }
    for node in nodes.iter().filter(|node| node.stat.ephemeral_owner <= 0) {
        node.path.as_str().write(&mut out);
        node.data.write(&mut out);
        lists
            .get(node.acl)
            .copied()
            .unwrap_or(OPEN_LIST)
            .write(&mut out);
        let stat = &node.stat;
        for number in [stat.czxid, stat.mzxid, stat.ctime, stat.mtime] {
            number.write(&mut out);
        }
        for number in [stat.version, stat.cversion, stat.aversion] {
            number.write(&mut out);
        }
        stat.ephemeral_owner.write(&mut out);
        stat.pzxid.write(&mut out);
    }
    "/".write(&mut out);
    let checksum = i64::from(adler2::adler32_slice(&out));
    checksum.write(&mut out);
    "/".write(&mut out);
    (format!("snapshot.{:x}", state.zxid()), out)
}

fn acl(entry: &Entry) -> Acl<'_> {
    Acl {
        perms: entry.perms,
        id: Id {
            scheme: &entry.scheme,
            id: &entry.id,
        },
    }
}
