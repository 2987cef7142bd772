//! What a client sees, in words that are the same for two servers that do the same.
//!
//! Prevents a comparison that overlooks what it cannot compare: times are left out, but a zxid
//! becomes the number of the request that it belongs to, and a session the number of its
//! beginning. A server that keeps the right data with the wrong history is found too.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mainstay_zk_proto::header::{ReplyHeader, XID_WATCH};
use mainstay_zk_proto::jute::{Malformed, Reader};
use mainstay_zk_proto::mode::CONTAINER_OWNER;
use mainstay_zk_proto::multi::Part;
use mainstay_zk_proto::stat::Stat;
use mainstay_zk_proto::watch::Event;
use mainstay_zk_proto::{Code, Opcode, Reply};

use super::ask::relative;

/// Owners above this are times to live.
const TTL_MARK: u64 = 0xff << 56;

/// What was seen of one server so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    /// The node that all paths lie below.
    pub(super) root: String,
    /// The request that each zxid belongs to.
    zxids: BTreeMap<i64, usize>,
    /// Sessions by the order in which they began.
    sessions: Vec<i64>,
}

/// One message in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The request that it answers; `None` for an event.
    pub(super) request: Option<usize>,
    pub(super) text: String,
    /// The node that was made.
    pub(super) made: Option<String>,
    /// Names of children.
    pub(super) children: Vec<String>,
    /// Whether nothing more may come.
    pub(super) is_end: bool,
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Its number in the chapter.
    pub(super) request: usize,
    pub(super) opcode: Opcode,
    pub(super) xid: i32,
}

impl Sight {
    pub(super) fn new(root: String) -> Self {
        Self {
            root,
            ..Self::default()
        }
    }

    /// A session began or went on; its number from now on.
    pub(super) fn session(&mut self, id: i64) -> usize {
        let known = self.sessions.iter().position(|known| *known == id);
        known.unwrap_or_else(|| {
            self.sessions.push(id);
            self.sessions.len() - 1
        })
    }

    /// Whether a message is an event.
    pub(super) fn is_event(message: &[u8]) -> bool {
        message.get(..4) == Some(&XID_WATCH.to_be_bytes()[..])
    }

    /// An event in words.
    pub(super) fn event(&self, message: &[u8]) -> Result<Seen, Malformed> {
        let mut reader = Reader::new(message);
        let header: ReplyHeader = reader.read()?;
        let event: Event<'_> = reader.read()?;
        let text = format!(
            "event {:?} {:?} state {} zxid {} error {}",
            event.kind,
            relative(&self.root, event.path),
            event.state,
            header.zxid,
            header.error
        );
        Ok(Seen {
            request: None,
            text,
            made: None,
            children: Vec::new(),
            is_end: false,
        })
    }

    /// An answer in words.
    pub(super) fn answer(&mut self, message: &[u8], to: Waiting) -> Result<Seen, Malformed> {
        let mut reader = Reader::new(message);
        let header: ReplyHeader = reader.read()?;
        let mut seen = Seen {
            request: Some(to.request),
            text: String::new(),
            made: None,
            children: Vec::new(),
            is_end: to.opcode == Opcode::CloseSession || header.error == Code::AuthFailed.to_wire(),
        };
        if header.xid != to.xid {
            write_to(&mut seen.text, format_args!("xid {} ", header.xid));
        }
        if header.error != 0 {
            let code = Code::from_wire(header.error);
            let code = code.map_or_else(|_| header.error.to_string(), |code| format!("{code:?}"));
            write_to(
                &mut seen.text,
                format_args!("{code} {:02x?}", reader.rest()),
            );
            return Ok(seen);
        }
        if to.opcode.is_write()
            && self
                .zxids
                .last_key_value()
                .is_none_or(|(last, _)| *last < header.zxid)
        {
            self.zxids.insert(header.zxid, to.request);
        }
        let after = self.zxids.range(..=header.zxid).next_back();
        write_to(
            &mut seen.text,
            format_args!("ok after {:?}: ", after.map(|(_, request)| request)),
        );
        if to.opcode == Opcode::AddWatch {
            // An error code that is always zero.
            write_to(&mut seen.text, format_args!("{:02x?}", reader.rest()));
            return Ok(seen);
        }
        let reply = Reply::read(to.opcode, reader.rest())?;
        if let Reply::Path(path) | Reply::Created { path, .. } = &reply {
            seen.made = Some(relative(&self.root, path));
        }
        if let Reply::Children { names, .. } = &reply {
            seen.children = names.iter().map(|name| (*name).to_owned()).collect();
            // As a set.
            seen.children.sort_unstable();
        }
        self.reply(&reply, &mut seen.text);
        Ok(seen)
    }

    fn reply(&self, reply: &Reply<'_>, out: &mut String) {
        match reply {
            Reply::Done => write_to(out, format_args!("done")),
            Reply::Path(path) => write_to(out, format_args!("{:?}", relative(&self.root, path))),
            Reply::Created { path, stat } => {
                write_to(out, format_args!("{:?} ", relative(&self.root, path)));
                self.stat(stat, out);
            },
            Reply::Stat(stat) => self.stat(stat, out),
            Reply::Data { data, stat } => {
                write_to(out, format_args!("{data:02x?} "));
                self.stat(stat, out);
            },
            Reply::Acl { acl, stat } => {
                // What `auth` stood for is a set.
                let mut acl = acl.clone();
                acl.sort_unstable();
                write_to(out, format_args!("{acl:?} "));
                self.stat(stat, out);
            },
            Reply::Names(names) => self.names(names, out),
            Reply::Children { names, stat } => {
                self.names(names, out);
                self.stat(stat, out);
            },
            Reply::Number(number) => write_to(out, format_args!("{number}")),
            Reply::Results(results) => results.0.iter().for_each(|part| self.part(part, out)),
            Reply::Token(token) => write_to(out, format_args!("{token:?}")),
            Reply::Identities(identities) => {
                // A set, too.
                let mut identities = identities.clone();
                identities.sort_unstable();
                write_to(out, format_args!("{identities:?}"));
            },
        }
    }

    /// The result of one operation of a multi.
    fn part(&self, part: &Part<'_>, out: &mut String) {
        match part {
            Part::Done { opcode, reply } => {
                write_to(out, format_args!("[{opcode:?} "));
                self.reply(reply, out);
                write_to(out, format_args!("]"));
            },
            Part::Failed(code) => write_to(out, format_args!("[{code:?}]")),
            Part::RolledBack => write_to(out, format_args!("[rolled back]")),
        }
    }

    /// Names of children are a set; servers give them in any order.
    fn names(&self, names: &[&str], out: &mut String) {
        let names = names.iter().map(|name| {
            if name.starts_with('/') {
                relative(&self.root, name)
            } else {
                (*name).to_owned()
            }
        });
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        write_to(out, format_args!("{names:?} "));
    }

    fn stat(&self, stat: &Stat, out: &mut String) {
        let zxid = |zxid: i64| match (zxid, self.zxids.get(&zxid)) {
            (0, _) => "0".to_owned(),
            (_, Some(request)) => format!("#{request}"),
            // Of another chapter, or of the end of a session that nobody asked for.
            (_, None) => "?".to_owned(),
        };
        let owner = match stat.ephemeral_owner {
            0 => "nobody".to_owned(),
            CONTAINER_OWNER => "container".to_owned(),
            owner => match self.sessions.iter().position(|session| *session == owner) {
                Some(session) => format!("session {session}"),
                None if owner.cast_unsigned() >= TTL_MARK => format!("{owner:x}"),
                None => "a stranger".to_owned(),
            },
        };
        write_to(
            out,
            format_args!(
                "made {} set {} children {} version {} {} {} owner {owner} bytes {} has {}",
                zxid(stat.czxid),
                zxid(stat.mzxid),
                zxid(stat.pzxid),
                stat.version,
                stat.cversion,
                stat.aversion,
                stat.data_length,
                stat.num_children
            ),
        );
        let is_order = stat.ctime <= stat.mtime;
        if !is_order {
            write_to(out, format_args!(" changed before it was made"));
        }
    }
}

/// Writing to a string does not fail.
fn write_to(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).unwrap_or_default();
}
