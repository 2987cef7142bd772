//! What the service is told on its command line.
//!
//! Prevents a replica that starts with half of what it was told: an unknown or incomplete flag is
//! an error, never ignored.

use std::path::PathBuf;
use std::time::Duration;

/// The options of one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Port on 127.0.0.1; 0 lets the system choose, and the line on start says which.
    pub port: u16,
    /// The replica's name, shown in every answer.
    pub name: String,
    /// How long a request takes when nothing is wrong.
    pub latency: Duration,
    /// Directory of charges, shared by all replicas; `None` keeps charges in memory, where other
    /// replicas do not see them.
    pub ledger: Option<PathBuf>,
    /// While this file exists the replica refuses to start.
    pub hold: Option<PathBuf>,
    /// Whether `POST /fault` may break this replica.
    pub faults: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            name: "payment".to_owned(),
            latency: Duration::from_millis(5),
            ledger: None,
            hold: None,
            faults: false,
        }
    }
}

impl Options {
    /// Reads `--port N --name NAME [--latency 5ms] [--ledger DIR] [--hold FILE] [--faults]`.
    ///
    /// # Errors
    /// A sentence that names the argument and what it should be.
    pub fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut args = args;
        while let Some(flag) = args.next() {
            let mut value = || {
                args.next()
                    .ok_or_else(|| format!("{flag} needs a value after it"))
            };
            match flag.as_str() {
                "--port" => options.port = port(&value()?)?,
                "--name" => options.name = name(value()?)?,
                "--latency" => options.latency = latency(&value()?)?,
                "--ledger" => options.ledger = Some(PathBuf::from(value()?)),
                "--hold" => options.hold = Some(PathBuf::from(value()?)),
                "--faults" => options.faults = true,
                _ => return Err(unknown(&flag)),
            }
        }
        Ok(options)
    }
}

fn unknown(flag: &str) -> String {
    format!(
        "unknown argument {flag}: payment takes --port N, --name NAME, --latency 5ms, \
         --ledger DIR, --hold FILE and --faults"
    )
}

fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| format!("--port {text}: give a number from 0 to 65535"))
}

/// Names travel in headers and JSON, so they are kept to characters that need no quoting.
fn name(text: String) -> Result<String, String> {
    const NAME_BYTES_MAX: usize = 64;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.chars().all(plain) {
        return Err(format!(
            "--name {text}: give 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' or '.'"
        ));
    }
    Ok(text)
}

fn latency(text: &str) -> Result<Duration, String> {
    const LATENCY_MS_MAX: u64 = 60_000;
    let (number, ms_per_unit) = if let Some(number) = text.strip_suffix("ms") {
        (number, 1)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, 1_000)
    } else {
        (text, 0)
    };
    number
        .parse::<u64>()
        .ok()
        .filter(|_| ms_per_unit > 0)
        .and_then(|number| number.checked_mul(ms_per_unit))
        .filter(|ms| *ms <= LATENCY_MS_MAX)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("--latency {text}: give a whole number of ms or s, at most 60s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn all_flags_are_read() {
        let options =
            parse("--port 9001 --name payment-1 --latency 7ms --ledger /l --hold /h --faults")
                .expect("the line is right");
        let expected = Options {
            port: 9001,
            name: "payment-1".to_owned(),
            latency: Duration::from_millis(7),
            ledger: Some(PathBuf::from("/l")),
            hold: Some(PathBuf::from("/h")),
            faults: true,
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (line, named) in [
            ("--prot 1", "--prot"),
            ("--port", "--port"),
            ("--port 70000", "70000"),
            ("--latency 5", "--latency 5"),
            ("--latency 99s", "at most 60s"),
            ("--latency 18446744073709551615s", "--latency"),
            ("--name a/b", "a/b"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
