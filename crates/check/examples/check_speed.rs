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

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use mainstay_check::history::{etcd, key_value};
use mainstay_check::model::key_value::KeyValue;
use mainstay_check::model::register::Register;
use mainstay_check::wgl::{self, Limits};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/vendor/porcupine");
    let limits = Limits::default();

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
    Ok(())
}
