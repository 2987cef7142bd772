//! The supervisor's side of the warden: tells it of groups, and starts it again when it ends.
//!
//! Prevents a warden that died unnoticed, and one that hangs from hanging the supervisor: writes
//! never block. A hung warden is killed *before* its pipe is closed, because end of file tells it
//! to kill the groups on its list, and those are alive.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::{self, Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_core::event::{Event, Observe};
use mainstay_core::random::Random;
use mainstay_core::restart::{self, Restart};
use mainstay_observe::Observer;
use rustix::io::ioctl_fionbio;
use tokio::sync::Notify;
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::command::StartError;
use crate::group::Group;
use crate::process::Exit;

/// How long the warden may take to end once it has nothing left to do.
const END_WAIT_MAX: Duration = Duration::from_secs(2);

/// The list of groups, here and in the warden.
#[derive(Clone, Debug, Default)]
pub(crate) struct Warden(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    link: Mutex<Link>,
    broken: Notify,
}

#[derive(Debug, Default)]
struct Link {
    groups: BTreeSet<u32>,
    stdin: Option<ChildStdin>,
}

impl Warden {
    /// Puts `group` on the list.
    pub(crate) fn register(&self, group: Group) {
        let mut link = self.link();
        link.groups.insert(group.id());
        self.tell(&mut link, '+', group.id());
    }

    /// Takes `group` off the list.
    pub(crate) fn unregister(&self, group: Group) {
        let mut link = self.link();
        link.groups.remove(&group.id());
        self.tell(&mut link, '-', group.id());
    }

    /// A new warden reads from `stdin`: it learns the whole list.
    fn connect(&self, stdin: ChildStdin) {
        let mut link = self.link();
        link.stdin = Some(stdin);
        let groups = link.groups.clone();
        for group in groups {
            self.tell(&mut link, '+', group);
        }
    }

    fn disconnect(&self) {
        self.link().stdin = None;
    }

    /// One line is less than `PIPE_BUF`, so one write takes it whole or not at all.
    fn tell(&self, link: &mut Link, sign: char, group: u32) {
        let line = format!("{sign}{group}\n");
        let told = link
            .stdin
            .as_mut()
            .is_none_or(|stdin| stdin.write(line.as_bytes()).is_ok());
        if !told {
            // The pipe stays open until the warden is dead, see above.
            self.0.broken.notify_one();
        }
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.0.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a warden running.
#[derive(Debug)]
pub(crate) struct Watch {
    warden: Warden,
    program: String,
    args: Vec<String>,
    child: Child,
    restart: Restart,
    random: Random,
}

impl Watch {
    /// Starts the warden that `command` names.
    ///
    /// # Errors
    /// When it names no program, or the program cannot be started.
    pub(crate) fn start(command: &[String], random: Random) -> Result<Self, StartError> {
        let Some((program, args)) = command.split_first() else {
            return Err(StartError::LeashEmpty { what: "warden" });
        };
        let warden = Warden::default();
        let child = spawn(program, args, &warden).map_err(|source| StartError::Warden {
            program: program.clone(),
            source,
        })?;
        Ok(Self {
            warden,
            program: program.clone(),
            args: args.to_vec(),
            child,
            restart: Restart::new(restart::Policy::default()),
            random,
        })
    }

    /// The list that the warden keeps.
    pub(crate) fn warden(&self) -> Warden {
        self.warden.clone()
    }

    /// Starts the warden again whenever it ends, until `closing`; then lets it end.
    pub(crate) async fn run(mut self, observer: Observer, closing: CancellationToken) {
        let clock = Clock::start();
        loop {
            let mut started = clock.now();
            let how = tokio::select! {
                biased;
                () = closing.cancelled() => return self.close().await,
                how = ended(&mut self.child, &self.warden.0.broken) => how,
            };
            // Only now: a warden that is still alive would take this for the supervisor's end.
            self.warden.disconnect();
            let mut detail = how;
            loop {
                let decision = self.restart.exited(started, clock.now(), &mut self.random);
                observer.observe(Event::WardenExited {
                    detail,
                    delay_ms: u64::try_from(decision.delay.as_millis()).unwrap_or(u64::MAX),
                });
                tokio::select! {
                    () = closing.cancelled() => return,
                    () = time::sleep(decision.delay) => {},
                }
                // A start that fails has run for no time, or the backoff would never grow.
                started = clock.now();
                match spawn(&self.program, &self.args, &self.warden) {
                    Ok(child) => break self.child = child,
                    Err(error) => detail = format!("could not be started: {error}"),
                }
            }
        }
    }

    /// Nothing is on the list any more, so the end of its input is all the warden waits for.
    async fn close(mut self) {
        self.warden.disconnect();
        let never = Notify::new();
        if time::timeout(END_WAIT_MAX, ended(&mut self.child, &never))
            .await
            .is_err()
        {
            let _killed = self.child.kill();
            let _status = self.child.wait();
        }
    }
}

/// Waits until the warden ended and reaps it; kills it first when `broken` says that it hangs.
async fn ended(child: &mut Child, broken: &Notify) -> String {
    let Some(Ok(exit)) = Group::led_by(child.id()).map(Exit::of) else {
        // Without a notice of its end there is no way to tell a live warden from a dead one.
        let _killed = child.kill();
        return child
            .wait()
            .map_or_else(|error| error.to_string(), |status| status.to_string());
    };
    let how = tokio::select! {
        biased;
        how = exit.noticed() => how,
        () = broken.notified() => {
            let _killed = child.kill();
            format!("did not read its input; {}", exit.noticed().await)
        },
    };
    let _status = child.try_wait();
    how
}

/// Starting the warden takes about a millisecond and happens almost never, so it may block. It
/// has no leash: it is to outlive us.
fn spawn(program: &str, args: &[String], warden: &Warden) -> io::Result<Child> {
    let mut child = process::Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    if let Some(stdin) = child.stdin.take() {
        ioctl_fionbio(&stdin, true)?;
        warden.connect(stdin);
    }
    Ok(child)
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    /// More lines than any pipe holds.
    const LINES: u32 = 200_000;

    #[tokio::test]
    async fn a_warden_that_reads_nothing_is_replaced_and_never_blocks_the_supervisor() {
        let deaf = ["sleep".to_owned(), "1000".to_owned()];
        let watch = Watch::start(&deaf, Random::seeded(7)).expect("sleep is everywhere");
        let warden = watch.warden();
        let observer = Observer::new("n1");
        let mut events = observer.subscribe(None);
        let closing = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(watch.run(observer, closing.clone()));

        let group = Group::led_by(i32::MAX.unsigned_abs()).expect("it is above 1");
        for _ in 0..LINES {
            warden.register(group);
            warden.unregister(group);
        }

        let Some(mainstay_observe::Delivery::Record(record)) = events.next().await else {
            panic!("the end of the warden is told");
        };
        let Event::WardenExited { detail, .. } = &record.event else {
            panic!("{record:?}");
        };
        assert_eq!(detail, "did not read its input; signal: 9 (SIGKILL)");
        closing.cancel();
        while tasks.join_next().await.is_some() {}
    }
}
