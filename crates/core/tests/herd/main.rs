//! What a thousand clients do to one service, with the engines that ship, in virtual time.
//!
//! Prevents policies that are right one by one and wrong together. Two failures of the whole:
//!
//! **Metastable failure** (Bronson, Aghayev, Charapko and Zhu, "Metastable Failures in Distributed
//! Systems", `HotOS` 2021): the trigger is gone, and the system stays down, because something keeps
//! it down. Here a service stalls for ten seconds at 70 % or 85 % of its capacity. Naive clients
//! (three attempts, a second each, 100 ms apart) then offer 2.1 to 2.5 times the capacity, for as
//! long as none of their attempts is answered in time; and none is, since the queue is longer than
//! their timeout: the service works without a pause, for clients that have left. `metastable.rs`
//! shows that this lasts for the minute that is simulated, what of it each protection takes away,
//! and that together they end it.
//!
//! **The herd**: breakers that opened together probe together, and clients that failed together
//! retry together, unless chance keeps them apart. `spread.rs` shows both, each with the herd that
//! the same code makes without jitter.
//!
//! What each protection does, at 70 % and seed 1 (seconds from the end of the stall until 99 % of
//! users are answered again; attempts per request during the stall):
//!
//! | protection | back after | attempts |
//! |---|---|---|
//! | none | never | 2.68 |
//! | breaker | 52 s | 1.71 |
//! | budget | 29 s | 1.04 |
//! | breaker and budget | 18 s | 1.02 |
//! | bounded queue | 0 s | 2.68 |
//! | bounded queue and budget | 1 s | 1.04 |
//! | all | 2 s | 1.02 |
//!
//! So breaker and budget take the amplification away, but a queue that is as long as the stall was
//! is still worked off for clients that have left; the bound on the queue is what makes the return
//! quick. The bound alone would do here, where a refusal costs the service nothing. Where it costs a
//! twentieth of the work, naive clients keep even a service with a bounded queue down for the whole
//! minute: they knock faster than it can refuse. Protected ones have it back in eight seconds, the
//! time to refuse what had gathered. Where refusals are free the breakers cost a second, as their
//! cooldowns end after the stall does.
//!
//! The model of the service: so many workers, a service time uniform within half of its mean up and
//! down, one queue, first come first served. Requests whose clients left are worked on all the
//! same: the service cannot know. In a stall nothing happens at all, not even a rejection; what
//! arrives waits in the sockets, for ever if it must. The network takes no time. Clients are many
//! and independent: users come at random (Poisson) and do not wait for each other, so that a slow
//! service is not asked less. A request succeeds when one of its attempts is answered within its
//! timeout.
//!
//! Everything is a function of the seed, which each failing assertion prints.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot go on fails, wherever it is in its tools"
)]

mod client;
mod engine;
mod metastable;
mod service;
mod simulation;
mod spread;
