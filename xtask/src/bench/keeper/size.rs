//! Many nodes: what they weigh, how long a member needs to have them again, and who waits while a
//! snapshot of them is taken.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Plan;
use super::ensemble::Ensemble;
use super::load;
use super::subject::{MEMBERS, Subject};
use super::tables::{Table, figure};
use crate::bench::report::Better;
use crate::wait;

/// How long a subject may rest before it is weighed.
const REST: Duration = Duration::from_secs(2);
/// How often it is looked whether a snapshot grows.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Written while snapshots are looked for.
const SNAPSHOT_LOAD: (&str, &str) = ("set", "144");

/// Fills one subject after the other, each alone on the machine.
pub(super) fn measure(plan: &Plan, subject: Subject, table: &mut Table) -> Result<Option<String>> {
    let name = subject.name();
    let mut ensemble = Ensemble::start(subject, &plan.mainstay)?;
    ensemble.prepare()?;
    let nodes = plan.nodes.to_string();
    let seconds = load::run(&["fill", subject.protocol(), &ensemble.addresses(), &nodes])?;
    let seconds = seconds.one("seconds")?;
    wait::pass(REST);
    let megabytes = ensemble.resident_mb()?;
    eprintln!("{name:<9} {nodes} nodes in {seconds:.1} s: {megabytes:.0} MB");
    table.add(name, figure("rss_1m", "MB", Better::Lower, megabytes));
    let restart = restart(&mut ensemble, &nodes).context("a member starts again")?;
    eprintln!("{name:<9} has them again after {restart:.2} s");
    table.add(name, figure("restart_1m", "s", Better::Lower, restart));
    ensemble.leader()?;
    snapshots(plan, &ensemble, table)
}

/// Stops a follower and starts it; seconds from its start until it answers for the last node.
fn restart(ensemble: &mut Ensemble, nodes: &str) -> Result<f64> {
    let leader = ensemble.leader()?;
    let number = (leader + 1) % MEMBERS;
    ensemble.stop_member(number);
    let address = ensemble.addresses_of(std::iter::once(number));
    let (looked, seconds) = wait::timed(|| {
        ensemble.start_member(number)?;
        load::run(&["look", ensemble.subject.protocol(), &address, nodes])
    });
    looked?;
    Ok(seconds)
}

/// Writes for a while, and compares the answers that came while a snapshot grew with the others.
fn snapshots(plan: &Plan, ensemble: &Ensemble, table: &mut Table) -> Result<Option<String>> {
    let name = ensemble.subject.name();
    let samples = ensemble.disk().join("samples");
    let (mix, outstanding) = SNAPSHOT_LOAD;
    let mut running = load::start(&[
        "speed",
        ensemble.subject.protocol(),
        &ensemble.addresses(),
        mix,
        outstanding,
        "1000",
        &plan.snapshot_ms.to_string(),
        &samples.to_string_lossy(),
    ])?;
    let mut growth = Growth::default();
    while running.runs()? {
        growth.look(ensemble)?;
        wait::pass(LOOK_EVERY);
    }
    running.end()?;
    let text = fs::read_to_string(&samples)?;
    let Some([during, usual]) = growth.split(&text)? else {
        return Ok(Some(format!(
            "no snapshot_p99 of {name}: its defaults took none within {} s of writing",
            plan.snapshot_ms / 1_000
        )));
    };
    eprintln!("{name:<9} p99 {during:.0} µs during snapshots, {usual:.0} µs otherwise");
    table.add(name, figure("snapshot_p99", "µs", Better::Lower, during));
    table.add(
        name,
        figure("snapshot_p99_usual", "µs", Better::Neither, usual),
    );
    Ok(None)
}

/// When files of snapshots grew, on any member.
#[derive(Debug, Default)]
struct Growth {
    sizes: BTreeMap<std::path::PathBuf, u64>,
    looked: Option<u64>,
    /// From one look to the next, in nanoseconds.
    times: Vec<(u64, u64)>,
}

impl Growth {
    fn look(&mut self, ensemble: &Ensemble) -> Result<()> {
        let now = wait::shared_nanos();
        let mut sizes = BTreeMap::new();
        for number in 0..MEMBERS {
            collect(&ensemble.folder(number), &mut sizes)?;
        }
        let before = self.looked.replace(now);
        if let Some(before) = before
            && sizes
                .iter()
                .any(|(file, size)| self.sizes.get(file) != Some(size))
        {
            self.times.push((before, now));
        }
        self.sizes = sizes;
        Ok(())
    }

    /// The 99th percentiles, in microseconds, of the answers during growth and of all others;
    /// `None` where one of them has no answers.
    fn split(&self, samples: &str) -> Result<Option<[f64; 2]>> {
        let (mut during, mut usual) = (Vec::new(), Vec::new());
        for line in samples.lines() {
            let (at, took) = line.split_once(' ').context("a sample of one word")?;
            let (at, took): (u64, u64) = (at.parse()?, took.parse()?);
            // It waited from its beginning on.
            let begun = at.saturating_sub(took);
            let meets = |&(from, to): &(u64, u64)| from < at && begun < to;
            if self.times.iter().any(meets) {
                during.push(took);
            } else {
                usual.push(took);
            }
        }
        Ok(p99(during).zip(p99(usual)).map(<[f64; 2]>::from))
    }
}

fn p99(mut nanos: Vec<u64>) -> Option<f64> {
    nanos.sort_unstable();
    let place = (nanos.len() * 99 / 100).min(nanos.len().saturating_sub(1));
    nanos.get(place).map(|&nanos| nanos as f64 / 1e3)
}

/// The sizes of all files of snapshots below a folder.
fn collect(folder: &Path, sizes: &mut BTreeMap<std::path::PathBuf, u64>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // A file may be gone, or have another name, since it was listed.
        let Ok(meta) = fs::metadata(&path) else {
            continue;
        };
        if meta.is_dir() {
            collect(&path, sizes)?;
        } else if is_snapshot(&path) {
            sizes.insert(path, meta.len());
        }
    }
    Ok(())
}

fn is_snapshot(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.contains("snapshot") || name.ends_with(".snap")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_waited_during_a_snapshot_counts_there() {
        let growth = Growth {
            times: vec![(100, 200)],
            ..Growth::default()
        };
        let samples = "90 10\n150 10\n210 50\n300 20\n";
        let [during, usual] = growth.split(samples).expect("well-formed").expect("both");
        assert!((during - 0.05).abs() < 1e-9, "{during}");
        assert!((usual - 0.02).abs() < 1e-9, "{usual}");
    }

    #[test]
    fn without_a_snapshot_there_is_no_figure() {
        let growth = Growth::default();
        assert_eq!(growth.split("90 10\n").expect("well-formed"), None);
    }

    #[test]
    fn snapshots_are_known_by_their_names() {
        let is = |name| is_snapshot(Path::new(name));
        assert!(is("snapshot.100000000") && is("new-snapshot") && is("0001-0002.snap"));
        assert!(!is("log.100000001") && !is("db"));
    }
}
