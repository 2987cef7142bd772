//! Snapshots of ZooKeeper.

use std::collections::BTreeMap;

use mainstay_zk_proto::Stat;
use mainstay_zk_proto::acl::Acl;
use mainstay_zk_proto::jute::{Malformed, Reader};

use super::{Raw, RawNode};
use crate::tree::Entry;

/// `ZKSN`.
pub(super) const MAGIC: i32 = 0x5A4B_534E;
pub(super) const VERSION: i32 = 2;

/// The list of nodes that anybody may do anything with.
pub(super) const OPEN_LIST: i64 = -1;

/// Reads a snapshot whose name says that everything up to `zxid` is in it.
pub(super) fn read(bytes: &[u8], zxid: i64) -> Result<Raw, Malformed> {
    let mut words = Reader::new(bytes);
    header(&mut words, MAGIC)?;
    let mut raw = Raw {
        zxid,
        ..Raw::default()
    };
    let sessions: i32 = words.read()?;
    for _ in 0..sessions {
        let id = words.read()?;
        raw.sessions.insert(id, words.read()?);
    }
    let lists = lists(&mut words)?;
    loop {
        let path: &str = words.read()?;
        // The end; the root's own path is empty.
        if path == "/" {
            break;
        }
        let node = node(&mut words, &lists)?;
        raw.time_ms = raw.time_ms.max(node.stat.mtime);
        raw.nodes.insert(path.to_owned(), node);
    }
    seal(bytes, &mut words)?;
    // What follows since 3.6 is a digest in ZooKeeper's own terms.
    Ok(raw)
}

/// What every file begins with.
pub(super) fn header(words: &mut Reader<'_>, magic: i32) -> Result<(), Malformed> {
    let found: i32 = words.read()?;
    if found != magic {
        return Err(Malformed::Unknown {
            what: "file of ZooKeeper (compressed snapshots have to be written again without \
                   compression)",
            value: found,
        });
    }
    let version: i32 = words.read()?;
    if version != VERSION {
        return Err(Malformed::Unknown {
            what: "known version of ZooKeeper's files",
            value: version,
        });
    }
    // The database's number, which nothing uses.
    words.read::<i64>().map(drop)
}

fn lists(words: &mut Reader<'_>) -> Result<BTreeMap<i64, Vec<Entry>>, Malformed> {
    let mut lists = BTreeMap::new();
    let count: i32 = words.read()?;
    for _ in 0..count {
        let id: i64 = words.read()?;
        let list: Vec<Acl<'_>> = words.read()?;
        lists.insert(id, list.iter().map(entry).collect());
    }
    lists.insert(OPEN_LIST, vec![entry(&Acl::OPEN)]);
    Ok(lists)
}

pub(super) fn entry(acl: &Acl<'_>) -> Entry {
    Entry {
        perms: acl.perms,
        scheme: acl.id.scheme.into(),
        id: acl.id.id.into(),
    }
}

fn node(words: &mut Reader<'_>, lists: &BTreeMap<i64, Vec<Entry>>) -> Result<RawNode, Malformed> {
    let data: Option<&[u8]> = words.read()?;
    let list: i64 = words.read()?;
    let stat = Stat {
        czxid: words.read()?,
        mzxid: words.read()?,
        ctime: words.read()?,
        mtime: words.read()?,
        version: words.read()?,
        cversion: words.read()?,
        aversion: words.read()?,
        ephemeral_owner: words.read()?,
        data_length: 0,
        num_children: 0,
        pzxid: words.read()?,
    };
    // A list that is not there would let everybody in.
    let Some(acl) = lists.get(&list).cloned() else {
        return Err(Malformed::Unknown {
            what: "access list",
            value: i32::try_from(list).unwrap_or(i32::MIN),
        });
    };
    Ok(RawNode {
        data: data.map(<[u8]>::to_vec),
        acl,
        stat,
    })
}

/// The checksum of everything so far.
fn seal(bytes: &[u8], words: &mut Reader<'_>) -> Result<(), Malformed> {
    let sealed = bytes.len() - words.rest().len();
    let checksum: i64 = words.read()?;
    if i64::from(adler2::adler32_slice(&bytes[..sealed])) != checksum {
        return Err(Malformed::Unknown {
            what: "checksum of the snapshot's content",
            value: 0,
        });
    }
    Ok(())
}
