//! How busy a core was, as the kernel counts it.
//!
//! Prevents a comparison of the wrong thing: while the proxy's core is not busy all the time, the
//! load is the limit and not the proxy, and all proxies look alike.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::wait;

/// With a core busier than this while nobody is loaded, figures are not worth quoting.
const DISTURBANCE_MAX: f64 = 5.0;
const DISTURBANCE_TIME: Duration = Duration::from_secs(2);

/// The fields of a core's line that mean "nothing to do": idle and waiting for a disk.
const IDLE_FIELDS: [usize; 2] = [3, 4];

/// Ticks of one core since the machine started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticks {
    idle: u64,
    all: u64,
}

impl Ticks {
    /// Reads them now.
    pub(super) fn of_core(core: usize) -> Result<Self> {
        parse(&fs::read_to_string("/proc/stat")?, core)
    }

    /// Percent of the time since `earlier` that the core worked.
    pub(super) fn busy_since(self, earlier: Self) -> f64 {
        let all = self.all.saturating_sub(earlier.all);
        let idle = self.idle.saturating_sub(earlier.idle).min(all);
        if all == 0 {
            0.0
        } else {
            (all - idle) as f64 / all as f64 * 100.0
        }
    }
}

/// Percent of the busiest of `cores` while nobody is loaded.
pub(super) fn disturbance(cores: &[usize]) -> Result<f64> {
    let now = || -> Result<Vec<Ticks>> { cores.iter().map(|&core| Ticks::of_core(core)).collect() };
    let before = now()?;
    wait::pass(DISTURBANCE_TIME);
    let pairs = now()?.into_iter().zip(before);
    let busy = pairs.map(|(after, before)| after.busy_since(before));
    Ok(busy.fold(0.0, f64::max))
}

/// Whether the figures were taken on a quiet machine.
pub(super) fn quietness(disturbance: f64) -> String {
    let quiet = disturbance <= DISTURBANCE_MAX;
    let verdict = if quiet {
        "quiet"
    } else {
        "not quiet: no figure to quote"
    };
    format!("busy core without load, before or after: {disturbance:.0} % ({verdict})")
}

fn parse(stat: &str, core: usize) -> Result<Ticks> {
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name));
    let line = line.with_context(|| format!("the machine has no core {core}"))?;
    // The last two fields, time of guests, are part of the first two already.
    let fields = line.split_whitespace().take(8).map(str::parse);
    let fields: Vec<u64> = fields.collect::<Result<_, _>>().context("/proc/stat")?;
    let idle = IDLE_FIELDS
        .iter()
        .filter_map(|&field| fields.get(field))
        .sum();
    Ok(Ticks {
        idle,
        all: fields.iter().sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 10 0 20 60 5 1 2 2 7 7\ncpu1 1 2 3 4\n";

    #[test]
    fn a_core_is_busy_when_it_neither_idles_nor_waits() {
        let later = parse(STAT, 0).expect("a core");
        assert_eq!(later, Ticks { idle: 65, all: 100 });
        let busy = later.busy_since(Ticks { idle: 0, all: 0 });
        assert!((busy - 35.0).abs() < 1e-9, "{busy}");
    }

    #[test]
    fn figures_of_a_disturbed_machine_are_marked() {
        assert!(quietness(DISTURBANCE_MAX).ends_with("(quiet)"));
        assert!(quietness(DISTURBANCE_MAX + 1.0).ends_with("no figure to quote)"));
    }

    #[test]
    fn a_core_that_is_not_there_is_an_error() {
        assert!(parse(STAT, 7).is_err());
    }
}
