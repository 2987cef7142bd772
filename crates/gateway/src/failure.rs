//! Why a request has no good answer, and what follows from that.
//!
//! Prevents one failure with three stories: reason code, status, breaker outcome, retry and
//! fallback all come from the one value made where the failure was seen.

use http::header::{HeaderMap, RETRY_AFTER};
use http::{Response, StatusCode};
use mainstay_core::outcome::{Outcome, Reason};
use mainstay_core::retry::{self, Sent};
use mainstay_core::time::Duration;
use mainstay_observe::clock::unix_seconds;

use crate::body::Content;
use crate::config::ServerErrors;
use crate::reply::{Refusal, Reply};
use crate::upstream::connection::Failure;
use crate::upstream::pool::Unconnected;

/// A request without a good answer.
#[derive(Debug)]
pub(crate) struct Failed {
    kind: Kind,
    /// The last answer an endpoint gave, if one did.
    answer: Option<Box<Response<Content>>>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// The client's fault, or nobody's: no fallback and no retry.
    Final(Reply),
    /// Not one attempt was made.
    Rejected(Reply, Reason),
    /// An attempt at an endpoint failed.
    Attempted {
        reply: Reply,
        reason: Reason,
        sent: Sent,
        /// Whether the failure says something about the endpoint.
        charged: bool,
    },
    /// An endpoint answered that it failed; `retry` when such an answer may be tried again.
    Answered { status: StatusCode, retry: bool },
}

const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

impl Failed {
    const fn new(kind: Kind) -> Self {
        Self { kind, answer: None }
    }

    const fn rejected(code: &'static str, detail: &'static str, reason: Reason) -> Self {
        Self::new(Kind::Rejected(
            Reply::new(UNAVAILABLE, code, detail),
            reason,
        ))
    }

    /// The request came back to where it was.
    pub(crate) const fn looped() -> Self {
        Self::new(Kind::Final(Reply::new(
            StatusCode::LOOP_DETECTED,
            "loop_detected",
            "the request has passed this gateway before",
        )))
    }

    /// The bulkhead has no place.
    pub(crate) const fn bulkhead_full() -> Self {
        let mut reply = Reply::new(
            UNAVAILABLE,
            "bulkhead_full",
            "as many requests as allowed are in flight",
        );
        reply.retry_after = Some(Duration::from_secs(1));
        Self::new(Kind::Rejected(reply, Reason::Timeout))
    }

    /// No endpoint is in rotation.
    pub(crate) const fn no_endpoint() -> Self {
        Self::rejected("no_endpoint", "no endpoint is in rotation", Reason::Exited)
    }

    /// All circuits are open.
    pub(crate) const fn circuit_open(retry_after: Duration) -> Self {
        let mut reply = Reply::new(
            UNAVAILABLE,
            "circuit_open",
            "the circuits of all endpoints are open",
        );
        reply.retry_after = Some(retry_after);
        Self::new(Kind::Rejected(reply, Reason::Error))
    }

    /// The request's time is used up.
    pub(crate) const fn deadline() -> Self {
        Self::new(Kind::Rejected(DEADLINE, Reason::Timeout))
    }

    /// The client's body failed.
    pub(crate) fn client(refusal: Option<Refusal>) -> Self {
        Self::new(Kind::Final(refusal.map_or(
            Reply::new(
                StatusCode::BAD_REQUEST,
                "client_gone",
                "the request's body ended early",
            ),
            Reply::from,
        )))
    }

    /// There was no connection to send the request on.
    pub(crate) const fn unconnected(unconnected: Unconnected) -> Self {
        match unconnected {
            Unconnected::Failed(reason) => Self::upstream(reason, Sent::Never),
            Unconnected::Exhausted => Self::new(Kind::Attempted {
                reply: Reply::new(
                    UNAVAILABLE,
                    "connection_limit",
                    "as many connections as allowed are in use",
                ),
                reason: Reason::Error,
                sent: Sent::Never,
                charged: false,
            }),
        }
    }

    /// An exchange with an endpoint failed; `refusal` when the client's bytes were refused.
    pub(crate) fn exchange(failure: Failure, refusal: Option<Refusal>) -> Self {
        match failure {
            Failure::NeverSent(reason) => Self::upstream(reason, Sent::Never),
            Failure::Sent(reason) => Self::upstream(reason, Sent::Maybe),
            Failure::Client => Self::client(refusal),
            Failure::ClientLate => Self::client(refusal.or(Some(BODY_LATE))),
            Failure::CutShort => Self::new(Kind::Attempted {
                reply: DEADLINE,
                reason: Reason::Timeout,
                sent: Sent::Maybe,
                charged: false,
            }),
        }
    }

    /// An attempt at an endpoint failed.
    const fn upstream(reason: Reason, sent: Sent) -> Self {
        let (status, code, detail) = match (reason, sent) {
            (Reason::Timeout, Sent::Never) => (
                StatusCode::GATEWAY_TIMEOUT,
                "connect_timeout",
                "the endpoint took too long to accept a connection",
            ),
            (Reason::Timeout, Sent::Maybe) => (
                StatusCode::GATEWAY_TIMEOUT,
                "attempt_timeout",
                "the endpoint did not answer in time",
            ),
            (Reason::Connect, _) => (
                StatusCode::BAD_GATEWAY,
                "upstream_connect",
                "the endpoint does not accept connections",
            ),
            (Reason::Protocol, _) => (
                StatusCode::BAD_GATEWAY,
                "upstream_protocol",
                "the endpoint's answer is not valid HTTP",
            ),
            _ => (
                StatusCode::BAD_GATEWAY,
                "upstream_reset",
                "the endpoint closed the connection before it answered",
            ),
        };
        Self::new(Kind::Attempted {
            reply: Reply::new(status, code, detail),
            reason,
            sent,
            charged: true,
        })
    }

    /// An answer that says that the endpoint failed is a failure, and so is one to `retry_on`; any
    /// other is the answer.
    pub(crate) fn check(
        response: Response<Content>,
        retry_on: ServerErrors,
    ) -> Result<Response<Content>, Self> {
        let status = response.status();
        let retry = retry_on.contains(status);
        if !retry && !matches!(status.as_u16(), 500 | 502 | 503 | 504) {
            return Ok(response);
        }
        Err(Self {
            kind: Kind::Answered { status, retry },
            answer: Some(Box::new(response)),
        })
    }

    /// This failure came after `earlier`, whose answer is kept unless this one has its own.
    #[must_use]
    pub(crate) fn after(mut self, earlier: Option<Self>) -> Self {
        let is_final = matches!(self.kind, Kind::Final(_));
        if self.answer.is_none() && !is_final {
            self.answer = earlier.and_then(|earlier| earlier.answer);
        }
        self
    }

    /// Says `deadline` instead of a shorter limit, when it was the deadline that `passed`.
    #[must_use]
    pub(crate) fn or_deadline(mut self, passed: bool) -> Self {
        if let Kind::Attempted {
            reply,
            reason: Reason::Timeout,
            ..
        } = &mut self.kind
            && passed
        {
            *reply = DEADLINE;
        }
        self
    }

    /// What the endpoint's breaker hears.
    pub(crate) const fn outcome(&self) -> Outcome {
        match self.kind {
            Kind::Attempted {
                reason,
                charged: true,
                ..
            } => Outcome::Failure(reason),
            Kind::Answered { .. } => Outcome::Failure(Reason::Status),
            Kind::Attempted { .. } | Kind::Final(_) | Kind::Rejected(..) => Outcome::Ignored,
        }
    }

    /// Whether another attempt makes sense, and whether this one may have had an effect.
    pub(crate) const fn retryable(&self) -> Option<Sent> {
        match self.kind {
            Kind::Attempted { sent, .. } => Some(sent),
            Kind::Answered { retry: true, .. } => Some(Sent::Maybe),
            Kind::Answered { retry: false, .. } | Kind::Final(_) | Kind::Rejected(..) => None,
        }
    }

    /// How long the endpoint asked to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        retry_after(self.answer.as_ref()?.headers())
    }

    /// Whether it failed for want of any endpoint in rotation.
    pub(crate) const fn is_without_endpoint(&self) -> bool {
        matches!(self.kind, Kind::Rejected(_, Reason::Exited))
    }

    /// Why a fallback is wanted; `None` when none is.
    pub(crate) const fn fallback_reason(&self) -> Option<Reason> {
        match self.kind {
            Kind::Final(_) => None,
            Kind::Rejected(_, reason) | Kind::Attempted { reason, .. } => Some(reason),
            Kind::Answered { .. } => Some(Reason::Status),
        }
    }

    /// The answer when nothing else helps: the endpoint's own, or one that says why.
    pub(crate) fn into_response(self, service: &str) -> Response<Content> {
        match (self.answer, self.kind) {
            (Some(answer), _) => *answer,
            (
                None,
                Kind::Final(reply) | Kind::Rejected(reply, _) | Kind::Attempted { reply, .. },
            ) => reply.response(service),
            (None, Kind::Answered { status, .. }) => {
                Reply::new(status, "upstream_status", "the endpoint failed").response(service)
            },
        }
    }
}

/// What an answer that says that the endpoint failed means to its breaker; `None` for any other.
///
/// A wish to be left alone counts up to `wish_max`, the longest cooldown that the operator allows:
/// a page that says "in an hour" must not keep an endpoint out that is back in a minute. It is
/// heard with 503 only. Endpoints say 429 to one client, and their circuit serves all of them: a
/// client that asks too often would take the service from the others.
pub(crate) fn outcome_of(
    status: StatusCode,
    headers: &HeaderMap,
    wish_max: Duration,
) -> Option<Outcome> {
    if !status.is_server_error() {
        return None;
    }
    let wish = (status == UNAVAILABLE).then(|| retry_after(headers));
    Some(match wish.flatten() {
        Some(wish) => Outcome::Throttled {
            retry_after: Some(wish.min(wish_max)),
        },
        None => Outcome::Failure(Reason::Status),
    })
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    retry::retry_after(text, unix_seconds())
}

const BODY_LATE: Refusal = Refusal::timeout("body_timeout", "the body did not come in time");

const DEADLINE: Reply = Reply::new(
    StatusCode::GATEWAY_TIMEOUT,
    "deadline",
    "the request's time is used up",
);

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn outcome(status: u16, wish: Option<&'static str>) -> Option<Outcome> {
        let mut headers = HeaderMap::new();
        if let Some(wish) = wish {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(wish));
        }
        let status = StatusCode::from_u16(status).expect("a valid status");
        outcome_of(status, &headers, Duration::from_secs(30))
    }

    #[test]
    fn the_wish_of_an_overloaded_endpoint_is_heard_up_to_the_longest_cooldown() {
        let throttled = |seconds| {
            Some(Outcome::Throttled {
                retry_after: Some(Duration::from_secs(seconds)),
            })
        };
        assert_eq!(outcome(503, Some("7")), throttled(7));
        assert_eq!(outcome(503, Some("3600")), throttled(30));
        let past = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(outcome(503, Some(past)), throttled(0));
        let failure = Some(Outcome::Failure(Reason::Status));
        assert_eq!(outcome(503, None), failure);
        assert_eq!(outcome(503, Some("soon")), failure);
        assert_eq!(outcome(500, Some("7")), failure);
    }

    #[test]
    fn a_client_that_is_told_to_ask_less_is_no_failure_of_the_endpoint() {
        assert_eq!(outcome(429, Some("7")), None);
        assert_eq!(outcome(200, None), None);
    }
}
