//! The tests of ZooKeeper's own C client, from Debian's source package.
//!
//! They start servers by a script that calls `java`, alone and three together, stop them, and
//! reconfigure them. One process per class of tests, so that a crash costs one class and not the
//! rest.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::outcome::{Counts, Report, Run, Verdict};
use super::sandbox::{self, Sandboxed};
use super::server::{Choice, Subject};
use super::{java, source};
use crate::debian;
use crate::process::Scratch;
use crate::wait;
use crate::zookeeper::Java;

/// The classes that talk to a server, and how many tests each has. The others test the client
/// against a server of their own invention.
const CLASSES: &[(&str, usize)] = &[
    ("Zookeeper_simpleSystem", 26),
    ("Zookeeper_multi", 13),
    ("TestReconfigServer", 5),
    ("Zookeeper_SASLAuth", 5),
    ("Zookeeper_readOnly", 2),
    ("Zookeeper_clientretry", 1),
    ("Zookeeper_logClientEnv", 1),
];
/// All of them.
const EXPECTED: Counts = Counts {
    passed: 53,
    failed: 0,
    skipped: 0,
};
/// For one class; starting three servers of ZooKeeper five times takes two minutes.
const LIMIT: Duration = Duration::from_mins(10);
/// The client inside the source package.
const CLIENT: &str = "zookeeper-client/zookeeper-client-c";
/// What its age makes necessary: a header that newer compilers do not include by themselves, and a
/// function that OpenSSL 3 no longer has.
const COMPATIBILITY: &str = "#include <time.h>\n#define FIPS_mode() 0\n";

/// Runs the tests against the chosen servers and prints the report.
pub(super) fn run(choice: &Choice) -> Result<bool> {
    let runs = choice
        .subjects()
        .iter()
        .map(|subject| against(choice, *subject));
    Report::new("c-client", EXPECTED, runs.collect::<Result<_>>()?).conclude(choice.json)
}

fn against(choice: &Choice, subject: Subject) -> Result<Run> {
    let folder = Scratch::new(&format!("c-client-{}", subject.name()))?;
    let (installed, java_program) = choice.servers_and_tools(subject, &folder)?;
    debian::provide_files(&[
        ("/usr/bin/autoreconf".into(), "autoconf"),
        ("/usr/bin/automake".into(), "automake"),
        ("/usr/bin/libtoolize".into(), "libtool"),
        ("/usr/bin/make".into(), "make"),
        ("/usr/bin/g++".into(), "g++"),
        ("/usr/bin/keytool".into(), "default-jre-headless"),
        ("/usr/include/cppunit/Test.h".into(), "libcppunit-dev"),
        ("/usr/include/openssl/ssl.h".into(), "libssl-dev"),
        ("/usr/include/sasl/sasl.h".into(), "libsasl2-dev"),
        ("/usr/share/doc/libsasl2-modules".into(), "libsasl2-modules"),
        ("/usr/bin/pkg-config".into(), "pkg-config"),
    ])?;
    let source = source::provide("zookeeper", |source| build(source, &java_program))?;
    java::install(folder.path(), &installed)?;
    let (tests, seconds) = wait::timed(|| -> Result<_> {
        let mut tests = BTreeMap::new();
        for (class, count) in CLASSES {
            eprintln!("c-client on {}: {class}", subject.name());
            tests.extend(execute(class, *count, &source, folder.path())?);
        }
        Ok(tests)
    });
    Ok(Run {
        subject,
        seconds,
        tests: tests?,
    })
}

fn build(source: &Path, java: &Java) -> Result<()> {
    eprintln!("building the C client and its tests");
    let client = source.join(CLIENT);
    let generated = client.join("generated");
    fs::create_dir_all(&generated)?;
    source::run(
        Command::new(&java.program)
            .args(["-cp", &java.class_path])
            .args(["org.apache.jute.compiler.generated.Rcc", "-l", "c"])
            .arg(source.join("zookeeper-jute/src/main/resources/zookeeper.jute"))
            .current_dir(&generated),
    )?;
    let compatibility = client.join("compatibility.h");
    fs::write(&compatibility, COMPATIBILITY)?;
    let include = format!("-include {}", compatibility.display());
    source::run(
        Command::new("autoreconf")
            .args(["-i", "-f"])
            .current_dir(&client),
    )?;
    source::run(
        Command::new("./configure")
            .arg("--quiet")
            .current_dir(&client),
    )?;
    source::run(
        Command::new("make")
            .arg("zktest-mt")
            .arg(format!("CFLAGS=-O0 -D_GNU_SOURCE {include}"))
            .arg(format!("CXXFLAGS=-O0 -std=c++11 {include}"))
            .current_dir(&client),
    )
}

fn execute(
    class: &str,
    count: usize,
    source: &Path,
    folder: &Path,
) -> Result<BTreeMap<String, Verdict>> {
    let temporary = folder.join(format!("{class}-tmp"));
    fs::create_dir(&temporary)?;
    let mut command = sandbox::command(&temporary)?;
    command
        .args(["./zktest-mt", class])
        .current_dir(source.join(CLIENT))
        .env("PATH", java::first_in_path(folder)?)
        .env("ZKROOT", source)
        .env_remove("JAVA_HOME");
    let log = folder.join(format!("{class}.log"));
    let ended = Sandboxed::start(command, &log)?.ended(class, LIMIT, || {});
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let mut tests = verdicts(&text);
    if tests.len() != count {
        let ended = ended.map_or_else(|error| format!("{error:#}"), |status| status.to_string());
        let reason = format!("{text}\n{} of {count} tests ran; {ended}", tests.len());
        tests.insert(format!("{class}: the rest"), Verdict::Failed(reason));
    }
    Ok(tests)
}

/// Reads what the tests print: the name, whatever the servers print meanwhile, then
/// ` : elapsed 12 : OK`, or another word where the test failed.
fn verdicts(log: &str) -> BTreeMap<String, Verdict> {
    let mut tests = BTreeMap::new();
    let mut running: Option<(&str, usize)> = None;
    for line in log.lines() {
        let at = line.as_ptr() as usize - log.as_ptr() as usize;
        if let Some(name) = test_name(line) {
            running = Some((name, at));
        }
        let Some((_, verdict)) = line.split_once(" : elapsed ") else {
            continue;
        };
        let Some((name, start)) = running.take() else {
            continue;
        };
        let verdict = match verdict.split_once(" : ") {
            Some((_, "OK")) => Verdict::Passed,
            Some(_) | None => Verdict::Failed(log[start..at + line.len()].to_owned()),
        };
        tests.insert(name.to_owned(), verdict);
    }
    if let Some((name, start)) = running {
        let reason = format!("{}\nit did not end", &log[start..]);
        tests.insert(name.to_owned(), Verdict::Failed(reason));
    }
    tests
}

/// `Class::testName` at the beginning of a line.
fn test_name(line: &str) -> Option<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (class, rest) = line.split_once("::")?;
    let method = rest.split(|c| !is_word(c)).next()?;
    let named = class.chars().all(is_word) && !class.is_empty() && method.starts_with("test");
    named.then(|| &line[..class.len() + "::".len() + method.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_belongs_to_the_test_that_began_before_it() {
        let log = "Running \nA_b::testOne ZooKeeper server started : elapsed 12 : OK\n\
            A_b::testTwo/a/path/java\nStarting zookeeper ... STARTED\nMode: follower\n : elapsed 7 : assertion\n\
            A_b::testThree ZooKeeper server started\nSegmentation fault";
        let tests = verdicts(log);
        assert_eq!(tests.get("A_b::testOne"), Some(&Verdict::Passed));
        assert!(
            matches!(tests.get("A_b::testTwo"), Some(Verdict::Failed(_))),
            "{tests:?}"
        );
        assert!(
            matches!(tests.get("A_b::testThree"), Some(Verdict::Failed(_))),
            "{tests:?}"
        );
        assert_eq!(tests.len(), 3);
    }
}
