//! What the service answers: the routes, and what a fault does to each.
//!
//! Prevents a fault that only looks like one: an error, a hang or a delay comes before the work,
//! so a request that failed has charged nothing, and `/fault` itself always answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Body;
use serde_json::json;

use crate::fault::{Fault, FaultRequest, FaultSwitch, SLOWDOWN};
use crate::ledger::{Charge, Charged, KEY_BYTES_MAX, Ledger};
use crate::options::Options;

/// Longest body that is read.
const BODY_BYTES_MAX: usize = 4_096;

/// Longest id of a payment.
const ID_BYTES_MAX: usize = 100;

type Answer = Response<Full<Bytes>>;

/// One replica: what all of its connections share.
#[derive(Debug)]
pub(crate) struct Service {
    name: String,
    latency: Duration,
    faults_allowed: bool,
    fault: FaultSwitch,
    ledger: Arc<Ledger>,
    /// Requests since the start.
    pub(crate) requests: AtomicU64,
    /// Charges recorded since the start.
    pub(crate) charges: AtomicU64,
}

impl Service {
    /// The replica that `options` describe.
    pub(crate) fn new(options: &Options, ledger: Ledger) -> Self {
        Self {
            name: options.name.clone(),
            latency: options.latency,
            faults_allowed: options.faults,
            fault: FaultSwitch::default(),
            ledger: Arc::new(ledger),
            requests: AtomicU64::new(0),
            charges: AtomicU64::new(0),
        }
    }

    /// Answers one request, as the fault in force allows.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if path == "/fault" {
            return self.set_fault(&head.method, body).await;
        }
        let fault = self.fault.get();
        if fault == Fault::Hang {
            // Ends when the client gives up or this process ends.
            std::future::pending::<()>().await;
        }
        let slowdown = if fault == Fault::Slow { SLOWDOWN } else { 1 };
        tokio::time::sleep(self.latency * slowdown).await;
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        match path {
            "/healthz" if reads => json(StatusCode::OK, &json!({"status": "healthy"})),
            "/" if reads => self.describe(),
            _ if fault == Fault::Error => refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "broken on purpose: POST /fault {\"kind\":\"none\"} ends it",
            ),
            "/payments" if head.method == Method::POST => self.pay(&head.headers, body).await,
            "/" | "/healthz" | "/payments" => not_allowed(path),
            _ => self.balance(path, reads),
        }
    }

    fn describe(&self) -> Answer {
        let fault = if self.faults_allowed {
            "curl -d '{\"kind\":\"error\"}' HOST/fault   (or hang, slow, none)"
        } else {
            "POST /fault is off; start with --faults to break this replica on purpose"
        };
        let text = format!(
            "{}: the payment example. Try:\n\n  curl HOST/accounts/7/balance\n  \
             curl -H 'idempotency-key: k1' -d '{{\"id\":\"k1\",\"amount\":100}}' HOST/payments   \
             (twice: charged once)\n  curl HOST/healthz\n  {fault}\n",
            self.name
        );
        let mut answer = Response::new(Full::from(text));
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers_mut().insert(CONTENT_TYPE, plain);
        answer
    }

    fn balance(&self, path: &str, reads: bool) -> Answer {
        let account = path
            .strip_prefix("/accounts/")
            .and_then(|rest| rest.strip_suffix("/balance"))
            .and_then(|number| number.parse::<u32>().ok());
        let Some(account) = account else {
            return refuse(
                StatusCode::NOT_FOUND,
                "nothing here: GET / says what there is",
            );
        };
        if !reads {
            return not_allowed(path);
        }
        // A pure function of the account: a wrong answer can be told from a right one.
        let balance = (u64::from(account) * 7_919) % 100_000;
        let body = json!({"account": account, "balance": balance, "replica": self.name});
        let mut answer = json(StatusCode::OK, &body);
        let fresh = HeaderValue::from_static("max-age=1");
        answer.headers_mut().insert(CACHE_CONTROL, fresh);
        answer
    }

    async fn pay<B>(&self, headers: &HeaderMap, body: B) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let key = match idempotency_key(headers) {
            Ok(key) => key,
            Err(refused) => return refused.into(),
        };
        let charge: Charge = match read_json(body).await {
            Ok(charge) => charge,
            Err(refused) => return refused.into(),
        };
        if charge.id.is_empty() || charge.id.len() > ID_BYTES_MAX {
            return refuse(StatusCode::BAD_REQUEST, "the id must have 1 to 100 bytes");
        }
        let ledger = Arc::clone(&self.ledger);
        let paid = charge.clone();
        // Off this thread: a slow disk must not silence /healthz.
        let charged =
            tokio::task::spawn_blocking(move || ledger.charge(&charge, key.as_deref())).await;
        match charged {
            Ok(Ok(charged)) => self.receipt(&paid, charged),
            Ok(Err(error)) => refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!("the ledger cannot be written: {error}"),
            ),
            Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, "the replica is stopping"),
        }
    }

    fn receipt(&self, charge: &Charge, charged: Charged) -> Answer {
        let body = json!({"id": charge.id, "amount": charge.amount, "status": "charged"});
        match charged {
            Charged::Now => {
                self.charges.fetch_add(1, Ordering::Relaxed);
                json(StatusCode::CREATED, &body)
            },
            Charged::Before => {
                let mut answer = json(StatusCode::CREATED, &body);
                let replayed = HeaderValue::from_static("true");
                answer.headers_mut().insert("idempotent-replayed", replayed);
                answer
            },
            Charged::Conflict => refuse(
                StatusCode::UNPROCESSABLE_ENTITY,
                "this idempotency key was used for another payment",
            ),
            Charged::Full => refuse(
                StatusCode::INSUFFICIENT_STORAGE,
                "the ledger in memory is full: start with --ledger DIR",
            ),
        }
    }

    async fn set_fault<B>(&self, method: &Method, body: B) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !self.faults_allowed {
            return refuse(StatusCode::FORBIDDEN, "faults are off: start with --faults");
        }
        if method != Method::POST {
            return not_allowed("/fault");
        }
        let request: FaultRequest = match read_json(body).await {
            Ok(request) => request,
            Err(refused) => return refused.into(),
        };
        self.fault.set(request.kind);
        json(StatusCode::OK, &json!({"kind": request.kind}))
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    let text = key
        .to_str()
        .ok()
        .filter(|text| !text.is_empty() && text.len() <= KEY_BYTES_MAX && keys.next().is_none());
    let refusal = || {
        let detail = "give one idempotency-key of 1 to 100 visible ASCII characters";
        Refusal(StatusCode::BAD_REQUEST, detail.to_owned())
    };
    text.map(|text| Some(text.to_owned())).ok_or_else(refusal)
}

async fn read_json<T, B>(body: B) -> Result<T, Refusal>
where
    T: serde::de::DeserializeOwned,
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let bytes = body
        .map_err(|error| Refusal(StatusCode::BAD_REQUEST, format!("unreadable body: {error}")))?
        .to_bytes();
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal(StatusCode::BAD_REQUEST, format!("wrong JSON: {error}")))
}

/// A request that is turned down before any work.
struct Refusal(StatusCode, String);

impl From<Refusal> for Answer {
    fn from(Refusal(status, detail): Refusal) -> Self {
        refuse(status, &detail)
    }
}

fn json(status: StatusCode, body: &serde_json::Value) -> Answer {
    let mut answer = Response::new(Full::from(body.to_string()));
    *answer.status_mut() = status;
    let media_type = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, media_type);
    answer
}

fn refuse(status: StatusCode, detail: &str) -> Answer {
    json(status, &json!({"error": detail}))
}

fn not_allowed(path: &str) -> Answer {
    refuse(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!("{path} does not take this method: GET / says what there is"),
    )
}

#[cfg(test)]
mod tests;
