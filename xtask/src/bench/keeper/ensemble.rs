//! Three running members of one subject.
//!
//! Prevents a measurement of an ensemble that is not whole: whoever starts or restarts members
//! waits until one leads and the others follow it.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::load;
use super::subject::{MEMBERS, Seat, Subject};
use super::usage;
use crate::bench::http::free_addresses;
use crate::process::{Owned, Scratch};
use crate::wait;

/// How long an ensemble may take until it is whole.
const WHOLE_MAX: Duration = Duration::from_mins(1);
/// For each read and write of a question.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Leader,
    Follower,
}

/// An ensemble; ended when dropped.
#[derive(Debug)]
pub(super) struct Ensemble {
    /// Whose.
    pub subject: Subject,
    /// Our program.
    mainstay: PathBuf,
    seats: [Seat; MEMBERS],
    members: [Option<Owned>; MEMBERS],
    folder: Scratch,
}

impl Ensemble {
    /// Starts three members that know nothing yet, and waits until they are an ensemble.
    pub(super) fn start(subject: Subject, mainstay: &Path) -> Result<Self> {
        let addresses = free_addresses::<{ 3 * MEMBERS }>()?;
        let seat = |number: usize| Seat {
            client: addresses[number],
            peer: addresses[MEMBERS + number],
            election: addresses[2 * MEMBERS + number],
        };
        let mut ensemble = Self {
            subject,
            mainstay: mainstay.to_owned(),
            seats: std::array::from_fn(seat),
            members: std::array::from_fn(|_| None),
            folder: Scratch::new(&format!("bench-keeper-{}", subject.name()))?,
        };
        for number in 0..MEMBERS {
            ensemble.start_member(number)?;
        }
        ensemble.leader()?;
        Ok(ensemble)
    }

    /// The folder of a member.
    pub(super) fn folder(&self, number: usize) -> PathBuf {
        self.folder.path().join(number.to_string())
    }

    /// Where all its data are.
    pub(super) fn disk(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a member that does not run, and does not wait for it.
    pub(super) fn start_member(&mut self, number: usize) -> Result<()> {
        let folder = self.folder(number);
        std::fs::create_dir_all(&folder)?;
        let mainstay = &self.mainstay;
        let command = self
            .subject
            .command((mainstay, &folder), number, &self.seats)?;
        let command: Vec<&OsStr> = command.iter().map(AsRef::as_ref).collect();
        let name = self.subject.name();
        self.members[number] = Some(Owned::start_on_all_cores(name, &folder, &command)?);
        Ok(())
    }

    /// Kills a member.
    pub(super) fn kill_member(&mut self, number: usize) -> Result<()> {
        let member = self.members[number].take().context("it runs")?;
        member.kill()
    }

    /// Stops a member, and waits until it has ended.
    pub(super) fn stop_member(&mut self, number: usize) {
        drop(self.members[number].take());
    }

    /// The addresses of members, as the load wants them.
    pub(super) fn addresses_of(&self, numbers: impl Iterator<Item = usize>) -> String {
        let addresses = numbers.map(|number| self.seats[number].client.to_string());
        addresses.collect::<Vec<_>>().join(",")
    }

    /// The addresses of all members.
    pub(super) fn addresses(&self) -> String {
        self.addresses_of(0..MEMBERS)
    }

    /// Makes the keys that are written and read.
    pub(super) fn prepare(&self) -> Result<()> {
        load::run(&["prepare", self.subject.protocol(), &self.addresses()])?;
        Ok(())
    }

    /// Who leads, once one does and all others follow.
    pub(super) fn leader(&mut self) -> Result<usize> {
        let what = format!("three members of {}", self.subject.name());
        let (subject, seats) = (self.subject, self.seats);
        wait::until(&what, WHOLE_MAX, || {
            for member in self.members.iter_mut().flatten() {
                member.runs()?;
            }
            let roles = seats.map(|seat| role(subject, seat.client));
            let leads = |role: &Result<Role>| matches!(role, Ok(Role::Leader));
            let leaders = roles.iter().filter(|role| leads(role)).count();
            ensure!(leaders == 1, "{leaders} leaders: {roles:?}");
            ensure!(roles.iter().all(Result::is_ok), "{roles:?}");
            roles.iter().position(leads).context("a leader")
        })
    }

    /// Megabytes of the member that needs the most.
    pub(super) fn resident_mb(&self) -> Result<f64> {
        let sizes: Vec<f64> = self.each(usage::resident_mb)?;
        Ok(sizes.into_iter().fold(0.0, f64::max))
    }

    /// Processor time of all members.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        Ok(self.each(usage::cpu_seconds)?.into_iter().sum())
    }

    fn each(&self, ask: impl Fn(u32) -> Result<f64>) -> Result<Vec<f64>> {
        let running = self.members.iter().flatten();
        running.map(|member| ask(member.id())).collect()
    }
}

fn role(subject: Subject, address: SocketAddr) -> Result<Role> {
    match subject {
        Subject::Mainstay | Subject::Zookeeper => mode(&ask(address, "srvr")?),
        Subject::Etcd => {
            let request = format!(
                "POST /v3/maintenance/status HTTP/1.1\r\nHost: {address}\r\n\
                 Connection: close\r\nContent-Length: 2\r\n\r\n{{}}"
            );
            status(&ask(address, &request)?)
        },
    }
}

fn ask(address: SocketAddr, question: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    stream.write_all(question.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn mode(srvr: &str) -> Result<Role> {
    let mode = srvr.lines().find_map(|line| line.strip_prefix("Mode: "));
    match mode {
        Some("leader") => Ok(Role::Leader),
        Some("follower") => Ok(Role::Follower),
        Some(mode) => bail!("it is {mode}"),
        None => bail!("it answers {srvr:?}"),
    }
}

/// What etcd says about itself; further fields are not ours to know.
#[derive(Deserialize)]
struct Status {
    header: Header,
    /// Left out while there is none.
    leader: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    member_id: String,
}

fn status(answer: &str) -> Result<Role> {
    let (_, body) = answer.split_once("\r\n\r\n").context("no end of head")?;
    // It may come in a chunk, whose length is before it.
    let from = body.find('{').context("no document")?;
    let to = body.rfind('}').context("no document")?;
    let status: Status = serde_json::from_str(body.get(from..=to).context("no document")?)?;
    let leader = status.leader.context("nobody leads")?;
    Ok(if leader == status.header.member_id {
        Role::Leader
    } else {
        Role::Follower
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_neither_leads_nor_follows_has_no_role() {
        assert_eq!(
            mode("Zxid: 0x1\nMode: leader\n").expect("one"),
            Role::Leader
        );
        assert_eq!(mode("Mode: follower\n").expect("one"), Role::Follower);
        assert!(mode("Mode: standalone\n").is_err());
        assert!(mode("This ZooKeeper instance is not currently serving requests\n").is_err());
    }

    #[test]
    fn a_member_of_etcd_leads_when_the_leader_is_itself() {
        let answer = |leader| {
            format!(
                "HTTP/1.1 200 OK\r\n\r\n1f\r\n{{\"header\":{{\"member_id\":\"7\"}}{leader}}}\r\n0\r\n"
            )
        };
        assert_eq!(
            status(&answer(",\"leader\":\"7\"")).expect("one"),
            Role::Leader
        );
        assert_eq!(
            status(&answer(",\"leader\":\"8\"")).expect("one"),
            Role::Follower
        );
        assert!(status(&answer("")).is_err());
    }
}
