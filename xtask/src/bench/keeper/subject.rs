//! The ensembles that are compared, and how each is told to do the same work.
//!
//! Prevents an unfair race: three members each, on one machine and one file system, with the
//! defaults of their makers, durable before they answer.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::debian::{self, Program};
use crate::zookeeper::Java;

/// Members of each ensemble.
pub(super) const MEMBERS: usize = 3;

/// One ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::bench) enum Subject {
    /// Ours.
    Mainstay,
    /// Debian's.
    Zookeeper,
    /// Debian's.
    Etcd,
}

/// Where one member listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    /// For clients.
    pub client: SocketAddr,
    /// For other members.
    pub peer: SocketAddr,
    /// For other members, while they elect a leader.
    pub election: SocketAddr,
}

impl Subject {
    /// All of them, ours first.
    pub(super) const ALL: &'static [Self] = &[Self::Mainstay, Self::Zookeeper, Self::Etcd];

    /// Its name in the report.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Mainstay => "mainstay",
            Self::Zookeeper => "zookeeper",
            Self::Etcd => "etcd",
        }
    }

    /// What its clients speak.
    pub(super) const fn protocol(self) -> &'static str {
        match self {
            Self::Mainstay | Self::Zookeeper => "zookeeper",
            Self::Etcd => "etcd",
        }
    }

    /// What has to be installed for it.
    pub(super) const fn programs(self) -> &'static [Program] {
        match self {
            // Whoever starts it provides it, see `Java`.
            Self::Mainstay | Self::Zookeeper => &[],
            Self::Etcd => &[Program {
                name: "etcd",
                package: "etcd-server",
            }],
        }
    }

    /// What the reader of a ratio has to know.
    pub(super) const fn note(self) -> &'static str {
        match self {
            Self::Mainstay => {
                "mainstay: `mainstay keeper --zoo-cfg`, built with the profile `dist`"
            },
            Self::Zookeeper => {
                "zookeeper: 3.8 of Debian by the same zoo.cfg, -Xmx2g, otherwise its defaults; \
                 reads are each member's own state, as ours"
            },
            Self::Etcd => {
                "etcd: 3.4 of Debian, its defaults; reads are serializable, which is each member's \
                 own state; creating is a transaction that compares the key's version; its memory \
                 includes the pages of its database that it maps"
            },
        }
    }

    /// The command of the member `own`, whose folder is `folder`, which gets the files that it
    /// needs; `mainstay` is our program.
    pub(super) fn command(
        self,
        (mainstay, folder): (&Path, &Path),
        own: usize,
        seats: &[Seat; MEMBERS],
    ) -> Result<Vec<OsString>> {
        let data = folder.join("data");
        std::fs::create_dir_all(&data)?;
        if self == Self::Etcd {
            return etcd(&data, own, seats);
        }
        let config = folder.join("zoo.cfg");
        std::fs::write(&config, zoo_cfg(&data, own, seats))?;
        std::fs::write(data.join("myid"), format!("{}\n", own + 1))?;
        if self == Self::Zookeeper {
            return zookeeper(&config);
        }
        let mut command = vec![mainstay.into()];
        command.extend(["keeper", "--zoo-cfg"].map(Into::into));
        command.push(config.into());
        Ok(command)
    }
}

fn zookeeper(config: &Path) -> Result<Vec<OsString>> {
    let java = Java::provide()?;
    let mut command: Vec<OsString> = vec![java.program.into()];
    command.extend(["-Xmx2g", "-cp", &java.class_path].map(Into::into));
    command.push("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".into());
    command.push("org.apache.zookeeper.server.quorum.QuorumPeerMain".into());
    command.push(config.into());
    Ok(command)
}

/// What both who speak `ZooKeeper`'s protocol read.
fn zoo_cfg(data: &Path, own: usize, seats: &[Seat; MEMBERS]) -> String {
    let mut text = format!(
        "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={}\n\
         maxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=srvr\n",
        data.display(),
        seats[own].client.port(),
    );
    for (number, seat) in (1..).zip(seats) {
        let (peer, election) = (seat.peer.port(), seat.election.port());
        let _infallible = writeln!(text, "server.{number}=127.0.0.1:{peer}:{election}");
    }
    text
}

fn etcd(data: &Path, own: usize, seats: &[Seat; MEMBERS]) -> Result<Vec<OsString>> {
    let etcd = debian::find("etcd").context("etcd is not installed")?;
    let members = (1..).zip(seats);
    let members = members.map(|(number, seat)| format!("n{number}=http://{}", seat.peer));
    let members = members.collect::<Vec<_>>().join(",");
    let client = format!("http://{}", seats[own].client);
    let peer = format!("http://{}", seats[own].peer);
    let name = format!("n{}", own + 1);
    let mut command: Vec<OsString> = vec![etcd.into()];
    let options: [(&str, &OsStr); 7] = [
        ("--name", name.as_ref()),
        ("--data-dir", data.as_os_str()),
        ("--listen-client-urls", client.as_ref()),
        ("--advertise-client-urls", client.as_ref()),
        ("--listen-peer-urls", peer.as_ref()),
        ("--initial-advertise-peer-urls", peer.as_ref()),
        ("--initial-cluster", members.as_ref()),
    ];
    for (name, value) in options {
        command.extend([name.into(), value.to_owned()]);
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_told_of_all_members_and_its_own_port() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let seats = [1, 2, 3].map(|number| Seat {
            client: at(4_000 + number),
            peer: at(5_000 + number),
            election: at(6_000 + number),
        });
        let text = zoo_cfg(Path::new("/data"), 1, &seats);
        assert!(text.contains("clientPort=4002\n"), "{text}");
        assert!(text.ends_with("server.3=127.0.0.1:5003:6003\n"), "{text}");
        assert_eq!(text.matches("server.").count(), MEMBERS);
    }
}
