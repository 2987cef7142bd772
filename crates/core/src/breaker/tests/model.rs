//! The breaker against a slow, obvious model, driven by random operations in virtual time.

use proptest::prelude::*;

use super::*;
use crate::time::nanos;

/// The circuit as a textbook would write it: a log instead of a window, one field per idea, and
/// a generation that never wraps.
struct Model {
    config: Config,
    generation: u64,
    cooldowns: u32,
    phase: ModelPhase,
}

enum ModelPhase {
    Closed {
        since: Instant,
        log: Vec<(Instant, Entry)>,
        row: u32,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        out: u32,
        ok: u32,
        bad: u32,
        last: Instant,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Good,
    Bad,
    Abandoned,
}

/// What the model expects an operation to do.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Nothing,
    Opens,
    HalfOpens,
    Closes,
    Rejects,
}

impl Model {
    fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            generation: 0,
            cooldowns: 0,
            phase: closed(Instant::ORIGIN),
        }
    }

    fn move_to(&mut self, phase: ModelPhase) {
        self.generation += 1;
        self.phase = phase;
    }

    fn lease_ran_out(&self, last: Instant, now: Instant) -> bool {
        let tick = nanos(self.config.lease) / 16;
        now.as_nanos() / tick - last.as_nanos() / tick > 16
    }

    fn acquire(&mut self, now: Instant) -> Expected {
        match &mut self.phase {
            ModelPhase::Closed { .. } => Expected::Nothing,
            ModelPhase::Open { until } if now < *until => Expected::Rejects,
            ModelPhase::Open { .. } => {
                self.move_to(half_open(now));
                Expected::HalfOpens
            },
            ModelPhase::HalfOpen { out, ok, bad, last } => {
                if *out + *ok + *bad < self.config.probes.get() {
                    *out += 1;
                    *last = now;
                    return Expected::Nothing;
                }
                let last = *last;
                if !self.lease_ran_out(last, now) {
                    return Expected::Rejects;
                }
                self.move_to(half_open(now));
                Expected::Nothing
            },
        }
    }

    fn result(&mut self, generation: u64, result: Finish, now: Instant) -> Expected {
        if generation != self.generation {
            return Expected::Nothing;
        }
        match &mut self.phase {
            ModelPhase::Closed { log, row, .. } => {
                let entry = match result {
                    Finish::Good => Entry::Good,
                    Finish::Bad => Entry::Bad,
                    Finish::Abandon => Entry::Abandoned,
                    Finish::Ignore | Finish::Lose => return Expected::Nothing,
                };
                log.push((now, entry));
                match entry {
                    Entry::Good => *row = 0,
                    Entry::Bad => *row += 1,
                    Entry::Abandoned => {},
                }
                self.judge(entry, now)
            },
            ModelPhase::Open { .. } => panic!("an open circuit has no permits"),
            ModelPhase::HalfOpen { out, ok, bad, .. } => {
                match result {
                    Finish::Lose => return Expected::Nothing,
                    Finish::Ignore | Finish::Abandon => {},
                    Finish::Good => *ok += 1,
                    Finish::Bad => *bad += 1,
                }
                *out -= 1;
                let (ok, bad) = (*ok, *bad);
                self.judge_probes(ok, bad, now)
            },
        }
    }

    fn judge(&self, entry: Entry, now: Instant) -> Expected {
        let ModelPhase::Closed { log, row, .. } = &self.phase else {
            panic!("only a closed circuit is judged by its log");
        };
        let tick = nanos(self.config.window) / CELLS as u64;
        let live = |wanted: Entry| {
            log.iter()
                .filter(|(at, _)| now.as_nanos() / tick - at.as_nanos() / tick < CELLS as u64)
                .filter(|(_, entry)| *entry == wanted)
                .count() as f64
        };
        let (good, bad, gone) = (live(Entry::Good), live(Entry::Bad), live(Entry::Abandoned));
        let enough = f64::from(self.config.calls_min.get());
        let in_a_row = self.config.consecutive.is_some_and(|n| *row >= n.get());
        // The rates of the test are exact in binary.
        let by_rate = good + bad >= enough && bad / (good + bad) >= self.config.error_rate;
        let trips = match entry {
            Entry::Good => by_rate && bad > 0.0,
            Entry::Bad => by_rate || in_a_row,
            Entry::Abandoned => good + bad == 0.0 && gone >= enough,
        };
        if trips {
            Expected::Opens
        } else {
            Expected::Nothing
        }
    }

    fn judge_probes(&mut self, ok: u32, bad: u32, now: Instant) -> Expected {
        let probes = self.config.probes.get();
        let by_rate = f64::from(bad) / f64::from(probes) >= self.config.error_rate;
        let in_a_row = self.config.consecutive.is_some_and(|n| bad >= n.get());
        if bad > 0 && (by_rate || in_a_row) {
            return Expected::Opens;
        }
        if ok + bad < probes {
            return Expected::Nothing;
        }
        self.move_to(closed(now));
        Expected::Closes
    }

    /// The circuit opened, until an instant that only the engine knows: checks its bounds.
    fn opened(&mut self, until: Instant, cooldowns: u32, now: Instant) {
        let past = match &self.phase {
            ModelPhase::Closed { since, .. } if now.since(*since) >= self.config.stable_after => 0,
            ModelPhase::Closed { .. } | ModelPhase::Open { .. } | ModelPhase::HalfOpen { .. } => {
                self.cooldowns
            },
        };
        self.cooldowns = (past + 1).min(15);
        assert_eq!(cooldowns, self.cooldowns);
        let whole = self.config.reopen * 2_u32.pow(past);
        let whole = whole.min(self.config.reopen_max);
        assert!(until.since(now) >= whole / 2 && until.since(now) <= whole);
        self.move_to(ModelPhase::Open { until });
    }

    fn state(&self, now: Instant) -> State {
        match self.phase {
            ModelPhase::Closed { .. } => State::Closed,
            ModelPhase::Open { until } => State::Open {
                retry_after: until.since(now),
            },
            ModelPhase::HalfOpen { .. } => State::HalfOpen,
        }
    }
}

fn closed(since: Instant) -> ModelPhase {
    ModelPhase::Closed {
        since,
        log: Vec::new(),
        row: 0,
    }
}

fn half_open(now: Instant) -> ModelPhase {
    ModelPhase::HalfOpen {
        out: 1,
        ok: 0,
        bad: 0,
        last: now,
    }
}

#[derive(Clone, Copy, Debug)]
enum Finish {
    Good,
    Bad,
    Ignore,
    Abandon,
    Lose,
}

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Acquire,
    Finish(prop::sample::Index, Finish),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let advance = prop_oneof![
        6 => 0..20_u64,
        3 => 0..300_u64,
        1 => 0..3_000_u64,
    ];
    let finish = prop_oneof![
        6 => Just(Finish::Good),
        8 => Just(Finish::Bad),
        1 => Just(Finish::Ignore),
        3 => Just(Finish::Abandon),
        1 => Just(Finish::Lose),
    ];
    let step = prop_oneof![
        3 => advance.prop_map(Step::Advance),
        8 => Just(Step::Acquire),
        8 => (any::<prop::sample::Index>(), finish).prop_map(|(i, f)| Step::Finish(i, f)),
    ];
    prop::collection::vec(step, 0..400)
}

fn configs() -> impl Strategy<Value = Config> {
    let rate = prop_oneof![Just(0.25), Just(0.5), Just(1.0)];
    let in_a_row = prop_oneof![Just(None), (1..6_u32).prop_map(Some)];
    (rate, 1..8_u32, in_a_row, 1..5_u32).prop_map(|(error_rate, calls_min, in_a_row, probes)| {
        Config {
            error_rate,
            calls_min: count(calls_min),
            consecutive: in_a_row.map(count),
            window: millis(320),
            reopen: millis(100),
            reopen_max: millis(700),
            probes: count(probes),
            lease: millis(160),
            stable_after: millis(500),
        }
    })
}

/// Compares what the engine did with what the model expects.
fn agree(model: &mut Model, got: Option<Transition>, expected: &Expected, now: Instant) {
    let wanted = match got {
        None => Expected::Nothing,
        Some(Transition::HalfOpened) => Expected::HalfOpens,
        Some(Transition::Closed) => Expected::Closes,
        Some(Transition::Opened {
            retry_after,
            cooldowns,
            ..
        }) => {
            model.opened(now + retry_after, cooldowns, now);
            Expected::Opens
        },
    };
    assert_eq!(wanted, *expected);
}

fn finish(breaker: &Breaker, permit: Permit, how: Finish, now: Instant) -> Option<Transition> {
    match how {
        Finish::Good => breaker.success(permit, now),
        Finish::Bad => breaker.failure(permit, Reason::Error, now),
        Finish::Abandon => breaker.abandon(permit, now),
        Finish::Ignore => {
            breaker.ignore(permit);
            None
        },
        Finish::Lose => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_operation_does_what_the_model_does(
        config in configs(),
        seed in any::<u64>(),
        steps in steps(),
    ) {
        let breaker = Breaker::new(&config, seed).expect("the strategy makes valid ones");
        let mut model = Model::new(&config);
        let mut now = at(0);
        let mut out: Vec<(Permit, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Advance(by) => now = now + millis(by),
                Step::Acquire => {
                    let would = breaker.would_admit(now);
                    let expected = model.acquire(now);
                    prop_assert_eq!(would, expected != Expected::Rejects);
                    let granted = breaker.acquire(now).ok();
                    prop_assert_eq!(granted.is_none(), expected == Expected::Rejects);
                    if let Some(granted) = granted {
                        out.push((granted.permit, model.generation));
                        agree(&mut model, granted.transition, &expected, now);
                    }
                },
                Step::Finish(index, how) if !out.is_empty() => {
                    let (permit, generation) = out.swap_remove(index.index(out.len()));
                    let expected = model.result(generation, how, now);
                    let got = finish(&breaker, permit, how, now);
                    agree(&mut model, got, &expected, now);
                },
                Step::Finish(..) => {},
            }
            prop_assert_eq!(breaker.state(now), model.state(now));
        }
    }
}
