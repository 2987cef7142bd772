//! What the cache keeps and for whom, without sockets.

use super::*;

fn request(fields: &[(&'static str, &'static str)]) -> Parts {
    let mut request = http::Request::get("/a?b").header("host", "shop");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request
        .body(())
        .expect("the request is valid")
        .into_parts()
        .0
}

fn stored(cache: &Arc<Cache>, fields: &[(&'static str, &'static str)], at: Instant) -> bool {
    let headers: HeaderMap = fields
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect();
    let recording = cache.record(&request(&[]), (StatusCode::OK, &headers), 4, at);
    let Some(recording) = recording else {
        return false;
    };
    recording.complete_with(Bytes::from_static(b"body"), at);
    true
}

#[test]
fn an_answer_is_given_until_freshness_and_allowance_are_over() {
    let cache = Arc::new(Cache::new());
    let at = |seconds: u64| Instant::from_millis(seconds * 1_000);
    assert!(stored(
        &cache,
        &[("cache-control", "max-age=60"), ("age", "10")],
        at(100)
    ));
    let given = |seconds| {
        cache
            .stale(&request(&[]), Duration::from_secs(30), at(seconds))
            .is_some()
    };
    assert!(given(179), "it is 89 seconds old, 29 past its freshness");
    assert!(!given(180), "the window of 30 seconds is over");
}

#[test]
fn an_answers_own_limit_wins_when_it_is_shorter() {
    let cache = Arc::new(Cache::new());
    let at = |seconds: u64| Instant::from_millis(seconds * 1_000);
    assert!(stored(
        &cache,
        &[("cache-control", "stale-if-error=5")],
        at(0)
    ));
    let allowed = Duration::from_mins(10);
    assert!(cache.stale(&request(&[]), allowed, at(4)).is_some());
    assert!(cache.stale(&request(&[]), allowed, at(5)).is_none());
}

#[test]
fn a_body_of_another_length_than_announced_is_not_kept() {
    let cache = Arc::new(Cache::new());
    let now = Instant::from_millis(1);
    for body in [&b"bod"[..], b"bodyy"] {
        let mut recording = cache
            .record(&request(&[]), (StatusCode::OK, &HeaderMap::new()), 4, now)
            .expect("it may be kept");
        recording.push(body);
        recording.complete(now);
        assert!(
            cache
                .stale(&request(&[]), Duration::from_secs(9), now)
                .is_none()
        );
    }
}

#[test]
fn answers_larger_than_a_mebibyte_are_not_kept() {
    let cache = Arc::new(Cache::new());
    let now = Instant::from_millis(1);
    let kept = |length| {
        cache
            .record(
                &request(&[]),
                (StatusCode::OK, &HeaderMap::new()),
                length,
                now,
            )
            .is_some()
    };
    assert!(kept(1 << 20));
    assert!(!kept((1 << 20) + 1));
}
