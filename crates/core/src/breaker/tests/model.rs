//! The breaker against a slow, obvious model, driven by random operations in virtual time.

use proptest::prelude::*;

use super::spared::rates;
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
    /// With its ramp, while it lasts.
    Closed {
        since: Instant,
        ramped: bool,
        log: Vec<Entry>,
        row: u32,
        abandoned: u32,
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
    Forced,
    Disabled,
}

/// What an operator may do.
#[derive(Clone, Copy, Debug)]
enum Hand {
    ForceOpen,
    Disable,
    Auto,
    Reset,
}

/// An answered call.
#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Instant,
    bad: bool,
    slow: bool,
}

/// What the model expects an operation to do.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Nothing,
    Opens,
    HalfOpens,
    Closes,
    Rejects,
    /// In a ramp, some pass.
    Chance,
}

/// A call on its way.
#[derive(Clone, Copy, Debug)]
struct Call {
    generation: u64,
    started: Instant,
}

impl Model {
    fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            generation: 0,
            cooldowns: 0,
            phase: closed(Instant::ORIGIN, false),
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
        let ramp = self.config.ramp;
        match &mut self.phase {
            ModelPhase::Closed {
                since,
                ramped: ramped @ true,
                ..
            } => match ramp {
                Some(ramp) if now.since(*since) < ramp => Expected::Chance,
                Some(_) | None => {
                    *ramped = false;
                    *since = *since + ramp.expect("there is a ramp");
                    Expected::Nothing
                },
            },
            ModelPhase::Forced => Expected::Rejects,
            ModelPhase::Closed { .. } | ModelPhase::Disabled => Expected::Nothing,
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

    fn result(&mut self, call: Call, result: Finish, now: Instant) -> Expected {
        if call.generation != self.generation {
            return Expected::Nothing;
        }
        let result = match (result, self.config.abandoned) {
            (Finish::Abandon, Abandoned::Failure) => Finish::Bad,
            (Finish::Abandon, Abandoned::Ignore) => Finish::Ignore,
            (result, _) => result,
        };
        let slow = self
            .config
            .slow
            .is_some_and(|slow| now.since(call.started) > slow.after);
        match &mut self.phase {
            ModelPhase::Closed {
                log,
                row,
                abandoned,
                ..
            } => {
                let bad = match result {
                    Finish::Good => false,
                    Finish::Bad => true,
                    Finish::Abandon => {
                        *abandoned += 1;
                        return self.judge_abandoned(now);
                    },
                    Finish::Ignore | Finish::Lose => return Expected::Nothing,
                };
                *row = if bad { *row + 1 } else { 0 };
                *abandoned = 0;
                let entry = Entry { at: now, bad, slow };
                log.push(entry);
                self.judge(entry, now)
            },
            ModelPhase::Disabled => Expected::Nothing,
            ModelPhase::Open { .. } | ModelPhase::Forced => {
                panic!("an open circuit has no permits")
            },
            ModelPhase::HalfOpen { out, ok, bad, .. } => {
                match result {
                    Finish::Lose => return Expected::Nothing,
                    Finish::Ignore | Finish::Abandon => {},
                    Finish::Good if slow => *bad += 1,
                    Finish::Good => *ok += 1,
                    Finish::Bad => *bad += 1,
                }
                *out -= 1;
                let (ok, bad) = (*ok, *bad);
                self.judge_probes(ok, bad, now)
            },
        }
    }

    /// Calls of the window, failed ones, slow ones.
    fn window(&self, now: Instant) -> (f64, f64, f64) {
        let ModelPhase::Closed { log, .. } = &self.phase else {
            panic!("only a closed circuit has a window");
        };
        let live: Vec<&Entry> = match self.config.window {
            Span::Time(time) => {
                let tick = nanos(time) / CELLS as u64;
                log.iter()
                    .filter(|entry| {
                        now.as_nanos() / tick - entry.at.as_nanos() / tick < CELLS as u64
                    })
                    .collect()
            },
            Span::Calls(calls) => {
                let first = log.len().saturating_sub(calls.get() as usize);
                log[first..].iter().collect()
            },
        };
        let count =
            |wanted: fn(&Entry) -> bool| live.iter().filter(|entry| wanted(entry)).count() as f64;
        (
            count(|_| true),
            count(|entry| entry.bad),
            count(|entry| entry.slow),
        )
    }

    fn judge(&self, entry: Entry, now: Instant) -> Expected {
        let ModelPhase::Closed { row, .. } = &self.phase else {
            panic!("only a closed circuit is judged by its log");
        };
        let (total, bad, slow) = self.window(now);
        let enough = total >= f64::from(self.config.calls_min.get());
        let in_a_row = self.config.consecutive.is_some_and(|n| *row >= n.get());
        let reached = |count: f64, rate: Option<f64>| {
            rate.is_some_and(|rate| enough && count > 0.0 && count / total >= rate)
        };
        let by_rate = reached(bad, self.config.error_rate)
            || reached(slow, self.config.slow.map(|slow| slow.rate));
        if by_rate || (entry.bad && in_a_row) {
            Expected::Opens
        } else {
            Expected::Nothing
        }
    }

    fn judge_abandoned(&self, now: Instant) -> Expected {
        let ModelPhase::Closed { abandoned, .. } = &self.phase else {
            panic!("only a closed circuit counts abandoned calls");
        };
        let answered = match self.config.window {
            Span::Time(_) => self.window(now).0 > 0.0,
            // What counts is that there was no answer since.
            Span::Calls(_) => false,
        };
        // Without a rate to reach there is no window.
        let counted = self.config.error_rate.is_some() || self.config.slow.is_some();
        if *abandoned >= self.config.calls_min.get() && !(answered && counted) {
            Expected::Opens
        } else {
            Expected::Nothing
        }
    }

    fn judge_probes(&mut self, ok: u32, bad: u32, now: Instant) -> Expected {
        let probes = self.config.probes.get();
        let slow_rate = self.config.slow.map(|slow| slow.rate);
        let opening = self.config.error_rate.or(slow_rate);
        let rate = self.config.probe_rate.or(opening);
        let by_rate = rate.is_some_and(|rate| f64::from(bad) / f64::from(probes) >= rate);
        let in_a_row = self.config.probe_rate.is_none()
            && self
                .config
                .consecutive
                .is_some_and(|n| bad >= n.get().min(probes));
        if bad > 0 && (by_rate || in_a_row) {
            return Expected::Opens;
        }
        if ok + bad < probes {
            return Expected::Nothing;
        }
        self.move_to(closed(now, self.config.ramp.is_some()));
        Expected::Closes
    }

    /// The circuit opened, until an instant that only the engine knows: checks its bounds.
    fn opened(&mut self, until: Instant, cooldowns: u32, now: Instant) {
        let past = match &self.phase {
            // The engine begins to count calm at the ramp's end, and knows of the end once somebody
            // asked to make a call.
            ModelPhase::Closed {
                since,
                ramped: false,
                ..
            } if now.since(*since) >= self.config.stable_after => 0,
            ModelPhase::Closed { .. }
            | ModelPhase::Open { .. }
            | ModelPhase::HalfOpen { .. }
            | ModelPhase::Forced
            | ModelPhase::Disabled => self.cooldowns,
        };
        self.cooldowns = (past + 1).min(15);
        assert_eq!(cooldowns, self.cooldowns);
        let whole = self.config.reopen * 2_u32.pow(past);
        let whole = whole.min(self.config.reopen_max);
        assert!(until.since(now) >= whole / 2 && until.since(now) <= whole);
        self.move_to(ModelPhase::Open { until });
    }

    /// What `hand` does; what observers hear.
    fn handle(&mut self, hand: Hand, now: Instant) -> Expected {
        let is_open = matches!(
            self.phase,
            ModelPhase::Open { .. } | ModelPhase::HalfOpen { .. }
        );
        let forced = matches!(self.phase, ModelPhase::Forced);
        let disabled = matches!(self.phase, ModelPhase::Disabled);
        let closes = |closes: bool| {
            if closes {
                Expected::Closes
            } else {
                Expected::Nothing
            }
        };
        match hand {
            Hand::ForceOpen if forced => Expected::Nothing,
            Hand::ForceOpen => {
                self.move_to(ModelPhase::Forced);
                Expected::Opens
            },
            Hand::Disable if disabled => Expected::Nothing,
            Hand::Disable => {
                self.move_to(ModelPhase::Disabled);
                closes(is_open || forced)
            },
            Hand::Auto if forced || disabled => {
                self.move_to(closed(now, false));
                closes(forced)
            },
            Hand::Auto => Expected::Nothing,
            Hand::Reset => {
                self.cooldowns = 0;
                if forced || disabled {
                    self.generation += 1;
                } else {
                    self.move_to(closed(now, false));
                }
                closes(is_open)
            },
        }
    }

    /// The share of calls that passes in a ramp.
    fn share(&self, since: Instant, now: Instant) -> Option<f64> {
        let ramp = self.config.ramp.expect("there is a ramp").as_secs_f64();
        let done = now.since(since).as_secs_f64() / ramp;
        (done < 1.0).then_some(RAMP_FLOOR + (1.0 - RAMP_FLOOR) * done)
    }

    fn state(&self, now: Instant) -> State {
        match self.phase {
            ModelPhase::Closed {
                since,
                ramped: true,
                ..
            } => match self.share(since, now) {
                Some(share) => State::Ramp { share },
                None => State::Closed,
            },
            ModelPhase::Closed { .. } => State::Closed,
            ModelPhase::Open { until } => State::Open {
                retry_after: until.since(now),
            },
            ModelPhase::HalfOpen { .. } => State::HalfOpen,
            ModelPhase::Forced => State::ForcedOpen,
            ModelPhase::Disabled => State::Disabled,
        }
    }
}

fn closed(since: Instant, ramped: bool) -> ModelPhase {
    ModelPhase::Closed {
        since,
        ramped,
        log: Vec::new(),
        row: 0,
        abandoned: 0,
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
    Hand(Hand),
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
    // Half of the time a hand lets go again.
    let hand = prop_oneof![
        1 => Just(Hand::ForceOpen),
        1 => Just(Hand::Disable),
        3 => Just(Hand::Auto),
        1 => Just(Hand::Reset),
    ];
    let step = prop_oneof![
        15 => advance.prop_map(Step::Advance),
        40 => Just(Step::Acquire),
        1 => hand.prop_map(Step::Hand),
        40 => (any::<prop::sample::Index>(), finish).prop_map(|(i, f)| Step::Finish(i, f)),
    ];
    prop::collection::vec(step, 0..400)
}

fn configs() -> impl Strategy<Value = Config> {
    let window = prop_oneof![
        Just(Span::Time(millis(320))),
        (8..70_u32).prop_map(|calls| Span::Calls(count(calls))),
    ];
    let slow = (0..300_u64, rates()).prop_map(|(after, rate)| Slow {
        after: millis(after + 1),
        rate,
        in_flight: false,
    });
    let abandoned = prop_oneof![
        1 => Just(Abandoned::Ignore),
        1 => Just(Abandoned::Failure),
        3 => Just(Abandoned::FailureIfAll),
    ];
    let opens = (
        prop::option::weighted(0.8, rates()),
        prop::option::of(1..6_u32),
        prop::option::of(slow),
        1..8_u32,
        window,
    );
    let closes = (
        1..5_u32,
        prop::option::weighted(0.3, rates()),
        prop::option::weighted(0.3, 1..400_u64),
        abandoned,
    );
    (opens, closes).prop_filter_map("something opens it", |(opens, closes)| {
        let (error_rate, in_a_row, slow, calls_min, window) = opens;
        let (probes, probe_rate, ramp, abandoned) = closes;
        let config = Config {
            error_rate,
            calls_min: count(calls_min),
            consecutive: in_a_row.map(count),
            slow,
            window,
            abandoned,
            reopen: millis(100),
            reopen_max: millis(700),
            probes: count(probes),
            probe_rate,
            lease: millis(160),
            ramp: ramp.map(millis),
            stable_after: millis(500),
        };
        config.validate().is_ok().then_some(config)
    })
}

/// Compares what the engine did with what the model expects.
fn agree(model: &mut Model, got: Option<Transition>, expected: &Expected, now: Instant) {
    let wanted = match got {
        None => Expected::Nothing,
        Some(Transition::HalfOpened) => Expected::HalfOpens,
        Some(Transition::Closed) => Expected::Closes,
        Some(Transition::Opened {
            retry_after: Some(retry_after),
            cooldowns,
            ..
        }) => {
            model.opened(now + retry_after, cooldowns, now);
            Expected::Opens
        },
        Some(Transition::Opened {
            retry_after: None, ..
        }) => panic!("nobody forced it"),
    };
    let expected = if *expected == Expected::Chance {
        &Expected::Nothing
    } else {
        expected
    };
    assert_eq!(wanted, *expected);
}

fn finish(breaker: &Breaker, permit: Permit, how: Finish, now: Instant) -> Option<Transition> {
    match how {
        // As the library does: without the time where that is enough.
        Finish::Good => breaker
            .success_uncounted(permit)
            .or_else(|permit| breaker.success_untimed(permit))
            .map_or_else(|permit| breaker.success(permit, now), |()| None),
        Finish::Bad => breaker.failure(permit, Reason::Error, now),
        Finish::Abandon => breaker.abandon(permit, now),
        Finish::Ignore => {
            breaker.ignore(permit);
            None
        },
        Finish::Lose => None,
    }
}

fn handle(breaker: &Breaker, hand: Hand, now: Instant) -> Option<Transition> {
    match hand {
        Hand::ForceOpen => breaker.force_open(),
        Hand::Disable => breaker.disable(),
        Hand::Auto => breaker.auto(now),
        Hand::Reset => breaker.reset(now),
    }
}

/// The engine's share is in parts per million, and in microseconds.
fn alike(engine: State, model: State) -> bool {
    match (engine, model) {
        (State::Ramp { share: engine }, State::Ramp { share: model }) => {
            (engine - model).abs() < 0.000_01
        },
        (engine, model) => engine == model,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    #[cfg_attr(miri, ignore = "too many steps for an interpreter")]
    fn every_operation_does_what_the_model_does(
        config in configs(),
        seed in any::<u64>(),
        steps in steps(),
    ) {
        let breaker = Breaker::new(&config, seed).expect("the strategy makes valid ones");
        let mut model = Model::new(&config);
        let mut now = at(0);
        let mut out: Vec<(Permit, Call)> = Vec::new();
        for step in steps {
            match step {
                Step::Advance(by) => now = now + millis(by),
                Step::Acquire => {
                    let would = breaker.would_admit(now);
                    let expected = model.acquire(now);
                    prop_assert_eq!(would, expected != Expected::Rejects);
                    let granted = breaker.acquire(now).ok();
                    if expected != Expected::Chance {
                        prop_assert_eq!(granted.is_none(), expected == Expected::Rejects);
                    }
                    if let Some(granted) = granted {
                        let call = Call { generation: model.generation, started: now };
                        out.push((granted.permit, call));
                        agree(&mut model, granted.transition, &expected, now);
                    }
                },
                Step::Hand(hand) => {
                    let expected = model.handle(hand, now);
                    let got = match handle(&breaker, hand, now) {
                        None => Expected::Nothing,
                        Some(Transition::Opened { reason: Reason::Forced, .. }) => Expected::Opens,
                        Some(Transition::Closed) => Expected::Closes,
                        Some(other @ (Transition::Opened { .. } | Transition::HalfOpened)) => {
                            panic!("no hand does {other:?}")
                        },
                    };
                    prop_assert_eq!(got, expected);
                },
                Step::Finish(index, how) if !out.is_empty() => {
                    let (permit, call) = out.swap_remove(index.index(out.len()));
                    let expected = model.result(call, how, now);
                    let got = finish(&breaker, permit, how, now);
                    agree(&mut model, got, &expected, now);
                },
                Step::Finish(..) => {},
            }
            prop_assert!(alike(breaker.state(now), model.state(now)));
        }
    }
}
