//! The load: sends every request of the plan when it is due, whatever became of the ones before.
//!
//! Prevents coordinated omission: a service that stalls gets no fewer requests for it, and
//! latency counts from the moment a request was due, not from when it could be sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderValue, Response};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{Client, NoAnswer, get, post};
use crate::clock::Clock;
use crate::plan::{Arrival, Ask, Plan};

/// How long a user waits, from the moment the request was due.
const PATIENCE: Duration = Duration::from_secs(1);

/// Requests in flight per arm; one that is due beyond it counts as failed. Patience times the
/// rate of the load is half of it, so only a stuck client gets there.
const IN_FLIGHT_MAX: usize = 512;

/// How a request ended for its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A good and fresh answer in time.
    Good,
    /// A good answer in time, marked as stale.
    Stale,
    /// Anything else, with a word why.
    Failed(String),
}

/// What one user saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// When the request was due, microseconds after the start.
    pub(crate) due_us: u64,
    /// From then to the end.
    pub(crate) latency_us: u64,
    /// What it asked for.
    pub(crate) ask: Ask,
    /// How it ended.
    pub(crate) end: End,
}

impl Sample {
    /// Whether the user got what was asked for.
    pub(crate) const fn is_good(&self) -> bool {
        !matches!(self.end, End::Failed(_))
    }
}

/// Counts while the load runs, for the progress line.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Requests that ended well.
    pub(crate) good: AtomicU64,
    /// Requests that did not.
    pub(crate) failed: AtomicU64,
}

impl Tally {
    fn count(&self, sample: &Sample) {
        let counter = if sample.is_good() {
            &self.good
        } else {
            &self.failed
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends all requests of `plan` and returns what became of each, in no particular order.
pub(crate) async fn offer(
    plan: &Plan,
    clock: Clock,
    client: &Arc<Client>,
    tally: &Tally,
) -> Vec<Sample> {
    let mut samples = Vec::with_capacity(plan.arrivals.len());
    let mut in_flight = JoinSet::new();
    let mut take = |sample: Sample| {
        tally.count(&sample);
        samples.push(sample);
    };
    for arrival in &plan.arrivals {
        tokio::time::sleep_until(clock.at_us(arrival.due_us)).await;
        // A call cannot panic or be aborted, so no result is missed here.
        while let Some(Ok(sample)) = in_flight.try_join_next() {
            take(sample);
        }
        if in_flight.len() >= IN_FLIGHT_MAX {
            let end = End::Failed("overflow".to_owned());
            take(sample(*arrival, clock, end));
            continue;
        }
        in_flight.spawn(call(
            *arrival,
            plan.request(arrival.ask),
            clock,
            Arc::clone(client),
        ));
    }
    while let Some(ended) = in_flight.join_next().await {
        if let Ok(sample) = ended {
            take(sample);
        }
    }
    samples
}

type Request = http::Request<http_body_util::Full<bytes::Bytes>>;

async fn call(arrival: Arrival, request: Request, clock: Clock, client: Arc<Client>) -> Sample {
    let id = request.headers().get("idempotency-key").cloned();
    let give_up = clock.at_us(arrival.due_us) + PATIENCE;
    let answer = tokio::time::timeout_at(give_up, client.send(request)).await;
    let end = match answer {
        Ok(answer) => judge(arrival.ask, id.as_ref(), answer),
        Err(_) => End::Failed("timeout".to_owned()),
    };
    sample(arrival, clock, end)
}

fn sample(arrival: Arrival, clock: Clock, end: End) -> Sample {
    Sample {
        due_us: arrival.due_us,
        latency_us: clock.now_us().saturating_sub(arrival.due_us),
        ask: arrival.ask,
        end,
    }
}

impl Plan {
    /// The request that `ask` stands for; a write carries its id in the body and as its
    /// idempotency key.
    fn request(&self, ask: Ask) -> Request {
        match ask {
            Ask::Read { account } => get(&format!("/accounts/{account}/balance")),
            Ask::Write { number } => {
                let id = self.write_id(number);
                let mut request = post("/payments", &json!({"id": id, "amount": 100}));
                if let Ok(key) = HeaderValue::from_str(&id) {
                    request.headers_mut().insert("idempotency-key", key);
                }
                request
            },
        }
    }
}

/// What the answer is worth to the user who asked.
fn judge(
    ask: Ask,
    id: Option<&HeaderValue>,
    answer: Result<Response<bytes::Bytes>, NoAnswer>,
) -> End {
    let answer = match answer {
        Ok(answer) => answer,
        Err(none) => return End::Failed(none.as_str().to_owned()),
    };
    let reason = reason(&answer);
    if !answer.status().is_success() {
        let status = answer.status().as_u16();
        return End::Failed(match reason {
            Some(reason) => format!("{status} {reason}"),
            None => status.to_string(),
        });
    }
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let is_mine = match ask {
        Ask::Read { account } => body["account"] == account && body["balance"].is_u64(),
        Ask::Write { .. } => {
            let id = id.and_then(|id| id.to_str().ok());
            id.is_some() && body["id"].as_str() == id
        },
    };
    if !is_mine {
        return End::Failed("wrong answer".to_owned());
    }
    match reason {
        Some("stale") => End::Stale,
        Some(_) | None => End::Good,
    }
}

/// Why the gateway answered by itself, when it did; a short word, or nothing.
fn reason(answer: &Response<bytes::Bytes>) -> Option<&str> {
    const REASON_BYTES_MAX: usize = 40;
    answer
        .headers()
        .get("mainstay-reason")
        .and_then(|reason| reason.to_str().ok())
        .filter(|reason| reason.len() <= REASON_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn answer(status: u16, reason: Option<&'static str>, body: &'static str) -> Response<Bytes> {
        let mut answer = Response::builder().status(status);
        if let Some(reason) = reason {
            answer = answer.header("mainstay-reason", reason);
        }
        answer
            .body(Bytes::from_static(body.as_bytes()))
            .expect("valid")
    }

    const READ: Ask = Ask::Read { account: 7 };
    const BALANCE: &str = r#"{"account":7,"balance":5,"replica":"payment-1"}"#;

    #[test]
    fn only_the_right_answer_with_a_good_status_is_good() {
        let judged = |answer| judge(READ, None, answer);
        let failed = |why: &str| End::Failed(why.to_owned());
        assert_eq!(judged(Ok(answer(200, None, BALANCE))), End::Good);
        assert_eq!(judged(Ok(answer(200, Some("stale"), BALANCE))), End::Stale);
        assert_eq!(judged(Ok(answer(500, None, BALANCE))), failed("500"));
        let open = answer(503, Some("circuit_open"), "");
        assert_eq!(judged(Ok(open)), failed("503 circuit_open"));
        let other = answer(200, None, r#"{"account":8,"balance":5}"#);
        assert_eq!(judged(Ok(other)), failed("wrong answer"));
        assert_eq!(judged(Ok(answer(200, None, ""))), failed("wrong answer"));
        assert_eq!(judged(Err(NoAnswer::Connect)), failed("connect"));
    }

    #[test]
    fn a_write_is_good_only_with_its_own_receipt() {
        let plan = Plan::new("payment-outage", 1).expect("built in");
        let ask = Ask::Write { number: 3 };
        let request = plan.request(ask);
        let key = request.headers().get("idempotency-key");
        assert_eq!(key.expect("a key"), "w-0000000000000001-3");
        let mine = answer(201, None, r#"{"id":"w-0000000000000001-3"}"#);
        assert_eq!(judge(ask, key, Ok(mine)), End::Good);
        let others = answer(201, None, r#"{"id":"w-0000000000000001-4"}"#);
        assert_eq!(
            judge(ask, key, Ok(others)),
            End::Failed("wrong answer".to_owned())
        );
    }

    #[tokio::test]
    async fn every_request_of_the_plan_is_accounted_for_even_when_nobody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let mut plan = Plan::new("payment-outage", 1).expect("built in");
        plan.arrivals.truncate(30);
        let client = Arc::new(Client::new(&[address]).expect("a valid address"));
        let tally = Tally::default();
        let clock = Clock::starting_in(Duration::ZERO);
        let mut samples = offer(&plan, clock, &client, &tally).await;
        samples.sort_by_key(|sample| sample.due_us);
        let asked: Vec<_> = samples
            .iter()
            .map(|sample| (sample.due_us, sample.ask))
            .collect();
        let planned: Vec<_> = plan.arrivals.iter().map(|a| (a.due_us, a.ask)).collect();
        assert_eq!(asked, planned);
        assert_eq!(tally.failed.load(Ordering::Relaxed), 30);
        assert!(samples.iter().all(|sample| !sample.is_good()));
    }
}
