//! Many sessions that all watch one node: what they weigh, and how soon all of them hear.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use crate::clock;
use crate::crowd::Crowd;
use crate::operation::Operation;
use crate::protocol::{Protocol, What};

/// Sessions that begin at the same time: what any server's queue of connections holds.
const BEGIN: usize = 30;
/// The node that is watched.
const KEY: u32 = 7;
/// Nothing of the load is looked at in this time, so that the servers may rest.
const REST: Duration = Duration::from_millis(300);

/// Opens sessions; says so, and waits for a line; then changes the node `rounds` times.
pub fn run(addresses: &[SocketAddr], sessions: usize, rounds: usize) -> Result<()> {
    let mut writer = Crowd::open(Protocol::Zookeeper, addresses, 1)?;
    let mut crowd = Crowd::new()?;
    let begin = clock::now();
    while crowd.len() < sessions {
        let more = BEGIN.min(sessions - crowd.len());
        for address in addresses.iter().cycle().take(more) {
            crowd.join(*address, Protocol::Zookeeper.client())?;
        }
        crowd.settle(more)?;
    }
    println!("open_seconds {}", (clock::now() - begin).as_secs_f64());
    watch(&mut crowd)?;
    rest(&mut crowd)?;
    println!("ready");
    std::io::stdout().flush()?;
    std::io::stdin().lock().read_line(&mut String::new())?;
    for round in 0..rounds {
        if round > 0 {
            watch(&mut crowd)?;
            rest(&mut crowd)?;
        }
        let begin = clock::now();
        writer.ask(0, Operation::Set { key: KEY }, 0);
        // It is written by a turn of its own; that it is done is heard behind the events.
        writer.turn(Duration::ZERO, &mut Vec::new())?;
        crowd.wait("events", sessions, |what| matches!(what, What::Event))?;
        println!("notified_ms {}", (clock::now() - begin).as_secs_f64() * 1e3);
    }
    writer.leave()?;
    crowd.leave()
}

fn watch(crowd: &mut Crowd) -> Result<()> {
    for number in 0..crowd.len() {
        crowd.ask(number, Operation::Watch { key: KEY }, 0);
    }
    crowd.wait("watches", crowd.len(), |what| matches!(what, What::Done(_)))
}

fn rest(crowd: &mut Crowd) -> Result<()> {
    let end = clock::now() + REST;
    while clock::now() < end {
        crowd.turn(REST, &mut Vec::new())?;
    }
    Ok(())
}
