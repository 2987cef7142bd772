//! Stale answers, static answers, and when neither may be given.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use mainstay_gateway::config::Fallback;

use crate::origins::{Action, Origin, Seen, ok, status};
use crate::setup::{Running, nobody, service};

/// A gateway with stale answers in front of an origin that can be made to fail.
struct Outage {
    gateway: Running,
    down: Arc<AtomicBool>,
    _origin: Origin,
}

impl Outage {
    async fn prepare(answer: impl Fn(&Seen) -> Action + Send + Sync + 'static) -> Self {
        let down = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&down);
        let origin = Origin::start(move |seen| {
            if told.load(Ordering::SeqCst) {
                status("500 Internal Server Error", "", "down")
            } else {
                answer(seen)
            }
        })
        .await;
        let mut service = service(&[origin.address]);
        service.fallback = vec![Fallback::Stale(Duration::from_mins(10))];
        Self {
            gateway: Running::start(service),
            down,
            _origin: origin,
        }
    }

    /// Asks once while all is well and once while nothing is; what the second asker got.
    async fn ask(&self, first: &str, second: &str) -> crate::clients::Answer {
        self.down.store(false, Ordering::SeqCst);
        let fresh = self.gateway.client().await.ask(first).await;
        assert!(fresh.status < 500);
        assert_eq!(fresh.field("cache-status"), None);
        self.down.store(true, Ordering::SeqCst);
        self.gateway.client().await.ask(second).await
    }
}

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: shop\r\n{fields}\r\n")
}

#[tokio::test]
async fn the_last_good_answer_stands_in_and_says_so() {
    let outage = Outage::prepare(|seen| {
        if !seen.head.contains("/stream") {
            let fields = "cache-control: max-age=5\r\nage: 3\r\nx-a: b\r\n";
            return status("200 OK", fields, "good");
        }
        Action::Reply(
            [
                b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n".to_vec(),
                vec![b'x'; 300_000],
            ]
            .concat(),
        )
    })
    .await;
    let stale = outage.ask(&get("/a?b", ""), &get("/a?b", "")).await;
    assert_eq!(
        (stale.status, stale.text(), stale.reason()),
        (200, "good", "stale")
    );
    assert_eq!(stale.field("x-a"), Some("b"));
    assert_eq!(stale.field("age"), Some("3"));
    let cache_status = stale
        .field("cache-status")
        .expect("it says where it comes from");
    assert!(cache_status.starts_with("mainstay; hit"), "{cache_status}");

    let large = outage.ask(&get("/stream", ""), &get("/stream", "")).await;
    assert_eq!((large.body.len(), large.reason()), (300_000, "stale"));

    let head = outage
        .ask(&get("/a?b", ""), "HEAD /a?b HTTP/1.1\r\nhost: shop\r\n\r\n")
        .await;
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("4"))
    );
    assert_eq!(outage.gateway.status().fallbacks, 3);
}

#[tokio::test]
async fn another_key_gets_the_failure() {
    let outage = Outage::prepare(|_| ok("good")).await;
    for other in [
        get("/other", ""),
        get("/a?c", ""),
        "GET /a HTTP/1.1\r\nhost: elsewhere\r\n\r\n".to_owned(),
        "POST /a HTTP/1.1\r\nhost: shop\r\ncontent-length: 0\r\n\r\n".to_owned(),
        get("/a", "cache-control: no-store\r\n"),
        get("/a", "cache-control: no-cache\r\n"),
    ] {
        let answer = outage.ask(&get("/a", ""), &other).await;
        assert_eq!((answer.status, answer.text()), (500, "down"), "{other}");
    }
    assert_eq!(
        outage.ask(&get("/a", ""), &get("/a", "")).await.reason(),
        "stale"
    );
}

#[tokio::test]
async fn what_must_not_be_reused_is_not() {
    for fields in [
        "cache-control: no-store\r\n",
        "cache-control: private\r\n",
        "cache-control: no-cache\r\n",
        "cache-control: max-age=60, must-revalidate\r\n",
        "cache-control: proxy-revalidate\r\n",
        "cache-control: s-maxage=60\r\n",
        "Cache-Control: Max-Age=60\r\ncache-control: No-Store\r\n",
        "cache-control: max-age=0, stale-if-error=0\r\nage: 1\r\n",
        "set-cookie: a=b\r\n",
        "vary: *\r\n",
        "age: 700\r\n",
    ] {
        let outage = Outage::prepare(move |_| status("200 OK", fields, "good")).await;
        let answer = outage.ask(&get("/", ""), &get("/", "")).await;
        assert_eq!((answer.status, answer.text()), (500, "down"), "{fields}");
    }
    for line in ["206 Partial Content", "302 Found", "403 Forbidden"] {
        let outage = Outage::prepare(move |_| status(line, "", "odd")).await;
        assert_eq!(
            outage.ask(&get("/", ""), &get("/", "")).await.status,
            500,
            "{line}"
        );
    }
    let cut = Outage::prepare(|_| {
        Action::Last(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n".into(),
        )
    })
    .await;
    let answer = cut.ask(&get("/", ""), &get("/", "")).await;
    assert_eq!(
        answer.status, 500,
        "an answer of unknown length is not kept"
    );
}

#[tokio::test]
async fn what_was_for_one_user_stays_with_that_user() {
    for fields in ["authorization: x\r\n", "cookie: a=b\r\n"] {
        let outage =
            Outage::prepare(|_| status("200 OK", "cache-control: max-age=9\r\n", "mine")).await;
        let answer = outage.ask(&get("/", fields), &get("/", fields)).await;
        assert_eq!(answer.status, 500, "{fields}");
        let public =
            Outage::prepare(|_| status("200 OK", "cache-control: public\r\n", "ours")).await;
        let answer = public.ask(&get("/", fields), &get("/", "")).await;
        assert_eq!((answer.text(), answer.reason()), ("ours", "stale"));
    }
}

#[tokio::test]
async fn variants_are_kept_apart() {
    let outage = Outage::prepare(|seen| {
        let language = seen.field("accept-language").unwrap_or("none").to_owned();
        status("200 OK", "vary: Accept-Language\r\n", &language)
    })
    .await;
    let german = get("/", "accept-language: de\r\n");
    let english = get("/", "accept-language: en\r\n");
    assert_eq!(outage.ask(&german, &german).await.text(), "de");
    assert_eq!(outage.ask(&german, &english).await.status, 500);
    assert_eq!(outage.ask(&english, &english).await.text(), "en");
    assert_eq!(outage.ask(&english, &german).await.text(), "de");
}

#[tokio::test]
async fn an_unsafe_method_makes_the_stored_answer_void() {
    let outage = Outage::prepare(|_| ok("good")).await;
    assert_eq!(
        outage.ask(&get("/", ""), &get("/", "")).await.reason(),
        "stale"
    );
    let delete = "DELETE / HTTP/1.1\r\nhost: shop\r\n\r\n";
    assert_eq!(outage.ask(delete, &get("/", "")).await.status, 500);
}

#[tokio::test]
async fn a_static_answer_is_the_last_resort_of_every_method() {
    let mut service = service(&[nobody().await]);
    service.fallback = vec![
        Fallback::Stale(Duration::from_mins(1)),
        Fallback::Static {
            status: StatusCode::OK,
            content_type: "application/json",
            body: Bytes::from_static(br#"{"status":"queued"}"#),
        },
    ];
    let gateway = Running::start(service);
    let mut client = gateway.client().await;
    let answer = client.get("/").await;
    assert_eq!((answer.status, answer.reason()), (200, "static"));
    assert_eq!(answer.text(), r#"{"status":"queued"}"#);
    assert_eq!(answer.field("content-type"), Some("application/json"));
    let answer = client.ask("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(
        (answer.status, answer.field("content-length")),
        (200, Some("19"))
    );
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx";
    assert_eq!(client.ask(post).await.status, 200);
    assert_eq!(gateway.status().fallbacks, 3);
}
