//! Prints nanoseconds per call: `times <rounds> <milliseconds per subject and round> [filter]`,
//! where the filter is a part of a case and a subject: `pipeline_success mainstay`.
//!
//! Prevents a comparison across different minutes of the machine: within a round all subjects of a
//! case take their turn one after the other, and each round begins with another one.

use std::time::Duration;

use peers::{Subject, Worker};

fn main() {
    peers::refuse_virtual_time();
    let mut arguments = std::env::args().skip(1);
    let mut number = |name| -> u32 {
        let given = arguments.next().and_then(|text| text.parse().ok());
        given.unwrap_or_else(|| panic!("{name}: a number, as first or second argument"))
    };
    let rounds = number("rounds");
    let time = Duration::from_millis(u64::from(number("milliseconds")));
    let filter = arguments.next().unwrap_or_default();

    let mut running: Vec<Running> = peers::subjects()
        .into_iter()
        .filter(|subject| format!("{} {}", subject.case.name(), subject.name).contains(&filter))
        .map(Running::new)
        .collect();
    for round in 0..rounds as usize {
        eprintln!("round {} of {rounds}", round + 1);
        for group in running.chunk_by_mut(|one, other| one.subject.case == other.subject.case) {
            let first = round % group.len();
            let (before, from) = group.split_at_mut(first);
            for one in from.iter_mut().chain(before) {
                match peers::nanos_per_call(&mut one.workers, time) {
                    Some(nanos) => one.nanos.push(nanos),
                    None => one.is_disturbed = true,
                }
            }
        }
    }
    for one in &running {
        one.print();
    }
    for gap in peers::missing() {
        println!("missing {} {} {}", gap.case.name(), gap.name, gap.reason);
    }
}

struct Running {
    subject: Subject,
    workers: Vec<Worker>,
    nanos: Vec<f64>,
    /// The machine was too busy in one round, so that its rounds are not those of the others.
    is_disturbed: bool,
}

impl Running {
    fn new(subject: Subject) -> Self {
        Self {
            subject,
            workers: subject.start(),
            nanos: Vec::new(),
            is_disturbed: false,
        }
    }

    fn print(&self) {
        let Subject { case, name, .. } = self.subject;
        if self.is_disturbed {
            let case = case.name();
            println!("missing {case} {name} its threads hardly ever ran at the same time");
            return;
        }
        print!("{} {} {name} ns", peers::PRINTED_AS, case.name());
        for nanos in &self.nanos {
            print!(" {nanos}");
        }
        println!();
    }
}
