//! The client edge: serves clients of the ZooKeeper protocol over any [`Replica`].
//!
//! Prevents a server that must know how agreement is reached, and clients that must know that it
//! is not Apache ZooKeeper: answers, events, errors and texts are its own, and so is their order.
//!
//! | module | what |
//! |---|---|
//! | `connection` | one connection, from its first byte to its last |
//! | `frames` | what came, cut into messages |
//! | `handshake` | a session begins, or goes on |
//! | `line` | what waits to be answered, and what waits to be sent |
//! | `desk` | where what was applied meets who waits for it |
//! | `read`, `write` | the answers |
//! | `cut_off` | what is served where nobody leads |
//! | `reconfig` | changes of members, which the ensemble makes |
//! | `identity`, `sasl` | who asks |
//! | `expiry` | who was silent for too long |
//! | `pulse` | who was heard, told to the leader |
//! | `word`, `admin`, `tally` | what operators ask |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use mainstay_zk_proto::frame;
use mainstay_zk_proto::header::ReplyHeader;
use mainstay_zk_proto::jute::Jute as _;
use mainstay_zk_proto::watch::{Event, EventKind, state};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep, timeout};

mod admin;
mod connection;
mod cut_off;
mod desk;
mod expiry;
mod frames;
mod handshake;
mod identity;
mod line;
mod pulse;
mod read;
mod reconfig;
mod sasl;
mod settings;
mod tally;
mod word;
mod write;

pub use admin::METRICS;
pub use desk::{Desk, Teller};
pub use expiry::{Crowd, Expiry, Overdue, Turn};
pub use identity::digest;
pub use sasl::Users;
pub use settings::{Settings, WithoutQuorum};
pub use word::VERSION;

pub use crate::process::wall_ms;

use desk::{Waiter, read as look};

use crate::planted::{self, Bug};
use crate::proposal::Action;
use crate::replica::{Proposal, Replica};
use crate::tls::{self, Tls};

/// After a failed accept: file descriptors do not come back at once.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// How often sessions are looked at: a fourth of the tick, within these.
const STEP_MIN: Duration = Duration::from_millis(50);
const STEP_MAX: Duration = Duration::from_secs(1);
/// Most nodes that go at once because their time is up.
const REMOVED_MAX: usize = 1_000;

/// How long a client has for the handshake of TLS.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Where clients come to.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Where they talk plainly, and by TLS if that says so.
    pub plain: Option<TcpListener>,
    /// Where they come by TLS alone.
    pub secure: Option<TcpListener>,
    /// How they come by TLS.
    pub tls: Option<Arc<Tls>>,
    /// Where operators come to, by HTTP.
    pub admin: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(plain: TcpListener) -> Self {
        Self {
            plain: Some(plain),
            ..Self::default()
        }
    }
}

/// How clients of one listener begin.
#[derive(Clone, Debug)]
enum Door {
    Plain,
    Secure(Arc<Tls>),
    /// As they like: their first byte tells.
    Either(Arc<Tls>),
}

/// Serves clients who come to the listeners. Ends when it is dropped, and all connections with it.
///
/// The replica must tell what it applies to the [`Teller`] of `desk`. A connection that cannot be
/// accepted is tried again, so nothing ends this but its caller.
pub async fn serve<R: Replica>(
    desk: Arc<Desk>,
    replica: Arc<R>,
    listeners: impl Into<Listeners>,
) -> Infallible {
    let Listeners {
        plain,
        secure,
        tls,
        admin,
    } = listeners.into();
    let plain_door = match &tls {
        Some(tls) if tls.is_unified() => Door::Either(Arc::clone(tls)),
        Some(_) | None => Door::Plain,
    };
    let secure = secure.zip(tls.clone());
    let plain = plain.map(|listener| accept(&desk, &replica, listener, plain_door));
    let secure = secure.map(|(listener, tls)| accept(&desk, &replica, listener, Door::Secure(tls)));
    let admin = admin.map(|listener| admin::serve(&desk, &replica, listener));
    let fresh = tls
        .as_ref()
        .map(|tls| tls.keep_fresh(|wrong| desk.fault(&wrong)));
    // First the desk begins, then clients come.
    tokio::select! {
        biased;
        never = tend(&desk, &*replica) => never,
        never = forever(plain) => never,
        never = forever(secure) => never,
        never = forever(fresh) => never,
        never = forever(admin) => never,
    }
}

/// What has to be done while clients are served, wherever they come in: each of their connections
/// is [`attend`]ed to. Ends when it is dropped.
pub async fn tend<R: Replica>(desk: &Desk, replica: &R) -> Infallible {
    desk.begin(replica.origin(), wall_ms());
    tokio::select! {
        never = keep_time(desk, replica) => never,
        never = pulse::tell(desk, replica) => never,
        never = cut_off::watch(desk, replica) => never,
    }
}

/// Waits for what does not end, also if there is nothing to wait for.
async fn forever(task: Option<impl Future<Output = Infallible>>) -> Infallible {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

async fn accept<R: Replica>(
    desk: &Arc<Desk>,
    replica: &Arc<R>,
    listener: TcpListener,
    door: Door,
) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (desk, replica) = (Arc::clone(desk), Arc::clone(replica));
                    let door = door.clone();
                    connections.spawn(async move { greet(&desk, &replica, stream, &door).await });
                },
                Err(_) => sleep(ACCEPT_RETRY).await,
            },
            Some(_) = connections.join_next() => {},
        }
    }
}

async fn greet<R: Replica>(desk: &Arc<Desk>, replica: &Arc<R>, mut stream: TcpStream, door: &Door) {
    let Ok(peer) = stream.peer_addr() else { return };
    // Whoever comes by IPv4 to a socket for both is known by that address: access lists name it.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    // Answers are small, and gathered already.
    drop(stream.set_nodelay(true));
    let Some(place) = Place::take(desk, peer) else {
        return;
    };
    let tls = match door {
        Door::Plain => None,
        Door::Secure(tls) => Some(tls),
        Door::Either(tls) => {
            let spoken = timeout(HANDSHAKE_MAX, tls::is_spoken(&stream)).await;
            spoken.is_ok_and(|is_spoken| is_spoken).then_some(tls)
        },
    };
    match tls {
        None => place.serve(replica, stream.split()).await,
        Some(tls) => greet_secure(&place, replica, stream, tls).await,
    }
}

async fn greet_secure<R: Replica>(
    place: &Place<'_>,
    replica: &Arc<R>,
    stream: TcpStream,
    tls: &Tls,
) {
    let peer = place.line.peer;
    let stream = match timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return place.desk.fault(&format_args!("{peer}: no TLS: {error}"));
        },
        Err(_) => return place.desk.fault(&format_args!("{peer}: no TLS in time")),
    };
    place.line.secure();
    let mut identities = place.line.identities();
    for (scheme, id) in tls.identities(&stream) {
        if identities.add(scheme, &id).is_err() {
            // There is room for two: they are the first.
            return;
        }
    }
    place.line.identify(identities);
    place.serve(replica, tokio::io::split(stream)).await;
}

/// Serves one connection, whatever it is made of, until it ends.
pub async fn attend<R: Replica>(
    desk: &Arc<Desk>,
    replica: &Arc<R>,
    peer: SocketAddr,
    ends: (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
) {
    if let Some(place) = Place::take(desk, peer) {
        place.serve(replica, ends).await;
    }
}

/// A connection's place at the desk, which it leaves however it ends.
struct Place<'a> {
    desk: &'a Arc<Desk>,
    line: Arc<line::Line>,
}

impl<'a> Place<'a> {
    /// A place, if there is room for one more from this address.
    fn take(desk: &'a Arc<Desk>, peer: SocketAddr) -> Option<Self> {
        let line = desk.enter(peer, wall_ms())?;
        Some(Self { desk, line })
    }

    async fn serve<R: Replica>(
        &self,
        replica: &Arc<R>,
        ends: (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    ) {
        let end = connection::serve(self.desk, replica, &self.line, ends).await;
        self.desk.ended(&self.line, &end);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.desk.leave(&self.line);
    }
}

/// Ends sessions that are silent and nodes whose time is up, while this member leads.
#[expect(
    clippy::infinite_loop,
    reason = "the type says that it does not end; the lint knows `!` only"
)]
async fn keep_time<R: Replica>(desk: &Desk, replica: &R) -> Infallible {
    let step = Duration::from_millis(u64::from(desk.settings.tick_ms) / 4);
    let step = step.clamp(STEP_MIN, STEP_MAX);
    let mut ticks = interval(step);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut expiry = Expiry::new(Instant::now(), 2 * step);
    let check = Duration::from_millis(desk.settings.container_check_ms.into());
    let mut checked = Instant::now();
    loop {
        let now = ticks.tick().await;
        let standing = replica.standing();
        let turn = expiry.step(now, standing.is_leader.then_some(standing.term));
        let changes = desk.changes();
        match turn {
            Turn::Rest => continue,
            Turn::GoOn if !changes.is_torn => {},
            Turn::Begin | Turn::GoOn => look(replica.state(), |state| {
                let sessions = state.sessions().iter();
                let those = sessions.map(|(id, of)| (id, of.timeout_ms, of.attached));
                expiry.begin(those);
            }),
        }
        for (session, change) in changes.sessions {
            match change {
                Some((timeout_ms, attached)) => expiry.open(session, timeout_ms, attached),
                None => expiry.close(session),
            }
        }
        for session in replica.touched() {
            expiry.touch(session);
        }
        if planted::is(Bug::ExpiryByWallClock) {
            expiry.follow_wall_clock(wall_ms());
        }
        end_silent(desk, replica, &mut expiry, standing.term.cast_signed());
        if now.saturating_duration_since(checked) >= check {
            checked = now;
            remove_expired(desk, replica);
        }
    }
}

fn end_silent<R: Replica>(desk: &Desk, replica: &R, expiry: &mut Expiry, term: i64) {
    let (overdue, crowd) = expiry.due();
    desk.silences.note(overdue.len(), crowd);
    for Overdue { session, attached } in overdue {
        propose(desk, replica, session, Action::Expire { term, attached });
    }
}

fn remove_expired<R: Replica>(desk: &Desk, replica: &R) {
    let now_ms = wall_ms();
    let expired = look(replica.state(), |state| state.tree().expired(now_ms));
    for (path, mzxid) in expired.iter().take(REMOVED_MAX) {
        let mzxid = *mzxid;
        propose(desk, replica, 0, Action::Remove { path, mzxid });
    }
}

/// Proposes what nobody waits for.
fn propose<R: Replica>(desk: &Desk, replica: &R, session: i64, action: Action<'_>) {
    let proposal = Proposal {
        session,
        identities: Vec::new(),
        action,
    };
    replica.propose(proposal, &mut |sequence| {
        desk.wait(sequence, Waiter::Nobody);
    });
}

/// Appends an event.
fn event(out: &mut Vec<u8>, xid: i32, kind: EventKind, path: &str) {
    frame::append(out, |out| {
        let (zxid, error) = (-1, 0);
        ReplyHeader { xid, zxid, error }.write(out);
        let state = state::SYNC_CONNECTED;
        Event { kind, state, path }.write(out);
    });
}

#[cfg(test)]
mod tests;
