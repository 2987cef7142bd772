//! What has to be there: the keys that are written and read, and many nodes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::clock;
use crate::connection::Connection;
use crate::crowd::Crowd;
use crate::operation::{FAMILY, KEYS, LITTER, Operation};
use crate::protocol::{Protocol, What};

/// Requests under way, on as many connections.
const UNDER_WAY: usize = 24;
const TURN: Duration = Duration::from_millis(100);
/// How long a server may take until it answers.
const LOOK_MAX: Duration = Duration::from_mins(2);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Makes the keys.
pub fn prepare(protocol: Protocol, addresses: &[SocketAddr]) -> Result<()> {
    let keys = (0..KEYS).map(|key| Operation::Key { key });
    let folder = Operation::Folder { number: None };
    in_order(protocol, addresses, std::iter::once(folder).chain(keys))
}

/// Makes nodes; prints how many seconds that took.
pub fn fill(protocol: Protocol, addresses: &[SocketAddr], nodes: u32) -> Result<()> {
    ensure!(
        nodes.is_multiple_of(LITTER),
        "nodes are made {LITTER} at a time"
    );
    let folders = 0..=nodes.div_ceil(FAMILY);
    let folders = folders.map(|number| Operation::Folder {
        number: Some(number),
    });
    in_order(protocol, addresses, folders)?;
    let begin = clock::now();
    let mut crowd = Crowd::open(protocol, addresses, UNDER_WAY)?;
    let mut left = (0..nodes).step_by(LITTER as usize);
    let mut under_way = 0;
    for (connection, first) in (0..UNDER_WAY).zip(&mut left) {
        crowd.ask(connection, Operation::Litter { first }, 0);
        under_way += 1;
    }
    let mut heard = Vec::new();
    while under_way > 0 {
        crowd.turn(TURN, &mut heard)?;
        for one in heard.drain(..) {
            match one.what? {
                What::Done(_) => {},
                What::Refused(_, why) => bail!("refused: {why}"),
                What::Open | What::Event => bail!("something that nobody asked for"),
            }
            under_way -= 1;
            if let Some(first) = left.next() {
                crowd.ask(one.connection, Operation::Litter { first }, 0);
                under_way += 1;
            }
        }
    }
    println!("seconds {}", (clock::now() - begin).as_secs_f64());
    crowd.leave()
}

/// Asks one after the other, on one connection.
fn in_order(
    protocol: Protocol,
    addresses: &[SocketAddr],
    operations: impl Iterator<Item = Operation>,
) -> Result<()> {
    let mut crowd = Crowd::open(protocol, addresses, 1)?;
    let mut count = 0;
    for operation in operations {
        crowd.ask(0, operation, 0);
        count += 1;
    }
    crowd.wait("done", count, |what| matches!(what, What::Done(_)))?;
    crowd.leave()
}

/// Waits until a server has the first and the last of so many nodes.
pub fn look(protocol: Protocol, addresses: &[SocketAddr], nodes: u32) -> Result<()> {
    let &[address] = addresses else {
        bail!("looks at one server");
    };
    let end = clock::now() + LOOK_MAX;
    loop {
        match look_once(protocol, address, nodes) {
            Ok(()) => return Ok(()),
            Err(error) if clock::now() > end => return Err(error),
            Err(_) => pause(),
        }
    }
}

fn look_once(protocol: Protocol, address: SocketAddr, nodes: u32) -> Result<()> {
    // Nobody listens yet: that is found out without an `epoll`.
    drop(Connection::open(address, protocol.client())?);
    let mut crowd = Crowd::open(protocol, &[address], 1)?;
    for node in [0, nodes.saturating_sub(1)] {
        crowd.ask(0, Operation::Look { node }, 0);
    }
    crowd.wait("read", 2, |what| matches!(what, What::Done(_)))?;
    crowd.leave()
}

#[expect(
    clippy::disallowed_methods,
    reason = "one thread, which has nothing else to do"
)]
fn pause() {
    std::thread::sleep(LOOK_AGAIN);
}
