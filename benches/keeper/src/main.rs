//! The load of `cargo xtask bench keeper`: one thread, raw sockets, messages made by hand.
//!
//! Prevents a client that is the limit: a request is a few dozen bytes copied into a buffer, an
//! answer is looked at and not decoded, and all connections share one `epoll`. Prevents a figure of
//! requests that failed: each answer is checked, and a wrong one ends the load.
//!
//! Prints `name value`, a line each.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

mod clock;
mod connection;
mod crowd;
mod etcd;
mod fill;
mod gap;
mod http2;
mod operation;
mod protocol;
mod speed;
mod sync;
mod watch;
mod zookeeper;

use operation::Mix;

const USAGE: &str = "usage:
  keeper-load prepare  PROTOCOL ADDRESSES
  keeper-load speed    PROTOCOL ADDRESSES MIX OUTSTANDING WARM-UP-MS MS [SAMPLES]
  keeper-load fill     PROTOCOL ADDRESSES NODES
  keeper-load look     PROTOCOL ADDRESS   NODES
  keeper-load gap      PROTOCOL ADDRESSES MS
  keeper-load watch    ADDRESSES SESSIONS ROUNDS
  keeper-load sync     FOLDER COUNT
PROTOCOL is zookeeper or etcd; ADDRESSES are separated by commas; MIX is set, get, mix or create";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keeper-load: {error:#}");
            ExitCode::FAILURE
        },
    }
}

fn run(words: &[&str]) -> Result<()> {
    match *words {
        ["prepare", protocol, at] => fill::prepare(parse(protocol)?, &addresses(at)?),
        [
            "speed",
            protocol,
            at,
            mix,
            outstanding,
            warm_up,
            time,
            ref rest @ ..,
        ] => {
            let plan = speed::Plan {
                protocol: parse(protocol)?,
                mix: Mix::parse(mix)?,
                outstanding: parse(outstanding)?,
                warm_up: Duration::from_millis(parse(warm_up)?),
                time: Duration::from_millis(parse(time)?),
            };
            speed::run(&plan, &addresses(at)?, rest.first().map(Path::new))
        },
        ["fill", protocol, at, nodes] => {
            fill::fill(parse(protocol)?, &addresses(at)?, parse(nodes)?)
        },
        ["look", protocol, at, nodes] => {
            fill::look(parse(protocol)?, &addresses(at)?, parse(nodes)?)
        },
        ["gap", protocol, at, time] => {
            let time = Duration::from_millis(parse(time)?);
            gap::run(parse(protocol)?, &addresses(at)?, time)
        },
        ["watch", at, sessions, rounds] => {
            watch::run(&addresses(at)?, parse(sessions)?, parse(rounds)?)
        },
        ["sync", folder, count] => sync::run(Path::new(folder), parse(count)?),
        _ => bail!("{USAGE}"),
    }
}

fn parse<T: std::str::FromStr>(word: &str) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    word.parse().with_context(|| format!("{word}\n{USAGE}"))
}

fn addresses(words: &str) -> Result<Vec<SocketAddr>> {
    words.split(',').map(parse).collect()
}
