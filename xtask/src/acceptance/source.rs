//! Source packages of Debian: fetched, unpacked and built once, under the build folder.
//!
//! A machine seldom has lists of source packages, and this tool changes no machine's lists: it
//! makes a list of its own, from where `apt` would take the binary package, and lets `apt` check
//! the signatures as always.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::debian::{self, Program};
use crate::workspace;

/// Written when a package is unpacked and built.
const BUILT: &str = "built";

/// Where the keyrings are that `apt` knows.
const KEYRINGS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The unpacked source of `package`, after `build` was run in it once.
pub(super) fn provide(package: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = workspace::metadata()?
        .target_directory
        .join("xtask-source")
        .join(package);
    let unpacked = folder.join("unpacked");
    if folder.join(BUILT).exists() {
        return Ok(unpacked);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("lists/partial"))?;
    debian::provide(&[Program {
        name: "dpkg-source",
        package: "dpkg-dev",
    }])?;
    let offer = offer(package)?;
    fs::write(folder.join("sources.list"), &offer.line)?;
    eprintln!("fetching the source of {package} {}", offer.version);
    apt_get(&folder, &["update"])?;
    let wanted = format!("{package}={}", offer.version);
    apt_get(
        &folder,
        &["source", "--download-only", "--only-source", &wanted],
    )?;
    let description = described(&folder)?;
    let options = ["--extract", "--no-copy"];
    run(Command::new("dpkg-source")
        .args(options)
        .arg(&description)
        .arg(&unpacked)
        .current_dir(&folder))?;
    build(&unpacked)?;
    fs::write(folder.join(BUILT), offer.version)?;
    Ok(unpacked)
}

/// Where a package comes from.
#[derive(Debug, PartialEq)]
struct Offer {
    version: String,
    /// For a list of sources.
    line: String,
}

fn offer(package: &str) -> Result<Offer> {
    let output = Command::new("apt-cache")
        .args(["madison", package])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find_map(parse_offer)
        .with_context(|| format!("no package list knows {package}; as root: apt-get update"))
}

/// Reads `zookeeper | 3.8.0-11 | http://host/debian bookworm/main amd64 Packages`.
fn parse_offer(line: &str) -> Option<Offer> {
    let mut columns = line.split('|').map(str::trim);
    let (version, place) = (columns.nth(1)?, columns.next()?);
    let mut words = place.split_whitespace();
    let (archive, suite) = (words.next()?, words.next()?);
    let (suite, component) = suite.split_once('/')?;
    Some(Offer {
        version: version.to_owned(),
        line: format!("deb-src [signed-by={KEYRINGS}] {archive} {suite} {component}\n"),
    })
}

fn apt_get(folder: &Path, arguments: &[&str]) -> Result<()> {
    let set = |name: &str, value: &Path| format!("--option={name}={}", value.display());
    run(Command::new("apt-get")
        .args(arguments)
        .arg("--quiet=2")
        .arg(set("Dir::Etc::SourceList", &folder.join("sources.list")))
        .arg("--option=Dir::Etc::SourceParts=-")
        .arg(set("Dir::State::Lists", &folder.join("lists")))
        .arg(set("Dir::Cache", folder))
        // Everything is in a folder of the caller, which the sandbox's user could not write to.
        .arg("--option=APT::Sandbox::User=")
        .current_dir(folder))
}

fn described(folder: &Path) -> Result<PathBuf> {
    let files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let files: Vec<PathBuf> = files.collect::<Result<_>>()?;
    let description = files
        .into_iter()
        .find(|file| file.extension() == Some("dsc".as_ref()));
    description.context("apt-get fetched no description")
}

/// Runs a step whose output is progress, and fails with it.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let output = command
        .output()
        .with_context(|| format!("{program} does not start"))?;
    ensure!(
        output.status.success(),
        "{program} failed: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_looked_for_where_its_package_comes_from() {
        let line = " zookeeper | 3.8.0-11 | http://an.archive/debian bookworm/main amd64 Packages";
        let offer = parse_offer(line).expect("a line of apt-cache");
        assert_eq!(offer.version, "3.8.0-11");
        let expected =
            format!("deb-src [signed-by={KEYRINGS}] http://an.archive/debian bookworm main\n");
        assert_eq!(offer.line, expected);
        assert_eq!(parse_offer("nothing of the kind"), None);
    }
}
