//! The substitute for an answer that was not to be had: the last good one, then a fixed one.
//!
//! Prevents an outage of a service from becoming one of its users. Failures of the client's own
//! making are answered as they are.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use tokio::time::Instant;

use crate::body::Content;
use crate::cache::Recording;
use crate::config::Fallback;
use crate::failure::Failed;
use crate::reply::REASON;
use crate::stack::Call;
use crate::tally::add;
use crate::upstream::answer::{Framing, Head};

/// The answer instead of a good one.
pub(crate) fn instead_of(call: &mut Call, failed: Failed) -> Response<Content> {
    call.now = Instant::now();
    let service = Arc::clone(&call.front.service);
    let now = service.clock.at(call.now);
    let Some(reason) = failed.fallback_reason() else {
        return failed.into_response(&service.name);
    };
    let plan = Arc::clone(&call.local.plan);
    let substitute = plan
        .config
        .fallback
        .iter()
        .find_map(|fallback| match fallback {
            Fallback::Stale(stale_max) => {
                let stale = service.cache.stale(&call.parts, *stale_max, now)?;
                add(&call.front.tally().stale, 1);
                Some(stale)
            },
            Fallback::Static {
                status,
                content_type,
                body,
            } => {
                add(&call.front.tally().fixed, 1);
                Some(fixed(call, *status, content_type, body))
            },
        });
    let Some(response) = substitute else {
        return failed.into_response(&service.name);
    };
    service.fell_back(reason, now);
    response
}

/// Whether the last good answer could be given right now, so that nobody needs to wait for a
/// better one.
pub(crate) fn is_at_hand(call: &Call) -> bool {
    let service = &call.front.service;
    let now = service.clock.at(call.now);
    let stale = call.local.plan.stale;
    stale.is_some_and(|stale_max| service.cache.stale(&call.parts, stale_max, now).is_some())
}

fn fixed(
    call: &Call,
    status: StatusCode,
    content_type: &'static str,
    body: &Bytes,
) -> Response<Content> {
    let mut response = Response::new(Content::Full(body.clone()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(REASON, HeaderValue::from_static("static"));
    if call.parts.method == Method::HEAD {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        *response.body_mut() = Content::Empty;
    }
    response
}

/// Starts to keep an answer for later, where stale answers are configured. The same answer is
/// kept at most about once a second.
pub(crate) fn record(call: &Call, head: &Head) -> Option<Recording> {
    let length = match head.framing {
        Framing::Length(length) => length,
        Framing::Empty => 0,
        Framing::Chunked | Framing::Close => return None,
    };
    call.local.plan.stale?;
    if call.parts.method != Method::GET || head.status.is_server_error() {
        return None;
    }
    let service = &call.front.service;
    let now = service.clock.at(call.now);
    if !call.front.is_due(service.cache.hash(&call.parts), now) {
        return None;
    }
    service
        .cache
        .record(&call.parts, (head.status, &head.headers), length, now)
}
