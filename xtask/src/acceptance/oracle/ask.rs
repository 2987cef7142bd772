//! One request of a story, as both servers get it.
//!
//! A chapter of a story plays below a node of its own, so that it can be played again on the same
//! servers: a path that begins with `!` is meant as it stands, every other one lies below it.

use mainstay_zk_proto::acl::{Acl, Id};
use mainstay_zk_proto::header::{RequestHeader, XID_AUTH, XID_PING};
use mainstay_zk_proto::jute::Jute as _;
use mainstay_zk_proto::multi::Operations;
use mainstay_zk_proto::request::{
    AddWatch, Auth, Check, Create, CreateTtl, Delete, OfPath, Read, Reconfig, SetAcl, SetData,
    Watches,
};
use mainstay_zk_proto::watch::SetWatches2;
use mainstay_zk_proto::{Opcode, Request, frame};

/// What begins a path that is meant as it stands.
pub(super) const AS_IT_STANDS: char = '!';

/// An entry of an access list: permissions, scheme, who.
pub(super) type Entry = (i32, &'static str, &'static str);

/// One request. What an operation has no use for is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) opcode: Opcode,
    pub(super) path: String,
    pub(super) data: Option<Vec<u8>>,
    pub(super) acl: Vec<Entry>,
    /// A version, flags, a kind of watch, or whether to watch.
    pub(super) number: i32,
    /// The time to live, in milliseconds.
    pub(super) ttl_ms: i64,
    /// What a multi consists of.
    pub(super) parts: Vec<Self>,
}

impl Ask {
    pub(super) fn new(opcode: Opcode, path: impl Into<String>, number: i32) -> Self {
        Self {
            opcode,
            path: path.into(),
            data: None,
            acl: Vec::new(),
            number,
            ttl_ms: 0,
            parts: Vec::new(),
        }
    }

    /// The number that its answer has.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all others have the number that the client gives"
    )]
    pub(super) const fn xid(&self, number: i32) -> i32 {
        match self.opcode {
            Opcode::Auth => XID_AUTH,
            Opcode::Ping => XID_PING,
            _ => number,
        }
    }

    /// Appends the request as a frame.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only these two consist of others"
    )]
    pub(super) fn write(&self, root: &str, number: i32, out: &mut Vec<u8>) {
        frame::append(out, |out| {
            let (xid, opcode) = (self.xid(number), self.opcode.to_wire());
            RequestHeader { xid, opcode }.write(out);
            let path = absolute(root, &self.path);
            let parts = self.parts.iter().map(|part| absolute(root, &part.path));
            let parts: Vec<String> = parts.collect();
            let parts = self.parts.iter().zip(&parts);
            let parts = parts.map(|(part, path)| part.simple(path));
            match self.opcode {
                Opcode::Multi => Request::Multi(Operations(parts.collect())).write(out),
                Opcode::MultiRead => Request::MultiRead(Operations(parts.collect())).write(out),
                _ => self.simple(&path).write(out),
            }
        });
    }

    /// The request, unless it is made of others.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what has a body of its own is written elsewhere"
    )]
    fn simple<'a>(&'a self, path: &'a str) -> Request<'a> {
        let (version, flags, kind, mode) = (self.number, self.number, self.number, self.number);
        let data = self.data.as_deref();
        let read = Read {
            path,
            watch: self.number != 0,
        };
        let of = OfPath { path };
        match self.opcode {
            Opcode::Create => Request::Create(self.create(path)),
            Opcode::Create2 => Request::Create2(self.create(path)),
            Opcode::CreateContainer => Request::CreateContainer(self.create(path)),
            Opcode::CreateTtl => Request::CreateTtl(CreateTtl {
                path,
                data,
                acl: self.acl(),
                flags,
                ttl_ms: self.ttl_ms,
            }),
            Opcode::Delete => Request::Delete(Delete { path, version }),
            Opcode::Exists => Request::Exists(read),
            Opcode::GetData => Request::GetData(read),
            Opcode::SetData => Request::SetData(SetData {
                path,
                data,
                version,
            }),
            Opcode::GetAcl => Request::GetAcl(of),
            Opcode::SetAcl => Request::SetAcl(SetAcl {
                path,
                acl: self.acl(),
                version,
            }),
            Opcode::GetChildren => Request::GetChildren(read),
            Opcode::GetChildren2 => Request::GetChildren2(read),
            Opcode::Sync => Request::Sync(of),
            Opcode::Check => Request::Check(Check { path, version }),
            Opcode::CheckWatches => Request::CheckWatches(Watches { path, kind }),
            Opcode::RemoveWatches => Request::RemoveWatches(Watches { path, kind }),
            Opcode::AddWatch => Request::AddWatch(AddWatch { path, mode }),
            Opcode::GetEphemerals => Request::GetEphemerals(of),
            Opcode::GetAllChildrenNumber => Request::GetAllChildrenNumber(of),
            Opcode::WhoAmI => Request::WhoAmI,
            Opcode::CloseSession => Request::CloseSession,
            Opcode::Auth => Request::Auth(Auth {
                kind: 0,
                scheme: &self.path,
                proof: data.unwrap_or_default(),
            }),
            Opcode::Reconfig => Request::Reconfig(Reconfig {
                joining: Some(&self.path),
                leaving: None,
                members: None,
                version: self.number.into(),
            }),
            // What has a body of its own is written elsewhere.
            _ => Request::Ping,
        }
    }

    fn create<'a>(&'a self, path: &'a str) -> Create<'a> {
        Create {
            path,
            data: self.data.as_deref(),
            acl: self.acl(),
            flags: self.number,
        }
    }

    fn acl(&self) -> Vec<Acl<'_>> {
        let entries = self.acl.iter();
        entries
            .map(|&(perms, scheme, id)| Acl {
                perms,
                id: Id { scheme, id },
            })
            .collect()
    }
}

/// What a client watched before it lost its connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) data: Vec<String>,
    pub(super) exist: Vec<String>,
    pub(super) children: Vec<String>,
    pub(super) persistent: Vec<String>,
    pub(super) recursive: Vec<String>,
}

/// The number of the answer to [`Watched`], which every client gives it.
pub(super) const XID_SET_WATCHES: i32 = -8;

impl Watched {
    /// Appends the request that sets the watches again.
    pub(super) fn write(&self, root: &str, relative_zxid: i64, out: &mut Vec<u8>) {
        let all = |paths: &[String]| -> Vec<String> {
            paths.iter().map(|path| absolute(root, path)).collect()
        };
        let lists = [
            all(&self.data),
            all(&self.exist),
            all(&self.children),
            all(&self.persistent),
            all(&self.recursive),
        ];
        let [data, exist, children, persistent, persistent_recursive] = lists
            .each_ref()
            .map(|list| list.iter().map(String::as_str).collect());
        frame::append(out, |out| {
            let (xid, opcode) = (XID_SET_WATCHES, Opcode::SetWatches2.to_wire());
            RequestHeader { xid, opcode }.write(out);
            Request::SetWatches2(SetWatches2 {
                relative_zxid,
                data,
                exist,
                children,
                persistent,
                persistent_recursive,
            })
            .write(out);
        });
    }
}

/// The path on the servers.
pub(super) fn absolute(root: &str, path: &str) -> String {
    match path.strip_prefix(AS_IT_STANDS) {
        Some(path) => path.to_owned(),
        None if path == "/" => root.to_owned(),
        None => format!("{root}{path}"),
    }
}

/// The path in the story.
pub(super) fn relative(root: &str, path: &str) -> String {
    match path.strip_prefix(root) {
        Some("") => "/".to_owned(),
        Some(rest) if rest.starts_with('/') => rest.to_owned(),
        Some(_) | None => format!("{AS_IT_STANDS}{path}"),
    }
}
