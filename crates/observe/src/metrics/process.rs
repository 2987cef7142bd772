//! What the node's own process uses, read from `/proc` at each scrape.
//!
//! Prevents a leak that nobody sees. A figure that cannot be read is left out, never guessed.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Metric;

use super::{PROCESS_CPU, PROCESS_FDS, PROCESS_MEMORY, PROCESS_START, bare};
use crate::clock::Timestamp;

/// Units of processor time per second in `/proc`: 100 on every Linux we run on.
const USER_HZ: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process {
    started: Timestamp,
}

impl Process {
    pub(super) fn new() -> Self {
        Self {
            started: Timestamp::now(),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let started = ConstGauge::new(self.started.unix_seconds());
        put(&mut encoder, PROCESS_START, Some(started))?;
        put(
            &mut encoder,
            PROCESS_CPU,
            cpu_seconds().map(ConstCounter::new),
        )?;
        put(
            &mut encoder,
            PROCESS_MEMORY,
            resident_bytes().map(ConstGauge::new),
        )?;
        put(&mut encoder, PROCESS_FDS, open_fds().map(ConstGauge::new))
    }
}

fn put<M: EncodeMetric + Metric>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    metric: Option<M>,
) -> Result<(), fmt::Error> {
    let Some(metric) = metric else {
        return Ok(());
    };
    metric.encode(encoder.encode_descriptor(bare(name), help, None, metric.metric_type())?)
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses and may hold anything; the times are
    // the 14th and 15th field, the 12th and 13th after it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map(str::parse::<u32>);
    let user = times.next()?.ok()?;
    let system = times.next()?.ok()?;
    Some((f64::from(user) + f64::from(system)) / USER_HZ)
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

fn open_fds() -> Option<u64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    // The directory that is being read is open too.
    u64::try_from(count).ok()?.checked_sub(1)
}
