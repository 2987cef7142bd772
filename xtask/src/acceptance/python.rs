//! Python programs from `PyPI`, each in an environment of its own under the build folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::debian::{self, Program};
use crate::workspace;

/// The file that says what an environment was made from; written last.
const MADE_FROM: &str = "made-from";

/// An environment with exactly these requirements; made once, and again when they change.
pub(super) fn environment(name: &str, requirements: &[&str]) -> Result<PathBuf> {
    let folder = workspace::metadata()?
        .target_directory
        .join("xtask-python")
        .join(name);
    let wanted = requirements.join("\n");
    if fs::read_to_string(folder.join(MADE_FROM)).is_ok_and(|made_from| made_from == wanted) {
        return Ok(folder);
    }
    let python = Program {
        name: "python3",
        package: "python3",
    };
    debian::provide(&[python])?;
    if !succeeds(Command::new(python.name).args(["-c", "import ensurepip"])) {
        debian::install(&["python3-venv"])?;
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    eprintln!("installing {} from PyPI", requirements.join(", "));
    run(Command::new(python.name).args(["-m", "venv"]).arg(&folder))?;
    run(Command::new(folder.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(requirements))?;
    fs::write(folder.join(MADE_FROM), wanted)?;
    Ok(folder)
}

/// The environment's Python.
pub(super) fn interpreter(environment: &Path) -> PathBuf {
    environment.join("bin/python")
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        // stdout belongs to the report.
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("{} does not start", command.get_program().display()))?;
    ensure!(
        status.success(),
        "{} failed: {status}",
        command.get_program().display()
    );
    Ok(())
}
