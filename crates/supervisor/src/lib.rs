//! Starts replicas, probes them, restarts them, and never leaves one behind.
//!
//! Prevents two failures: a service that stays down because nobody starts it again, and
//! processes that outlive whoever started them. [`Supervisor::start`] checks everything that can
//! be checked before a process exists; [`Supervisor::run`] then keeps the replicas running.
//!
//! Decisions are pure and live in `replica.rs`: what happened goes in, what to do comes out, and
//! time is an argument. `driver.rs` acts. Three things tie a replica to the life of this process:
//!
//! 1. its leash ([`leash`]): the kernel kills it when the thread that started it ends;
//! 2. its process group, killed as a whole whenever its leader ends;
//! 3. the warden ([`warden`]), a process that kills the groups when this one was killed.
//!
//! What a replica's descendants do to leave the group (`setsid`) is beyond their reach.

mod clock;
mod command;
pub mod config;
mod driver;
mod group;
pub mod leash;
mod output;
mod process;
mod replica;
mod spawner;
mod status;
mod supervisor;
pub mod warden;

pub use command::StartError;
pub use replica::{Change, Phase};
pub use status::ReplicaStatus;
pub use supervisor::{Handle, Listener, Stopped, Supervisor};
