//! A whole ensemble of the keeper in one thread and in virtual time, with all that can go wrong.
//!
//! Prevents bugs that show themselves once a year and cannot be repeated: everything that happens
//! comes from a seed, and the same seed is the same run, byte for byte.
//!
//! | module | what |
//! |---|---|
//! | [`run`] | one run: trouble, then peace, then everything has to be well |
//! | [`swarm`] | what a run is like, by its seed |
//! | [`ensemble`] | the machines, and what goes wrong with them |
//! | [`machine`] | a disk, power, and a member |
//! | [`network`] | streams that take their time |
//! | [`observer`] | hears what members apply |
//! | [`plant`] | bugs on purpose |
//! | [`property`] | what must always hold |
//! | [`client`] | who uses the ensemble |
//! | [`key`] | the nodes that clients work with |
//! | [`history`] | what clients were promised |
//! | [`facts`] | what went wrong, and what was met at all |
//! | [`trace`] | what happened, and its hash |

pub mod client;
pub mod ensemble;
pub mod facts;
pub mod history;
pub mod key;
pub mod machine;
pub mod network;
pub mod observer;
pub mod plant;
pub mod property;
pub mod run;
pub mod swarm;
pub mod trace;
