//! The process that a member runs in, when it is a simulated one.
//!
//! Prevents failures that nobody can repeat: whatever a member takes from its machine besides disk
//! and network (turns for its tasks, wall time, randomness, threads that may block) it takes from
//! here. Ordinarily that is the machine's own. Inside a [`Process`] randomness comes from a seed,
//! wall time is the runtime's, which a test may have paused, nothing leaves the thread; and the
//! process stops, goes on and ends when it is told to, all its tasks at once.
//!
//! Always holds: who belongs to a process runs only while that process does, and what it spawns
//! with [`own`] belongs to it as well.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};
use std::{io, mem, thread};

use mainstay_core::random::Random;
use rand_core::TryRng;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};

thread_local! {
    /// Whose turn it is.
    static CURRENT: RefCell<Option<Process>> = const { RefCell::new(None) };
    /// What the present turn would have taken, had it been real.
    static TAKEN: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A simulated process; clones are the same one.
#[derive(Clone, Debug)]
pub struct Process(Arc<Mutex<Inside>>);

#[derive(Debug)]
struct Inside {
    stage: Stage,
    /// Tasks whose turn came while the process was stopped.
    waiting: Vec<Waker>,
    random: Random,
    started: Instant,
    /// Wall time at the start, and what it was moved by since.
    wall_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Stopped,
    Ended,
}

impl Process {
    /// A process that runs, whose randomness comes from `seed` and whose wall clock says `wall_ms`
    /// now.
    pub fn new(seed: u64, wall_ms: i64) -> Self {
        Self(Arc::new(Mutex::new(Inside {
            stage: Stage::Running,
            waiting: Vec::new(),
            random: Random::seeded(seed),
            started: Instant::now(),
            wall_ms,
        })))
    }

    /// Makes `future` a part of this process.
    pub fn run<F: Future>(&self, future: F) -> Owned<F> {
        Owned {
            process: Some(self.clone()),
            future: Some(future),
        }
    }

    /// Stops it as SIGSTOP does: nothing of it runs, while time goes on.
    pub fn stop(&self) {
        let mut inside = self.inside();
        if inside.stage == Stage::Running {
            inside.stage = Stage::Stopped;
        }
    }

    /// It goes on, and finds that it is later.
    pub fn go_on(&self) {
        let mut inside = self.inside();
        if inside.stage == Stage::Stopped {
            inside.stage = Stage::Running;
        }
        let waiting = mem::take(&mut inside.waiting);
        drop(inside);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// It ends as by SIGKILL: nothing of it runs any more.
    pub fn end(&self) {
        let mut inside = self.inside();
        inside.stage = Stage::Ended;
        let waiting = mem::take(&mut inside.waiting);
        drop(inside);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Moves its wall clock.
    pub fn move_wall_clock(&self, by_ms: i64) {
        self.inside().wall_ms += by_ms;
    }

    fn wall_ms(&self) -> i64 {
        let inside = self.inside();
        let since = i64::try_from(inside.started.elapsed().as_millis());
        inside.wall_ms.saturating_add(since.unwrap_or(i64::MAX))
    }

    fn bits(&self) -> u64 {
        self.inside().random.bits()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it runs; if it does not now, `context` hears when it does again.
    fn stage(&self, context: &Context<'_>) -> Stage {
        let mut inside = self.inside();
        if inside.stage == Stage::Stopped {
            inside.waiting.push(context.waker().clone());
        }
        inside.stage
    }
}

/// Whose turn it is; nobody's, where processes are real.
fn current() -> Option<Process> {
    CURRENT.with_borrow(Clone::clone)
}

/// Makes `future` a part of the process that it is made in.
pub fn own<F: Future>(future: F) -> Owned<F> {
    Owned {
        process: current(),
        future: Some(future),
    }
}

pin_project_lite::pin_project! {
    /// A part of a process.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Owned<F> {
        process: Option<Process>,
        // Gone when the process has ended.
        #[pin]
        future: Option<F>,
    }
}

impl<F: Future> Future for Owned<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let stage = this.process.as_ref().map(|process| process.stage(context));
        if stage == Some(Stage::Ended) {
            this.future.set(None);
        }
        let runs = stage.is_none_or(|stage| stage == Stage::Running);
        let Some(future) = this.future.as_pin_mut().filter(|_| runs) else {
            return Poll::Pending;
        };
        if this.process.is_none() {
            return future.poll(context);
        }
        let before = CURRENT.replace(this.process.clone());
        let polled = future.poll(context);
        CURRENT.set(before);
        polled
    }
}

/// Milliseconds since 1970.
pub fn wall_ms() -> i64 {
    if let Some(process) = current() {
        return process.wall_ms();
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "the clock of this crate's edge: time goes into proposals from here"
    )]
    let now = SystemTime::now();
    let since = now.duration_since(SystemTime::UNIX_EPOCH);
    // Before 1970 there is no time.
    i64::try_from(since.map_or(0, |since| since.as_millis())).unwrap_or(i64::MAX)
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    let Some(process) = current() else {
        getrandom::fill(&mut bytes)?;
        return Ok(bytes);
    };
    for chunk in bytes.chunks_mut(8) {
        let length = chunk.len();
        chunk.copy_from_slice(&process.bits().to_le_bytes()[..length]);
    }
    Ok(bytes)
}

/// Chance for those who ask for it by `rand`'s names. Not for secrets.
#[derive(Debug)]
pub(crate) struct Dice(Random);

impl Dice {
    /// Dice that fall as nobody else's do.
    pub(crate) fn new() -> Self {
        // Without randomness members act in step, and one more election takes place.
        Self(Random::seeded(random().map_or(0, u64::from_le_bytes)))
    }
}

impl TryRng for Dice {
    type Error = Infallible;

    #[expect(clippy::cast_possible_truncation, reason = "half of the bits")]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.bits() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.bits())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let length = chunk.len();
            chunk.copy_from_slice(&self.0.bits().to_le_bytes()[..length]);
        }
        Ok(())
    }
}

/// Does work that blocks, while others go on.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if current().is_none() {
        return spawn_blocking(work).await;
    }
    TAKEN.set(Duration::ZERO);
    let done = work();
    passed().await;
    Ok(done)
}

/// As [`blocking`], for work that takes seconds of a processor: where there are too few of those,
/// the others get theirs first.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    /// A tenth of the weight of who is not nice, by which it gets on also when all are busy.
    const NICE: i32 = 10;
    if current().is_some() {
        return blocking(work).await.map_err(io::Error::other);
    }
    let (done, wait) = oneshot::channel();
    // Not of the pool: a thread without privileges never gets its priority back.
    let thread = thread::Builder::new().name("keeper-aside".to_owned());
    thread.spawn(move || {
        // Where it is not allowed, it is merely not nice.
        rustix::process::setpriority_process(None, NICE).ok();
        // Who does not wait any more does not need to hear.
        drop(done.send(work()));
    })?;
    wait.await
        .map_err(|_gone| io::Error::other("a thread ended early"))
}

/// Runs `work`, which may block, on a thread of its own.
pub(crate) fn apart(name: &str, work: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    if current().is_some() {
        let mut task = JoinSet::new();
        task.spawn(own(work));
        task.detach_all();
        return Ok(());
    }
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(move || runtime.block_on(work))?;
    Ok(())
}

/// What was just done has taken so long: a simulated disk says so.
pub(crate) fn takes(time: Duration) {
    TAKEN.set(TAKEN.get() + time);
}

/// What was done in this turn has taken so long, so far.
pub(crate) fn taken() -> Duration {
    TAKEN.get()
}

/// Waits as long as what was done in this turn has taken.
pub(crate) async fn passed() {
    let time = TAKEN.take();
    if !time.is_zero() {
        sleep(time).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stopped_process_does_nothing_and_finds_later_that_time_went_on() {
        let process = Process::new(1, 1_000);
        let mut tasks = JoinSet::new();
        tasks.spawn(process.run(async {
            let begun = (wall_ms(), Instant::now());
            sleep(Duration::from_millis(10)).await;
            (wall_ms() - begun.0, begun.1.elapsed().as_millis())
        }));
        process.stop();
        sleep(Duration::from_millis(500)).await;
        assert!(tasks.try_join_next().is_none(), "it is stopped");
        process.go_on();
        let slept = tasks.join_next().await.expect("one").expect("it ends");
        assert_eq!(slept, (10, 10), "it had not even begun");

        tasks.spawn(process.run(async {
            let begun = (wall_ms(), Instant::now());
            sleep(Duration::from_millis(10)).await;
            (wall_ms() - begun.0, begun.1.elapsed().as_millis())
        }));
        sleep(Duration::from_millis(5)).await;
        process.stop();
        sleep(Duration::from_millis(500)).await;
        process.go_on();
        let slept = tasks.join_next().await.expect("one").expect("it ends");
        assert_eq!(slept, (505, 505));
    }

    async fn hold(alive: oneshot::Sender<()>) {
        let _alive = alive;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(wall_ms(), 0, "never: the process has ended");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_process_spawned_ends_with_it() {
        let process = Process::new(1, 0);
        let (alive, mut gone) = oneshot::channel::<()>();
        let mut tasks = JoinSet::new();
        tasks.spawn(process.run(async move {
            let mut child = JoinSet::new();
            child.spawn(own(hold(alive)));
            child.join_next().await;
        }));
        sleep(Duration::from_millis(1)).await;
        process.end();
        sleep(Duration::from_secs(2)).await;
        let gone = gone.try_recv();
        assert_eq!(gone, Err(oneshot::error::TryRecvError::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
        let draw = |seed| Process::new(seed, 0).run(async { random::<16>() });
        let [first, same, other] = [draw(1).await, draw(1).await, draw(2).await];
        assert_eq!(first, same);
        assert_ne!(first, other);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wall_clock_of_one_process_is_not_anothers() {
        let (one, other) = (Process::new(1, 100), Process::new(2, 100));
        one.move_wall_clock(-50);
        let read = || async { wall_ms() };
        assert_eq!((one.run(read()).await, other.run(read()).await), (50, 100));
    }
}
