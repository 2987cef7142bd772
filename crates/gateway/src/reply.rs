//! Answers that the gateway makes itself.
//!
//! Prevents a guess at three in the morning: each such answer has a status, a `mainstay-reason`
//! header with a code from a closed list, and a small JSON body that names the service.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::body::Content;

/// The header that marks what the gateway made or changed.
pub(crate) const REASON: HeaderName = HeaderName::from_static("mainstay-reason");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Why the bytes of a client are not read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    detail: &'static str,
}

impl Refusal {
    /// A refusal with a code of its own.
    pub(crate) const fn new(status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        Self {
            status,
            code,
            detail,
        }
    }

    /// The message has no single meaning.
    pub(crate) const fn bad_request(detail: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// The client is too slow.
    pub(crate) const fn timeout(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, code, detail)
    }

    /// The target is longer than allowed.
    pub(crate) const fn uri_too_long() -> Self {
        Self::new(
            StatusCode::URI_TOO_LONG,
            "target_too_long",
            "the request's target is longer than allowed",
        )
    }

    /// Its status.
    #[cfg(test)]
    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// The whole answer as bytes, for connections that hyper has given up.
    pub(crate) fn response_bytes(&self) -> Vec<u8> {
        let body = json_body(self.code, None, self.detail);
        let mut text = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             mainstay-reason: {}\r\nconnection: close\r\n",
            self.status.as_str(),
            self.status.canonical_reason().unwrap_or_default(),
            body.len(),
            self.code,
        );
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            text.push_str("allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n");
        }
        text.push_str("\r\n");
        text.push_str(&body);
        text.into_bytes()
    }
}

/// An answer made by the gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its reason code.
    pub(crate) code: &'static str,
    /// The same in words.
    pub(crate) detail: &'static str,
    /// When trying again makes sense, if that is known.
    pub(crate) retry_after: Option<Duration>,
}

impl Reply {
    /// An answer without advice on when to try again.
    pub(crate) const fn new(status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        Self {
            status,
            code,
            detail,
            retry_after: None,
        }
    }

    /// The answer of `service`.
    pub(crate) fn response(&self, service: &str) -> Response<Content> {
        let body = json_body(self.code, Some(service), self.detail);
        let mut response = Response::new(Content::Full(Bytes::from(body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(REASON, HeaderValue::from_static(self.code));
        if let Some(after) = self.retry_after {
            // Whole seconds, rounded up: too early is of no use to anybody.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status, refusal.code, refusal.detail)
    }
}

/// Tells the client that the connection ends with this answer.
pub(crate) fn close_after(response: &mut Response<Content>) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
}

/// `{"error":code,"service":…,"detail":…}`.
fn json_body(code: &str, service: Option<&str>, detail: &str) -> String {
    let mut body = format!("{{\"error\":\"{code}\"");
    if let Some(service) = service {
        body.push_str(",\"service\":");
        body.push_str(&serde_json::Value::from(service).to_string());
    }
    body.push_str(",\"detail\":\"");
    body.push_str(detail);
    body.push_str("\"}");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_names_its_reason_and_its_service() {
        let reply = Reply {
            retry_after: Some(Duration::from_millis(1_200)),
            ..Reply::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "circuit_open",
                "all circuits are open",
            )
        };
        let response = reply.response("pay \"ment\"");
        assert_eq!(response.headers()["mainstay-reason"], "circuit_open");
        assert_eq!(response.headers()["retry-after"], "2");
        let Content::Full(body) = response.into_body() else {
            panic!("a reply has a body");
        };
        let json: serde_json::Value = serde_json::from_slice(&body).expect("the body is JSON");
        assert_eq!(json["error"], "circuit_open");
        assert_eq!(json["service"], "pay \"ment\"");
    }
}
