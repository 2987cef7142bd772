//! The keeper's part of the configuration file.
//!
//! Prevents an ensemble whose members know different lists: what is wrong with the list is told
//! with its place, before anything is promised.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use mainstay_keeper::server::ServerConfig;
use mainstay_keeper::zoo_cfg::{Member, ZooCfg};

use super::reader::Section;

/// Highest number of a member: it is part of its sessions' numbers.
const MEMBER_MAX: u32 = 254;
/// Where its data lie, below the node's.
const FOLDER: &str = "keeper";

/// Reads the table; `None` when something in it is wrong, which is then reported.
pub(super) fn read(section: &Section<'_, '_>, data_dir: &Path) -> Option<ServerConfig> {
    let listen = section.address("listen");
    let number = section.count("member").map(std::num::NonZero::get);
    let members = members(section);
    let timeout_min = section.duration("session_timeout_min");
    let timeout_max = section.duration("session_timeout_max");
    let message_bytes_max = section.size("message_bytes_max");
    let (number, members) = (number?, members?);
    if number > MEMBER_MAX {
        let message = format!("`keeper.member` is {number}");
        section.problem("member", message, "a number from 1 to 254", None);
        return None;
    }
    let member = i64::from(number);
    if !members.is_empty() && !members.contains_key(&member) {
        let message = format!("`keeper.members` does not name member {number}, this one");
        let help = "add it, or set `keeper.member` to the number that is this machine's";
        section.problem("members", message, "it lacks this member", Some(help));
        return None;
    }
    let (timeout_min_ms, timeout_max_ms) = (ms(timeout_min?), ms(timeout_max?));
    if timeout_min_ms > timeout_max_ms {
        let message = "`keeper.session_timeout_min` is longer than `session_timeout_max`";
        let label = "at most session_timeout_max";
        section.problem("session_timeout_min", message.to_owned(), label, None);
        return None;
    }
    let listen = listen?;
    let zoo = ZooCfg {
        client_port: Some(listen.port()),
        client_address: Some(listen.ip().to_string()),
        timeout_min_ms,
        timeout_max_ms,
        message_bytes_max: message_bytes_max?,
        members,
        // The node has a page of its own.
        admin_port: Some(0),
        ..ZooCfg::new(data_dir.join(FOLDER))
    };
    Some(ServerConfig {
        zoo,
        member,
        users: BTreeMap::new(),
        tls: None,
        members_tls: None,
    })
}

fn ms(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn members(section: &Section<'_, '_>) -> Option<BTreeMap<i64, Member>> {
    let mut members = BTreeMap::new();
    let mut is_right = true;
    for (number, address) in section.texts("members") {
        let wrong = |what: &str| {
            let message = format!("member {number:?} of `keeper.members` is wrong");
            let help = "write NUMBER = \"HOST:PORT\", numbers from 1 to 254";
            section.problem("members", message, what, Some(help));
        };
        let id = number.parse().ok();
        let id = id.filter(|&id| (1..=i64::from(MEMBER_MAX)).contains(&id));
        match (id, member(&address)) {
            (Some(id), Some(member)) => {
                members.insert(id, member);
                continue;
            },
            (None, _) => wrong("this is no number from 1 to 254"),
            (_, None) => wrong("this is no HOST:PORT"),
        }
        is_right = false;
    }
    is_right.then_some(members)
}

fn member(address: &str) -> Option<Member> {
    let (host, port) = address.rsplit_once(':')?;
    let quorum_port = port.parse().ok().filter(|&port: &u16| port != 0)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| Member {
        host: host.to_owned(),
        quorum_port,
        // Elections go over the same port; the key is there for tools that read ZooKeeper's form.
        election_port: quorum_port,
        is_observer: false,
        client: None,
        secure_client: None,
    })
}
