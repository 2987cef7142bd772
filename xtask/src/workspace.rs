//! Where the workspace is and what it consists of, as Cargo tells it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// The workspace's root folder.
///
/// Asked at run time: a binary built in one clone may run in another that shares its target folder.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map(Path::to_path_buf).unwrap_or(here)
}

/// The Cargo that runs this tool, in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// The paths of all files that are, or would be, under version control.
pub(crate) fn files(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--deduplicate",
        ])
        .current_dir(root)
        .output()
        .context("git does not start")?;
    ensure!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let listed = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let files: Vec<_> = listed.split_terminator('\0').map(str::to_owned).collect();
    ensure!(
        !files.is_empty(),
        "git lists no files below {}",
        root.display()
    );
    Ok(files)
}

/// Builds `mainstay` for the suites that run it, and says where it is.
pub(crate) fn mainstay() -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--profile", "suite", "--package", "mainstay-cli"]);
    ensure!(build.status()?.success(), "mainstay does not build");
    Ok(metadata()?.target_directory.join("suite/mainstay"))
}

/// What `cargo metadata` says about the workspace's own packages.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    /// The workspace's packages, and no others.
    pub packages: Vec<Package>,
    /// Where Cargo builds.
    pub target_directory: PathBuf,
}

/// One package of the workspace.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    /// Its name in `Cargo.toml`.
    pub name: String,
    /// Its `Cargo.toml`, absolute.
    pub manifest_path: PathBuf,
    /// What it depends on, inside the workspace and outside.
    pub dependencies: Vec<Dependency>,
}

/// One dependency of a package.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The package's name, whatever it is renamed to.
    pub name: String,
    /// When it is needed; a normal dependency has none.
    pub kind: Option<DependencyKind>,
}

/// When a dependency that is not a normal one is needed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DependencyKind {
    /// By tests, examples and benchmarks.
    Dev,
    /// By the build script.
    Build,
}

/// Asks Cargo about the workspace's own packages; needs no network.
pub(crate) fn metadata() -> Result<Metadata> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cargo metadata does not start")?;
    ensure!(output.status.success(), "cargo metadata failed");
    serde_json::from_slice(&output.stdout).context("cargo metadata printed something else")
}
