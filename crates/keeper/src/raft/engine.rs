//! Which types openraft works with, and how they become ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use mainstay_zk_proto::jute::{Jute, Malformed, Reader, read_all};
use openraft::alias::{EntryOf, LogIdOf, SnapshotMetaOf, StoredMembershipOf, VoteOf};
use openraft::entry::RaftEntry as _;
use openraft::{EntryPayload, Membership};

use super::runtime::Runtime;
use crate::log::{EntryKind, LogId, StoredEntry, Vote};
use crate::snapshot::Meta;

openraft::declare_raft_types!(
    /// The types.
    pub(crate) Engine:
        D = Payload,
        R = (),
        NodeId = u64,
        Node = Member,
        AsyncRuntime = Runtime,
);

/// The members, as openraft has them.
pub(crate) type Members = Membership<u64, Member>;

/// The engine.
pub(crate) type Engaged<D> = openraft::Raft<Engine, super::machine::Machine<D>>;

/// What an entry holds: a [`proposal::Entry`](crate::proposal::Entry) in its encoding.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Payload(pub(crate) Arc<[u8]>);

/// A member, as the ensemble's configuration says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// Where it listens for other members.
    pub(crate) address: String,
    /// What ZooKeeper writes behind `server.N=`.
    pub(crate) line: String,
    /// Whether clients see it in the list: not one that has to catch up before it may vote, nor
    /// one that has left and shall hear so.
    pub(crate) is_listed: bool,
    /// The same with all who are listed, since the list has no other place for it.
    pub(crate) absent: Absent,
}

/// Who was taken out because it came back with another data folder, and is to be taken in again:
/// their numbers, and what ZooKeeper writes behind `server.N=`.
pub(crate) type Absent = BTreeMap<u64, String>;

/// Who is to be taken in again.
pub(crate) fn absent(members: &Members) -> Absent {
    let mut listed = members.nodes().filter(|(_, node)| node.is_listed);
    let first = listed.next();
    first
        .map(|(_, node)| node.absent.clone())
        .unwrap_or_default()
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

pub(crate) fn id_of(id: &LogIdOf<Engine>) -> LogId {
    let leader = id.committed_leader_id();
    LogId {
        term: leader.term,
        leader: leader.node_id,
        index: id.index(),
    }
}

pub(crate) fn to_id(id: LogId) -> LogIdOf<Engine> {
    let vote = VoteOf::<Engine>::new_committed(id.term, id.leader);
    LogIdOf::<Engine>::new(vote.leader_id().to_owned(), id.index)
}

pub(crate) fn vote_of(vote: &VoteOf<Engine>) -> Vote {
    let leader = vote.leader_id();
    Vote {
        term: leader.term,
        member: leader.node_id,
        committed: vote.is_committed(),
    }
}

pub(crate) fn to_vote(vote: Vote) -> VoteOf<Engine> {
    if vote.committed {
        VoteOf::<Engine>::new_committed(vote.term, vote.member)
    } else {
        VoteOf::<Engine>::new(vote.term, vote.member)
    }
}

/// The entry's kind and content.
pub(crate) fn content_of(entry: &EntryOf<Engine>) -> (EntryKind, Arc<[u8]>) {
    match &entry.payload {
        EntryPayload::Blank => (EntryKind::Blank, Arc::from([])),
        EntryPayload::Normal(payload) => (EntryKind::Normal, Arc::clone(&payload.0)),
        EntryPayload::Membership(members) => (EntryKind::Membership, members_of(members).into()),
    }
}

pub(crate) fn to_entry(
    id: LogId,
    kind: EntryKind,
    content: &[u8],
) -> Result<EntryOf<Engine>, Malformed> {
    let payload = match kind {
        EntryKind::Blank => EntryPayload::Blank,
        EntryKind::Normal => EntryPayload::Normal(Payload(content.into())),
        EntryKind::Membership => EntryPayload::Membership(to_members(content)?),
    };
    Ok(EntryOf::<Engine>::new(to_id(id), payload))
}

pub(crate) fn to_stored_entry(entry: &StoredEntry) -> Result<EntryOf<Engine>, Malformed> {
    to_entry(entry.id, entry.kind, &entry.payload)
}

/// The members in our encoding: the voters of one or two configurations, then who is who, then who is
/// absent, if anybody is.
pub(crate) fn members_of(members: &Members) -> Vec<u8> {
    let mut out = Vec::new();
    let configs = members.get_joint_config().iter();
    let voters = configs.map(|voters| voters.iter().map(|id| id.cast_signed()).collect());
    Vec::<Vec<i64>>::write(&voters.collect(), &mut out);
    let nodes: Vec<_> = members.nodes().collect();
    i32::try_from(nodes.len())
        .unwrap_or(i32::MAX)
        .write(&mut out);
    for (id, member) in nodes {
        id.cast_signed().write(&mut out);
        (&*member.address).write(&mut out);
        (&*member.line).write(&mut out);
        member.is_listed.write(&mut out);
    }
    for (id, line) in absent(members) {
        id.cast_signed().write(&mut out);
        (&*line).write(&mut out);
    }
    out
}

pub(crate) fn to_members(bytes: &[u8]) -> Result<Members, Malformed> {
    struct Raw(Vec<Vec<i64>>, BTreeMap<u64, Member>);

    impl<'a> Jute<'a> for Raw {
        const SIZE_MIN: usize = 8;

        fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
            let voters = reader.read()?;
            let count: i32 = reader.read()?;
            let mut nodes = BTreeMap::new();
            for _ in 0..count {
                let id: i64 = reader.read()?;
                let member = Member {
                    address: reader.read::<&str>()?.to_owned(),
                    line: reader.read::<&str>()?.to_owned(),
                    is_listed: reader.read()?,
                    absent: Absent::new(),
                };
                nodes.insert(id.cast_unsigned(), member);
            }
            let mut absent = Absent::new();
            while !reader.rest().is_empty() {
                let id: i64 = reader.read()?;
                absent.insert(id.cast_unsigned(), reader.read::<&str>()?.to_owned());
            }
            let listed = nodes.values_mut().filter(|node| node.is_listed);
            listed.for_each(|node| node.absent.clone_from(&absent));
            Ok(Self(voters, nodes))
        }

        fn write(&self, _: &mut Vec<u8>) {}
    }

    let Raw(voters, nodes) = read_all(bytes)?;
    let voters: Vec<BTreeSet<u64>> = voters
        .into_iter()
        .map(|voters| voters.into_iter().map(i64::cast_unsigned).collect())
        .collect();
    Membership::new(voters, nodes).map_err(|_| Malformed::Unknown {
        what: "configuration of members",
        value: 0,
    })
}

/// What a snapshot is of, in our words.
pub(crate) fn meta_of(meta: &SnapshotMetaOf<Engine>) -> Meta {
    let members = &meta.last_membership;
    Meta {
        last: meta.last_log_id.as_ref().map(id_of),
        members_at: members.log_id().as_ref().map(id_of),
        members: members_of(members.membership()),
    }
}

pub(crate) fn to_meta(meta: &Meta) -> Result<SnapshotMetaOf<Engine>, Malformed> {
    let at = meta.members_at.map(to_id);
    let members = to_members(&meta.members)?;
    Ok(SnapshotMetaOf::<Engine> {
        last_log_id: meta.last.map(to_id),
        last_membership: StoredMembershipOf::<Engine>::new(at, members),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_votes_and_members_survive_the_way_there_and_back() {
        let id = LogId {
            term: 3,
            leader: 2,
            index: 9,
        };
        assert_eq!(id_of(&to_id(id)), id);
        for committed in [false, true] {
            let vote = Vote {
                term: 3,
                member: 2,
                committed,
            };
            assert_eq!(vote_of(&to_vote(vote)), vote);
        }
        let absent = Absent::from([(5, "e:5:5:participant".to_owned())]);
        for absent in [Absent::new(), absent] {
            let member = |n: u64| Member {
                address: format!("127.0.0.1:{n}"),
                line: format!("localhost:{n}:{n}:participant"),
                is_listed: n != 4,
                absent: if n == 4 {
                    Absent::new()
                } else {
                    absent.clone()
                },
            };
            let nodes: BTreeMap<u64, Member> = (1..=4).map(|n| (n, member(n))).collect();
            let joint = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])];
            let members = Membership::new(joint, nodes).expect("valid");
            assert_eq!(to_members(&members_of(&members)), Ok(members));
        }
    }
}
