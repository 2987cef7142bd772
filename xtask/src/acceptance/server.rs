//! The servers that a suite is run against, and what each needs to start.
//!
//! Prevents a comparison with something else than what is named: ours is built from this tree and
//! kept aside, so that a build during the run changes nothing, and the peer is Debian's package.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::process::Scratch;
use crate::workspace;
use crate::zookeeper::Java;

/// One server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Subject {
    /// Ours.
    Mainstay,
    /// Debian's Apache ZooKeeper.
    Zookeeper,
}

impl Subject {
    /// Its name in the report.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Mainstay => "mainstay",
            Self::Zookeeper => "zookeeper",
        }
    }
}

/// Which servers a suite is run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Against {
    /// Ours alone.
    Mainstay,
    /// Debian's ZooKeeper alone.
    Zookeeper,
    /// ZooKeeper first, then ours.
    Both,
}

/// What every suite is told.
#[derive(Debug, clap::Args)]
pub(super) struct Choice {
    /// Which server answers.
    #[arg(long, value_enum, default_value = "both")]
    against: Against,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
    /// Members of ours come to each other by TLS, with the keys of the keeper's own tests.
    #[arg(long)]
    members_tls: bool,
    /// A `mainstay` that is there already, instead of a build of this tree.
    #[arg(long, value_name = "FILE")]
    mainstay: Option<PathBuf>,
}

impl Choice {
    /// Ours alone, as this tree builds it.
    pub(super) const fn ours() -> Self {
        Self {
            against: Against::Mainstay,
            json: false,
            members_tls: false,
            mainstay: None,
        }
    }

    /// The servers, in the order in which they are run.
    pub(super) fn subjects(&self) -> &'static [Subject] {
        match self.against {
            Against::Mainstay => &[Subject::Mainstay],
            Against::Zookeeper => &[Subject::Zookeeper],
            Against::Both => &[Subject::Zookeeper, Subject::Mainstay],
        }
    }

    /// What starting this server takes, kept aside in `folder`; ours takes no Java.
    pub(super) fn servers(&self, subject: Subject, folder: &Scratch) -> Result<Installed> {
        let built = || self.mainstay.clone().map_or_else(workspace::mainstay, Ok);
        match subject {
            Subject::Mainstay => Ok(Installed {
                keeper: Some(aside(&built()?, folder.path())?),
                properties: self.properties(folder.path())?,
                java: None,
            }),
            Subject::Zookeeper => Ok(Installed {
                keeper: None,
                properties: Vec::new(),
                java: Some(Java::provide()?),
            }),
        }
    }

    /// What our servers are told besides the files that a suite writes.
    fn properties(&self, folder: &Path) -> Result<Vec<String>> {
        if !self.members_tls {
            return Ok(Vec::new());
        }
        let keys = workspace::root().join("crates/keeper/src/network/tcp/tests");
        let store = |name: &str, file: &str| -> Result<String> {
            let copy = aside(&keys.join(file), folder)?;
            Ok(format!("ssl.quorum.{name}.location={}", copy.display()))
        };
        Ok(vec![
            "sslQuorum=true".to_owned(),
            store("keyStore", "here.pem")?,
            store("trustStore", "authority.pem")?,
        ])
    }

    /// The same, and ZooKeeper's tools for either.
    pub(super) fn servers_and_tools(
        &self,
        subject: Subject,
        folder: &Scratch,
    ) -> Result<(Installed, Java)> {
        let servers = self.servers(subject, folder)?;
        let java = servers.java.clone().map_or_else(Java::provide, Ok)?;
        let java_too = Some(java.clone());
        Ok((
            Installed {
                java: java_too,
                ..servers
            },
            java,
        ))
    }
}

/// What is there to start servers and tools from.
#[derive(Debug)]
pub(super) struct Installed {
    /// Our binary, where ours is the subject.
    pub keeper: Option<PathBuf>,
    /// What it is told besides its file, `key=value`.
    pub properties: Vec<String>,
    /// For everything else.
    pub java: Option<Java>,
}

/// A copy in `folder` under the same name.
pub(super) fn aside(file: &Path, folder: &Path) -> Result<PathBuf> {
    let name = file.file_name().context("a program has a name")?;
    let copy = folder.join(name);
    fs::copy(file, &copy).with_context(|| file.display().to_string())?;
    Ok(copy)
}
