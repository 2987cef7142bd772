//! Patroni keeps a PostgreSQL cluster whose primaries die, with our members in ZooKeeper's place.
//!
//! The claim that matters is the last one: of the rows that a client was told are committed, none is
//! lost, through every failover. PostgreSQL refuses to run as root, so the cluster runs as another
//! user of a namespace of its own, which needs no such user on the machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::outcome::{Counts, Report, Run, Verdict};
use super::sandbox::{self, Sandboxed};
use super::server::{Choice, Subject};
use super::{java, python};
use crate::debian;
use crate::process::Scratch;
use crate::wait;

const REQUIREMENTS: &[&str] = &["patroni[zookeeper]==4.1.5", "psycopg2-binary==2.9.13"];
/// Where Debian has the versions of PostgreSQL.
const POSTGRESQL: &str = "/usr/lib/postgresql";
/// The cluster comes up, a table is made, writes go on, all is whole at the end, nothing is lost.
const EXPECTED: Counts = Counts {
    passed: 5,
    failed: 0,
    skipped: 0,
};
/// For what comes before and after the minutes that were asked for.
const AROUND: Duration = Duration::from_mins(15);
const PROGRAM: &[(&str, &str)] = &[
    ("cluster.py", include_str!("patroni/cluster.py")),
    ("nodes.py", include_str!("patroni/nodes.py")),
];

/// What the suite is told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// For how long things are killed.
    #[arg(long, default_value = "10")]
    minutes: u32,
}

/// Torments the cluster on the chosen servers and prints the report.
pub(super) fn run(args: &Args) -> Result<bool> {
    let subjects = args.choice.subjects().iter();
    let runs = subjects.map(|subject| against(args, *subject));
    Report::new("patroni", EXPECTED, runs.collect::<Result<_>>()?).conclude(args.choice.json)
}

fn against(args: &Args, subject: Subject) -> Result<Run> {
    let folder = Scratch::new(&format!("patroni-{}", subject.name()))?;
    let installed = args.choice.servers(subject, &folder)?;
    let binaries = postgresql()?;
    let environment = python::environment("patroni", REQUIREMENTS)?;
    eprintln!("patroni on {}: {} minutes", subject.name(), args.minutes);
    java::install(folder.path(), &installed)?;
    let (tests, seconds) =
        wait::timed(|| execute(args.minutes, folder.path(), &environment, &binaries));
    Ok(Run {
        subject,
        seconds,
        tests: tests?,
    })
}

/// The folder of the newest PostgreSQL's programs.
fn postgresql() -> Result<PathBuf> {
    let newest = || {
        let versions = fs::read_dir(POSTGRESQL).ok()?.filter_map(Result::ok);
        let binaries = versions.map(|version| version.path().join("bin"));
        binaries.filter(|bin| bin.join("postgres").exists()).max()
    };
    if let Some(binaries) = newest() {
        return Ok(binaries);
    }
    debian::install(&["postgresql"])?;
    newest().context("the package postgresql holds no postgres")
}

fn execute(
    minutes: u32,
    folder: &Path,
    environment: &Path,
    binaries: &Path,
) -> Result<BTreeMap<String, Verdict>> {
    for (name, text) in PROGRAM {
        fs::write(folder.join(name), text)?;
    }
    let temporary = folder.join("tmp");
    fs::create_dir(&temporary)?;
    let path = std::env::join_paths(
        std::iter::once(environment.join("bin"))
            .chain(std::env::split_paths(&java::first_in_path(folder)?)),
    )?;
    let mut command = sandbox::command(&temporary)?;
    command
        .args(["unshare", "--user", "--map-user=1000", "--map-group=1000"])
        .arg(python::interpreter(environment))
        .arg("cluster.py")
        .arg(folder.join("cluster"))
        .arg(binaries)
        .arg(minutes.to_string())
        .current_dir(folder)
        .env("PATH", path);
    let log = folder.join("cluster.log");
    let limit = Duration::from_mins(minutes.into()) + AROUND;
    let mut told = 0;
    let mut cluster = Sandboxed::start(command, &log)?;
    let ended = cluster.ended("the cluster to end", limit, || told += tell(&log, told));
    drop(cluster);
    let text = fs::read_to_string(&log)?;
    let tests = verdicts(&text);
    if ended.is_err() || tests.is_empty() {
        bail!("{text}\nthe cluster did not end: {ended:?}");
    }
    Ok(tests)
}

/// Shows the lines that came since `told` bytes, and says how many bytes they have.
fn tell(log: &Path, told: usize) -> usize {
    let text = fs::read_to_string(log).unwrap_or_default();
    let fresh = text.get(told..).unwrap_or_default();
    let whole = fresh.rfind('\n').map_or(0, |end| end + 1);
    eprint!("{}", &fresh[..whole]);
    whole
}

/// Reads `passed NAME` and `failed NAME: why`, and leaves out what else was said.
fn verdicts(log: &str) -> BTreeMap<String, Verdict> {
    let verdict = |line: &str| {
        if let Some(name) = line.strip_prefix("passed ") {
            return Some((name.to_owned(), Verdict::Passed));
        }
        let (name, why) = line.strip_prefix("failed ")?.split_once(": ")?;
        Some((name.to_owned(), Verdict::Failed(why.to_owned())))
    };
    log.lines().filter_map(verdict).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_and_what_else_was_said_is_not() {
        let log = "passed a cluster\n12:00 kill the primary\nfailed no row is lost: E: 3 of 7\n";
        let expected = [
            ("a cluster", Verdict::Passed),
            ("no row is lost", Verdict::Failed("E: 3 of 7".to_owned())),
        ];
        let expected = expected.map(|(name, verdict)| (name.to_owned(), verdict));
        assert_eq!(verdicts(log), BTreeMap::from(expected));
    }
}
