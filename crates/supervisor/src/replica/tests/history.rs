//! Random histories: whatever happens in whatever order, the promises hold.

use super::*;

/// What the edge would do: it answers what it was asked, in any order.
struct World {
    seed: u64,
    random: Random,
    process: Process,
    asked: Vec<ProbeKind>,
    routed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Process {
    None,
    Starting,
    Alive,
    Dying,
    Clearing,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            random: Random::seeded(seed),
            process: Process::None,
            asked: Vec::new(),
            routed: false,
        }
    }

    fn plan(&mut self) -> Plan {
        let mut some = |probe: Probe| (self.random.below(2) == 0).then_some(probe);
        Plan {
            startup: some(probe(100, 1, 1)).map(|probe| Startup {
                probe,
                within: Duration::from_secs(1),
            }),
            readiness: some(probe(100, 2, 2)),
            liveness: some(probe(100, 1, 2)),
            ..plan()
        }
    }

    fn step(&mut self, bench: &mut Bench) {
        let Some(input) = self.input(bench) else {
            return;
        };
        for action in bench.replica.on(input, bench.now) {
            self.hear(&action);
        }
    }

    fn input(&mut self, bench: &mut Bench) -> Option<Input> {
        match self.random.below(5) {
            0 | 1 => self.progress(),
            2 | 3 if !self.asked.is_empty() => {
                let kind = self.asked.swap_remove(0);
                Some(probed(kind, self.random.below(3) > 0))
            },
            // Whoever is dying is dead before the next timer: nothing here is unkillable.
            _ if self.process == Process::Dying => self.progress(),
            _ => {
                bench.now = bench.now.max(bench.replica.timer()?);
                Some(Input::Timer)
            },
        }
    }

    fn progress(&mut self) -> Option<Input> {
        let seldom = self.random.below(4) == 0;
        let detail = String::new();
        let (process, input) = match self.process {
            Process::None => return None,
            Process::Starting if seldom => (Process::None, Input::SpawnFailed { detail }),
            Process::Starting => (Process::Alive, Input::Spawned { pid: 7 }),
            Process::Alive if !seldom => return None,
            Process::Alive | Process::Dying => (Process::None, exited()),
            Process::Clearing => (Process::None, Input::Cleared),
        };
        self.process = process;
        Some(input)
    }

    fn hear(&mut self, action: &Action) {
        let seed = self.seed;
        match action {
            Action::Spawn => {
                assert!(self.process == Process::None, "seed {seed}: two at once");
                self.process = Process::Starting;
            },
            Action::Terminate | Action::Kill => self.process = Process::Dying,
            Action::Clear => {
                assert!(
                    !self.routed,
                    "seed {seed}: routing did not hear of it first"
                );
                self.asked.clear();
                self.process = Process::Clearing;
            },
            Action::Abandon => panic!("seed {seed}: processes here can be killed"),
            Action::Probe(kind) => {
                assert!(!self.asked.contains(kind), "seed {seed}: asked twice");
                self.asked.push(*kind);
            },
            Action::Tell(Change::Ready { .. }) => {
                assert!(
                    self.process == Process::Alive,
                    "seed {seed}: nobody is ready"
                );
                assert!(!self.routed, "seed {seed}: told twice");
                self.routed = true;
            },
            Action::Tell(Change::Unready { .. } | Change::Exited { .. }) => self.routed = false,
            Action::Tell(Change::Started { .. }) | Action::Observe(_) => {},
        }
    }
}

#[test]
fn a_stop_ends_every_history_and_routing_always_knows() {
    for seed in 0..5_000 {
        let mut world = World::new(seed);
        let mut bench = Bench::new(world.plan());
        for _ in 0..world.random.below(80) {
            world.step(&mut bench);
            assert_eq!(world.routed, bench.replica.ready(), "seed {seed}");
        }
        for action in bench.replica.on(Input::Stop, bench.now) {
            world.hear(&action);
        }
        for _ in 0..200 {
            if bench.replica.end().is_some() {
                break;
            }
            world.step(&mut bench);
        }
        let end = bench.replica.end();
        assert!(end.is_some(), "seed {seed}: {:?}", bench.replica);
        assert!(
            world.process == Process::None,
            "seed {seed}: a process is left"
        );
    }
}
