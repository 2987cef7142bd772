//! The way of a request, top to bottom: deadline, fallback, bulkhead, retry, balance, breaker,
//! attempt timeout, pool, endpoint. Each step is one function that calls the next.
//!
//! Prevents policies that work against each other: a fallback sees what retries could not mend,
//! a retry sees every attempt, an attempt is charged to its endpoint exactly once.
//!
//! The fallback stands above the bulkhead: a stale answer costs nothing that a full bulkhead
//! protects.

use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, ready};

use http::header::HeaderName;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use mainstay_core::outcome::Outcome;
use mainstay_core::retry::{Decision, Failed as FailedAttempt, GiveUpReason, Sent};
use tokio::time::{Duration, Instant, sleep, sleep_until};

use crate::body::{Body, Content};
use crate::config::ServerErrors;
use crate::downstream::Downstream;
use crate::failure::Failed;
use crate::finish::Finish;
use crate::forward::{self, Additions};
use crate::front::{Front, Local};
use crate::replay::Replay;
use crate::service::{NoChoice, RetryPlan, Tried, Wish};
use crate::tally::Denied;
use crate::upstream::answer::{Framing, Head};
use crate::upstream::attempt::Attempt;
use crate::upstream::connection::Sending;
use crate::upstream::pool::Lease;
use crate::upstream::stream::{Source, Stream};
use crate::upstream::window::Window;
use crate::{failure, fallback, reply};

/// Between two looks for an endpoint when there is none: short at first, since restarts are. No
/// backoff: looking costs nobody anything, so there is nothing to spread or to budget.
const ENDPOINT_PAUSE_MIN: Duration = Duration::from_millis(2);
const ENDPOINT_PAUSE_MAX: Duration = Duration::from_millis(32);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One request on its way.
pub(crate) struct Call {
    pub(crate) front: Rc<Front>,
    pub(crate) local: Rc<Local>,
    pub(crate) parts: Parts,
    downstream: Rc<Downstream>,
    /// `None` once it travels with a streaming answer.
    body: Option<Replay>,
    started: Instant,
    /// The clock as last read.
    pub(crate) now: Instant,
    deadline: Instant,
    finish: Finish,
    idempotent: bool,
}

/// Answers one request, whatever happens.
pub(crate) async fn answer(
    front: Rc<Front>,
    downstream: Rc<Downstream>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let mut call = Call::begin(front, downstream, request);
    let response = match through_bulkhead(&mut call).await {
        Ok(response) => {
            call.was_fresh(&response);
            response
        },
        Err(failed) => fallback::instead_of(&mut call, failed),
    };
    Ok(call.end(response))
}

async fn through_bulkhead(call: &mut Call) -> Result<Response<Content>, Failed> {
    if call.front.service.identity.is_loop(&call.parts.headers) {
        return Err(Failed::looped());
    }
    let local = Rc::clone(&call.local);
    if let Some(bulkhead) = &local.plan.bulkhead {
        let deadline = call.front.service.clock.deadline(call.deadline);
        let place = if let Some(place) = bulkhead.try_acquire() {
            place
        } else {
            let waited = bulkhead.acquire(deadline).await;
            call.now = Instant::now();
            waited.map_err(|_| Failed::bulkhead_full())?
        };
        call.finish.hold(place);
    }
    with_retries(call).await
}

/// The loop that `mainstay::Retry` has for code, for requests: each attempt has its own endpoint, and
/// the body is played again. What is decided is decided by the same engine.
async fn with_retries(call: &mut Call) -> Result<Response<Content>, Failed> {
    let mut tried = Tried::default();
    let mut unsent = 0;
    let mut number = 1;
    let mut last: Option<Failed> = None;
    if let Some(retry) = &call.local.plan.retry {
        retry
            .budget
            .deposit_at(call.front.service.clock.at(call.now));
    }
    loop {
        let failed = match attempt(call, &mut tried, number).await {
            Ok(response) => return Ok(response),
            // The last real answer is worth more than a later failure to get one.
            Err(failed) => failed.after(last.take()),
        };
        let Some(wait) = call.retry_after(&failed, number, &mut unsent) else {
            return Err(failed);
        };
        if !wait.is_zero() {
            sleep(wait).await;
        }
        call.now = Instant::now();
        if let Some(body) = &mut call.body {
            body.rewind();
        }
        last = Some(failed);
        number += 1;
    }
}

async fn attempt(
    call: &mut Call,
    tried: &mut Tried,
    number: u32,
) -> Result<Response<Content>, Failed> {
    let (index, mut attempt) = endpoint(call, tried, number).await?;
    let window = call.window()?;
    call.front.count_attempt(number);
    let exchanged = exchange(call, index, window, number).await;
    call.now = Instant::now();
    let now = call.front.service.clock.at(call.now);
    match exchanged {
        Ok((lease, head)) => {
            attempt.answered(now);
            if head.status.is_server_error() {
                let wish_max = call.local.plan.cooldown_max();
                if let Some(outcome) = failure::outcome_of(head.status, &head.headers, wish_max) {
                    attempt.settle(outcome, now);
                }
            }
            let response = call.response(lease, head, attempt);
            Failed::check(response, call.retry_on())
        },
        Err(failed) => {
            attempt.settle(failed.outcome(), now);
            Err(failed.or_deadline(call.now >= call.deadline))
        },
    }
}

/// The endpoint for this attempt. With none in rotation, one that is being started again is waited
/// for: it is back before its users have to know.
async fn endpoint(
    call: &mut Call,
    tried: &mut Tried,
    number: u32,
) -> Result<(usize, Attempt), Failed> {
    let patience = call.local.plan.config.timeout.endpoint;
    let until = call.deadline.min(call.now + patience);
    let mut pause = ENDPOINT_PAUSE_MIN;
    loop {
        let failed = match balance(call, tried, number) {
            Ok(found) => return Ok(found),
            Err(failed) => failed,
        };
        let now = call.front.service.clock.at(call.now);
        let hopeless = !failed.is_without_endpoint()
            || call.now >= until
            || !call.local.plan.expects_endpoint(patience, now);
        if hopeless || fallback::is_at_hand(call) {
            return Err(failed);
        }
        sleep_until(until.min(call.now + pause)).await;
        call.now = Instant::now();
        pause = (pause * 2).min(ENDPOINT_PAUSE_MAX);
    }
}

/// The endpoint for this attempt, and its circuit's leave.
fn balance(call: &Call, tried: &mut Tried, number: u32) -> Result<(usize, Attempt), Failed> {
    let now = call.front.service.clock.at(call.now);
    let plan = &call.local.plan;
    let mut rejected = None;
    let mut refused = Tried::default();
    // A circuit may open between the choice and the permit, but not more often than there are.
    for _ in 0..=plan.endpoints.len() {
        let index = plan
            .choose(call.wish(*tried), now, &mut call.front.random.borrow_mut())
            .map_err(|none| match none {
                NoChoice::NoEndpoint => Failed::no_endpoint(),
                NoChoice::CircuitOpen { retry_after } => Failed::circuit_open(retry_after),
            })?;
        tried.add(index);
        // A circuit in its ramp draws anew each time it is asked, and must not be asked till it
        // gives in.
        if refused.has(index) {
            break;
        }
        match Attempt::begin(&plan.endpoints[index], number, call.front.at(now)) {
            Ok(attempt) => return Ok((index, attempt)),
            Err(refusal) => {
                refused.add(index);
                rejected = refusal.retry_after;
            },
        }
    }
    Err(Failed::circuit_open(rejected.unwrap_or_default()))
}

/// Sends the request to the endpoint at `index` and waits for the answer's head.
async fn exchange(
    call: &mut Call,
    index: usize,
    mut window: Window,
    number: u32,
) -> Result<(Lease, Head), Failed> {
    let pool = &call.local.pools[index];
    let mut lease = if let Some(lease) = pool.take_idle(!call.idempotent) {
        lease
    } else {
        let connect = call.local.plan.config.timeout.connect;
        let until = window.until().min(call.now + connect);
        pool.connect(until).await.map_err(Failed::unconnected)?
    };
    let sending = call.sending();
    lease.begin(sending, |out| {
        let additions = Additions {
            identity: &call.front.service.identity,
            client: call.downstream.address(),
            host: &call.front.service.name,
            attempt: number,
            chunked: sending.is_chunked(),
        };
        forward::write_head(out, &call.parts, &additions);
    });
    let to_head = call.parts.method == Method::HEAD;
    let Some(body) = &mut call.body else {
        return Err(Failed::client(call.downstream.refusal()));
    };
    let alarm = &call.downstream.alarm;
    let exchanged = poll_fn(|cx| {
        loop {
            if let Poll::Ready(head) = lease.poll_head(cx, to_head, body) {
                return Poll::Ready(head);
            }
            if let Some(failure) = ready!(window.poll_over(cx, &mut lease, alarm)) {
                return Poll::Ready(Err(failure));
            }
        }
    });
    match exchanged.await {
        Ok(head) => Ok((lease, head)),
        Err(failure) => Err(Failed::exchange(failure, call.downstream.refusal())),
    }
}

impl Call {
    fn begin(front: Rc<Front>, downstream: Rc<Downstream>, request: Request<Incoming>) -> Self {
        let now = Instant::now();
        let local = front.local();
        let (parts, body) = request.into_parts();
        let kept_max = local
            .plan
            .retry
            .as_ref()
            .map_or(0, |plan| plan.replay_bytes_max);
        Self {
            body: Some(Replay::new(body, kept_max, front.memory.clone())),
            finish: Finish::begin(&front, &downstream),
            started: now,
            now,
            deadline: now + local.plan.config.timeout.total,
            idempotent: is_idempotent(&parts),
            parts,
            front,
            local,
            downstream,
        }
    }

    /// Answers of endpoints that another attempt may better.
    fn retry_on(&self) -> ServerErrors {
        let plan = self.local.plan.retry.as_ref();
        plan.map_or_else(ServerErrors::default, |plan| plan.on_status)
    }

    /// What the balancer has to know of this request.
    const fn wish(&self, tried: Tried) -> Wish {
        Wish {
            tried,
            may_probe: self.idempotent,
        }
    }

    /// The limits of the next attempt; fails when the request's time is used up.
    fn window(&self) -> Result<Window, Failed> {
        if self.now >= self.deadline {
            return Err(Failed::deadline());
        }
        let attempt = self.local.plan.config.timeout.attempt;
        Ok(Window::new(self.now, attempt, self.deadline))
    }

    fn sending(&self) -> Sending {
        if self.body.as_ref().is_none_or(Replay::is_empty) {
            return Sending::Last;
        }
        let chunked = !forward::has_length(&self.parts.headers);
        let untouched = self.body.as_ref().is_some_and(Replay::is_untouched);
        if untouched && forward::expects_continue(&self.parts.headers) {
            return Sending::Held { chunked };
        }
        Sending::Body { chunked }
    }

    /// How long to wait before the next attempt; `None` when there is none.
    fn retry_after(&self, failed: &Failed, number: u32, unsent: &mut usize) -> Option<Duration> {
        let plan = self.local.plan.retry.as_ref()?;
        let sent = failed.retryable()?;
        let tally = self.front.tally();
        if !self.body.as_ref().is_some_and(Replay::is_replayable) {
            tally.denied(Denied::Body);
            return None;
        }
        if sent == Sent::Never && *unsent + 1 < self.local.plan.endpoints.len() {
            *unsent += 1;
            return Some(Duration::ZERO);
        }
        match self.decide(plan, failed, number, sent) {
            Decision::Retry { after, .. } => Some(after),
            Decision::GiveUp(why) => {
                tally.denied(match why {
                    GiveUpReason::Attempts => Denied::Attempts,
                    GiveUpReason::Unsafe => Denied::Unsafe,
                    // Both: there is no time for the wait.
                    GiveUpReason::Deadline | GiveUpReason::RetryAfter => Denied::Deadline,
                    GiveUpReason::Budget => Denied::Budget,
                });
                None
            },
        }
    }

    fn decide(&self, plan: &RetryPlan, failed: &Failed, number: u32, sent: Sent) -> Decision {
        let service = &self.front.service;
        let now = service.clock.at(self.now);
        let attempt = FailedAttempt {
            attempts_used: number,
            sent,
            idempotent: self.idempotent,
            // What one endpoint asks for itself is no reason to spare another.
            retry_after: failed
                .retry_after()
                .filter(|_| self.local.plan.endpoints.len() == 1),
            // Looked at by decorrelated backoff only, which the gateway does not offer.
            waited: Duration::ZERO,
            deadline: service.clock.deadline(self.deadline),
        };
        let random = &mut self.front.random.borrow_mut();
        plan.retry.decide(&attempt, &plan.budget, now, random)
    }

    /// The answer for the client. A body that is there is settled at once, one that follows
    /// settles attempt and connection at its end.
    fn response(&mut self, lease: Lease, head: Head, mut attempt: Attempt) -> Response<Content> {
        let service = &self.front.service;
        let now = service.clock.at(self.now);
        let recording = fallback::record(self, &head);
        let keep_alive = head.keep_alive;
        let content = match (head.full, head.framing) {
            (None, Framing::Length(_) | Framing::Chunked | Framing::Close) => {
                let upload = if lease.is_sent() {
                    None
                } else {
                    self.body.take()
                };
                let source = Source {
                    lease,
                    framing: head.framing,
                    upload,
                    keep_alive,
                    attempt,
                };
                let idle_max = self.front.limits.body_timeout;
                let mut stream = Stream::new(source, service.clock, self.now, idle_max);
                if let Some(recording) = recording {
                    stream.record(recording);
                }
                Content::Stream(Box::new(stream))
            },
            (full, _) => {
                attempt.settle(Outcome::Success, now);
                if keep_alive && lease.is_reusable() {
                    lease.release(self.now);
                }
                if let Some(recording) = recording {
                    recording.complete_with(full.clone().unwrap_or_default(), now);
                }
                full.map_or(Content::Empty, Content::Full)
            },
        };
        let mut response = Response::new(content);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    fn was_fresh(&self, response: &Response<Content>) {
        let service = &self.front.service;
        service.was_fresh(service.clock.at(self.now));
        let changed = !self.parts.method.is_safe() && response.status().as_u16() < 400;
        if changed && self.local.plan.stale.is_some() {
            service.cache.invalidate(&self.parts);
        }
    }

    fn end(self, mut response: Response<Content>) -> Response<Body> {
        let service = &self.front.service;
        let took = self.now.saturating_duration_since(self.started);
        let now = service.clock.at(self.now);
        self.front.tally().answered(response.status(), took, now);
        if self.downstream.refusal().is_some() || response.status() == StatusCode::REQUEST_TIMEOUT {
            reply::close_after(&mut response);
        }
        let finish = self.finish;
        response.map(|content| Body::new(content, finish))
    }
}

/// RFC 9110 §9.2.2, or the client vouches for it.
fn is_idempotent(parts: &Parts) -> bool {
    let by_method = [
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
    ];
    by_method.contains(&parts.method) || parts.headers.contains_key(IDEMPOTENCY_KEY)
}
