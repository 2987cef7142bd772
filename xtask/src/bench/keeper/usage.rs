//! What a process uses, as the kernel counts it.

use std::fs;

use anyhow::{Context as _, Result};

/// The kernel's unit of processor time, the same on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// Megabytes in memory, also those that are pages of files.
pub(super) fn resident_mb(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    resident(&status).with_context(|| format!("/proc/{process}/status"))
}

/// Seconds of processor time since the process began, with all its threads.
pub(super) fn cpu_seconds(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    cpu(&stat).with_context(|| format!("/proc/{process}/stat"))
}

fn resident(status: &str) -> Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: f64 = number.context("no VmRSS")?.parse()?;
    Ok(kibibytes * 1_024.0 / 1e6)
}

fn cpu(stat: &str) -> Result<f64> {
    // Behind the name, which may hold anything: state is the first field, utime and stime the
    // twelfth and thirteenth.
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let times = fields.split_whitespace().skip(11).take(2).map(str::parse);
    let times: Vec<u32> = times.collect::<Result<_, _>>()?;
    Ok(times.iter().copied().map(f64::from).sum::<f64>() / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_times_are_counted_whatever_the_name_is() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert!((cpu(stat).expect("well-formed") - 2.0).abs() < 1e-9);
    }

    #[test]
    fn memory_is_told_in_millions_of_bytes() {
        let status = "VmPeak:\t 9 kB\nVmRSS:\t    1000 kB\n";
        assert!((resident(status).expect("well-formed") - 1.024).abs() < 1e-9);
        assert!(resident("VmPeak: 9 kB").is_err());
    }

    #[test]
    fn this_process_uses_something() {
        let own = std::process::id();
        assert!(resident_mb(own).expect("it runs") > 0.1);
        assert!(cpu_seconds(own).expect("it runs") >= 0.0);
    }
}
