//! A burst passes, the rest waits its turn or is told when to come back; and each of many callers
//! has a rate of its own, in bounded memory.
//! `cargo run -p mainstay --example rate_limit`
#![expect(
    clippy::print_stdout,
    reason = "an example shows what it does on the terminal"
)]

use std::error::Error;
use std::io;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use mainstay::rate_limit::{Config, KeyedRateLimiter, RateLimiter};
use mainstay::{Clock, Deadline};
use tokio::task::JoinSet;

const fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(n - 1)
}

async fn send(limiter: RateLimiter, mail: u32) -> String {
    let send = async { Ok::<_, io::Error>("sent") };
    match limiter.call(Deadline::NEVER, send).await {
        Ok(answer) => format!("mail {mail}: {answer}"),
        Err(error) => format!("mail {mail}: the {error}"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let clock = Clock::new();
    let config = Config {
        per_period: count(10),
        period: Duration::from_secs(1),
        burst: count(3),
        queue: Some(count(5)),
        queue_wait: Duration::from_millis(350),
    };
    let limiter = RateLimiter::builder("mail")
        .config(config)
        .clock(clock)
        .build()?;

    println!("ten mails a second, three at once:");
    for mail in 1..=4 {
        match limiter.try_acquire() {
            Ok(()) => println!("  mail {mail}: sent"),
            Err(rejection) => println!("  mail {mail}: the {rejection}"),
        }
    }

    println!("whoever waits is served in turn, unless that would take too long:");
    let mut calls = JoinSet::new();
    for mail in 1..=5 {
        calls.spawn(send(limiter.clone(), mail));
    }
    while let Some(call) = calls.join_next().await {
        println!("  {}", call?);
    }

    println!("a flood of made-up tenants is one caller, and others keep their rate:");
    let thousand = const { NonZeroUsize::MIN.saturating_add(999) };
    let tenants: KeyedRateLimiter<u32> = RateLimiter::builder("api")
        .config(config)
        .clock(clock)
        .build_keyed(thousand)?;
    (0..3).try_for_each(|_| tenants.try_acquire(&7))?;
    let passed = (1_000..101_000).filter(|tenant| tenants.try_acquire(tenant).is_ok());
    let passed = passed.count();
    println!("  fewer than 2,000 of 100,000 pass: {}", passed < 2_000);
    println!(
        "  at most 1,000 are remembered: {}",
        tenants.keys() <= 1_000
    );
    Ok(())
}
