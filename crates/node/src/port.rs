//! Ports for replicas: free now, and likely to stay free for the life of the node.
//!
//! Prevents a replica that cannot start again because its port was given to somebody else while
//! it was down: the system hands out ports of its ephemeral range to every outgoing connection,
//! so replicas get theirs from below that range.

use std::collections::BTreeMap;
use std::hash::BuildHasher as _;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::Arc;

use mainstay_core::random::Random;

use crate::config::service::{Service, Source};

/// Below are the ports of well-known services.
const PORT_MIN: u16 = 20_000;

/// Where Linux starts to hand out ports unless told otherwise.
const EPHEMERAL_MIN: u16 = 32_768;

/// With fewer ports than this below the ephemeral range, the system chooses.
const CHOICE_MIN: u16 = 1_000;

/// How many ports are tried for one replica.
const TRIES_MAX: usize = 1_000;

/// The ports of each supervised service, kept for the life of the node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports(BTreeMap<Arc<str>, Vec<u16>>);

impl Ports {
    /// Chooses a free port per replica. All are held until the last is known, so that none is
    /// given twice.
    pub(crate) fn choose(services: &[Service]) -> io::Result<Self> {
        let seed = std::hash::RandomState::new().hash_one(0);
        let (mut random, range) = (Random::seeded(seed), range());
        let mut held: BTreeMap<Arc<str>, Vec<TcpListener>> = BTreeMap::new();
        for service in services {
            if let Source::Run(run) = &service.source {
                let listeners = (0..run.replicas).map(|_| listen(&range, &mut random));
                held.insert(
                    Arc::clone(&service.name),
                    listeners.collect::<Result<_, _>>()?,
                );
            }
        }
        let port = |listener: &TcpListener| Ok(listener.local_addr()?.port());
        let ports = held.iter().map(|(name, listeners)| {
            let ports: io::Result<_> = listeners.iter().map(port).collect();
            Ok((Arc::clone(name), ports?))
        });
        ports.collect::<io::Result<_>>().map(Self)
    }

    /// The ports of one service, in the order of its replicas.
    pub(crate) fn of(&self, service: &str) -> &[u16] {
        self.0.get(service).map_or(&[], Vec::as_slice)
    }
}

/// Ports that the system does not hand out by itself; empty when there are too few.
fn range() -> Range<u16> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let low = text
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok());
    let end = low.unwrap_or(EPHEMERAL_MIN);
    if end.saturating_sub(PORT_MIN) < CHOICE_MIN {
        0..0
    } else {
        PORT_MIN..end
    }
}

/// A listener on a free port of `range`, or on any when it is empty.
fn listen(range: &Range<u16>, random: &mut Random) -> io::Result<TcpListener> {
    for _ in 0..TRIES_MAX {
        let offset = random.below(u64::from(range.end - range.start));
        let port = range
            .start
            .saturating_add(u16::try_from(offset).unwrap_or(0));
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {},
            settled => return settled,
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_not_given_again() {
        let mut random = Random::seeded(1);
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = taken.local_addr().expect("it is bound").port();

        let other = listen(&(port..port + 1), &mut random).expect("the system chooses another");

        assert_ne!(other.local_addr().expect("it is bound").port(), port);
    }

    #[test]
    fn ports_of_replicas_are_not_handed_out_to_outgoing_connections() {
        let range = range();
        let mut random = Random::seeded(2);
        let listener = listen(&range, &mut random).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        assert!(
            range.is_empty() || range.contains(&port),
            "{port} of {range:?}"
        );
    }

    #[test]
    fn without_a_range_the_system_chooses() {
        let listener = listen(&(0..0), &mut Random::seeded(3)).expect("a free port");
        assert_ne!(listener.local_addr().expect("it is bound").port(), 0);
    }
}
