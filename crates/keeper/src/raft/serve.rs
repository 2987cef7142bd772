//! The other end of links: what other members ask, answered.
//!
//! Prevents requests from overtaking each other before they are in line: those of a connection are
//! begun in the order in which they came, and answered in the order in which they are done.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use mainstay_zk_proto::jute::Malformed;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::frame::{Frame, FrameReader, Greeting, Kind};
use super::outgoing::Outgoing;
use super::seat::Seats;
use crate::network::{Listener, Network};
use crate::process::own;

/// Requests of one connection that are under way; more are not read.
const UNDER_WAY_MAX: usize = 1_024;

/// Connections at once: those of every member, and of many that should not be here.
const CONNECTIONS_MAX: usize = 256;

/// How long a handshake and a greeting may take.
const GREETING_TIMEOUT: Duration = Duration::from_secs(1);

/// How often somebody who waits for an answer hears that this member is there.
const ALIVE_EVERY: Duration = Duration::from_millis(250);

/// After an error of the listener.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Answers what other members ask.
pub(super) trait Answers: Send + Sync + 'static {
    /// A member was heard of.
    fn greeted(&self, from: u64) -> impl Future<Output = ()> + Send;

    /// Takes what nobody answers.
    ///
    /// # Errors
    ///
    /// It makes no sense.
    fn hear(&self, body: &[u8]) -> Result<(), Malformed>;

    /// Answers a request of `from`, or says in words why not. The first poll puts it in line.
    fn answer(
        self: Arc<Self>,
        from: u64,
        kind: Kind,
        body: Vec<u8>,
    ) -> impl Future<Output = Result<Vec<u8>, String>> + Send;
}

/// Accepts connections until it is dropped.
pub(super) async fn serve<N: Network, A: Answers>(
    mut listener: N::Listener,
    greeting: (Greeting, Arc<Seats>),
    answers: Arc<A>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                if let Ok(opening) = accepted {
                    let answers = Arc::clone(&answers);
                    connections.spawn(own(connection(opening, greeting.clone(), answers)));
                } else {
                    sleep(ACCEPT_BACKOFF).await;
                }
            },
            // How it ended is the other end's concern.
            Some(_ended) = connections.join_next() => {},
        }
    }
}

type UnderWay = Pin<Box<dyn Future<Output = Done> + Send>>;

/// A request that is done.
struct Done {
    id: u64,
    kind: Kind,
    outcome: Result<Vec<u8>, String>,
}

/// Takes an answer.
fn take(out: &mut Outgoing, Done { id, kind, outcome }: &Done) {
    let (is, body) = match outcome {
        Ok(body) => (Kind::Answer, &**body),
        Err(why) => (Kind::Refusal, why.as_bytes()),
    };
    // Who forwarded a batch knows that it was written when it applies it itself.
    if matches!(kind, Kind::Progress | Kind::Forward) && outcome.is_ok() {
        out.push_late(*id, is, body);
    } else {
        out.push(*id, is, body);
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin, A: Answers>(
    opening: impl Future<Output = io::Result<S>>,
    greeting: (Greeting, Arc<Seats>),
    answers: Arc<A>,
) -> io::Result<()> {
    let met = async {
        let mut stream = opening.await?;
        let from = greet(&mut stream, greeting).await?;
        io::Result::Ok((stream, from))
    };
    let (stream, from) = timeout(GREETING_TIMEOUT, met).await??;
    answers.greeted(from).await;
    let (read, mut write) = tokio::io::split(stream);
    let mut frames = FrameReader::new(read);
    let mut under_way: FuturesUnordered<UnderWay> = FuturesUnordered::new();
    let mut alive = interval(ALIVE_EVERY);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut out = Outgoing::default();
    loop {
        tokio::select! {
            frame = frames.next(), if under_way.len() < UNDER_WAY_MAX => {
                let Some(Frame { id, kind, body }) = frame? else {
                    return Ok(());
                };
                if kind == Kind::Holds {
                    answers.hear(&body).map_err(io::Error::other)?;
                    continue;
                }
                let answer = Arc::clone(&answers).answer(from, kind, body);
                let mut answer: UnderWay = Box::pin(async move {
                    let outcome = answer.await;
                    Done { id, kind, outcome }
                });
                match poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await {
                    Poll::Ready(done) => take(&mut out, &done),
                    Poll::Pending => under_way.push(answer),
                }
            },
            Some(done) = under_way.next() => take(&mut out, &done),
            _ = alive.tick(), if !under_way.is_empty() => {
                out.push(0, Kind::Alive, &[]);
            },
            () = out.due() => {},
        }
        if out.is_due() {
            out.send(&mut write).await?;
        }
    }
}

/// Says who this member is; the answer is who the other one is.
async fn greet<S>(stream: &mut S, (mut mine, seats): (Greeting, Arc<Seats>)) -> io::Result<u64>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let theirs = Greeting::receive(stream).await?;
    mine.wanted = theirs.member;
    mine.lane = theirs.lane;
    mine.known = seats.of(theirs.member);
    mine.check(&theirs)?;
    // It hears what is known of it before it is refused.
    mine.send(stream).await?;
    seats.meet(&theirs).await?;
    Ok(theirs.member)
}
