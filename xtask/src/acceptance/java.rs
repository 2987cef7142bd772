//! What `java` is while a suite runs that starts its servers itself.
//!
//! Suites start Apache ZooKeeper as `java … org.apache.zookeeper.server.quorum.QuorumPeerMain CFG`.
//! A script of that name, first on the path, calls this tool, and the tool becomes what is wanted:
//! our keeper with the same configuration file, or the real Java with Debian's class path. By
//! `exec`, so that the process which the suite signals and waits for is the server.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::server::{self, Installed};

/// The classes that are servers; each takes its configuration file as its last argument.
const SERVERS: &[&str] = &[
    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
    "org.apache.zookeeper.server.ZooKeeperServerMain",
];

/// A call of `java`, and what to make of it.
#[derive(Debug, clap::Args)]
pub(super) struct Call {
    /// Our binary, where it takes the place of the servers.
    #[arg(long, value_name = "FILE")]
    keeper: Option<PathBuf>,
    /// What ours is told besides, `key=value`.
    #[arg(long = "property", value_name = "KEY=VALUE")]
    properties: Vec<String>,
    /// The real Java, for everything else.
    #[arg(long, value_name = "FILE")]
    java: Option<PathBuf>,
    /// What takes the place of every class path.
    #[arg(long, default_value = "")]
    class_path: String,
    /// What `java` was called with.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Writes a `java` into `folder` that starts what is `installed`.
pub(super) fn install(folder: &Path, installed: &Installed) -> Result<()> {
    let this = std::env::current_exe().context("this program has a file")?;
    let this = server::aside(&this, folder)?;
    let mut options = String::new();
    if let Some(keeper) = &installed.keeper {
        let _infallible = write!(options, "--keeper '{}' ", keeper.display());
    }
    for property in &installed.properties {
        let _infallible = write!(options, "--property '{property}' ");
    }
    if let Some(java) = &installed.java {
        let (program, class_path) = (java.program.display(), &java.class_path);
        let _infallible = write!(options, "--java '{program}' --class-path '{class_path}' ");
    }
    let script = format!(
        "#!/bin/sh\nexec '{}' acceptance java {options}-- \"$@\"\n",
        this.display()
    );
    let java = folder.join("java");
    fs::write(&java, script)?;
    fs::set_permissions(&java, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The search path of programs, with the `java` that was installed in `folder` before every other.
pub(super) fn first_in_path(folder: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_path_buf()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).context("a folder with a colon in its name")
}

/// Becomes the program that was called for; returns only when that does not start.
pub(super) fn become_it(call: &Call) -> Result<bool> {
    let (program, arguments) = translate(call)?;
    let error = Command::new(&program).args(arguments).exec();
    Err(error).with_context(|| format!("{} does not start", program.display()))
}

fn translate(call: &Call) -> Result<(PathBuf, Vec<String>)> {
    let is_server = call
        .arguments
        .iter()
        .any(|word| SERVERS.contains(&word.as_str()));
    match (&call.keeper, call.arguments.split_last()) {
        (Some(keeper), Some((file, options))) if is_server => {
            let mut arguments = vec!["keeper".to_owned(), "--zoo-cfg".to_owned(), file.clone()];
            let said = options
                .iter()
                .filter_map(|option| option.strip_prefix("-D"));
            for property in said.chain(call.properties.iter().map(String::as_str)) {
                arguments.extend(["--java-prop".to_owned(), property.to_owned()]);
            }
            Ok((keeper.clone(), arguments))
        },
        (Some(_) | None, Some(_) | None) => {
            let java = call
                .java
                .clone()
                .context("this is no server, and there is no Java")?;
            Ok((java, with_class_path(call)))
        },
    }
}

fn with_class_path(call: &Call) -> Vec<String> {
    let mut words = call.arguments.iter();
    let mut arguments = vec!["-cp".to_owned(), call.class_path.clone()];
    while let Some(word) = words.next() {
        if matches!(word.as_str(), "-cp" | "-classpath" | "--class-path") {
            words.next();
        } else {
            arguments.push(word.clone());
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(keeper: Option<&str>, line: &str) -> Call {
        Call {
            keeper: keeper.map(PathBuf::from),
            properties: Vec::new(),
            java: Some(PathBuf::from("/usr/bin/java")),
            class_path: "zookeeper.jar".to_owned(),
            arguments: line.split(' ').map(str::to_owned).collect(),
        }
    }

    fn translated(keeper: Option<&str>, line: &str) -> String {
        let (program, arguments) = translate(&call(keeper, line)).expect("there is Java");
        format!("{} {}", program.display(), arguments.join(" "))
    }

    const SERVER: &str = "-cp x -Dreadonlymode.enabled=true -Xmx1g -Dempty \
        org.apache.zookeeper.server.quorum.QuorumPeerMain /tmp/zoo.cfg";

    #[test]
    fn a_server_becomes_our_keeper_with_its_file_and_properties() {
        let ours = "mainstay keeper --zoo-cfg /tmp/zoo.cfg \
            --java-prop readonlymode.enabled=true --java-prop empty";
        assert_eq!(translated(Some("mainstay"), SERVER), ours);
    }

    #[test]
    fn what_ours_is_told_besides_stands_behind_what_the_suite_says() {
        let call = Call {
            properties: vec!["sslQuorum=true".to_owned()],
            ..call(Some("mainstay"), SERVER)
        };
        let (_, arguments) = translate(&call).expect("a server");
        let arguments = arguments.join(" ");
        assert!(arguments.ends_with("--java-prop empty --java-prop sslQuorum=true"));
    }

    #[test]
    fn a_server_of_the_baseline_is_java_with_its_class_path() {
        let theirs = "/usr/bin/java -cp zookeeper.jar -Dreadonlymode.enabled=true -Xmx1g -Dempty \
            org.apache.zookeeper.server.quorum.QuorumPeerMain /tmp/zoo.cfg";
        assert_eq!(translated(None, SERVER), theirs);
    }

    #[test]
    fn a_tool_is_java_even_where_the_servers_are_ours() {
        let tool = "org.apache.zookeeper.ZooKeeperMain -server localhost:2181 ls /";
        let line = format!("-cp x {tool}");
        let java = format!("/usr/bin/java -cp zookeeper.jar {tool}");
        assert_eq!(translated(Some("mainstay"), &line), java);
    }
}
