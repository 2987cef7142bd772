//! One worker: a thread with a runtime, listening sockets, connections and pools of its own.
//!
//! Prevents work that travels between cores, and a panic in one request that takes others with
//! it: each connection is a task, and a task's panic ends there and is counted.

use std::future::{Future as _, poll_fn};
use std::io;
use std::net::TcpListener as StdListener;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Limits;
use crate::downstream::Downstream;
use crate::drain::{Drain, Member};
use crate::framing::Guard;
use crate::front::Front;
use crate::listen::accept_backoff;
use crate::replay::ReplayMemory;
use crate::service::Service;
use crate::stack;
use crate::tally::add;

/// How often idle connections to endpoints are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long a client may take to read a refusal.
const LINGER: Duration = Duration::from_secs(1);
/// The smallest read buffer that hyper takes.
const HYPER_BUFFER_MIN: usize = 8 * 1_024;

/// What a worker is told.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) listeners: Vec<(StdListener, Arc<Service>)>,
    pub(crate) limits: Limits,
    pub(crate) drain: Duration,
    pub(crate) shutdown: CancellationToken,
}

impl Worker {
    /// Serves until told to stop, then drains; returns the requests that were cut off.
    pub(crate) fn run(self) -> io::Result<u64> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())?;
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> io::Result<u64> {
        let tasks = TaskTracker::new();
        let drain = Rc::new(Drain::default());
        let memory = ReplayMemory::default();
        let mut fronts = Vec::new();
        for (listener, service) in self.listeners {
            let listener = TcpListener::from_std(listener)?;
            let front = Front::new(service, self.index, self.limits, memory.clone());
            let front = Rc::new(front);
            fronts.push(Rc::clone(&front));
            let acceptor = Acceptor {
                listener,
                front,
                tasks: tasks.clone(),
                drain: Rc::clone(&drain),
            };
            tasks.spawn_local(acceptor.run(self.shutdown.clone()));
        }
        sweep(&fronts, &self.shutdown).await;

        drain.begin();
        tasks.close();
        let all_done = timeout(self.drain, tasks.wait());
        if all_done.await.is_ok() {
            return Ok(0);
        }
        let in_flight =
            |front: &Rc<Front>| u64::from(front.tally().in_flight.load(Ordering::Relaxed));
        Ok(fronts.iter().map(in_flight).sum())
    }
}

/// Looks after the pools until told to stop.
async fn sweep(fronts: &[Rc<Front>], shutdown: &CancellationToken) {
    let mut stopped = pin!(shutdown.cancelled());
    let mut ticks = interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stopped => break,
            _ = ticks.tick() => {}
        }
        for front in fronts {
            front.sweep();
        }
    }
    for front in fronts {
        front.clear();
    }
}

/// Takes connections from one socket.
struct Acceptor {
    listener: TcpListener,
    front: Rc<Front>,
    tasks: TaskTracker,
    drain: Rc<Drain>,
}

impl Acceptor {
    async fn run(self, shutdown: CancellationToken) {
        let http = http(&self.front.limits);
        let backoff = accept_backoff();
        let mut failures = 0_u32;
        let mut stopped = pin!(shutdown.cancelled());
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stopped => return,
                accepted = self.accept() => accepted,
            };
            let Ok((stream, peer)) = accepted else {
                // Out of file descriptors, or the client is gone already: the kernel keeps the
                // others waiting meanwhile.
                failures = failures.saturating_add(1);
                sleep(backoff.bound(failures, Duration::ZERO)).await;
                continue;
            };
            failures = 0;
            let downstream = Rc::new(Downstream::new(peer, Instant::now()));
            let connection = Connection {
                front: Rc::clone(&self.front),
                downstream,
                member: self.drain.join(),
            };
            self.tasks.spawn_local(connection.run(stream, http.clone()));
        }
    }

    /// The next connection, once there is room for one.
    async fn accept(&self) -> io::Result<(TcpStream, std::net::SocketAddr)> {
        while self.drain.open() >= self.front.limits.connections_max {
            self.drain.closed().await;
        }
        self.listener.accept().await
    }
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // The guard has its own deadlines for heads and bodies, at no timer per request.
    http.header_read_timeout(None)
        .max_buf_size((2 * limits.head_bytes_max).max(HYPER_BUFFER_MIN))
        .half_close(false)
        .pipeline_flush(false);
    // hyper's default of 100 needs no allocation; the guard enforces lower limits.
    if limits.headers_max > 100 {
        http.max_headers(limits.headers_max.min(crate::framing::head::HEADERS_CAP));
    }
    http
}

/// One client connection.
struct Connection {
    front: Rc<Front>,
    downstream: Rc<Downstream>,
    member: Member,
}

impl Connection {
    async fn run(self, stream: TcpStream, http: http1::Builder) {
        let Self {
            front,
            downstream,
            member,
        } = self;
        let _panics = PanicCount(Rc::clone(&front));
        let guard = Guard::new(stream, Rc::clone(&downstream), front.limits);
        let service =
            service_fn(|request| stack::answer(Rc::clone(&front), Rc::clone(&downstream), request));
        let mut connection = http.serve_connection(guard, service);
        let (mut listening, mut told) = (false, false);
        let served = poll_fn(|cx| {
            if !listening {
                listening = true;
                member.listen(cx);
            }
            if !told && member.is_draining() {
                told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            Pin::new(&mut connection).poll(cx)
        });
        // An error means that the client is gone, or was cut off; the answers were counted.
        if served.await.is_err() {
            return;
        }
        let guard = connection.into_parts().io;
        if guard.must_linger() {
            let until = Instant::now() + LINGER;
            // Whether the client read the refusal in time or not, the connection ends here.
            drop(timeout_at(until, Guard::linger(guard.into_stream())).await);
        }
    }
}

/// Counts the task's panic, if that is what ends it.
struct PanicCount(Rc<Front>);

impl Drop for PanicCount {
    fn drop(&mut self) {
        if std::thread::panicking() {
            add(&self.0.tally().panics, 1);
        }
    }
}
