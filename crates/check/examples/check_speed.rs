//! How long the checkers take: recorded histories, a long generated one, and a long certificate.
//!
//! `cargo run --release -p mainstay-check --example check_speed`

#![expect(
    clippy::disallowed_methods,
    reason = "an example that measures reads the clock"
)]
#![expect(
    clippy::print_stdout,
    reason = "an example that measures prints what it found"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use mainstay_check::certificate::{self, Act, Promise, Record, Stamp, Watch};
use mainstay_check::history::{History, Impossible, Recorder, etcd, key_value};
use mainstay_check::model::key_value::{Action, Input, KeyValue, Output};
use mainstay_check::model::register::Register;
use mainstay_check::wgl::{self, Limits};
use mainstay_core::random::Random;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/vendor/porcupine");
    let limits = Limits::default();

    let history = rotating(100_000)?;
    let begun = Instant::now();
    let verdict = wgl::check(&KeyValue, &history, &limits, &|| true);
    println!(
        "100,000 operations on 10 keys at a time: {verdict}, {:?}",
        begun.elapsed()
    );
    println!("so far {}", memory_peak());

    let begun = Instant::now();
    for line in fs::read_to_string(root.join("etcd/VERDICTS"))?.lines() {
        let (file, _) = line.split_once(' ').unwrap_or((line, ""));
        let history = etcd::parse(&fs::read_to_string(root.join("etcd").join(file))?)?;
        let _verdict = wgl::check(&Register, &history, &limits, &|| true);
    }
    println!("102 histories of etcd: {:?}", begun.elapsed());

    for file in [
        "c01-ok", "c01-bad", "c10-ok", "c10-bad", "c50-ok", "c50-bad",
    ] {
        let text = fs::read_to_string(root.join(format!("kv/{file}.txt")))?;
        let begun = Instant::now();
        let verdict = wgl::check(&KeyValue, &key_value::parse(&text)?, &limits, &|| true);
        let verdict = if verdict.is_linearizable() {
            "linearizable"
        } else {
            "not"
        };
        println!("{file}: {verdict}, {:?}", begun.elapsed());
    }

    let records = stamped(1_000_000);
    let begun = Instant::now();
    let certificate = certificate::check(Promise::LinearizableReads, &records, &[]);
    println!(
        "1,000,000 stamped replies: {certificate}, {:?}",
        begun.elapsed()
    );

    println!("in all {}", memory_peak());
    Ok(())
}

/// The kernel's line on the most memory that this process ever had.
fn memory_peak() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    peak.unwrap_or("VmHWM: unknown").to_owned()
}

/// Ten clients and ten keys at a time; each key is replaced after 200 operations. One operation
/// in a hundred crashes, and every second one of those happens all the same.
fn rotating(count: usize) -> Result<History<Input, Output>, Impossible> {
    let mut random = Random::seeded(1);
    let mut recorder = Recorder::new();
    let mut clients: Vec<(u64, Step)> = (0..10).map(|name| (name, Step::Idle)).collect();
    let mut store: BTreeMap<String, Box<str>> = BTreeMap::new();
    let mut uses = [0_usize; 10];
    let (mut asked, mut time) = (0, 0);
    while asked < count {
        time += 1;
        let who = usize::try_from(random.below(10)).unwrap_or(0);
        let (client, step) = &mut clients[who];
        *step = match std::mem::replace(step, Step::Idle) {
            Step::Idle => {
                let slot = usize::try_from(random.below(10)).unwrap_or(0);
                uses[slot] += 1;
                let key = format!("{slot}-{}", uses[slot] / 200);
                asked += 1;
                let value = (random.below(2) == 0).then(|| asked.to_string().into());
                let action = value.clone().map_or(Action::Get, Action::Put);
                let input = Input {
                    key: key.as_str().into(),
                    action,
                };
                recorder.invoke(*client, time, input)?;
                Step::Asked(key, value)
            },
            Step::Asked(..) | Step::Served(_) if random.below(200) == 0 => {
                recorder.crashed(*client)?;
                *client += 10;
                Step::Idle
            },
            Step::Asked(key, None) => {
                Step::Served(Output::Value(store.get(&key).cloned().unwrap_or_default()))
            },
            Step::Asked(key, Some(value)) => {
                store.insert(key, value);
                Step::Served(Output::Done)
            },
            Step::Served(output) => {
                recorder.returned(*client, time, output)?;
                Step::Idle
            },
        };
    }
    Ok(recorder.finish())
}

/// Where a client stands: a question with the value to put, or a reply that is on its way.
enum Step {
    Idle,
    Asked(String, Option<Box<str>>),
    Served(Output),
}

/// A hundred sessions on a thousand keys; half of the operations are reads.
fn stamped(count: u64) -> Vec<Record<u64, u64>> {
    let mut random = Random::seeded(1);
    let mut store: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let mut records = Vec::new();
    let mut zxid = 0;
    for number in 0..count {
        let (session, key) = (random.below(100), random.below(1_000));
        let act = if random.below(2) == 0 {
            let (found, watch) = (store.get(&key).copied(), Watch::Unset);
            Act::Read { key, found, watch }
        } else {
            zxid += 1;
            store.insert(key, (number, zxid));
            let value = Some(number);
            Act::Write { key, value }
        };
        // Each overlaps its neighbours of other sessions.
        let (invoked, at) = (number * 10, number * 10 + 9 + random.below(2));
        let reply = Some(Stamp { at, zxid });
        records.push(Record {
            session,
            invoked,
            act,
            reply,
        });
    }
    records
}
