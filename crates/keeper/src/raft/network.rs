//! What openraft says to other members, on our links.
//!
//! Prevents a leader that waits for each answer before it sends more: several appends are under
//! way to a follower, which answers them in order.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _};
use openraft::OptionalSend;
use openraft::RaftNetworkFactory;
use openraft::RaftNetworkV2;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::base::BoxFuture;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::codec::{SnapshotOffer, Word, decode, encode};
use super::engine::{self, Engine, Member};
use super::frame::Kind;
use super::link::{Link, LinkError};
use super::links::{Links, Peer};
use super::machine::Finished;
use crate::disk::SharedDisk;
use crate::planted::{self, Bug};
use crate::snapshot::Reader;

/// Appends under way to one follower.
const APPENDS_MAX: usize = 16;

/// How long a follower may take to make entries durable; its disk may stall, and that is not the
/// link's failure. A link that is dead is noticed by its silence.
const APPEND_DEADLINE: Duration = Duration::from_secs(10);

/// How long a member may take for one block of a snapshot.
const BLOCK_DEADLINE: Duration = Duration::from_secs(10);

/// Makes what openraft speaks through.
#[derive(Clone, Debug)]
pub(super) struct Wires<D> {
    links: Links,
    disk: PhantomData<fn() -> D>,
}

/// What is said to one member.
#[derive(Clone, Debug)]
pub(super) struct Wire<D> {
    /// `None` for this member itself.
    peer: Option<Peer>,
    /// Where appends go.
    appends: Option<Link>,
    links: Links,
    disk: PhantomData<fn() -> D>,
}

impl<D> Wires<D> {
    pub(super) fn new(links: Links) -> Self {
        Self {
            links,
            disk: PhantomData,
        }
    }

    fn wire(&self, member: u64, node: &Member, appends: impl FnOnce(&Peer) -> &Link) -> Wire<D> {
        let peer = self.links.ensure(member, Some(&node.address));
        Wire {
            appends: peer.as_ref().map(|peer| appends(peer).clone()),
            peer,
            links: self.links.clone(),
            disk: PhantomData,
        }
    }
}

impl<D: SharedDisk> RaftNetworkFactory<Engine> for Wires<D> {
    type Network = Wire<D>;

    async fn new_client(&mut self, target: u64, node: &Member) -> Wire<D> {
        self.wire(target, node, |peer| &peer.bulk)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Member) -> Wire<D> {
        self.wire(target, node, |peer| &peer.control)
    }
}

fn failed(error: &LinkError) -> RPCError<Engine> {
    match error {
        LinkError::Unreachable | LinkError::Full => RPCError::Unreachable(Unreachable::new(error)),
        LinkError::Lost | LinkError::Late | LinkError::Refused(_) => {
            RPCError::Network(NetworkError::new(error))
        },
    }
}

impl<D: SharedDisk> Wire<D> {
    fn peer(&self) -> Result<&Peer, LinkError> {
        self.peer.as_ref().ok_or(LinkError::Unreachable)
    }

    async fn ask<Q: Word, A: Word>(
        link: &Link,
        kind: Kind,
        question: &Q,
        deadline: Duration,
    ) -> Result<A, LinkError> {
        let answer = link.call(kind, encode(question), deadline).await?;
        decode(&answer).map_err(|malformed| LinkError::Refused(malformed.to_string()))
    }

    async fn control<Q: Word, A: Word>(
        &self,
        kind: Kind,
        question: &Q,
        option: &RPCOption,
    ) -> Result<A, RPCError<Engine>> {
        let ask = async {
            let link = &self.peer()?.control;
            Self::ask(link, kind, question, option.hard_ttl()).await
        };
        ask.await.map_err(|error| failed(&error))
    }

    async fn send_snapshot(
        &self,
        vote: VoteOf<Engine>,
        snapshot: SnapshotOf<Engine, Finished<D>>,
        deadline: Duration,
    ) -> Result<SnapshotResponse<Engine>, LinkError> {
        let link = &self.peer()?.bulk;
        let refused = |error: &dyn ToString| LinkError::Refused(error.to_string());
        let Finished { disk, name } = snapshot.snapshot;
        let _sending = self.links.sending();
        let mut reader = Reader::open(&disk, &name).map_err(|error| refused(&error))?;
        let offer = SnapshotOffer {
            vote,
            meta: engine::meta_of(&snapshot.meta),
        };
        link.call(Kind::SnapshotBegin, encode(&offer), BLOCK_DEADLINE)
            .await?;
        loop {
            let block = reader.block().map_err(|error| refused(&error))?;
            if block.is_empty() {
                break;
            }
            link.call(Kind::SnapshotBlock, block, BLOCK_DEADLINE)
                .await?;
        }
        Self::ask(link, Kind::SnapshotEnd, &offer, deadline).await
    }
}

impl<D: SharedDisk> RaftNetworkV2<Engine> for Wire<D> {
    type SnapshotData = Finished<D>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Engine>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Engine>, RPCError<Engine>> {
        self.control(Kind::Append, &request, &option).await
    }

    fn stream_append<S>(
        &mut self,
        input: S,
        _: RPCOption,
    ) -> BoxFuture<
        '_,
        Result<
            BoxStream<'_, Result<StreamAppendResult<Engine>, RPCError<Engine>>>,
            RPCError<Engine>,
        >,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Engine>> + OptionalSend + Unpin + 'static,
    {
        let line = self.appends.clone().zip(self.peer.clone());
        let line = line.ok_or(LinkError::Unreachable);
        let answers = input
            .map(move |request| append(line.as_ref(), &request))
            .buffered(APPENDS_MAX);
        // What was sent behind one that failed has failed as well.
        let answers = stream::unfold(Some(Box::pin(answers)), async |answers| {
            let mut answers = answers?;
            let answer = answers.next().await?;
            let goes_on = matches!(answer, Ok(Ok(_)));
            Some((answer, goes_on.then_some(answers)))
        });
        Box::pin(async move { Ok(answers.boxed()) })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Engine>,
        option: RPCOption,
    ) -> Result<VoteResponse<Engine>, RPCError<Engine>> {
        self.control(Kind::Vote, &request, &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Engine>,
        option: RPCOption,
    ) -> Result<VoteResponse<Engine>, RPCError<Engine>> {
        self.control(Kind::PreVote, &request, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Engine>,
        snapshot: SnapshotOf<Engine, Finished<D>>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Engine>, StreamingError<Engine>> {
        let sends = pin!(self.send_snapshot(vote, snapshot, option.hard_ttl()));
        match select(sends, pin!(cancel)).await {
            Either::Left((sent, _)) => sent.map_err(|error| match error {
                LinkError::Unreachable | LinkError::Full => {
                    StreamingError::Unreachable(Unreachable::new(&error))
                },
                LinkError::Lost | LinkError::Late | LinkError::Refused(_) => {
                    StreamingError::Network(NetworkError::new(&error))
                },
            }),
            Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Engine>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Engine>, RPCError<Engine>> {
        self.control(Kind::TransferLeader, &request, &option).await
    }
}

/// Sends entries now; the future is the answer.
fn append(
    line: Result<&(Link, Peer), &LinkError>,
    request: &AppendEntriesRequest<Engine>,
) -> impl Future<Output = Result<StreamAppendResult<Engine>, RPCError<Engine>>> + Send + use<> {
    let previous = request.prev_log_id;
    let last = request.entries.last().map(|entry| entry.log_id);
    let last = last.or(previous);
    let begin = |(link, peer): &(Link, Peer)| {
        let body = encode(request);
        if !request.entries.is_empty() {
            return link.begin(Kind::Append, body);
        }
        // Who was told what the leader holds learns it by itself.
        let told = peer.told.load(Ordering::Relaxed);
        match request.leader_commit {
            Some(committed) if committed.index() <= told => link.begin_late(Kind::Progress, body),
            _ => link.begin(Kind::Progress, body),
        }
    };
    let begun = line.map_err(Clone::clone).and_then(begin);
    async move {
        let answer = match begun {
            Ok(_) if planted::is(Bug::SubQuorumCommit) => {
                Ok(encode(&AppendEntriesResponse::<Engine>::Success))
            },
            Ok(pending) => pending.answer(APPEND_DEADLINE).await,
            Err(error) => Err(error),
        };
        let answer = answer.map_err(|error| failed(&error))?;
        let response: AppendEntriesResponse<Engine> = decode(&answer)
            .map_err(|malformed| RPCError::Network(NetworkError::new(&malformed)))?;
        Ok(response.into_stream_result(previous, last))
    }
}
