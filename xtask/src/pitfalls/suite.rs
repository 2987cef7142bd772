//! Test programs of the copy: built, and asked for one test after the other.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::tree::Tree;
use crate::{process, wait, workspace};

/// A test takes seconds at most; one that takes so long hangs.
pub(super) const TEST_MAX: Duration = Duration::from_secs(30);

/// The same for a test that has to hang: with no bug it takes milliseconds.
pub(super) const HANG: Duration = Duration::from_secs(10);

/// How much of the compiler's errors is quoted.
const ERROR_LINES: usize = 20;

/// Which test program, as `package`, or `package/program` for an integration test.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(from = "String")]
pub(crate) struct Source {
    pub(crate) package: String,
    /// An integration test; the library's own tests without one.
    pub(crate) program: Option<String>,
}

impl From<String> for Source {
    fn from(name: String) -> Self {
        match name.split_once('/') {
            Some((package, program)) => Self {
                package: package.to_owned(),
                program: Some(program.to_owned()),
            },
            None => Self {
                package: name,
                program: None,
            },
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.program {
            Some(program) => write!(f, "{}/{program}", self.package),
            None => write!(f, "{}", self.package),
        }
    }
}

/// A test program as it was built.
#[derive(Debug)]
pub(super) struct Program {
    file: PathBuf,
    /// Where its package is: Cargo runs tests there.
    folder: PathBuf,
    log: PathBuf,
    /// The full names of its tests.
    tests: Vec<String>,
}

/// A message of Cargo; of those that built something, what is read.
#[derive(Debug, Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
}

/// What became of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// With the first line of what it said last.
    Failed(String),
    /// For so long.
    Hung(Duration),
}

impl Program {
    /// Builds it; where it does not compile, what the compiler says.
    pub(super) fn build(tree: &Tree, source: &Source) -> Result<Result<Self, String>> {
        let mut cargo = workspace::cargo();
        cargo
            .current_dir(tree.root())
            .env("CARGO_TARGET_DIR", tree.build())
            .args(["test", "--no-run", "--all-features", "--quiet"])
            .args(["--message-format", "json-render-diagnostics"])
            .args(["--package", &source.package]);
        match &source.program {
            Some(program) => cargo.args(["--test", program]),
            None => cargo.arg("--lib"),
        };
        let output = cargo.output().context("cargo does not start")?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let errors = text.lines().skip_while(|line| !line.starts_with("error"));
            let errors: Vec<_> = errors.take(ERROR_LINES).collect();
            return Ok(Err(errors.join("\n")));
        }
        let (file, manifest) = built(&output.stdout).context("cargo built no test program")?;
        let folder = manifest.parent().context("a manifest is in a folder")?;
        let log = tree.build().join("test.log");
        Self::of(file, folder.to_owned(), log).map(Ok)
    }

    fn of(file: PathBuf, folder: PathBuf, log: PathBuf) -> Result<Self> {
        let list = std::process::Command::new(&file)
            .args(["--list", "--format", "terse"])
            .output()?;
        ensure!(list.status.success(), "{} has no list", file.display());
        let list = String::from_utf8(list.stdout)?;
        let tests = list.lines().filter_map(|line| line.strip_suffix(": test"));
        let tests = tests.map(str::to_owned).collect();
        Ok(Self {
            file,
            folder,
            log,
            tests,
        })
    }

    /// Runs the tests of this name, in whatever modules they are: the first that does not pass is
    /// the verdict.
    pub(super) fn run(&self, name: &str, limit: Duration) -> Result<Verdict> {
        let mut ran = false;
        for test in self.tests.iter().filter(|test| is_named(test, name)) {
            ran = true;
            let verdict = self.run_one(test, limit)?;
            if !verdict.passed() {
                return Ok(verdict);
            }
        }
        ensure!(ran, "{} has no test {name}", self.file.display());
        Ok(Verdict::Passed)
    }

    fn run_one(&self, test: &str, limit: Duration) -> Result<Verdict> {
        let output = File::create(&self.log)?;
        let mut child = process::tied()
            .arg(&self.file)
            .args(["--exact", test])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("a test program does not start")?;
        let Some(status) = ended(&mut child, limit)? else {
            return Ok(Verdict::Hung(limit));
        };
        let text = fs::read(&self.log)?;
        Verdict::of(status, &String::from_utf8_lossy(&text))
    }
}

/// How a test ended; `None` for one that had to be killed.
fn ended(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let ended = wait::until("a test", limit, || {
        child.try_wait()?.context("it still runs")
    });
    if let Ok(status) = ended {
        return Ok(Some(status));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

impl Verdict {
    /// Reads what a run of one test printed. One that brought its program down has failed as well.
    fn of(status: ExitStatus, text: &str) -> Result<Self> {
        ensure!(text.contains("running 1 test\n"), "no test ran:\n{text}");
        if status.success() {
            return Ok(Self::Passed);
        }
        // The last one: the panics before it may be the test's own, on purpose.
        let said = text.rsplit_once("panicked at ").map(|(_, said)| said);
        let said = said.and_then(|said| said.lines().nth(1));
        Ok(Self::Failed(said.unwrap_or("no message").to_owned()))
    }

    pub(super) fn passed(&self) -> bool {
        *self == Self::Passed
    }

    /// Whether it found the bug.
    pub(super) fn finds(&self, hangs: bool) -> bool {
        match self {
            Self::Passed => false,
            Self::Failed(_) => true,
            Self::Hung(_) => hangs,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => write!(f, "passes"),
            Self::Failed(said) => write!(f, "fails: {said}"),
            Self::Hung(limit) => write!(f, "does not end within {} s", limit.as_secs()),
        }
    }
}

/// The test program among what Cargo built, and its manifest.
fn built(messages: &[u8]) -> Option<(PathBuf, PathBuf)> {
    let messages = messages.split(|byte| *byte == b'\n');
    messages
        .filter_map(|message| serde_json::from_slice::<Message>(message).ok())
        .find_map(|message| Some((message.executable?, message.manifest_path?)))
}

/// Whether the last part of a test's path is this name.
fn is_named(test: &str, name: &str) -> bool {
    Path::new(&test.replace("::", "/")).file_name() == Some(name.as_ref())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn verdict(status: i32, text: &str) -> Result<Verdict> {
        Verdict::of(ExitStatus::from_raw(status), text)
    }

    #[test]
    fn a_failed_test_says_why_and_a_program_that_dies_has_failed() {
        let ran = "\nrunning 1 test\n";
        assert_eq!(verdict(0, ran).expect("it ran"), Verdict::Passed);
        let text =
            "panicked at a.rs:1:2:\non purpose\nthread 'a' panicked at a.rs:3:4:\nit leaks\nnote";
        let text = format!("{ran}{text}");
        let failed = verdict(101 << 8, &text).expect("it ran");
        assert_eq!(failed, Verdict::Failed("it leaks".into()));
        let killed = verdict(6, ran).expect("it ran");
        assert_eq!(killed, Verdict::Failed("no message".into()));
        assert!(killed.finds(false) && !Verdict::Passed.finds(true));
    }

    #[test]
    fn a_run_without_a_test_finds_nothing() {
        assert!(verdict(0, "\nrunning 0 tests\n").is_err());
        assert!(verdict(101 << 8, "error: no such option").is_err());
    }

    #[test]
    fn a_test_that_hangs_finds_only_what_is_to_hang() {
        let hung = Verdict::Hung(HANG);
        assert!(hung.finds(true) && !hung.finds(false));
    }

    #[test]
    fn a_name_is_the_whole_last_part() {
        assert!(is_named("breaker::tests::it_holds", "it_holds"));
        assert!(is_named("it_holds", "it_holds"));
        assert!(!is_named("breaker::tests::it_holds_again", "it_holds"));
        assert!(!is_named("breaker::tests::so_it_holds", "it_holds"));
    }

    #[test]
    fn the_test_program_is_found_among_cargos_messages() {
        let messages =
            br#"{"reason":"compiler-artifact","manifest_path":"/a/Cargo.toml","executable":null}
{"reason":"compiler-artifact","manifest_path":"/b/Cargo.toml","executable":"/t/b-1"}
{"reason":"build-finished","success":true}"#;
        let expected = ("/t/b-1".into(), "/b/Cargo.toml".into());
        assert_eq!(built(messages), Some(expected));
        assert_eq!(built(b""), None);
    }
}
