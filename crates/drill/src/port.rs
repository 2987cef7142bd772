//! Ports for replicas that die and have to come back on the same one.
//!
//! Prevents a baseline that suffers from the drill itself: the system gives ports of its ephemeral
//! range to every outgoing connection, also that of a replica that is dead just now. So replicas
//! get theirs from below that range.

use std::hash::BuildHasher as _;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

use mainstay_core::random::Random;

/// Below are the ports of well-known services; where Linux starts to hand out ports is above.
const PORT_MIN: u16 = 20_000;
const PORTS: u16 = 12_000;

/// A port that nobody listens on.
pub(crate) fn free() -> io::Result<u16> {
    let mut random = Random::seeded(std::hash::RandomState::new().hash_one(0));
    let start = u16::try_from(random.below(u64::from(PORTS))).unwrap_or(0);
    let mut candidates = (0..PORTS).map(|step| PORT_MIN + (start + step) % PORTS);
    candidates
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_can_be_listened_on_and_is_not_given_twice_while_it_is() {
        let port = free().expect("a machine has free ports");
        let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("it is free");
        assert!((0..100).all(|_| free().expect("a free port") != port));
    }
}
