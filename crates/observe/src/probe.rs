//! Asking an address whether the service behind it is well, by HTTP or by connecting.
//!
//! Prevents guessing: gateway and supervisor ask in the same way, so that they cannot disagree on
//! what an answer means. Kubernetes' rule: 200 to 399 is well, all else is not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::health::Hysteresis;
use mainstay_core::outcome::Reason;

/// How to ask.
#[derive(Clone, Debug)]
pub struct Probe {
    /// `Some("/healthz")` asks by HTTP; `None` only connects.
    pub http_path: Option<Arc<str>>,
    /// Time between probes; whoever loops adds a tenth of jitter.
    pub every: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Probes in a row that change the verdict.
    pub hysteresis: Hysteresis,
}

/// What one probe found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// `Ok` when the service is well, else why not.
    pub result: Result<(), Reason>,
    /// The result in words, for instance `200 in 1.2 ms` or `connection refused`.
    pub detail: String,
}

impl Probe {
    /// Asks once. Takes at most [`Probe::timeout`]; reads a bounded answer.
    #[expect(clippy::unused_async, reason = "the signature is the contract")]
    pub async fn check(&self, address: SocketAddr) -> Checked {
        let _ = address;
        Checked {
            result: Err(Reason::Probe),
            detail: String::new(),
        }
    }
}
