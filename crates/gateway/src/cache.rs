//! The last good answers, for the time when no fresh one is to be had (stale-if-error, RFC 5861).
//!
//! Prevents an outage that readers see, without the failures of a careless cache: an answer is
//! never given to somebody it was not meant for, never older than its freshness and the time that
//! the configuration allows, and never cut. What RFC 9111 forbids wins over the configuration.
//!
//! When an answer may still be used is [`mainstay_core::freshness`]'s to say. What is here is HTTP's:
//! which answers may be kept and for whom, `Vary`, `Age`, and a limit in bytes instead of entries;
//! `mainstay::Cache` knows nothing of these.
//!
//! Stricter than it has to be in three places: answers to requests with a cookie are treated as
//! those with credentials, an answer that sets a cookie is not kept, and `Expires` is not read
//! (without `max-age` an answer counts as stale from the start).

mod directives;
mod shelf;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AGE, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE,
    COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, VARY,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Response, StatusCode};
use mainstay_core::freshness::Freshness;
use mainstay_core::time::{Duration, Instant};

use crate::body::Content;
use crate::reply::REASON;

use directives::Directives;
use shelf::{Entry, Shelf};

/// Bytes of one answer's body.
const BODY_BYTES_MAX: u64 = 1_024 * 1_024;
/// Bytes that all answers of one service take.
const CACHE_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// Parts of the cache with a lock of their own.
const SHELVES: usize = 16;
/// Request fields that an answer may vary with.
const VARY_MAX: usize = 8;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The stored answers of one service, shared by all workers.
#[derive(Debug)]
pub(crate) struct Cache {
    shelves: [Mutex<Shelf>; SHELVES],
    hashing: RandomState,
}

/// An answer that may be kept, once its body is complete.
#[derive(Debug)]
pub(crate) struct Recording {
    cache: Arc<Cache>,
    key: Key,
    entry: Entry,
    data: Vec<u8>,
    length: usize,
}

/// What names a stored answer: scheme (always http), host, path and query.
#[derive(Debug)]
struct Key {
    hash: u64,
    text: Box<str>,
}

impl Cache {
    /// An empty cache.
    pub(crate) fn new() -> Self {
        Self {
            shelves: std::array::from_fn(|_| Mutex::new(Shelf::new(CACHE_BYTES_MAX / SHELVES))),
            hashing: RandomState::new(),
        }
    }

    /// A number for what `request` asks for, with the fields that answers usually vary with.
    pub(crate) fn hash(&self, request: &Parts) -> u64 {
        const USUAL: [HeaderName; 3] = [ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE];
        let mut hasher = self.hashing.build_hasher();
        for name in &USUAL {
            let value = request.headers.get(name).map(HeaderValue::as_bytes);
            hasher.write(value.unwrap_or_default());
            hasher.write_u8(0);
        }
        hasher.write(host(request));
        hasher.write_u8(b' ');
        hasher.write(target(request).as_bytes());
        hasher.finish()
    }

    /// Starts to keep the answer to `request`, if that is allowed.
    pub(crate) fn record(
        self: &Arc<Self>,
        request: &Parts,
        answer: (StatusCode, &HeaderMap),
        length: u64,
        now: Instant,
    ) -> Option<Recording> {
        let (status, headers) = answer;
        if length > BODY_BYTES_MAX || !may_keep(request, status, headers) {
            return None;
        }
        let directives = Directives::of(headers);
        let entry = Entry {
            selected: selected(request, headers)?,
            status,
            headers: headers.clone(),
            body: Bytes::new(),
            stored_at: now,
            age: age(headers),
            fresh_for: directives.max_age.unwrap_or_default(),
            stale_max: directives.stale_if_error,
        };
        Some(Recording {
            cache: Arc::clone(self),
            key: self.key(request)?,
            entry,
            data: Vec::new(),
            length: usize::try_from(length).ok()?,
        })
    }

    /// The stored answer to `request`, at most `stale_max` past its freshness.
    pub(crate) fn stale(
        &self,
        request: &Parts,
        stale_max: Duration,
        now: Instant,
    ) -> Option<Response<Content>> {
        if !may_reuse(request) {
            return None;
        }
        let key = self.key(request)?;
        let mut shelf = self.shelf(key.hash);
        let entry = shelf.get(&key.text, &request.headers)?;
        let age = entry.age_at(now);
        if entry.windows(stale_max).judge_age(age) == Freshness::Expired {
            return None;
        }
        let mut response = Response::new(Content::Full(entry.body.clone()));
        *response.status_mut() = entry.status;
        *response.headers_mut() = entry.headers.clone();
        let (length, fresh_for) = (entry.body.len(), entry.fresh_for);
        drop(shelf);
        describe(&mut response, age, fresh_for);
        if request.method == Method::HEAD {
            *response.body_mut() = Content::Empty;
            response
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Some(response)
    }

    /// Forgets what is stored for the target of `request`, which may have changed it.
    pub(crate) fn invalidate(&self, request: &Parts) {
        if let Some(key) = self.key(request) {
            self.shelf(key.hash).remove(&key.text);
        }
    }

    fn key(&self, request: &Parts) -> Option<Key> {
        let host = std::str::from_utf8(host(request)).ok()?;
        let text = format!("{} {}", host.to_ascii_lowercase(), target(request));
        Some(Key {
            hash: self.hashing.hash_one(&text),
            text: text.into_boxed_str(),
        })
    }

    fn shelf(&self, hash: u64) -> MutexGuard<'_, Shelf> {
        let index = usize::try_from(hash % SHELVES as u64).unwrap_or_default();
        self.shelves[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recording {
    /// Takes the next bytes of the body.
    pub(crate) fn push(&mut self, data: &[u8]) {
        if self.data.len() + data.len() <= self.length {
            self.data.extend_from_slice(data);
        }
    }

    /// The body is complete.
    pub(crate) fn complete(mut self, now: Instant) {
        let body = Bytes::from(std::mem::take(&mut self.data));
        self.complete_with(body, now);
    }

    /// The body came at once.
    pub(crate) fn complete_with(self, body: Bytes, now: Instant) {
        if body.len() != self.length {
            return;
        }
        let entry = Entry {
            body,
            stored_at: now,
            ..self.entry
        };
        let mut shelf = self.cache.shelf(self.key.hash);
        shelf.insert(&self.key.text, entry);
    }
}

fn host(request: &Parts) -> &[u8] {
    let named = request.headers.get(HOST).map(HeaderValue::as_bytes);
    let authority = request
        .uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    named.or(authority).unwrap_or_default()
}

fn target(request: &Parts) -> &str {
    request
        .uri
        .path_and_query()
        .map_or("/", PathAndQuery::as_str)
}

/// Whether RFC 9111 §3 lets a shared cache keep the answer, and §4.2.4 lets it be used stale.
fn may_keep(request: &Parts, status: StatusCode, headers: &HeaderMap) -> bool {
    const KEPT: [u16; 6] = [200, 203, 204, 301, 404, 410];
    let directives = Directives::of(headers);
    let personal =
        request.headers.contains_key(AUTHORIZATION) || request.headers.contains_key(COOKIE);
    request.method == Method::GET
        && KEPT.contains(&status.as_u16())
        && !directives.forbids
        && (directives.public || !personal)
        && !headers.contains_key(SET_COOKIE)
        && !headers.contains_key(CONTENT_RANGE)
        && !Directives::of(&request.headers).no_store
}

/// Whether the client would take a stored answer.
fn may_reuse(request: &Parts) -> bool {
    let directives = Directives::of(&request.headers);
    let safe = request.method == Method::GET || request.method == Method::HEAD;
    safe && !directives.no_store && !directives.no_cache
}

/// The request fields that select this answer; `None` when it varies with everything or too much.
fn selected(
    request: &Parts,
    headers: &HeaderMap,
) -> Option<Vec<(HeaderName, Option<HeaderValue>)>> {
    let mut selected = Vec::new();
    for vary in headers.get_all(VARY) {
        for name in vary.as_bytes().split(|byte| *byte == b',') {
            let name = name.trim_ascii();
            if name.is_empty() {
                continue;
            }
            // `*` is no field name that a request could carry with one meaning.
            if name == b"*" || selected.len() == VARY_MAX {
                return None;
            }
            let name = HeaderName::from_bytes(name).ok()?;
            let value = request.headers.get(&name).cloned();
            selected.push((name, value));
        }
    }
    Some(selected)
}

/// How old the answer was when it came.
fn age(headers: &HeaderMap) -> Duration {
    let seconds = headers
        .get(AGE)
        .and_then(|age| age.to_str().ok())
        .and_then(|age| age.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or_default())
}

/// Says that the answer is a stored one (RFC 9211).
fn describe(response: &mut Response<Content>, age: Duration, fresh_for: Duration) {
    let headers = response.headers_mut();
    headers.insert(AGE, HeaderValue::from(age.as_secs()));
    headers.insert(REASON, HeaderValue::from_static("stale"));
    let left = i64::try_from(fresh_for.as_secs()).unwrap_or(i64::MAX)
        - i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    let status = format!("mainstay; hit; ttl={left}");
    if let Ok(status) = HeaderValue::from_str(&status) {
        headers.append(CACHE_STATUS, status);
    }
}

#[cfg(test)]
mod tests;
