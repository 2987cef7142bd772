//! One run of wrk, and what it prints.
//!
//! wrk is closed loop: each connection waits for its answer before it asks again. Its percentiles
//! are those of a proxy at its own highest rate, and a proxy that stalls is asked less often while
//! it does.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};

use crate::process;

/// What one run measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measured {
    /// Answers per second.
    pub requests_per_second: f64,
    /// 99 % of the answers came within this many milliseconds.
    pub p99_ms: f64,
}

/// Loads `target` from one core; an answer that is not 200, or an error of a socket, is an error.
pub(super) fn run(
    core: usize,
    target: SocketAddr,
    connections: u32,
    seconds: u32,
) -> Result<Measured> {
    let output = process::pinned(core)
        .args(["wrk", "--threads", "1", "--latency", "--timeout", "2s"])
        .args(["--connections", &connections.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .arg(format!("http://{target}/"))
        .output()
        .context("wrk does not start")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "wrk: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    parse(&text).with_context(|| format!("wrk printed:\n{text}"))
}

fn parse(text: &str) -> Result<Measured> {
    let line = |start: &str| {
        let mut lines = text.lines().map(str::trim);
        lines
            .find_map(|line| line.strip_prefix(start))
            .map(str::trim)
    };
    ensure!(line("Non-2xx").is_none(), "not all answers were good");
    ensure!(
        line("Socket errors").is_none(),
        "not all requests were answered"
    );
    let rate = line("Requests/sec:").context("no rate")?;
    let p99 = line("99%").context("no 99th percentile")?;
    Ok(Measured {
        requests_per_second: rate.parse()?,
        p99_ms: milliseconds(p99)?,
    })
}

/// Reads `1.23ms`, `456.00us`, `1.02s` or `1.50m`.
fn milliseconds(text: &str) -> Result<f64> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let factor = match unit {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" => 60_000.0,
        _ => anyhow::bail!("unknown unit in {text:?}"),
    };
    Ok(text[..text.len() - unit.len()].parse::<f64>()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "Running 5s test @ http://127.0.0.1:1/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   699.21us  105.35us   4.02ms   92.02%
    Req/Sec    45.82k     1.37k   47.33k    82.00%
  Latency Distribution
     50%  683.00us
     99%    1.02ms
  228190 requests in 5.01s, 47.66MB read
Requests/sec:  45512.34
Transfer/sec:      9.50MB
";

    #[test]
    fn rate_and_percentile_are_read() {
        let measured = parse(PRINTED).expect("as wrk prints it");
        assert_eq!(
            measured,
            Measured {
                requests_per_second: 45_512.34,
                p99_ms: 1.02
            }
        );
    }

    #[test]
    fn a_run_with_errors_is_no_measurement() {
        for line in [
            "  Non-2xx or 3xx responses: 3\n",
            "  Socket errors: connect 0, read 5, write 0, timeout 0\n",
        ] {
            assert!(parse(&format!("{PRINTED}{line}")).is_err(), "{line}");
        }
        assert!(parse("").is_err());
    }

    #[test]
    fn all_units_of_wrk_become_milliseconds() {
        for (text, expected) in [
            ("500.00us", 0.5),
            ("1.25ms", 1.25),
            ("2.00s", 2e3),
            ("1.00m", 6e4),
        ] {
            let read = milliseconds(text).expect("a unit of wrk");
            assert!((read - expected).abs() < 1e-9, "{text}: {read}");
        }
        assert!(milliseconds("1.00h").is_err());
    }
}
