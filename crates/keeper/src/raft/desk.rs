//! Where the requests of other members are answered.
//!
//! Prevents half a snapshot from being installed: its blocks come in order from one member at a
//! time, and it is taken when all of it is on the disk.

use std::fmt::Display;
use std::sync::Arc;

use mainstay_zk_proto::jute::Malformed;
use openraft::Raft;
use openraft::alias::SnapshotOf;
use openraft::raft::{AppendEntriesRequest, SnapshotResponse, TransferLeaderRequest, VoteRequest};
use tokio::sync::Mutex;

use super::barrier::read_index;
use super::codec::{SnapshotOffer, decode, encode};
use super::comparison::Comparison;
use super::engine::{self, Engine};
use super::frame::Kind;
use super::holding::Holding;
use super::machine::{Finished, Machine};
use super::pulse::Pulse;
use super::roster::{Refused, Roster};
use super::scribe::Scribe;
use super::serve::Answers;
use super::store::Store;
use super::survey::account;
use crate::disk::SharedDisk;
use crate::ensemble::Change;
use crate::process::blocking;
use crate::snapshot::Writer;
use crate::touch;

/// Answers other members.
pub(super) struct Desk<D: SharedDisk> {
    raft: Raft<Engine, Machine<D>>,
    scribe: Arc<Scribe>,
    roster: Arc<Roster<D>>,
    disk: D,
    pulse: Arc<Pulse<D>>,
    comparison: Arc<Comparison<D>>,
    holding: Arc<Holding<D>>,
    store: Store,
    receiving: Mutex<Option<Receiving<D>>>,
}

/// A snapshot on its way here.
struct Receiving<D: SharedDisk> {
    from: u64,
    offer: SnapshotOffer,
    writer: Writer<D::File>,
}

fn words(error: impl Display) -> String {
    error.to_string()
}

impl<D: SharedDisk> Desk<D> {
    pub(super) fn new(
        raft: Raft<Engine, Machine<D>>,
        scribe: Arc<Scribe>,
        (roster, disk, store): (Arc<Roster<D>>, D, Store),
        (pulse, comparison): (Arc<Pulse<D>>, Arc<Comparison<D>>),
        holding: Arc<Holding<D>>,
    ) -> Self {
        Self {
            raft,
            scribe,
            roster,
            disk,
            pulse,
            comparison,
            holding,
            store,
            receiving: Mutex::default(),
        }
    }

    async fn begin(&self, from: u64, body: &[u8]) -> Result<Vec<u8>, String> {
        let offer: SnapshotOffer = decode(body).map_err(words)?;
        let mut receiving = self.receiving.lock().await;
        let writer = Writer::receive(&self.disk, &offer.meta).map_err(words)?;
        *receiving = Some(Receiving {
            from,
            offer,
            writer,
        });
        Ok(Vec::new())
    }

    async fn block(&self, from: u64, body: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut place = self.receiving.lock().await;
        let receiving = place.take_if(|receiving| receiving.from == from);
        let mut receiving = receiving.ok_or("no snapshot of this member began")?;
        // It syncs now and then, and others want to be answered meanwhile.
        let written = blocking(move || {
            let written = receiving.writer.block(body);
            (receiving, written)
        });
        let (receiving, written) = written.await.map_err(words)?;
        match written {
            Ok(()) => *place = Some(receiving),
            Err(error) => {
                // The leader will try again; a disk that is full needs the room until then.
                receiving.writer.abandon(&self.disk);
                return Err(words(error));
            },
        }
        Ok(Vec::new())
    }

    async fn end(&self, from: u64, body: &[u8]) -> Result<Vec<u8>, String> {
        let offer: SnapshotOffer = decode(body).map_err(words)?;
        let receiving = self.receiving.lock().await.take();
        let receiving =
            receiving.filter(|receiving| receiving.from == from && receiving.offer == offer);
        let Receiving { writer, .. } = receiving.ok_or("no such snapshot began")?;
        let meta = offer.meta.clone();
        let disk = self.disk.clone();
        let name = blocking(move || writer.finish(&disk, &meta)).await;
        let name = name.map_err(words)?.map_err(words)?;
        let snapshot = SnapshotOf::<Engine, Finished<D>> {
            meta: engine::to_meta(&offer.meta).map_err(words)?,
            snapshot: Finished {
                disk: self.disk.clone(),
                name,
            },
        };
        let installed = self.raft.install_full_snapshot(offer.vote, snapshot).await;
        let response: SnapshotResponse<Engine> = installed.map_err(words)?;
        Ok(encode(&response))
    }
}

impl<D: SharedDisk> Answers for Desk<D> {
    async fn greeted(&self, from: u64) {
        if let Some(peer) = self.roster.links.to(from) {
            peer.control.try_again();
            peer.bulk.try_again();
        }
        // When the engine has stopped, there is nothing to hasten.
        drop(self.raft.trigger().reset_backoff([from]).await);
    }

    fn hear(&self, body: &[u8]) -> Result<(), Malformed> {
        self.holding.hear(body)
    }

    async fn answer(
        self: Arc<Self>,
        from: u64,
        kind: Kind,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        match kind {
            Kind::Append | Kind::Progress => {
                let request: AppendEntriesRequest<Engine> = decode(&body).map_err(words)?;
                self.pulse.heard.now();
                let response = self.raft.append_entries(request).await.map_err(words)?;
                Ok(encode(&response))
            },
            Kind::Vote => {
                let request: VoteRequest<Engine> = decode(&body).map_err(words)?;
                let response = self.raft.vote(request).await.map_err(words)?;
                Ok(encode(&response))
            },
            Kind::PreVote => {
                let request: VoteRequest<Engine> = decode(&body).map_err(words)?;
                let response = self.raft.pre_vote(request).await.map_err(words)?;
                Ok(encode(&response))
            },
            Kind::TransferLeader => {
                let request: TransferLeaderRequest<Engine> = decode(&body).map_err(words)?;
                let response = self.raft.handle_transfer_leader(request).await;
                Ok(encode(&response.map_err(words)?))
            },
            Kind::SnapshotBegin => self.begin(from, &body).await,
            Kind::SnapshotBlock => self.block(from, body).await,
            Kind::SnapshotEnd => self.end(from, &body).await,
            Kind::Forward => {
                let written = self.scribe.submit(body.into()).await;
                let index = written.ok().flatten().ok_or("this member does not lead")?;
                Ok(index.to_le_bytes().to_vec())
            },
            Kind::ReadIndex => {
                let read = read_index(&self.raft, &self.store).await;
                Ok(read.ok_or("this member does not lead")?.to_bytes().to_vec())
            },
            Kind::Touch => {
                let sessions = touch::read(&body).map_err(words)?;
                self.pulse.take(sessions).map_err(words)?;
                Ok(Vec::new())
            },
            Kind::Compare => self.comparison.answer(&body).await,
            Kind::Change => {
                let change: Change = decode(&body).map_err(words)?;
                match self.roster.change(&change).await {
                    Ok(index) => Ok(encode(&Ok(index))),
                    Err(Refused::Code(code)) => Ok(encode(&Err(code))),
                    Err(Refused::NotLeader) => Err("this member does not lead".to_owned()),
                }
            },
            Kind::Survey => Ok(encode(&account(&self.raft, &self.roster.links))),
            Kind::Holds | Kind::Answer | Kind::Refusal | Kind::Alive => {
                Err("that is no request".to_owned())
            },
        }
    }
}
