//! Recorded histories with known verdicts, from the Porcupine project (MIT, see the licence beside
//! the data).

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "what a test leans on fails loudly"
)]

use std::fs;
use std::path::PathBuf;

use mainstay_check::history::{etcd, key_value};
use mainstay_check::model::key_value::KeyValue;
use mainstay_check::model::register::Register;
use mainstay_check::wgl::{self, Limits, Verdict};

fn read(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/vendor/porcupine");
    fs::read_to_string(root.join(path)).expect("the data lies beside the test")
}

fn is_linearizable(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Linearizable { .. } => true,
        Verdict::Violated(_) => false,
        Verdict::Unknown { why } => panic!("{why}"),
    }
}

#[test]
fn all_102_histories_of_etcd_get_their_known_verdict() {
    let verdicts = read("etcd/VERDICTS");
    let mut checked = 0;
    for line in verdicts.lines() {
        let (file, verdict) = line.split_once(' ').expect("a file and a verdict");
        let history = etcd::parse(&read(&format!("etcd/{file}"))).expect("a well-formed log");
        let found = wgl::check(&Register, &history, &Limits::default(), &|| true);
        assert_eq!(
            is_linearizable(&found),
            verdict == "true",
            "{file}: {found}"
        );
        checked += 1;
    }
    assert_eq!(checked, 102);
}

fn assert_key_value(file: &str, expected: bool) {
    let history = key_value::parse(&read(file)).expect("a well-formed text");
    let found = wgl::check(&KeyValue, &history, &Limits::default(), &|| true);
    assert_eq!(is_linearizable(&found), expected, "{file}: {found}");
}

#[test]
fn key_value_histories_of_1_10_and_50_clients_get_their_known_verdict() {
    assert_key_value("kv/c01-ok.txt", true);
    assert_key_value("kv/c01-bad.txt", false);
    assert_key_value("kv/c10-ok.txt", true);
    assert_key_value("kv/c10-bad.txt", false);
    assert_key_value("kv/c50-ok.txt", true);
}

#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "twelve million steps take 20 seconds without optimisation"
)]
fn the_bad_history_of_50_clients_gets_its_known_verdict() {
    assert_key_value("kv/c50-bad.txt", false);
}

#[test]
fn threads_change_no_verdict_and_no_witness() {
    let threads = std::num::NonZeroUsize::new(4).expect("four");
    let limits = Limits {
        threads,
        ..Limits::default()
    };
    for file in ["kv/c10-ok.txt", "kv/c10-bad.txt"] {
        let history = key_value::parse(&read(file)).expect("a well-formed text");
        let alone = wgl::check(&KeyValue, &history, &Limits::default(), &|| true);
        let together = wgl::check(&KeyValue, &history, &limits, &|| true);
        assert_eq!(alone, together, "{file}");
    }
}
