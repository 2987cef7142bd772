//! The state machine as tables: at this instant, this happens, and this is done about it.

mod history;

use std::num::NonZeroU32;

use mainstay_core::health::Hysteresis;
use mainstay_core::outcome::Reason;

use super::*;

const GRACE: Duration = Duration::from_secs(5);

fn probe(every_ms: u64, rise: u32, fall: u32) -> Probe {
    let count = |n| NonZeroU32::new(n).expect("tests use positive counts");
    Probe {
        http_path: None,
        every: Duration::from_millis(every_ms),
        timeout: Duration::from_millis(500),
        hysteresis: Hysteresis {
            rise: count(rise),
            fall: count(fall),
        },
    }
}

fn plan() -> Plan {
    Plan {
        service: "payment".into(),
        replica: "payment-1".into(),
        port: 9_001,
        grace: GRACE,
        restart: restart::Policy::default(),
        startup: None,
        readiness: None,
        liveness: None,
    }
}

/// A replica at a bench: actions come out as words.
struct Bench {
    replica: Replica,
    now: Instant,
}

impl Bench {
    fn new(plan: Plan) -> Self {
        let now = Instant::ORIGIN;
        Self {
            replica: Replica::new(plan, Random::seeded(7), now),
            now,
        }
    }

    /// Started at 0, with pid 7.
    fn started(plan: Plan) -> Self {
        let mut bench = Self::new(plan);
        assert_eq!(bench.at(0, Input::Timer), ["spawn"]);
        bench.at(0, Input::Spawned { pid: 7 });
        bench
    }

    fn at(&mut self, ms: u64, input: Input) -> Vec<String> {
        self.now = self.now.max(Instant::from_millis(ms));
        let actions = self.replica.on(input, self.now);
        actions.iter().map(word).collect()
    }

    /// Lets time pass up to the next timer.
    fn wait(&mut self) -> Vec<String> {
        let timer = self.replica.timer().expect("something is due");
        self.now = self.now.max(timer);
        let actions = self.replica.on(Input::Timer, self.now);
        actions.iter().map(word).collect()
    }

    /// Answers the awaited probe.
    fn answer(&mut self, kind: ProbeKind, ok: bool) -> Vec<String> {
        let ms = self.ms();
        self.at(ms, probed(kind, ok))
    }

    fn exit(&mut self, ms: u64) -> Vec<String> {
        self.at(ms, exited())
    }

    fn ms(&self) -> u64 {
        self.now.as_nanos() / 1_000_000
    }
}

fn word(action: &Action) -> String {
    match action {
        Action::Spawn => "spawn".to_owned(),
        Action::Terminate => "terminate".to_owned(),
        Action::Kill => "kill".to_owned(),
        Action::Clear => "clear".to_owned(),
        Action::Abandon => "abandon".to_owned(),
        Action::Probe(kind) => format!("probe {kind:?}"),
        Action::Tell(Change::Started { pid, .. }) => format!("tell started {pid}"),
        Action::Tell(Change::Ready { .. }) => "tell ready".to_owned(),
        Action::Tell(Change::Unready { .. }) => "tell unready".to_owned(),
        Action::Tell(Change::Exited { pid, .. }) => format!("tell exited {pid}"),
        Action::Observe(event) => event.kind().name.to_owned(),
    }
}

fn probed(kind: ProbeKind, ok: bool) -> Input {
    let (result, detail) = if ok {
        (Ok(()), "200")
    } else {
        (Err(Reason::Connect), "connection refused")
    };
    Input::Probed {
        kind,
        checked: Checked {
            result,
            detail: detail.to_owned(),
        },
    }
}

fn exited() -> Input {
    Input::Exited {
        detail: "exit status: 1".to_owned(),
    }
}

mod lives {
    use super::*;

    #[test]
    fn without_probes_a_replica_is_ready_once_it_runs() {
        let mut bench = Bench::new(plan());
        assert_eq!(bench.at(0, Input::Timer), ["spawn"]);
        assert_eq!(
            bench.at(1, Input::Spawned { pid: 7 }),
            [
                "tell started 7",
                "replica_started",
                "tell ready",
                "replica_ready"
            ],
        );
        assert_eq!(bench.replica.phase(), Phase::Running);
        assert_eq!(bench.replica.pid(), Some(7));
        assert_eq!(bench.replica.timer(), None);
    }

    #[test]
    fn routing_hears_of_an_exit_before_anything_else_is_done() {
        let mut bench = Bench::started(plan());
        assert_eq!(
            bench.exit(100),
            [
                "tell exited 7",
                "clear",
                "replica_exited",
                "replica_restarting"
            ],
        );
    }

    #[test]
    fn a_replica_starts_again_only_after_its_group_is_gone_and_the_backoff_is_over() {
        let mut bench = Bench::started(plan());
        bench.exit(100);
        assert_eq!(bench.replica.timer(), None, "the group is not gone yet");
        assert_eq!(bench.at(105, Input::Timer), [""; 0]);

        bench.at(105, Input::Cleared);
        let due = bench.replica.timer().expect("the restart is due");
        assert!(
            due > Instant::from_millis(104) && due <= Instant::from_millis(110),
            "{due:?}"
        );
        assert_eq!(bench.wait(), ["spawn"]);
        bench.at(111, Input::Spawned { pid: 8 });
        assert_eq!(
            (bench.replica.restarts(), bench.replica.pid()),
            (1, Some(8))
        );
    }

    #[test]
    fn a_start_that_fails_is_an_exit_with_a_backoff() {
        let mut bench = Bench::new(plan());
        bench.at(0, Input::Timer);
        let detail = "could not be started".to_owned();
        assert_eq!(
            bench.at(1, Input::SpawnFailed { detail }),
            ["replica_exited", "replica_restarting"],
        );
        assert_eq!(bench.replica.phase(), Phase::Waiting);
        assert_eq!(bench.wait(), ["spawn"]);
    }

    #[test]
    fn a_crash_loop_is_told_on_entering_it_and_not_on_each_exit() {
        let mut bench = Bench::new(plan());
        let mut told = Vec::new();
        for exit in 1..=8 {
            assert_eq!(bench.wait(), ["spawn"]);
            let ms = bench.ms();
            bench.at(ms, Input::Spawned { pid: exit });
            if bench.exit(ms).contains(&"replica_crash_loop".to_owned()) {
                told.push(exit);
            }
            assert_eq!(
                bench.replica.phase() == Phase::CrashLoop,
                exit >= 5,
                "exit {exit}"
            );
            bench.at(ms, Input::Cleared);
        }
        assert_eq!(told, [5]);
    }

    #[test]
    fn a_crash_loop_that_goes_on_is_told_again_after_a_while() {
        let mut bench = Bench::new(plan());
        let mut told = Vec::new();
        while bench.ms() < 11 * 60_000 {
            bench.wait();
            let ms = bench.ms();
            bench.at(ms, Input::Spawned { pid: 7 });
            if bench.exit(ms).contains(&"replica_crash_loop".to_owned()) {
                told.push(ms / 60_000);
            }
            bench.at(ms, Input::Cleared);
        }
        assert_eq!(told, [0, 5, 10]);
    }
}

mod probes {
    use super::*;

    fn with_startup() -> Plan {
        Plan {
            startup: Some(Startup {
                probe: probe(1_000, 1, 1),
                within: Duration::from_secs(3),
            }),
            readiness: Some(probe(1_000, 2, 3)),
            liveness: Some(probe(1_000, 1, 2)),
            ..plan()
        }
    }

    #[test]
    fn a_startup_probe_holds_back_the_others_until_its_first_success() {
        let mut bench = Bench::started(with_startup());
        for _ in 0..5 {
            assert_eq!(bench.wait(), ["probe Startup"]);
            assert_eq!(bench.answer(ProbeKind::Startup, false), [""; 0]);
            assert_eq!(bench.replica.verdict(), Verdict::Unknown);
        }
        assert_eq!(bench.wait(), ["probe Startup"]);
        assert_eq!(bench.answer(ProbeKind::Startup, true), [""; 0]);
        assert_eq!(bench.replica.phase(), Phase::Running);

        assert_eq!(bench.wait(), ["probe Readiness"]);
        assert_eq!(
            bench.answer(ProbeKind::Readiness, true),
            ["tell ready", "replica_ready"]
        );
    }

    #[test]
    fn a_start_that_takes_too_long_is_killed_and_tried_again() {
        let mut bench = Bench::started(with_startup());
        assert_eq!(bench.wait(), ["probe Startup"]);
        // The probe hangs; the limit of the start does not wait for it.
        assert_eq!(bench.wait(), ["terminate", "replica_killed"]);
        assert_eq!(bench.ms(), 3_000);
        assert_eq!(bench.replica.phase(), Phase::Killing);
        assert_eq!(
            bench.exit(3_001),
            [
                "tell exited 7",
                "clear",
                "replica_exited",
                "replica_restarting"
            ],
        );
    }

    #[test]
    fn a_fresh_replica_is_asked_soon_and_then_ever_less_often() {
        let mut bench = Bench::started(Plan {
            readiness: Some(probe(1_000, 2, 3)),
            ..plan()
        });
        let mut asked = Vec::new();
        for _ in 0..10 {
            assert_eq!(bench.wait(), ["probe Readiness"]);
            asked.push(bench.ms());
            bench.answer(ProbeKind::Readiness, false);
        }
        let gaps: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (gap, least) in gaps
            .iter()
            .zip([10, 20, 40, 80, 160, 320, 640, 1_000, 1_000])
        {
            assert!((least..=least + least / 10 + 1).contains(gap), "{gaps:?}");
        }
    }

    #[test]
    fn readiness_decides_routing_with_hysteresis_and_never_kills() {
        let mut bench = Bench::started(Plan {
            readiness: Some(probe(1_000, 2, 3)),
            ..plan()
        });
        let answers = [
            (false, &[][..]), // before the first success nothing is lost
            (true, &["tell ready", "replica_ready"]),
            (false, &[]),
            (false, &[]),
            (false, &["tell unready", "replica_unready"]),
            (true, &[]),
            (true, &["tell ready", "replica_ready"]),
        ];
        for (step, (ok, expected)) in answers.into_iter().enumerate() {
            assert_eq!(bench.wait(), ["probe Readiness"], "step {step}");
            assert_eq!(
                bench.answer(ProbeKind::Readiness, ok),
                expected,
                "step {step}"
            );
        }
        assert_eq!(bench.replica.phase(), Phase::Running);
    }

    /// When a replica that answers no probe was reported, within a minute.
    fn reports(plan: Plan, kind: ProbeKind) -> Vec<u64> {
        let mut bench = Bench::started(plan);
        let mut reports = Vec::new();
        while bench.ms() < 60_000 {
            let said = bench.wait();
            if said.contains(&"replica_unready".to_owned()) {
                reports.push(bench.ms());
            }
            if said.contains(&format!("probe {kind:?}")) {
                bench.answer(kind, false);
            }
        }
        reports
    }

    #[test]
    fn a_replica_that_does_not_become_ready_is_reported_once() {
        let unready = Plan {
            readiness: Some(probe(1_000, 2, 3)),
            ..plan()
        };
        assert_eq!(reports(unready, ProbeKind::Readiness), [10_000]);

        let mut starting = with_startup();
        starting.startup = starting.startup.map(|startup| Startup {
            within: Duration::from_mins(2),
            ..startup
        });
        assert_eq!(reports(starting, ProbeKind::Startup), [10_000]);
    }

    #[test]
    fn liveness_kills_after_exactly_fall_failures_in_a_row() {
        let mut bench = Bench::started(Plan {
            liveness: Some(probe(1_000, 1, 2)),
            ..plan()
        });
        let answers = [
            (false, &[][..]), // also the very first answer does not decide alone
            (true, &[]),
            (false, &[]),
            (false, &["tell unready", "terminate", "replica_killed"]),
        ];
        for (step, (ok, expected)) in answers.into_iter().enumerate() {
            assert_eq!(bench.wait(), ["probe Liveness"], "step {step}");
            assert_eq!(
                bench.answer(ProbeKind::Liveness, ok),
                expected,
                "step {step}"
            );
        }
        assert!(!bench.replica.ready());
    }

    #[test]
    fn an_answer_for_a_process_that_is_gone_changes_nothing() {
        let mut bench = Bench::started(Plan {
            readiness: Some(probe(1_000, 1, 1)),
            ..plan()
        });
        bench.wait();
        bench.exit(5);
        assert_eq!(bench.at(6, probed(ProbeKind::Readiness, true)), [""; 0]);
        assert!(!bench.replica.ready());
    }

    #[test]
    fn a_restarted_replica_has_to_pass_its_probes_anew() {
        let mut bench = Bench::started(Plan {
            readiness: Some(probe(1_000, 1, 1)),
            ..plan()
        });
        bench.wait();
        bench.answer(ProbeKind::Readiness, true);
        assert!(bench.replica.ready());

        bench.exit(50);
        bench.at(50, Input::Cleared);
        bench.wait();
        let ms = bench.ms();
        bench.at(ms, Input::Spawned { pid: 8 });

        assert!(!bench.replica.ready());
        assert_eq!(bench.replica.verdict(), Verdict::Unknown);
    }
}

mod stops {
    use super::*;

    #[test]
    fn a_stop_asks_and_ends_with_the_process() {
        let mut bench = Bench::started(plan());
        assert_eq!(bench.at(10, Input::Stop), ["tell unready", "terminate"]);
        assert_eq!(bench.exit(20), ["tell exited 7", "clear"]);
        assert_eq!(bench.replica.end(), None, "the group is not gone yet");
        assert_eq!(bench.at(21, Input::Cleared), ["replica_stopped"]);
        assert_eq!(bench.replica.end(), Some(End::Graceful));
    }

    #[test]
    fn a_process_that_does_not_listen_is_killed_when_the_grace_period_ends() {
        let mut bench = Bench::started(plan());
        bench.at(10, Input::Stop);
        assert_eq!(bench.at(5_009, Input::Timer), [""; 0]);
        assert_eq!(bench.wait(), ["kill"]);
        assert_eq!(bench.ms(), 5_010);
        bench.exit(5_011);
        bench.at(5_011, Input::Cleared);
        assert_eq!(bench.replica.end(), Some(End::Killed));
    }

    #[test]
    fn a_second_request_ends_the_grace_period() {
        let mut bench = Bench::started(plan());
        bench.at(10, Input::Stop);
        assert_eq!(bench.at(11, Input::KillNow), ["kill"]);
        assert_eq!(bench.at(12, Input::KillNow), [""; 0]);
    }

    #[test]
    fn a_process_that_cannot_be_killed_does_not_hold_up_the_stop_for_ever() {
        let mut bench = Bench::started(plan());
        bench.at(0, Input::KillNow);
        assert_eq!(bench.wait(), ["abandon", "replica_stopped"]);
        assert_eq!(bench.replica.end(), Some(End::Left));
        assert_eq!(bench.exit(60_000), [""; 0]);
    }

    #[test]
    fn a_stop_during_the_backoff_is_immediate() {
        let mut bench = Bench::started(plan());
        bench.exit(10);
        bench.at(10, Input::Cleared);
        assert_eq!(bench.at(11, Input::Stop), ["replica_stopped"]);
        assert_eq!(bench.replica.end(), Some(End::Graceful));
    }

    #[test]
    fn a_stop_while_the_group_is_cleared_prevents_the_restart() {
        let mut bench = Bench::started(plan());
        bench.exit(10);
        assert_eq!(bench.at(11, Input::Stop), [""; 0]);
        assert_eq!(bench.at(12, Input::Cleared), ["replica_stopped"]);
    }

    #[test]
    fn a_stop_while_the_process_is_being_started_stops_it_as_soon_as_it_is_there() {
        for (stop, action) in [(Input::Stop, "terminate"), (Input::KillNow, "kill")] {
            let mut bench = Bench::new(plan());
            bench.at(0, Input::Timer);
            assert_eq!(bench.at(1, stop), [""; 0]);
            assert_eq!(
                bench.at(2, Input::Spawned { pid: 7 }),
                ["tell started 7", "replica_started", action],
            );
        }
    }

    #[test]
    fn a_stop_while_a_start_fails_is_a_stop() {
        let mut bench = Bench::new(plan());
        bench.at(0, Input::Timer);
        bench.at(1, Input::Stop);
        let detail = String::new();
        assert_eq!(
            bench.at(2, Input::SpawnFailed { detail }),
            ["replica_stopped"]
        );
    }

    #[test]
    fn a_stop_of_a_hung_start_does_not_wait_for_its_probe() {
        let mut bench = Bench::started(Plan {
            startup: Some(Startup {
                probe: probe(1_000, 1, 1),
                within: Duration::from_mins(1),
            }),
            ..plan()
        });
        assert_eq!(bench.wait(), ["probe Startup"]);
        assert_eq!(bench.at(10, Input::Stop), ["terminate"]);
        assert_eq!(bench.at(11, probed(ProbeKind::Startup, true)), [""; 0]);
        assert_eq!(bench.replica.phase(), Phase::Stopping);
    }

    #[test]
    fn a_replica_that_is_killed_for_its_probe_is_not_started_again_after_a_stop() {
        let mut bench = Bench::started(Plan {
            liveness: Some(probe(1_000, 1, 1)),
            ..plan()
        });
        bench.wait();
        bench.answer(ProbeKind::Liveness, false);
        assert_eq!(bench.replica.phase(), Phase::Killing);
        assert_eq!(bench.at(1_500, Input::Stop), [""; 0]);
        assert_eq!(bench.wait(), ["kill"], "the grace period goes on, and ends");
        assert_eq!(bench.exit(bench.ms() + 1), ["tell exited 7", "clear"]);
        assert_eq!(
            bench.at(bench.ms() + 1, Input::Cleared),
            ["replica_stopped"]
        );
    }

    #[test]
    fn a_replica_that_fails_its_liveness_probe_is_asked_first_and_then_killed() {
        let mut bench = Bench::started(Plan {
            liveness: Some(probe(1_000, 1, 1)),
            ..plan()
        });
        bench.wait();
        bench.answer(ProbeKind::Liveness, false);
        let asked = bench.ms();

        assert_eq!(bench.wait(), ["kill"]);

        let grace = u64::try_from(plan().grace.as_millis()).expect("a short grace period");
        assert_eq!(bench.ms(), asked + grace);
    }
}
