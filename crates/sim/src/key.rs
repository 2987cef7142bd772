//! The nodes that clients of the simulation work with.
//!
//! Prevents a workload whose history cannot be judged: each node has one role, and every value is
//! written once.

use mainstay_keeper::proposal::Action;
use mainstay_keeper::state::State;
use mainstay_zk_proto::Request;

/// What a node holds: a number that nobody else writes.
pub type Value = u64;

/// Nodes that are always there.
const KEPT: u16 = 6;
/// Nodes that come and go.
const FLEETING: u16 = 4;
/// Nodes that come once, and are waited for. One that came and went while its watcher was away
/// would go unnoticed, here as in ZooKeeper.
const AWAITED: u16 = 30;

/// A node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Always there.
    Kept(u16),
    /// Comes and goes.
    Fleeting(u16),
    /// Comes once.
    Awaited(u16),
    /// Always there, and searched for a linearization.
    Sample,
}

impl Key {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let kept = (0..KEPT).map(Self::Kept);
        let fleeting = (0..FLEETING).map(Self::Fleeting);
        let awaited = (0..AWAITED).map(Self::Awaited);
        let all = kept.chain(fleeting).chain(awaited);
        all.chain([Self::Sample])
    }

    /// Those that are there from the beginning.
    pub fn initial() -> impl Iterator<Item = Self> {
        (0..KEPT).map(Self::Kept).chain([Self::Sample])
    }

    /// One of those that are always there.
    pub fn kept(dice: u64) -> Self {
        Self::Kept(pick(dice, KEPT))
    }

    /// One of those that come and go.
    pub fn fleeting(dice: u64) -> Self {
        Self::Fleeting(pick(dice, FLEETING))
    }

    /// One of those that come once.
    pub fn awaited(dice: u64) -> Self {
        Self::Awaited(pick(dice, AWAITED))
    }

    /// Its path.
    pub fn path(self) -> String {
        match self {
            Self::Kept(number) => format!("/kept-{number}"),
            Self::Fleeting(number) => format!("/fleeting-{number}"),
            Self::Awaited(number) => format!("/awaited-{number}"),
            Self::Sample => "/sample".to_owned(),
        }
    }

    /// The node at a path.
    pub fn at(path: &str) -> Option<Self> {
        if path == "/sample" {
            return Some(Self::Sample);
        }
        let (kind, number) = path.split_once('-')?;
        let number = number.parse().ok()?;
        match kind {
            "/kept" => Some(Self::Kept(number)),
            "/fleeting" => Some(Self::Fleeting(number)),
            "/awaited" => Some(Self::Awaited(number)),
            _ => None,
        }
    }
}

fn pick(dice: u64, count: u16) -> u16 {
    u16::try_from(dice % u64::from(count)).unwrap_or(0)
}

/// The bytes of a value.
pub fn bytes(value: Value) -> [u8; 8] {
    value.to_le_bytes()
}

/// The value of bytes; one that nobody wrote when they are no value.
pub fn value(bytes: Option<&[u8]>) -> Value {
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, Value::from_le_bytes)
}

/// What an operation that succeeded did to which node.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "clients of the simulation ask these only"
)]
pub fn change(action: &Action<'_>) -> Option<(Key, Option<Value>)> {
    let Action::Request { opcode, body } = action else {
        return None;
    };
    match Request::read(*opcode, body).ok()? {
        Request::Create(create) => Some((Key::at(create.path)?, Some(value(create.data)))),
        Request::SetData(set) => Some((Key::at(set.path)?, Some(value(set.data)))),
        Request::Delete(delete) => Some((Key::at(delete.path)?, None)),
        _ => None,
    }
}

/// What a node holds, and the transaction that put it there.
pub fn held(state: &State, key: Key) -> Option<(Value, u64)> {
    let found = state.tree().data(&key.path(), &[]).ok()?;
    Some((value(found.data), found.stat.mzxid.cast_unsigned()))
}
