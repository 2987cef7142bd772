//! One member, as `zoo.cfg` and `/zookeeper/config` write it behind `server.N=`.
//!
//! Prevents two spellings of one member: what is left out is filled in when it is read, as
//! ZooKeeper does, so that what clients see is what they can compare.

use std::fmt;

/// Where clients come to, when only a port is said.
const ANYWHERE: &str = "0.0.0.0";

/// A member, as `server.N=` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its host.
    pub host: String,
    /// The port of its followers.
    pub quorum_port: u16,
    /// The port of elections.
    pub election_port: u16,
    /// Whether it has no vote.
    pub is_observer: bool,
    /// Where its clients come to, if that is said here: `host:port`.
    pub client: Option<String>,
    /// Where those of its clients come to who use TLS: `host:port`.
    pub secure_client: Option<String>,
}

impl Member {
    /// Reads `host:quorum port:election port[:participant|:observer][;[host:]client port]`, behind
    /// which may stand `;[host:]secure client port`.
    ///
    /// # Errors
    ///
    /// What is wrong, in words.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut parts = text.trim().split(';');
        let (host, ports) = host_and_rest(parts.next().unwrap_or_default())?;
        let mut ports = ports.split(':');
        let mut port = |which: &str| -> Result<u16, String> {
            let port = ports.next().and_then(|port| port.trim().parse().ok());
            port.ok_or_else(|| format!("the {which} port is missing or no port"))
        };
        let (quorum_port, election_port) = (port("quorum")?, port("election")?);
        let kind = ports.next().map(|kind| kind.trim().to_ascii_lowercase());
        let is_observer = match kind.as_deref() {
            None | Some("participant") => false,
            Some("observer") => true,
            Some(other) => return Err(format!("{other:?} is neither participant nor observer")),
        };
        if ports.next().is_some() {
            return Err("there is more than host, two ports and a kind".to_owned());
        }
        let client = parts.next().map_or(Ok(None), client)?;
        let secure_client = parts.next().map_or(Ok(None), self::client)?;
        if parts.next().is_some() {
            return Err("there is more than two addresses for clients".to_owned());
        }
        Ok(Self {
            host: host.to_owned(),
            quorum_port,
            election_port,
            is_observer,
            client,
            secure_client,
        })
    }

    /// Where other members reach it.
    pub fn address(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.quorum_port)
    }

    /// Where its file says that elections are held; the keeper's own come to
    /// [`address`](Self::address).
    pub fn election_address(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.election_port)
    }

    /// All that it listens at, but what is the same on every host: wildcards and loopback.
    pub(crate) fn own_addresses(&self) -> Vec<String> {
        let Self { host, client, .. } = self;
        let host = bracketed(host);
        let peers = [self.quorum_port, self.election_port].map(|port| format!("{host}:{port}"));
        let clients = client.iter().chain(&self.secure_client).cloned();
        let all = peers.into_iter().chain(clients);
        all.filter(|address| !is_everywhere(address)).collect()
    }
}

/// Whether an address begins with a host that is another one on each machine.
fn is_everywhere(address: &str) -> bool {
    ["0.0.0.0:", "[::]:", "localhost:", "127.", "[::1]:"]
        .iter()
        .any(|prefix| address.starts_with(prefix))
}

/// An address of IPv6 stands in brackets, for it has colons itself.
fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

fn host_and_rest(text: &str) -> Result<(&str, &str), String> {
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]:"));
    bracketed
        .or_else(|| text.split_once(':'))
        .ok_or_else(|| "ports are missing".to_owned())
}

fn client(text: &str) -> Result<Option<String>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let (host, port) = if text.contains(':') {
        host_and_rest(text)?
    } else {
        (ANYWHERE, text)
    };
    let port: u16 = port
        .parse()
        .map_err(|_| format!("{port:?} is no port for clients"))?;
    Ok(Some(format!("{}:{port}", bracketed(host))))
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_observer {
            "observer"
        } else {
            "participant"
        };
        write!(f, "{}:{}:{kind}", self.address(), self.election_port)?;
        match (&self.client, &self.secure_client) {
            (None, None) => Ok(()),
            (Some(client), None) => write!(f, ";{client}"),
            (client, Some(secure)) => {
                write!(f, ";{};{secure}", client.as_deref().unwrap_or_default())
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_written_as_zookeeper_writes_it() {
        for (read, written) in [
            ("h:1:2", "h:1:2:participant"),
            ("h:1:2:Observer;3", "h:1:2:observer;0.0.0.0:3"),
            ("[::1]:1:2;[::1]:3", "[::1]:1:2:participant;[::1]:3"),
            ("h:1:2;;4", "h:1:2:participant;;0.0.0.0:4"),
            ("h:1:2;a:3;b:4", "h:1:2:participant;a:3;b:4"),
        ] {
            let member = Member::read(read).expect(read);
            assert_eq!(member.to_string(), written);
            assert_eq!(Member::read(written), Ok(member));
        }
    }

    #[test]
    fn what_is_no_member_is_refused_in_words() {
        for wrong in [
            "",
            "h",
            "h:1",
            "h:1:x",
            "h:1:2:king",
            "h:1:2:observer:3",
            "h:1:2;x",
            "h:1:2;3;4;5",
            "h:1:2|g:3:4",
        ] {
            assert!(Member::read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_addresses_that_can_conflict_are_a_members_own() {
        let member = Member::read("h:1:2;0.0.0.0:3;h:4").expect("valid");
        assert_eq!(member.own_addresses(), ["h:1", "h:2", "h:4"]);
        let local = Member::read("localhost:1:2;127.0.0.1:3").expect("valid");
        assert_eq!(local.own_addresses(), [""; 0]);
    }
}
