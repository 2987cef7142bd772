//! A peer beats every 100 ms, slows down to every 300 ms, and dies: how phi sees it, and when it
//! is a verdict. In virtual time, so that it is the same each time and over at once.
//! `cargo run -p mainstay --example failure_detection`
#![expect(
    clippy::print_stdout,
    reason = "an example shows what it does on the terminal"
)]

use std::time::Duration;

use mainstay::detector::ConfigError;
use mainstay_core::detector::{Config, LocalHealth, LocalHealthConfig, Method, Peer, PhiConfig};
use mainstay_core::random::Random;
use mainstay_core::time::Instant;

fn main() -> Result<(), ConfigError> {
    let config = Config {
        method: Method::Phi(PhiConfig {
            threshold: 8.0,
            std_deviation_min: Duration::from_millis(20),
            pause_acceptable: Duration::from_millis(50),
            first_estimate: Duration::from_millis(100),
            ..PhiConfig::default()
        }),
        ..Config::default()
    };
    let interval = Duration::from_millis(50);
    let start = Instant::from_millis(0);
    let mut local = LocalHealth::new(
        &LocalHealthConfig {
            interval,
            ..LocalHealthConfig::default()
        },
        start,
    )?;
    let mut peer = Peer::new(&config, &local, start)?;
    let mut random = Random::seeded(7);
    let (mut next_beat, mut peak) = (0, 0.0_f64);

    println!("    time  phi  verdict    (phi: the highest since the line before)");
    for millis in (0..7_000_u64).step_by(50) {
        // This very process stands still for a second and a half, and accuses nobody for it.
        if (1_500..3_000).contains(&millis) {
            continue;
        }
        let now = Instant::from_millis(millis);
        let suspicion = peer.suspicion(&local, now);
        if millis >= next_beat && millis < 5_500 {
            peer.heartbeat(&mut local, now);
            let pace = if millis < 3_500 { 100 } else { 300 };
            next_beat = millis + pace + random.below(50);
        }
        // The regular check: first ourselves, then the peer.
        local.ticked(now);
        let changed = peer.check(&local, now);
        peak = peak.max(suspicion.level);
        if changed.is_some() || millis % 250 == 0 {
            let reached = (1..=40).take_while(|&level| f64::from(level) <= peak);
            let bar = "#".repeat(reached.count());
            let verdict = peer.verdict().as_str();
            println!("{millis:5} ms {peak:5.1}  {verdict:<9} {bar}");
            peak = 0.0;
        }
        if changed.is_some() {
            println!("{:>17}^ the verdict changed", "");
        }
        if millis == 3_000 {
            let stalled = local.stalled();
            println!("{:>17}^ our own pause: {stalled:?} count for nobody", "");
        }
    }
    Ok(())
}
