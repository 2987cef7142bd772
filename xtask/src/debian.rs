//! Programs that come from Debian packages: finds them, installs them where that is possible.
//!
//! Prevents two things: tests that are silently not run because a program is missing, and a
//! package that starts a service of its own on the machine. While packages are being installed,
//! Debian's `policy-rc.d` forbids every service to start.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::wait;

/// Asked by Debian's maintainer scripts before they start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// The status by which a policy forbids an action.
const FORBIDDEN: i32 = 101;
/// How long the policy's file may be busy.
const POLICY_BUSY_MAX: Duration = Duration::from_secs(5);
/// Another installation may be under way.
const LOCK_WAIT: &str = "--option=DPkg::Lock::Timeout=300";
const POLICY_TEXT: &str = "#!/bin/sh\n# Written by cargo xtask while it installs.\nexit 101\n";

/// A program and the package that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// What is called.
    pub name: &'static str,
    /// What is installed.
    pub package: &'static str,
}

/// Where the program is, if it is installed.
///
/// Looks into the `sbin` folders too: they are not on an ordinary user's path, but their programs
/// run for everybody.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Makes sure that all programs are there; an error says what to do.
pub(crate) fn provide(programs: &[Program]) -> Result<()> {
    let missing = missing(programs);
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    install(&packages).with_context(|| format!("{} not installed", names(&missing)))?;
    let still = self::missing(programs);
    ensure!(still.is_empty(), "{} still missing", names(&still));
    Ok(())
}

/// Makes sure that files which are no programs are there, each with the package that holds it.
pub(crate) fn provide_files(files: &[(PathBuf, &str)]) -> Result<()> {
    let missing = || files.iter().filter(|(file, _)| !file.exists());
    let packages: Vec<&str> = missing().map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    install(&packages)?;
    if let Some((file, package)) = missing().next() {
        bail!("{} is not in {package}", file.display());
    }
    Ok(())
}

/// Installs packages, where that is possible; an error says what to do by hand.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let by_hand = format!("apt-get install {}", packages.join(" "));
    if !rustix::process::geteuid().is_root() {
        bail!("as root: {by_hand}");
    }
    if find("apt-get").is_none() {
        bail!("there is no apt-get to install {}", packages.join(" "));
    }
    apt_install(packages).with_context(|| format!("could not install; try: {by_hand}"))
}

fn missing(programs: &[Program]) -> Vec<Program> {
    let missing = programs
        .iter()
        .filter(|program| find(program.name).is_none());
    missing.copied().collect()
}

fn names(programs: &[Program]) -> String {
    let names: Vec<&str> = programs.iter().map(|program| program.name).collect();
    names.join(", ")
}

fn apt_install(packages: &[&str]) -> Result<()> {
    eprintln!("installing {}", packages.join(", "));
    let _guard = ServiceGuard::set(Path::new(POLICY))?;
    // A package list may be stale or empty; without an update its versions may be gone.
    apt_get(&["update", "--quiet=2"])?;
    let options = [
        "install",
        "--quiet=2",
        "--yes",
        "--no-install-recommends",
        LOCK_WAIT,
    ];
    apt_get(&[&options, packages].concat())
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        // stdout belongs to the command that needed the package.
        .stdout(std::io::stderr())
        .status()
        .context("apt-get does not start")?;
    ensure!(
        status.success(),
        "apt-get {} failed: {status}",
        arguments.join(" ")
    );
    Ok(())
}

/// While this lives, no package may start a service.
#[derive(Debug)]
struct ServiceGuard {
    /// Removed on drop; `None` where the machine has a policy of its own.
    written: Option<PathBuf>,
}

impl ServiceGuard {
    fn set(policy: &Path) -> Result<Self> {
        // A file of ours that an interrupted run left behind is ours to replace and to remove.
        let own = fs::read_to_string(policy)
            .map_or_else(|_| !policy.exists(), |text| text == POLICY_TEXT);
        if !own {
            ensure!(
                forbids(policy)?,
                "{} lets packages start services",
                policy.display()
            );
            return Ok(Self { written: None });
        }
        fs::write(policy, POLICY_TEXT)?;
        // The guard comes first, so that the file is removed even when chmod fails.
        let guard = Self {
            written: Some(policy.to_path_buf()),
        };
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))?;
        Ok(guard)
    }
}

impl Drop for ServiceGuard {
    fn drop(&mut self) {
        if let Some(policy) = &self.written
            && let Err(error) = fs::remove_file(policy)
        {
            eprintln!("warning: remove {} yourself: {error}", policy.display());
        }
    }
}

fn forbids(policy: &Path) -> Result<bool> {
    // A file that was written a moment ago is busy while another thread that forked meanwhile still
    // holds it open.
    let status = wait::until("the policy to run", POLICY_BUSY_MAX, || {
        Ok(Command::new(policy).args(["nginx", "start"]).status()?)
    })?;
    Ok(status.code() == Some(FORBIDDEN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Scratch;

    #[test]
    fn a_program_of_every_system_is_found_and_an_invented_one_is_not() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program-anywhere"), None);
    }

    #[test]
    fn a_policy_of_ours_forbids_starts_and_goes_away() {
        let scratch = Scratch::new("policy-own").expect("a scratch folder");
        let policy = scratch.path().join("policy-rc.d");
        let guard = ServiceGuard::set(&policy).expect("nothing is in the way");
        assert!(forbids(&policy).expect("the policy runs"));
        drop(guard);
        assert!(!policy.exists());
    }

    #[test]
    fn a_policy_of_the_machine_stays_and_has_to_forbid() {
        let scratch = Scratch::new("policy-foreign").expect("a scratch folder");
        let policy = scratch.path().join("policy-rc.d");
        for (status, accepted) in [(101, true), (0, false)] {
            fs::write(&policy, format!("#!/bin/sh\nexit {status}\n")).expect("a file");
            fs::set_permissions(&policy, fs::Permissions::from_mode(0o755)).expect("a mode");
            assert_eq!(
                ServiceGuard::set(&policy).is_ok(),
                accepted,
                "exit {status}"
            );
            assert!(policy.exists());
        }
    }
}
