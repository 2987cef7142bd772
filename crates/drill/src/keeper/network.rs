//! A network of the drill's own: one namespace per member, one for the clients, a bridge between.
//!
//! Prevents partitions that reach anything else: the drill lives in a namespace without any other
//! interface, so its rules can cut nothing but its own members, and all of it is gone with the
//! last process of the drill, however that ends.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use tokio::process::Child;

use crate::process;

/// Addresses of the drill's network; nobody else can see them.
const fn address(place: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, 0, place))
}

/// Where the clients are.
const HUB: u8 = 254;

/// The rules' table in each member's namespace.
const TABLE: &str = "drill_partition";

/// The programs that partitions need, with the Debian packages that have them.
const PROGRAMS: [(&str, &str); 5] = [
    ("bash", "bash"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
];

/// Why there can be no network of one's own; `None` when there can.
pub(crate) fn lacking() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("partitions need root".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .collect();
    let is_there = |name: &str| folders.iter().any(|folder| folder.join(name).is_file());
    let missing = PROGRAMS.iter().find(|(name, _)| !is_there(name));
    missing
        .map(|(name, package)| format!("partitions need `{name}`; try: apt-get install {package}"))
}

/// Becomes this same program with the same arguments and `flag` in a namespace of its own.
/// Returns only when that failed.
pub(crate) fn enter(flag: &str) -> std::io::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    Command::new("unshare")
        .args(["--net", "--mount", "--"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .arg(flag)
        .exec()
}

/// Which packets do not arrive: (whose, at whom), members counted from 0.
pub(crate) type Cuts = Vec<(usize, usize)>;

/// The network, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Network {
    /// One process per member, which keeps its namespace alive.
    holders: Vec<Child>,
}

impl Network {
    /// Makes a namespace for each of `members`.
    ///
    /// # Errors
    /// The kernel or a program says no.
    pub(crate) async fn new(
        members: usize,
        mainstay: &Path,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        run("ip", &["link", "set", "lo", "up"], None)?;
        run("ip", &["link", "add", "hub", "type", "bridge"], None)?;
        let hub = format!("{}/24", address(HUB));
        run("ip", &["addr", "add", &hub, "dev", "hub"], None)?;
        run("ip", &["link", "set", "hub", "up"], None)?;
        let mut network = Self {
            holders: Vec::new(),
        };
        let log = folder.join("network.log");
        let own = std::fs::read_link("/proc/self/ns/net")?;
        for member in 0..members {
            let launch = ["unshare", "--net"].map(str::to_owned);
            let sleep = ["sleep", "infinity"].map(str::to_owned);
            let holder = process::spawn_leashed(mainstay, &launch, &sleep, &log)?;
            let id = holder.id().context("a new process has an id")?;
            network.holders.push(holder);
            let link = format!("/proc/{id}/ns/net");
            let apart = || std::fs::read_link(&link).is_ok_and(|its| its != own);
            let apart = process::comes_true(std::time::Duration::from_secs(5), apart).await;
            ensure!(apart, "no namespace for member {}", member + 1);
            network.plug(member, id)?;
        }
        Ok(network)
    }

    fn plug(&self, member: usize, holder: u32) -> anyhow::Result<()> {
        let (name, holder) = (format!("member{}", member + 1), holder.to_string());
        let pair = [
            "link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &holder,
        ];
        run("ip", &pair, None)?;
        run("ip", &["link", "set", &name, "master", "hub", "up"], None)?;
        let own = format!("{}/24", self.address(member));
        for arguments in [
            &["link", "set", "lo", "up"][..],
            &["addr", "add", &own, "dev", "eth0"],
            &["link", "set", "eth0", "up"],
        ] {
            self.run_at(member, "ip", arguments, None)?;
        }
        Ok(())
    }

    /// Where a member is.
    #[expect(
        clippy::unused_self,
        reason = "an address means nothing without its network"
    )]
    pub(crate) fn address(&self, member: usize) -> IpAddr {
        address(u8::try_from(member + 1).unwrap_or(HUB))
    }

    /// The words before a command that is to run where the member is.
    ///
    /// # Errors
    /// Its namespace is gone.
    pub(crate) fn launch(&self, member: usize) -> anyhow::Result<Vec<String>> {
        let holder = self.holders.get(member).and_then(Child::id);
        let holder = holder.context("the member's namespace is gone")?;
        Ok(vec![
            "nsenter".to_owned(),
            format!("--net=/proc/{holder}/ns/net"),
        ])
    }

    /// Drops these packets from now on.
    ///
    /// # Errors
    /// A rule was not taken; then some of them may be dropped.
    pub(crate) fn cut(&self, cuts: &Cuts) -> anyhow::Result<()> {
        for member in 0..self.holders.len() {
            let from = cuts.iter().filter(|(_, at)| *at == member);
            let from: Vec<_> = from
                .map(|(whose, _)| self.address(*whose).to_string())
                .collect();
            if from.is_empty() {
                continue;
            }
            let rules = format!(
                "table inet {TABLE} {{\n chain input {{\n  type filter hook input priority 0;\n  \
                 ip saddr {{ {} }} counter drop\n }}\n}}\n",
                from.join(", ")
            );
            self.run_at(member, "nft", &["-f", "-"], Some(&rules))?;
        }
        Ok(())
    }

    /// Sends a packet on each of these ways. Two followers may have nothing to say to each other
    /// while they are cut off: then no other packet would show that they are.
    ///
    /// # Errors
    /// It could not be sent.
    pub(crate) fn knock(&self, cuts: &Cuts) -> anyhow::Result<()> {
        for &(from, to) in cuts {
            // Nobody listens at the port for discarding.
            let send = format!("echo > /dev/udp/{}/9", self.address(to));
            self.run_at(from, "bash", &["-c", &send], None)?;
        }
        Ok(())
    }

    /// Lets all packets pass again; how many were dropped.
    ///
    /// # Errors
    /// A rule could not be removed.
    pub(crate) fn heal(&self) -> anyhow::Result<u64> {
        let mut dropped = 0;
        for member in 0..self.holders.len() {
            let rules = self.run_at(member, "nft", &["list", "ruleset"], None)?;
            if !rules.contains(TABLE) {
                continue;
            }
            dropped += packets(&rules);
            let table = ["delete", "table", "inet", TABLE];
            self.run_at(member, "nft", &table, None)?;
        }
        Ok(dropped)
    }

    fn run_at(
        &self,
        member: usize,
        program: &str,
        arguments: &[&str],
        input: Option<&str>,
    ) -> anyhow::Result<String> {
        let launch = self.launch(member)?;
        let mut words: Vec<&str> = launch.iter().skip(1).map(String::as_str).collect();
        words.push("--");
        words.push(program);
        words.extend(arguments);
        run("nsenter", &words, input)
    }
}

/// The sum of a ruleset's counters.
fn packets(rules: &str) -> u64 {
    let counts = rules.split("counter packets ").skip(1);
    let number = |rest: &str| rest.split(' ').next().and_then(|n| n.parse::<u64>().ok());
    counts.filter_map(number).sum()
}

/// Runs a program to its end; what it printed.
fn run(program: &str, arguments: &[&str], input: Option<&str>) -> anyhow::Result<String> {
    use std::io::Write as _;

    let told = || format!("{program} {}", arguments.join(" "));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(told)?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(input.unwrap_or_default().as_bytes())
            .with_context(told)?;
    }
    let output = child.wait_with_output().with_context(told)?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed: {}", told(), why.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_packets_are_summed_over_all_rules() {
        let rules = "table inet mainstay_drill {\n chain input {\n ip saddr { 10.77.0.1, 10.77.0.2 } \
             counter packets 12 bytes 720 drop\n ip saddr 10.77.0.3 counter packets 3 bytes 1 drop";
        assert_eq!(packets(rules), 15);
        assert_eq!(packets(""), 0);
    }
}
