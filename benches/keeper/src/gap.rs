//! How long nobody can write: an open loop, which goes on asking while nobody answers.
//!
//! Prevents a figure of the client's patience: with a closed loop, requests that were under way when
//! the leader ended would decide when the next one is tried.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::clock;
use crate::crowd::{Crowd, Heard};
use crate::operation::{Mix, Requests};
use crate::protocol::{Protocol, What};

/// Between two requests on a connection.
const EVERY: Duration = Duration::from_millis(5);
/// Between two tries to connect.
const CONNECT_AGAIN: Duration = Duration::from_millis(10);
/// Requests under way on a connection.
const UNDER_WAY_MAX: usize = 900;

/// A connection, as it is now.
#[derive(Debug)]
struct Place {
    address: usize,
    is_open: bool,
    under_way: usize,
    /// When to connect again.
    again: Option<Instant>,
    client: Option<Box<dyn crate::protocol::Client>>,
}

impl std::fmt::Debug for dyn crate::protocol::Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a client")
    }
}

impl Place {
    const fn may_ask(&self) -> bool {
        self.is_open && self.under_way < UNDER_WAY_MAX
    }
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    last: Option<Instant>,
    gap: Duration,
    answers: u64,
    refused: u64,
    lost: u64,
}

/// Writes at all addresses for some time; prints the longest time without an answer at any of them.
pub fn run(protocol: Protocol, addresses: &[SocketAddr], time: Duration) -> Result<()> {
    let mut crowd = Crowd::open(protocol, addresses, addresses.len())?;
    let mut places: Vec<Place> = (0..addresses.len())
        .map(|address| Place {
            address,
            is_open: true,
            under_way: 0,
            again: None,
            client: None,
        })
        .collect();
    let mut requests = Requests::new(Mix::Set, clock::shared_nanos());
    let mut seen = Seen::default();
    let mut heard = Vec::new();
    let end = clock::now() + time;
    let mut ask_at = clock::now();
    while clock::now() < end {
        if clock::now() >= ask_at {
            ask_at += EVERY;
            let asking = places.iter_mut().enumerate();
            for (number, place) in asking.filter(|(_, place)| place.may_ask()) {
                place.under_way += 1;
                crowd.ask(number, requests.next(), 0);
            }
        }
        let wait = ask_at.saturating_duration_since(clock::now());
        crowd.turn(wait, &mut heard)?;
        for one in heard.drain(..) {
            let place = places.get_mut(one.connection).context("a place")?;
            hear(&one, place, &mut crowd, &mut seen);
        }
        reconnect(protocol, addresses, &mut places, &mut crowd);
    }
    seen.rests(clock::now());
    println!("gap_ms {}", seen.gap.as_secs_f64() * 1e3);
    println!("answers {}", seen.answers);
    println!("refused {}", seen.refused);
    println!("lost {}", seen.lost);
    crowd.leave()
}

fn hear(heard: &Heard, place: &mut Place, crowd: &mut Crowd, seen: &mut Seen) {
    match &heard.what {
        Ok(What::Open) => place.is_open = true,
        Ok(What::Done(_)) => {
            place.under_way = place.under_way.saturating_sub(1);
            seen.answers += 1;
            seen.rests(heard.at);
            seen.last = Some(heard.at);
        },
        Ok(What::Refused(..)) => {
            place.under_way = place.under_way.saturating_sub(1);
            seen.refused += 1;
        },
        Ok(What::Event) => {},
        Err(_) => {
            // A read and a write may both have failed.
            let Some(client) = crowd.lose(heard.connection) else {
                return;
            };
            seen.lost += u64::from(place.is_open);
            place.client = Some(client);
            place.is_open = false;
            place.under_way = 0;
            place.again = Some(heard.at + CONNECT_AGAIN);
        },
    }
}

impl Seen {
    /// Nothing came until `now`.
    fn rests(&mut self, now: Instant) {
        if let Some(last) = self.last {
            self.gap = self.gap.max(now - last);
        }
    }
}

/// Who lost a connection goes to the next address.
fn reconnect(
    protocol: Protocol,
    addresses: &[SocketAddr],
    places: &mut [Place],
    crowd: &mut Crowd,
) {
    for (number, place) in places.iter_mut().enumerate() {
        if place.again.is_none_or(|again| clock::now() < again) {
            continue;
        }
        place.address = (place.address + 1) % addresses.len();
        let client = place.client.take().unwrap_or_else(|| protocol.client());
        let joined = crowd.join_again(number, addresses[place.address], client);
        place.again = joined.is_err().then(|| clock::now() + CONNECT_AGAIN);
    }
}
