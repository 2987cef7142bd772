//! The load: a program of its own, in `benches/keeper`, whose figures are read here.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::tied;
use crate::workspace;

const WORKSPACE: &str = "benches/keeper";

/// What it printed, by name; in order where a name comes several times.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Figures(BTreeMap<String, Vec<f64>>);

impl Figures {
    /// All figures of a name.
    pub(super) fn all(&self, name: &str) -> Result<&[f64]> {
        let found = self.0.get(name).map(Vec::as_slice);
        found.with_context(|| format!("the load did not print {name}"))
    }

    /// The last figure of a name.
    pub(super) fn one(&self, name: &str) -> Result<f64> {
        self.all(name)?.last().copied().context("a figure")
    }
}

/// Builds it as `mainstay` is shipped.
pub(super) fn build() -> Result<()> {
    let folder = workspace::root().join(WORKSPACE);
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--quiet", "--locked", "--profile", "dist"]);
    cargo.arg("--manifest-path").arg(folder.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(folder.join("target"));
    ensure!(cargo.status()?.success(), "the load does not build");
    Ok(())
}

fn binary() -> PathBuf {
    let folder = workspace::root().join(WORKSPACE);
    folder.join("target/dist/keeper-load")
}

/// A load that runs.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    what: String,
}

/// Starts it; whoever drops it before it ends ends it.
pub(super) fn start<S: AsRef<OsStr>>(words: &[S]) -> Result<Running> {
    let what: Vec<_> = words
        .iter()
        .map(|word| word.as_ref().to_string_lossy())
        .collect();
    let child = tied()
        .arg(binary())
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .context("the load does not start")?;
    Ok(Running {
        child,
        what: what.join(" "),
    })
}

/// Runs it to its end.
pub(super) fn run<S: AsRef<OsStr>>(words: &[S]) -> Result<Figures> {
    start(words)?.end()
}

impl Running {
    /// Waits until it says that it is ready, and begins; in between, `look` may look at what the
    /// servers are like then.
    pub(super) fn when_ready<T>(&mut self, look: impl FnOnce() -> Result<T>) -> Result<T> {
        let output = self.child.stdout.as_mut().context("its output")?;
        // By the byte: what comes after the line is read by `end`.
        let mut lines = BufReader::with_capacity(1, output).lines();
        loop {
            match lines.next() {
                Some(Ok(line)) if line == "ready" => break,
                Some(Ok(_)) => {},
                Some(Err(error)) => return Err(error.into()),
                None => bail!("the load ended early: {}", self.what),
            }
        }
        let seen = look()?;
        let input = self.child.stdin.as_mut().context("its input")?;
        input.write_all(b"go\n")?;
        Ok(seen)
    }

    /// Whether it still runs. What it prints by then has to fit into a pipe.
    pub(super) fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Its figures, once it has ended.
    pub(super) fn end(mut self) -> Result<Figures> {
        let output = self.child.stdout.take().context("its output")?;
        let lines: Vec<String> = BufReader::new(output).lines().collect::<Result<_, _>>()?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the load failed: {}", self.what);
        parse(lines.iter().map(String::as_str))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended cannot be killed, which is what is wanted.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Figures> {
    let mut figures = Figures::default();
    for line in lines {
        let (name, value) = line.split_once(' ').context("a line of one word")?;
        let value = value.parse().with_context(|| line.to_owned())?;
        figures.0.entry(name.to_owned()).or_default().push(value);
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_name_and_keep_their_order() {
        let figures = parse(["rate 5.5", "ms 3", "ms 4"].into_iter()).expect("well-formed");
        assert!((figures.one("rate").expect("it is there") - 5.5).abs() < 1e-9);
        assert_eq!(figures.all("ms").expect("both"), [3.0, 4.0]);
        assert!(figures.one("p99").is_err());
    }

    #[test]
    fn a_line_that_is_no_figure_is_an_error() {
        for line in ["ready", "rate fast"] {
            assert!(parse(std::iter::once(line)).is_err(), "{line}");
        }
    }
}
