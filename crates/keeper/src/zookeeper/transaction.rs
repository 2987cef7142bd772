//! Transactions of ZooKeeper's log, replayed.

use std::path::Path;

use mainstay_zk_proto::Stat;
use mainstay_zk_proto::acl::Acl;
use mainstay_zk_proto::jute::{Malformed, Reader};
use mainstay_zk_proto::mode::{CONTAINER_OWNER, Owner};
use mainstay_zk_proto::opcode::Opcode;

use super::snapshot::{entry, header};
use super::{ImportError, Raw, RawNode};

/// `ZKLG`.
const MAGIC: i32 = 0x5A4B_4C47;

/// Behind each transaction.
const END_OF_RECORD: u8 = b'B';

/// In place of an operation that failed.
const ERROR: i32 = -1;

/// Who did it and when.
#[derive(Clone, Copy)]
struct Head {
    session: i64,
    zxid: i64,
    time_ms: i64,
    kind: i32,
}

/// Replays what a log has after the transaction `after`; the answer is how many there were. The
/// last log may end in the middle of a transaction: that one was never acknowledged.
pub(super) fn replay(
    bytes: &[u8],
    path: &Path,
    (after, is_last): (i64, bool),
    raw: &mut Raw,
) -> Result<u64, ImportError> {
    let damaged = |rest: usize, detail: String| ImportError::Damaged {
        file: path.to_owned(),
        offset: (bytes.len() - rest) as u64,
        detail,
    };
    let mut words = Reader::new(bytes);
    if let Err(error) = header(&mut words, MAGIC) {
        // A log that was just made.
        return if is_last && bytes.iter().all(|&byte| byte == 0) {
            Ok(0)
        } else {
            Err(damaged(bytes.len(), error.to_string()))
        };
    }
    let mut replayed = 0;
    loop {
        let rest = words.rest().len();
        let record = match record(&mut words) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(replayed),
            Err(_) if is_last => return Ok(replayed),
            Err(error) => return Err(damaged(rest, error.to_string())),
        };
        let mut words = Reader::new(record);
        let head = head(&mut words).map_err(|error| damaged(rest, error.to_string()))?;
        if head.zxid <= after {
            continue;
        }
        one(head, &mut words, raw).map_err(|error| damaged(rest, error.to_string()))?;
        raw.zxid = raw.zxid.max(head.zxid);
        raw.time_ms = raw.time_ms.max(head.time_ms);
        replayed += 1;
    }
}

/// The next transaction; none where the space begins that was written ahead.
fn record<'a>(words: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    if words.rest().is_empty() {
        return Ok(None);
    }
    let checksum: i64 = words.read()?;
    let record: &[u8] = words.read()?;
    if record.is_empty() {
        return Ok(None);
    }
    let wrong = |what| Malformed::Unknown { what, value: 0 };
    if i64::from(adler2::adler32_slice(record)) != checksum {
        return Err(wrong("checksum of the transaction"));
    }
    if words.rest().first() != Some(&END_OF_RECORD) {
        return Err(wrong("end of a transaction"));
    }
    // One byte, whatever it stands for.
    words.read::<bool>()?;
    Ok(Some(record))
}

fn head(words: &mut Reader<'_>) -> Result<Head, Malformed> {
    let session = words.read()?;
    let _cxid: i32 = words.read()?;
    Ok(Head {
        session,
        zxid: words.read()?,
        time_ms: words.read()?,
        kind: words.read()?,
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not listed is never in a log, whatever it is"
)]
fn one(head: Head, words: &mut Reader<'_>, raw: &mut Raw) -> Result<(), Malformed> {
    if head.kind == ERROR {
        return Ok(());
    }
    let opcode = Opcode::from_wire(head.kind)?;
    match opcode {
        Opcode::CreateSession => {
            raw.sessions.insert(head.session, words.read()?);
        },
        Opcode::CloseSession => raw.end_session(head),
        Opcode::Create | Opcode::Create2 | Opcode::CreateContainer | Opcode::CreateTtl => {
            create(head, opcode, words, raw)?;
        },
        Opcode::Delete | Opcode::DeleteContainer => raw.delete(words.read()?, head.zxid),
        Opcode::SetData | Opcode::Reconfig => {
            let path: &str = words.read()?;
            let data: Option<&[u8]> = words.read()?;
            let version = words.read()?;
            if let Some(node) = raw.at(path) {
                node.data = data.map(<[u8]>::to_vec);
                node.stat.version = version;
                node.stat.mzxid = head.zxid;
                node.stat.mtime = head.time_ms;
            }
        },
        Opcode::SetAcl => {
            let path: &str = words.read()?;
            let list: Vec<Acl<'_>> = words.read()?;
            let version = words.read()?;
            if let Some(node) = raw.at(path) {
                node.acl = list.iter().map(entry).collect();
                node.stat.aversion = version;
            }
        },
        Opcode::Multi => multi(head, words, raw)?,
        Opcode::Check => {},
        other => {
            return Err(Malformed::Unknown {
                what: "transaction",
                value: other.to_wire(),
            });
        },
    }
    Ok(())
}

fn create(
    head: Head,
    opcode: Opcode,
    words: &mut Reader<'_>,
    raw: &mut Raw,
) -> Result<(), Malformed> {
    let path: &str = words.read()?;
    let data: Option<&[u8]> = words.read()?;
    let list: Vec<Acl<'_>> = words.read()?;
    let (owner, creates) = if opcode == Opcode::CreateContainer {
        (CONTAINER_OWNER, words.read()?)
    } else if opcode == Opcode::CreateTtl {
        let creates = words.read()?;
        let ms = words.read()?;
        (Owner::Ttl { ms }.to_wire(), creates)
    } else {
        let is_ephemeral: bool = words.read()?;
        let owner = if is_ephemeral { head.session } else { 0 };
        (owner, words.read()?)
    };
    let stat = Stat {
        czxid: head.zxid,
        mzxid: head.zxid,
        ctime: head.time_ms,
        mtime: head.time_ms,
        ephemeral_owner: owner,
        pzxid: head.zxid,
        ..Stat::default()
    };
    let node = RawNode {
        data: data.map(<[u8]>::to_vec),
        acl: list.iter().map(entry).collect(),
        stat,
    };
    raw.create(path, node, creates);
    Ok(())
}

/// All or none: of a multi that failed each part is an error.
fn multi(head: Head, words: &mut Reader<'_>, raw: &mut Raw) -> Result<(), Malformed> {
    let count: i32 = words.read()?;
    let mut parts = Vec::new();
    for _ in 0..count {
        let kind: i32 = words.read()?;
        parts.push((kind, words.read::<&[u8]>()?));
    }
    if parts.iter().any(|(kind, _)| *kind == ERROR) {
        return Ok(());
    }
    for (kind, record) in parts {
        one(Head { kind, ..head }, &mut Reader::new(record), raw)?;
    }
    Ok(())
}

impl Raw {
    fn at(&mut self, path: &str) -> Option<&mut RawNode> {
        self.nodes.get_mut(if path == "/" { "" } else { path })
    }

    /// What is there already stays: it was written into the snapshot after this transaction.
    fn create(&mut self, path: &str, node: RawNode, creates: i32) {
        let zxid = node.stat.czxid;
        if let Some(parent) = path
            .rsplit_once('/')
            .and_then(|(above, _)| self.nodes.get_mut(above))
        {
            // Counts creations, and is told by the transaction so that it can be replayed.
            let creates = if creates == -1 {
                parent.stat.cversion.wrapping_add(1)
            } else {
                creates
            };
            if creates > parent.stat.cversion {
                parent.stat.cversion = creates;
                parent.stat.pzxid = zxid;
            }
        }
        self.nodes.entry(path.to_owned()).or_insert(node);
    }

    fn delete(&mut self, path: &str, zxid: i64) {
        if self.nodes.remove(path).is_none() {
            return;
        }
        if let Some(parent) = path
            .rsplit_once('/')
            .and_then(|(above, _)| self.nodes.get_mut(above))
        {
            parent.stat.pzxid = parent.stat.pzxid.max(zxid);
        }
    }

    fn end_session(&mut self, head: Head) {
        self.sessions.remove(&head.session);
        let gone: Vec<String> = self
            .nodes
            .iter()
            .filter(|(_, node)| {
                Owner::from_wire(node.stat.ephemeral_owner) == Owner::Session(head.session)
            })
            .map(|(path, _)| path.clone())
            .collect();
        for path in gone {
            self.delete(&path, head.zxid);
        }
    }
}
