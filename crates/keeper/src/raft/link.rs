//! A link to another member: requests go out in order, answers come back by number.
//!
//! Prevents a heartbeat that waits behind a snapshot, since each peer has one link per `Lane`;
//! a request that waits for ever, since each has a deadline; and a peer that is gone from being
//! called without end, since connecting backs off. A request is sent at most once: when the
//! connection is lost, those under way fail, and whoever asked decides.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_core::random::Random;
use mainstay_core::retry::{Backoff, BackoffConfig, Jitter};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::frame::{FrameReader, Greeting, Kind};
use super::outgoing::Outgoing;
use super::seat::Seats;
use crate::network::Network;

/// Requests that wait to be sent, per link.
const QUEUE_MAX: usize = 1_024;

/// Bytes that are written at once.
const WRITE_BYTES: usize = 256 * 1_024;

/// How long connecting and greeting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Before the second try to connect.
const BACKOFF_MIN: Duration = Duration::from_millis(20);

/// Between tries to connect to a member that stays away.
const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// A connection that owes answers and says nothing for so long is given up; the other end says
/// that it is alive much more often. When a cut network heals, the kernel of a connection that was
/// open waits for seconds before it sends again.
const SILENT_MAX: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LinkError {
    /// The member cannot be reached.
    Unreachable,
    /// The connection was lost; nobody knows whether the request arrived.
    Lost,
    /// The deadline passed.
    Late,
    /// Too many requests wait.
    Full,
    /// The other member refused, and says why.
    Refused(String),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("the member cannot be reached"),
            Self::Lost => f.write_str("the connection to the member was lost"),
            Self::Late => f.write_str("the member did not answer in time"),
            Self::Full => f.write_str("too many requests wait for the member"),
            Self::Refused(why) => write!(f, "the member refused: {why}"),
        }
    }
}

impl std::error::Error for LinkError {}

type Outcome = Result<Vec<u8>, LinkError>;

/// Where a member may be, the likeliest first; clones are the same addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses(Arc<Mutex<Vec<String>>>);

impl Addresses {
    fn places(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it is there; says whether that is new.
    pub(super) fn set(&self, places: Vec<String>) -> bool {
        let mut known = self.places();
        let is_new = *known != places;
        *known = places;
        is_new
    }

    /// Where to try it in the given attempt; one after the other.
    fn at(&self, attempt: usize) -> Option<String> {
        let places = self.places();
        let place = attempt.checked_rem(places.len())?;
        places.get(place).cloned()
    }
}

struct Request {
    kind: Kind,
    body: Vec<u8>,
    /// `None` where no answer comes.
    answer: Option<oneshot::Sender<Outcome>>,
    /// Whether it may wait for another one to go with.
    may_wait: bool,
}

/// A link; clones are the same link.
#[derive(Clone, Debug)]
pub(super) struct Link {
    requests: mpsc::Sender<Request>,
    again: Arc<Notify>,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Pending(oneshot::Receiver<Outcome>);

impl Pending {
    /// The answer.
    pub(super) async fn answer(self, deadline: Duration) -> Outcome {
        match timeout(deadline, self.0).await {
            Err(_late) => Err(LinkError::Late),
            Ok(Err(_dropped)) => Err(LinkError::Lost),
            Ok(Ok(outcome)) => outcome,
        }
    }
}

impl Link {
    /// A link, and what carries it: a future that ends when all clones are dropped.
    pub(super) fn new<N: Network>(
        network: N,
        addresses: Addresses,
        (greeting, seats): (Greeting, Arc<Seats>),
        random: Random,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        let again = Arc::new(Notify::new());
        let carrier = Carrier {
            network,
            addresses,
            greeting,
            seats,
            random,
            queue,
            again: Arc::clone(&again),
        };
        (Self { requests, again }, carrier.run())
    }

    /// The member was heard of: there is no reason to wait before connecting.
    pub(super) fn try_again(&self) {
        self.again.notify_one();
    }

    /// Sends a request behind those that were sent before.
    pub(super) fn begin(&self, kind: Kind, body: Vec<u8>) -> Result<Pending, LinkError> {
        self.ask(kind, body, false)
    }

    /// Sends what brings the other member nothing new behind those that were sent before, when there
    /// is something to go with or after a moment.
    pub(super) fn begin_late(&self, kind: Kind, body: Vec<u8>) -> Result<Pending, LinkError> {
        self.ask(kind, body, true)
    }

    fn ask(&self, kind: Kind, body: Vec<u8>, may_wait: bool) -> Result<Pending, LinkError> {
        let (answer, pending) = oneshot::channel();
        self.send(Request {
            kind,
            body,
            answer: Some(answer),
            may_wait,
        })?;
        Ok(Pending(pending))
    }

    /// Sends what nobody answers behind what was sent before, or not at all.
    pub(super) fn tell(&self, kind: Kind, body: Vec<u8>) -> Result<(), LinkError> {
        self.send(Request {
            kind,
            body,
            answer: None,
            may_wait: false,
        })
    }

    fn send(&self, request: Request) -> Result<(), LinkError> {
        match self.requests.try_send(request) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(LinkError::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(LinkError::Unreachable),
        }
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn call(&self, kind: Kind, body: Vec<u8>, deadline: Duration) -> Outcome {
        self.begin(kind, body)?.answer(deadline).await
    }
}

/// How long to wait before another try.
fn backoff() -> Backoff {
    let config = BackoffConfig {
        base: BACKOFF_MIN,
        max: BACKOFF_MAX,
        // Those who look for a member that went do not all come at the same moment.
        jitter: Jitter::Equal,
        ..BackoffConfig::default()
    };
    // Its default would do as well.
    Backoff::new(&config).unwrap_or_default()
}

struct Carrier<N> {
    network: N,
    addresses: Addresses,
    greeting: Greeting,
    seats: Arc<Seats>,
    random: Random,
    queue: mpsc::Receiver<Request>,
    again: Arc<Notify>,
}

/// What is under way on one connection.
#[derive(Default)]
struct UnderWay {
    waiting: BTreeMap<u64, oneshot::Sender<Outcome>>,
    next_id: u64,
    out: Outgoing,
}

impl<N: Network> Carrier<N> {
    async fn run(mut self) {
        let backoff = backoff();
        let mut tries = 0;
        let mut attempt = 0;
        while !self.queue.is_closed() {
            let connected = self.connect(attempt).await;
            attempt = attempt.wrapping_add(1);
            if let Ok(stream) = connected {
                (tries, attempt) = (0, 0);
                // How a connection ended makes no difference to those who wait.
                drop(self.carry(stream).await);
            }
            tries = u32::saturating_add(tries, 1);
            let wait = backoff.after(tries, Duration::ZERO, &mut self.random);
            if !self.refuse_for(wait).await {
                return;
            }
        }
    }

    async fn connect(&self, attempt: usize) -> io::Result<N::Stream> {
        let connect = async {
            let address = self.addresses.at(attempt).ok_or(io::ErrorKind::NotFound)?;
            let mut stream = self.network.connect(&address).await?;
            let mine = Greeting {
                known: self.seats.of(self.greeting.wanted),
                ..self.greeting.clone()
            };
            mine.send(&mut stream).await?;
            let other = Greeting::receive(&mut stream).await?;
            mine.check(&other)?;
            self.seats.meet(&other).await?;
            Ok(stream)
        };
        timeout(CONNECT_TIMEOUT, connect)
            .await
            .unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Says no to everybody for a while, or until the member is heard of; `false` when nobody can ask any more.
    async fn refuse_for(&mut self, wait: Duration) -> bool {
        let end = Instant::now() + wait;
        loop {
            tokio::select! {
                () = sleep_until(end) => return true,
                () = self.again.notified() => return true,
                request = self.queue.recv() => match request {
                    None => return false,
                    Some(request) => if let Some(answer) = request.answer {
                        // Who does not wait any more does not need to hear.
                        drop(answer.send(Err(LinkError::Unreachable)));
                    },
                },
            }
        }
    }

    /// Carries requests and answers, until the connection is lost or nobody asks any more.
    async fn carry(&mut self, stream: N::Stream) -> io::Result<()> {
        let (read, mut write) = tokio::io::split(stream);
        let mut frames = FrameReader::new(read);
        let mut way = UnderWay::default();
        let mut heard = Instant::now();
        loop {
            let owed = !way.waiting.is_empty();
            tokio::select! {
                request = self.queue.recv(), if way.out.len() < WRITE_BYTES => match request {
                    None => return Ok(()),
                    Some(request) => {
                        if !owed {
                            heard = Instant::now();
                        }
                        way.take(request);
                        while way.out.len() < WRITE_BYTES && let Ok(request) = self.queue.try_recv() {
                            way.take(request);
                        }
                    },
                },
                sent = send(&mut write, &mut way.out) => sent?,
                answered = answer(&mut frames, &mut way.waiting) => {
                    answered?;
                    heard = Instant::now();
                },
                () = sleep_until(heard + SILENT_MAX), if owed => {
                    return Err(io::ErrorKind::TimedOut.into());
                },
            }
        }
    }
}

/// Sends what has to be sent, when it has to be.
async fn send<W: AsyncWrite + Unpin>(write: &mut W, out: &mut Outgoing) -> io::Result<()> {
    out.due().await;
    out.send(write).await
}

/// Reads the next answer, and gives it to whom it is for.
async fn answer<R: AsyncRead + Unpin>(
    frames: &mut FrameReader<R>,
    waiting: &mut BTreeMap<u64, oneshot::Sender<Outcome>>,
) -> io::Result<()> {
    let frame = frames.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    if frame.kind == Kind::Alive {
        return Ok(());
    }
    let Some(answer) = waiting.remove(&frame.id) else {
        return Ok(());
    };
    let outcome = match frame.kind {
        Kind::Answer => Ok(frame.body),
        Kind::Refusal => {
            let why = String::from_utf8_lossy(&frame.body).into_owned();
            Err(LinkError::Refused(why))
        },
        Kind::Alive
        | Kind::Append
        | Kind::Vote
        | Kind::PreVote
        | Kind::TransferLeader
        | Kind::Progress
        | Kind::Holds
        | Kind::SnapshotBegin
        | Kind::SnapshotBlock
        | Kind::SnapshotEnd
        | Kind::Forward
        | Kind::ReadIndex
        | Kind::Touch
        | Kind::Compare
        | Kind::Change
        | Kind::Survey => return Err(io::ErrorKind::InvalidData.into()),
    };
    // Who does not wait any more does not need to hear.
    drop(answer.send(outcome));
    Ok(())
}

impl UnderWay {
    fn take(&mut self, request: Request) {
        // Nobody waits for it any more.
        if request
            .answer
            .as_ref()
            .is_some_and(oneshot::Sender::is_closed)
        {
            return;
        }
        self.next_id += 1;
        let Request { kind, body, .. } = &request;
        if request.may_wait {
            self.out.push_late(self.next_id, *kind, body);
        } else {
            self.out.push(self.next_id, *kind, body);
        }
        if let Some(answer) = request.answer {
            self.waiting.insert(self.next_id, answer);
        }
    }
}

#[cfg(test)]
mod tests;
