//! The members of an ensemble as processes: started, killed, stopped and asked how they are.
//!
//! Prevents doubt about what was broken: members are processes of the real program with files and
//! addresses that outlive them, each tied to the life of the drill.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::future::join_all;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use super::network::Network;
use super::subject::{Files, Ports, Subject, zoo_cfg};
use crate::port;
use crate::process::{self, Process, State, tail};

/// How long the members may take until one leads and all others follow.
const READY_MAX: Duration = Duration::from_mins(1);

/// How long one look at a member may take.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// Between two looks while waiting.
const EVERY: Duration = Duration::from_millis(20);

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// What a member says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// It leads.
    Leader,
    /// It follows.
    Follower,
}

/// A member: its files, its address, and its process while it has one.
#[derive(Debug)]
struct Member {
    files: Files,
    client: SocketAddr,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    process: Process,
}

/// All members.
#[derive(Debug)]
pub(crate) struct Ensemble {
    subject: Subject,
    mainstay: PathBuf,
    members: Vec<Member>,
    network: Option<Network>,
}

impl Ensemble {
    /// Writes the files of `count` members into `folder`; starts none.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn new(
        (subject, mainstay): (Subject, &Path),
        count: usize,
        network: Option<Network>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let mut places = Vec::new();
        for member in 0..count {
            places.push(match &network {
                Some(network) => (
                    network.address(member),
                    Ports {
                        client: 2_181,
                        quorum: 2_888,
                        election: 3_888,
                    },
                ),
                None => (IpAddr::V4(Ipv4Addr::LOCALHOST), free_ports()?),
            });
        }
        let servers = places.iter().zip(1..).map(|((host, ports), number)| {
            format!("server.{number}={host}:{}:{}", ports.quorum, ports.election)
        });
        let servers: Vec<_> = servers.collect();
        let mut members = Vec::new();
        for ((host, ports), number) in places.iter().zip(1..) {
            let folder = folder.join(format!("member-{number}"));
            let files = Files {
                data: folder.join("data"),
                zoo_cfg: folder.join("zoo.cfg"),
                log: folder.join("log"),
            };
            let client = SocketAddr::new(*host, ports.client);
            write(&files, &zoo_cfg(&files.data, client, &servers), number)
                .with_context(|| format!("cannot write into {}", folder.display()))?;
            members.push(Member {
                files,
                client,
                running: None,
            });
        }
        Ok(Self {
            subject,
            mainstay: mainstay.to_owned(),
            members,
            network,
        })
    }

    /// How many members there are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Where clients go, member by member.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.client).collect()
    }

    /// The network of its own, if it has one.
    pub(crate) const fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// Takes everything from a member that does not run, but its number.
    ///
    /// # Errors
    /// Its folder cannot be emptied.
    pub(crate) fn wipe(&self, member: usize) -> anyhow::Result<()> {
        let data = &self.members[member].files.data;
        std::fs::remove_dir_all(data)?;
        Ok(write_data(data, member + 1)?)
    }

    /// Starts a member that does not run. Must be called on the thread that runs the drill.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(&mut self, member: usize) -> anyhow::Result<()> {
        let launch = match &self.network {
            Some(network) => network.launch(member)?,
            None => Vec::new(),
        };
        let files = &self.members[member].files;
        let folder = files.log.parent().unwrap_or(&files.data);
        let command = self.subject.command(&self.mainstay, &files.zoo_cfg, folder);
        let child = process::spawn_leashed(&self.mainstay, &launch, &command, &files.log)?;
        let id = child.id().context("a new process has an id")?;
        let process = Process::open(id)?;
        self.members[member].running = Some(Running { child, process });
        Ok(())
    }

    /// Starts all that do not run.
    ///
    /// # Errors
    /// One cannot be started.
    pub(crate) fn start_missing(&mut self) -> anyhow::Result<()> {
        for member in 0..self.len() {
            if self.members[member].running.is_none() {
                self.start(member)?;
            }
        }
        Ok(())
    }

    /// Kills a member with signal 9 and waits until it is gone; its process's id.
    ///
    /// # Errors
    /// It does not run, or survived.
    pub(crate) async fn kill(&mut self, member: usize) -> anyhow::Result<u32> {
        let running = self.members[member].running.take();
        let mut running = running.with_context(|| format!("member {} is down", member + 1))?;
        running.process.signal(Signal::KILL)?;
        let id = running.process.id();
        let gone = timeout(GRACE, running.child.wait()).await;
        gone.with_context(|| format!("process {id} survived signal 9"))??;
        Ok(id)
    }

    /// The process of a member.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn process(&self, member: usize) -> anyhow::Result<&Process> {
        let running = self.members[member].running.as_ref();
        let process = running.map(|running| &running.process);
        process.with_context(|| format!("member {} is down", member + 1))
    }

    /// What each member says that it is; `None` when it says nothing or has no leader.
    async fn modes(&self) -> Vec<Option<Mode>> {
        join_all(self.members.iter().map(|member| mode(member.client))).await
    }

    /// The member that leads, as soon as one says so.
    ///
    /// # Errors
    /// None does in time.
    pub(crate) async fn leader(&self) -> anyhow::Result<usize> {
        let until = Instant::now() + READY_MAX;
        while Instant::now() < until {
            let modes = self.modes().await;
            let leads = |mode: &Option<Mode>| *mode == Some(Mode::Leader);
            if let Some(leader) = modes.iter().position(leads) {
                return Ok(leader);
            }
            sleep(EVERY).await;
        }
        bail!("no member leads; {}", self.words())
    }

    /// Waits until one member leads and all others follow.
    ///
    /// # Errors
    /// They do not in time, or one ended by itself.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        let until = Instant::now() + READY_MAX;
        loop {
            for member in 0..self.len() {
                self.still_runs(member)?;
            }
            let modes = self.modes().await;
            let leaders = modes.iter().filter(|mode| **mode == Some(Mode::Leader));
            if leaders.count() == 1 && modes.iter().all(Option::is_some) {
                return Ok(());
            }
            if Instant::now() > until {
                bail!(
                    "the members do not get together: {modes:?}; {}",
                    self.words()
                );
            }
            sleep(EVERY).await;
        }
    }

    /// Whether a member that was started still runs.
    ///
    /// # Errors
    /// It ended by itself; with the last it said.
    pub(crate) fn still_runs(&self, member: usize) -> anyhow::Result<()> {
        let gone = |process: &Process| process.state() == State::Gone;
        if self.process(member).is_ok_and(gone) {
            let words = tail(&self.members[member].files.log);
            bail!(
                "member {} ended by itself; it said last:\n{words}",
                member + 1
            );
        }
        Ok(())
    }

    /// Stops all members in order.
    pub(crate) async fn stop(&mut self) {
        for member in &mut self.members {
            if let Some(running) = &mut member.running {
                process::stop(&mut running.child, GRACE).await;
            }
            member.running = None;
        }
    }

    /// The last words of all members.
    fn words(&self) -> String {
        let words = self.members.iter().zip(1..).map(|(member, number)| {
            format!("member {number} said last:\n{}", tail(&member.files.log))
        });
        words.collect::<Vec<_>>().join("\n")
    }
}

fn write(files: &Files, zoo_cfg: &str, number: usize) -> std::io::Result<()> {
    write_data(&files.data, number)?;
    std::fs::write(&files.zoo_cfg, zoo_cfg)
}

fn write_data(data: &Path, number: usize) -> std::io::Result<()> {
    std::fs::create_dir_all(data)?;
    std::fs::write(data.join("myid"), format!("{number}\n"))
}

fn free_ports() -> anyhow::Result<Ports> {
    Ok(Ports {
        client: port::free()?,
        quorum: port::free()?,
        election: port::free()?,
    })
}

/// Asks the word `srvr`, which both stores answer alike.
async fn mode(address: SocketAddr) -> Option<Mode> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(b"srvr").await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        parse_mode(&text)
    };
    timeout(LOOK_MAX, asking).await.ok()?
}

fn parse_mode(text: &str) -> Option<Mode> {
    let mode = text.lines().find_map(|line| line.strip_prefix("Mode: "))?;
    match mode.trim() {
        "leader" => Some(Mode::Leader),
        "follower" => Some(Mode::Follower),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_members_mode_is_read_from_its_words() {
        let text = "Zookeeper version: 3\nZxid: 0x5\nMode: leader\nNode count: 5\n";
        assert_eq!(parse_mode(text), Some(Mode::Leader));
        assert_eq!(parse_mode("Mode: follower\n"), Some(Mode::Follower));
        let none = "This ZooKeeper instance is not currently serving requests\n";
        assert_eq!(parse_mode(none), None);
    }
}
