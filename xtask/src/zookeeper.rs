//! Java, and what Debian has of ZooKeeper for it.
//!
//! Prevents two lists of the same jars, of which one would be forgotten.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::debian::{self, Program};

/// Where Debian keeps what Java programs are made of.
const JARS: &str = "/usr/share/java";

/// What a ZooKeeper server and its command line need, out of [`JARS`].
///
/// `netty-all` is empty in Debian; without the real ones no client is ever answered.
const ZOOKEEPER_JARS: &[&str] = &[
    "zookeeper",
    "zookeeper-jute",
    "slf4j-api",
    "slf4j-simple",
    "netty-buffer",
    "netty-codec",
    "netty-common",
    "netty-handler",
    "netty-resolver",
    "netty-transport",
    "netty-transport-native-unix-common",
    "netty-transport-native-epoll",
    "snappy-java",
    "metrics-core",
    "commons-cli",
    "commons-io",
    "jetty9-server",
    "jetty9-servlet",
    "jetty9-util",
    "jetty9-util-ajax",
    "jetty9-http",
    "jetty9-io",
    "jetty9-security",
    "jackson-core",
    "jackson-databind",
    "jackson-annotations",
    "servlet-api",
    "log4j-1.2",
];

/// Java, and Debian's ZooKeeper for it.
#[derive(Clone, Debug)]
pub(crate) struct Java {
    /// The real one.
    pub program: PathBuf,
    /// Of ZooKeeper's server and tools.
    pub class_path: String,
}

impl Java {
    /// Installs what is missing.
    pub(crate) fn provide() -> Result<Self> {
        let java = Program {
            name: "java",
            package: "default-jre-headless",
        };
        debian::provide(&[java])?;
        debian::provide_files(&[
            (Path::new(JARS).join("zookeeper.jar"), "libzookeeper-java"),
            (Path::new(JARS).join("log4j-1.2.jar"), "liblog4j1.2-java"),
        ])?;
        Ok(Self {
            program: debian::find(java.name).context("java was just installed")?,
            class_path: class_path(ZOOKEEPER_JARS)?,
        })
    }
}

/// The class path of Debian's jars with these names.
pub(crate) fn class_path(names: &[&str]) -> Result<String> {
    let jar = |name: &&str| {
        let jar = format!("{JARS}/{name}.jar");
        ensure!(Path::new(&jar).exists(), "{jar} is missing");
        Ok(jar)
    };
    let jars: Result<Vec<String>> = names.iter().map(jar).collect();
    Ok(jars?.join(":"))
}
