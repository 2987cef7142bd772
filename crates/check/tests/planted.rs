//! A register server with a planted bug: each bug is found, and the server without one is never
//! accused.
//!
//! The run is simulated: at every tick one client takes its next step (ask, be served, get the
//! reply), so that all interleavings come up. Crashed requests may still be served much later.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "what a test leans on fails loudly, and seeds are printed"
)]

use mainstay_check::certificate::{self, Act, Certificate, Final, Promise, Record, Stamp, Watch};
use mainstay_check::history::{History, Recorder};
use mainstay_check::model::register::{Input, Output, Register};
use mainstay_check::wgl::{self, Limits};
use mainstay_core::random::Random;

const CLIENTS: usize = 5;
const TICKS: u64 = 400;
const SEEDS: u64 = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// A read is served from before the last write.
    StaleRead,
    /// A write is acknowledged and forgotten.
    LostWrite,
    /// A write is applied again after others.
    DoubleApply,
}

/// One register; its zxid counts the writes.
struct Server {
    bug: Bug,
    past: Vec<(i64, u64)>,
    zxid: u64,
    again: Option<i64>,
}

impl Server {
    /// What the request is answered, and the zxid that stamps the answer.
    fn serve(&mut self, request: Input, random: &mut Random) -> (Option<(i64, u64)>, u64) {
        let strikes = random.below(10) == 0;
        match request {
            Input::Read => {
                let mut at = self.past.len();
                if self.bug == Bug::StaleRead && strikes {
                    at = at.saturating_sub(1);
                }
                let found = at.checked_sub(1).map(|at| self.past[at]);
                let prefix = if at == self.past.len() {
                    self.zxid
                } else {
                    found.map_or(0, |(_, zxid)| zxid)
                };
                (found, prefix)
            },
            Input::Write(value) | Input::CompareAndSet { new: value, .. } => {
                self.zxid += 1;
                let zxid = self.zxid;
                if self.bug != Bug::LostWrite || !strikes {
                    self.past.push((value, zxid));
                }
                if let Some(value) = self.again.take() {
                    self.zxid += 1;
                    self.past.push((value, self.zxid));
                }
                if self.bug == Bug::DoubleApply && strikes {
                    self.again = Some(value);
                }
                (None, zxid)
            },
        }
    }
}

#[derive(Clone, Copy)]
enum Step {
    Idle,
    Asked(Input, u64),
    Served(Input, u64, Option<(i64, u64)>, u64),
}

struct Run {
    history: History<Input, Output>,
    records: Vec<Record<(), i64>>,
    finals: Vec<Final<(), i64>>,
}

fn act(request: Input, found: Option<(i64, u64)>) -> Act<(), i64> {
    let (key, watch) = ((), Watch::Unset);
    match request {
        Input::Read => Act::Read { key, found, watch },
        Input::Write(value) | Input::CompareAndSet { new: value, .. } => Act::Write {
            key,
            value: Some(value),
        },
    }
}

/// Clients, their server, and what was recorded so far.
struct World {
    random: Random,
    server: Server,
    recorder: Recorder<Input, Output>,
    records: Vec<Record<(), i64>>,
    clients: [(u64, Step); CLIENTS],
    /// Requests of crashed clients that are still on their way.
    late: Vec<Input>,
    value: i64,
}

impl World {
    fn new(bug: Bug, seed: u64) -> Self {
        let (past, zxid, again) = (Vec::new(), 0, None);
        let mut clients = [(0, Step::Idle); CLIENTS];
        for (name, client) in (0..).zip(&mut clients) {
            client.0 = name;
        }
        Self {
            random: Random::seeded(seed),
            server: Server {
                bug,
                past,
                zxid,
                again,
            },
            recorder: Recorder::new(),
            records: Vec::new(),
            clients,
            late: Vec::new(),
            value: 0,
        }
    }

    fn tick(&mut self, tick: u64) {
        let who = usize::try_from(self.random.below(CLIENTS as u64)).expect("a small number");
        let (client, step) = self.clients[who];
        self.clients[who].1 = match step {
            Step::Idle => {
                self.value += 1;
                let reads = self.random.below(2) == 0;
                let request = if reads {
                    Input::Read
                } else {
                    Input::Write(self.value)
                };
                let invoked = self.recorder.invoke(client, tick, request);
                invoked.expect("the client is idle");
                Step::Asked(request, tick)
            },
            Step::Asked(request, invoked) if self.random.below(30) == 0 => {
                self.recorder.crashed(client).expect("the client has asked");
                self.record(client, invoked, act(request, None), None);
                self.late.push(request);
                self.clients[who].0 += CLIENTS as u64;
                Step::Idle
            },
            Step::Asked(request, invoked) => {
                let (found, zxid) = self.server.serve(request, &mut self.random);
                Step::Served(request, invoked, found, zxid)
            },
            Step::Served(request, invoked, found, zxid) => {
                let output = match request {
                    Input::Read => Output::Value(found.map(|(value, _)| value)),
                    Input::Write(_) | Input::CompareAndSet { .. } => Output::Done,
                };
                let returned = self.recorder.returned(client, tick, output);
                returned.expect("the client has asked");
                let stamp = Stamp { at: tick, zxid };
                self.record(client, invoked, act(request, found), Some(stamp));
                Step::Idle
            },
        };
        if !self.late.is_empty() && self.random.below(20) == 0 {
            self.server.serve(self.late.remove(0), &mut self.random);
        }
    }

    fn record(&mut self, session: u64, invoked: u64, act: Act<(), i64>, reply: Option<Stamp>) {
        self.records.push(Record {
            session,
            invoked,
            act,
            reply,
        });
    }

    fn end(mut self) -> Run {
        for (client, step) in self.clients {
            if let Step::Asked(request, invoked) | Step::Served(request, invoked, ..) = step {
                self.record(client, invoked, act(request, None), None);
            }
        }
        let found = self.server.past.last().copied();
        Run {
            history: self.recorder.finish(),
            records: self.records,
            finals: vec![Final { key: (), found }],
        }
    }
}

fn run(bug: Bug, seed: u64) -> Run {
    let mut world = World::new(bug, seed);
    (0..TICKS).for_each(|tick| world.tick(tick));
    world.end()
}

fn certify(run: &Run) -> Certificate {
    certificate::check(Promise::LinearizableReads, &run.records, &run.finals)
}

/// How many seeds it took either checker to find the bug.
fn seeds_to_detection(bug: Bug) -> (u64, u64) {
    let violated = |seed: &u64| {
        let history = run(bug, *seed).history;
        wgl::check(&Register, &history, &Limits::default(), &|| true).is_violated()
    };
    let searched = (1..=SEEDS).find(violated);
    let certified = (1..=SEEDS).find(|seed| !certify(&run(bug, *seed)).is_kept());
    let found = (
        searched.expect("the search finds the bug"),
        certified.expect("the certificate shows the bug"),
    );
    println!(
        "found by the search at seed {}, by the certificate at seed {}",
        found.0, found.1
    );
    found
}

#[test]
fn a_server_without_a_bug_is_never_accused() {
    for seed in 1..=SEEDS {
        let run = run(Bug::None, seed);
        let verdict = wgl::check(&Register, &run.history, &Limits::default(), &|| true);
        assert!(verdict.is_linearizable(), "seed {seed}: {verdict}");
        let certificate = certify(&run);
        assert!(certificate.is_kept(), "seed {seed}: {certificate}");
    }
}

#[test]
fn a_stale_read_is_found() {
    let (searched, certified) = seeds_to_detection(Bug::StaleRead);
    assert!(searched <= 10 && certified <= 10);
}

#[test]
fn a_lost_write_is_found() {
    let (searched, certified) = seeds_to_detection(Bug::LostWrite);
    assert!(searched <= 10 && certified <= 10);
}

#[test]
fn a_write_that_is_applied_twice_is_found() {
    let (searched, certified) = seeds_to_detection(Bug::DoubleApply);
    assert!(searched <= 10 && certified <= 10);
}
