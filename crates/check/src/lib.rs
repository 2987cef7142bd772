//! Histories of concurrent operations, and checkers that say whether a store kept its promise.
//!
//! Prevents a drill that "looks fine": a run under faults is believed only when a checker that
//! knows nothing of the store's insides finds an order of operations that explains every reply.
//!
//! | question | module | cost |
//! |---|---|---|
//! | is there *any* order that explains the replies? | [`wgl`] | exponential at worst, bounded |
//! | do replies that carry a zxid keep the promise? | [`certificate`] | `O(n log n)` |
//! | was an added element lost, doubled, invented? | [`set`] | `O(n log n)` |
//! | did two holders of a lock act at once? | [`lock`] | `O(n log n)` |
//! | is the total what it was? | [`bank`] | `O(n)` |
//!
//! What always holds: no clock is read and no randomness is drawn, so a verdict can be repeated;
//! every search has a budget, and one that runs out is [`Verdict::Unknown`](wgl::Verdict), never
//! a guess; no input makes a checker panic.
//!
//! ```
//! use mainstay_check::history::Recorder;
//! use mainstay_check::model::register::{Input, Output, Register};
//! use mainstay_check::wgl::{self, Limits, Verdict};
//!
//! let mut recorder = Recorder::new();
//! recorder.invoke(0, 1, Input::Write(7))?;
//! recorder.returned(0, 2, Output::Done)?;
//! recorder.invoke(1, 3, Input::Read)?;
//! recorder.returned(1, 4, Output::Value(None))?; // stale: the write had returned
//! let history = recorder.finish();
//!
//! let verdict = wgl::check(&Register, &history, &Limits::default(), &|| true);
//! let Verdict::Violated(failure) = verdict else { panic!("a stale read was not found") };
//! assert!(failure.to_string().contains("no order explains client 1: read -> nothing"));
//! # Ok::<(), mainstay_check::history::Impossible>(())
//! ```

pub mod bank;
pub mod certificate;
pub mod failure;
pub mod history;
pub mod lock;
pub mod model;
mod real_time;
pub mod set;
pub mod wgl;
