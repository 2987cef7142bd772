//! The recipes of Apache Curator, from Debian's packages, driven by a small program of ours.
//!
//! What is tested is Curator: its leader latches, locks, caches and counters are what most Java
//! services use of ZooKeeper. The program starts three servers and ends one of them on the way.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::outcome::{Counts, Report, Run, Verdict};
use super::sandbox::{self, Sandboxed};
use super::server::{Choice, Subject};
use super::{java, source};
use crate::debian::{self, Program};
use crate::process::Scratch;
use crate::wait;
use crate::zookeeper::{self, Java};

/// One per recipe.
const EXPECTED: Counts = Counts {
    passed: 15,
    failed: 0,
    skipped: 0,
};
/// A minute on a quiet machine.
const LIMIT: Duration = Duration::from_mins(15);
/// What Curator needs besides what its ZooKeeper client needs.
const JARS: &[&str] = &[
    "curator-client",
    "curator-framework",
    "curator-recipes",
    "guava",
];
const PROGRAM: &[(&str, &str)] = &[
    ("Ensemble.java", include_str!("curator/Ensemble.java")),
    ("Recipes.java", include_str!("curator/Recipes.java")),
    ("Wait.java", include_str!("curator/Wait.java")),
];

/// Runs the recipes against the chosen servers and prints the report.
pub(super) fn run(choice: &Choice) -> Result<bool> {
    let subjects = choice.subjects().iter();
    let runs = subjects.map(|subject| against(choice, *subject));
    Report::new("curator", EXPECTED, runs.collect::<Result<_>>()?).conclude(choice.json)
}

fn against(choice: &Choice, subject: Subject) -> Result<Run> {
    let folder = Scratch::new(&format!("curator-{}", subject.name()))?;
    let (installed, java_program) = choice.servers_and_tools(subject, &folder)?;
    debian::provide(&[Program {
        name: "javac",
        package: "default-jdk-headless",
    }])?;
    debian::provide_files(&[(
        "/usr/share/java/curator-recipes.jar".into(),
        "libcurator-recipes-java",
    )])?;
    let class_path = compile(folder.path(), &java_program)?;
    java::install(folder.path(), &installed)?;
    eprintln!("curator on {}: running", subject.name());
    let (tests, seconds) = wait::timed(|| execute(folder.path(), &java_program, &class_path));
    Ok(Run {
        subject,
        seconds,
        tests: tests?,
    })
}

fn compile(folder: &Path, java: &Java) -> Result<String> {
    let jars = format!("{}:{}", java.class_path, zookeeper::class_path(JARS)?);
    let sources = folder.join("curator");
    fs::create_dir(&sources)?;
    let mut javac = Command::new("javac");
    javac.args(["-cp", &jars, "-d"]).arg(folder);
    for (name, text) in PROGRAM {
        fs::write(sources.join(name), text)?;
        javac.arg(sources.join(name));
    }
    source::run(&mut javac)?;
    Ok(format!("{}:{jars}", folder.display()))
}

fn execute(folder: &Path, java: &Java, class_path: &str) -> Result<BTreeMap<String, Verdict>> {
    let temporary = folder.join("tmp");
    fs::create_dir(&temporary)?;
    let mut command = sandbox::command(&temporary)?;
    command
        .arg(&java.program)
        .args(["-cp", class_path, "Recipes"])
        .arg(folder.join("servers"))
        .current_dir(folder)
        .env("PATH", java::first_in_path(folder)?);
    let log = folder.join("recipes.log");
    let mut suite = Sandboxed::start(command, &log)?;
    let ended = suite.ended("the recipes to end", LIMIT, || {});
    drop(suite);
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let tests = verdicts(&text);
    if ended.is_err() || tests.is_empty() {
        bail!("{text}\nthe recipes did not end: {ended:?}");
    }
    Ok(tests)
}

/// Reads `passed NAME` and `failed NAME: why`, among whatever else is in the log.
fn verdicts(log: &str) -> BTreeMap<String, Verdict> {
    let mut tests = BTreeMap::new();
    let mut noise = String::new();
    for line in log.lines() {
        if let Some(name) = line.strip_prefix("passed ") {
            tests.insert(name.to_owned(), Verdict::Passed);
            noise.clear();
        } else if let Some(failed) = line.strip_prefix("failed ") {
            // A name contains a colon itself, after the recipe's class.
            let name = failed
                .splitn(3, ": ")
                .take(2)
                .collect::<Vec<_>>()
                .join(": ");
            tests.insert(name, Verdict::Failed(format!("{noise}{failed}")));
            noise.clear();
        } else {
            noise.push_str(line);
            noise.push('\n');
        }
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_the_name_of_its_recipe_and_the_log_until_then() {
        let log = "a warning\nfailed Latch: one leads: java.lang.Error: why\npassed Lock: held";
        let tests = verdicts(log);
        let failed =
            Verdict::Failed("a warning\nLatch: one leads: java.lang.Error: why".to_owned());
        assert_eq!(tests.get("Latch: one leads"), Some(&failed));
        assert_eq!(tests.get("Lock: held"), Some(&Verdict::Passed));
        assert_eq!(tests.len(), 2);
    }
}
