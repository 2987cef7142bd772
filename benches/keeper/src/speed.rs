//! A closed loop: so many requests are always under way, each client asks again when it is answered.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::clock;
use crate::crowd::{Crowd, Heard};
use crate::operation::{Mix, Requests};
use crate::protocol::{Protocol, What};

/// Clients beyond these share connections with others.
const CONNECTIONS_MAX: usize = 24;
/// How long what is under way at the end may take.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(30);
const TURN: Duration = Duration::from_millis(100);

/// What is measured.
#[derive(Debug)]
pub struct Plan {
    /// What is spoken.
    pub protocol: Protocol,
    /// What is asked.
    pub mix: Mix,
    /// Requests under way.
    pub outstanding: usize,
    /// Not measured.
    pub warm_up: Duration,
    /// Measured.
    pub time: Duration,
}

/// A client: it has one request under way.
#[derive(Clone, Copy, Debug)]
struct Asker {
    connection: usize,
    since: Instant,
}

/// A request that was answered while it was measured.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    took: Duration,
}

struct Load {
    crowd: Crowd,
    requests: Requests,
    askers: Vec<Asker>,
    /// With fewer clients than members, each goes from one member to the next.
    wanders: bool,
    samples: Vec<Sample>,
    answered: u64,
}

/// Measures, prints, and writes each answer's time and duration in nanoseconds to `samples`.
pub fn run(plan: &Plan, addresses: &[SocketAddr], samples: Option<&Path>) -> Result<()> {
    ensure!(plan.outstanding > 0, "nothing under way is no load");
    let connections = plan.outstanding.clamp(addresses.len(), CONNECTIONS_MAX);
    let mut load = Load {
        crowd: Crowd::open(plan.protocol, addresses, connections)?,
        requests: Requests::new(plan.mix, clock::shared_nanos()),
        askers: Vec::new(),
        wanders: plan.outstanding < addresses.len(),
        samples: Vec::new(),
        answered: 0,
    };
    let (begin, begin_nanos) = (clock::now(), clock::shared_nanos());
    let before = clock::spent();
    let from = begin + plan.warm_up;
    load.run(plan.outstanding, from..from + plan.time)?;
    let spent = clock::spent().saturating_sub(before);
    if let Some(path) = samples {
        let mut text = String::new();
        for Sample { at, took } in &load.samples {
            let at = u128::from(begin_nanos) + (*at - begin).as_nanos();
            writeln!(text, "{at} {}", took.as_nanos())?;
        }
        std::fs::write(path, text)?;
    }
    load.print(plan.time, spent)?;
    load.crowd.leave()
}

impl Load {
    fn run(&mut self, outstanding: usize, measured: Range<Instant>) -> Result<()> {
        for token in 0..outstanding {
            let connection = token % self.crowd.len();
            let since = clock::now();
            self.askers.push(Asker { connection, since });
            self.ask(u32::try_from(token)?)?;
        }
        let mut under_way = outstanding;
        let mut heard = Vec::new();
        while under_way > 0 {
            self.crowd.turn(TURN, &mut heard)?;
            let now = clock::now();
            let is_over = now > measured.end + LAST_ANSWERS_MAX;
            ensure!(!is_over, "{under_way} requests were not answered");
            under_way -= heard.len();
            for one in heard.drain(..) {
                under_way += usize::from(self.go_on(one, now, &measured)?);
            }
        }
        Ok(())
    }

    /// Takes an answer; says whether its client asks again.
    fn go_on(&mut self, heard: Heard, now: Instant, measured: &Range<Instant>) -> Result<bool> {
        let token = self.hear(heard, measured)?;
        let goes_on = now < measured.end;
        if goes_on {
            self.ask(token)?;
        }
        Ok(goes_on)
    }

    fn ask(&mut self, token: u32) -> Result<()> {
        let connections = self.crowd.len();
        let asker = self.askers.get_mut(token as usize).context("an asker")?;
        if self.wanders {
            asker.connection = (asker.connection + 1) % connections;
        }
        asker.since = clock::now();
        let operation = self.requests.next();
        self.crowd.ask(asker.connection, operation, token);
        Ok(())
    }

    fn hear(&mut self, heard: Heard, measured: &Range<Instant>) -> Result<u32> {
        let token = match heard.what? {
            What::Done(token) => token,
            What::Refused(_, why) => bail!("refused: {why}"),
            What::Open | What::Event => bail!("something that nobody asked for"),
        };
        self.answered += 1;
        let asker = self.askers.get(token as usize).context("an asker")?;
        if measured.contains(&heard.at) {
            self.samples.push(Sample {
                at: heard.at,
                took: heard.at - asker.since,
            });
        }
        Ok(token)
    }

    fn print(&self, time: Duration, spent: Duration) -> Result<()> {
        let mut times: Vec<Duration> = self.samples.iter().map(|one| one.took).collect();
        times.sort_unstable();
        ensure!(!times.is_empty(), "nothing was answered");
        let rate = times.len() as f64 / time.as_secs_f64();
        println!("rate {rate}");
        println!("p50_us {}", share(&times, 500));
        println!("p99_us {}", share(&times, 990));
        println!("answered {}", self.answered);
        println!("cpu_seconds {}", spent.as_secs_f64());
        Ok(())
    }
}

/// Microseconds that so many thousandths of sorted times stay below.
pub fn share(sorted: &[Duration], thousandths: usize) -> f64 {
    let place = (sorted.len() * thousandths / 1_000).min(sorted.len().saturating_sub(1));
    let time = sorted.get(place).copied().unwrap_or_default();
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_hundred_is_above_the_ninety_ninth_percentile() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_micros).collect();
        assert!((share(&times, 990) - 100.0).abs() < 1e-6);
        assert!((share(&times, 500) - 51.0).abs() < 1e-6);
        assert!(share(&[], 990).abs() < 1e-6);
    }
}
