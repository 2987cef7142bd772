//! Claims about the page as the node renders it, without a browser.

use mainstay_core::event::{Event, Observe};
use mainstay_core::health::Verdict;
use mainstay_core::outcome::Reason;
use mainstay_observe::status::BreakerState;

use crate::node::{Node, service};

const EVIL: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>\r\n\u{1b}[31m";

fn unhealthy(text: &str) -> Event {
    Event::EndpointUnhealthy {
        service: text.into(),
        endpoint: text.into(),
        reason: Reason::Probe,
        detail: text.into(),
    }
}

#[tokio::test]
async fn the_page_can_be_read_without_a_script() {
    let node = Node::start().await;
    node.observer.observe(unhealthy("payment-2"));
    let page = node.get("/").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    for words in [
        "<title>▲ n1 · Mainstay</title>",
        "the node is still starting",
        "2 of 2 endpoints in rotation",
        "<th scope=\"row\">payment-1",
        "</span> healthy</span>",
        "</span> closed</span>",
        "200 in 0.6 ms <span class=\"quiet\">1 s ago</span>",
        "endpoint_unhealthy",
        "probe · payment-2",
    ] {
        assert!(page.text.contains(words), "{words}");
    }
    node.stop().await;
}

#[tokio::test]
async fn states_are_words_and_the_first_line_says_what_is_wrong() {
    let mut ill = service("ledger");
    ill.endpoints[0].health = Verdict::Unhealthy;
    ill.endpoints[1].breaker = BreakerState::HalfOpen;
    let mut dead = service("search");
    for endpoint in &mut dead.endpoints {
        endpoint.breaker = BreakerState::Open;
    }
    let node = Node::start().await;
    node.readiness.set_started();
    node.readiness.set_ready(true);
    let mut stream = node.open("/api/v1/stream?view=page", &[]).await;
    for (services, headline) in [
        (vec![service("payment")], "All services are well"),
        (vec![ill.clone()], "ledger runs on 1 of 2 endpoints"),
        (
            vec![ill.clone(), dead],
            "search is down, and 1 more not well",
        ),
    ] {
        *node.source.services.lock().expect("not poisoned") = services;
        stream.until(headline).await;
    }
    for word in ["degraded", "half-open", "down", "unhealthy", "open"] {
        assert!(
            stream.text.contains(&format!("</span> {word}</span>")),
            "{word}"
        );
    }
    node.stop().await;
}

#[tokio::test]
async fn nothing_that_others_say_becomes_markup_or_breaks_a_frame() {
    let mut evil = service(EVIL);
    evil.listen = EVIL.into();
    evil.endpoints[0].address = EVIL.into();
    evil.endpoints[0].last_check = EVIL.into();
    let node = Node::start().await;
    *node.source.services.lock().expect("not poisoned") = vec![evil];
    let mut live = node.open("/api/v1/stream?view=page", &[]).await;
    live.until("alert(1)").await;
    node.observer.observe(unhealthy(EVIL));
    live.until("event: row\n").await;
    live.until("id: 1\n").await;
    let mut data = node.open("/api/v1/stream?after=0", &[]).await;
    data.until("id: 1\n").await;
    data.until("alert(2)").await;
    let page = node
        .get("/?q=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E")
        .await;
    for text in [&page.text, &live.text] {
        assert!(text.contains("&lt;script&gt;alert(1)"), "{text}");
        assert!(!text.contains("<script>alert"), "{text}");
        assert!(!text.contains("<img src=x"), "{text}");
        assert!(!text.contains("\"'>"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
    for line in live.text.lines().chain(data.text.lines()) {
        let frame = ["data: ", "event: ", "id: ", "retry: ", ":"];
        let known = line.is_empty() || frame.iter().any(|start| line.starts_with(start));
        assert!(known, "{line}");
    }
    node.stop().await;
}

#[tokio::test]
async fn the_filter_works_without_a_script() {
    let node = Node::start().await;
    node.observer.observe(unhealthy("payment-2"));
    node.observer.observe(Event::NodeStopped { cut_off: 7 });
    let page = node.get("/?q=Cut_Off").await;
    assert_eq!(page.text.matches(" hidden><td class=\"time\">").count(), 1);
    assert!(page.text.contains("value=\"Cut_Off\""));
    assert_eq!(node.get("/?q=%ff&q=x").await.status, 200);
    node.stop().await;
}

#[tokio::test]
async fn the_page_with_all_it_needs_stays_small() {
    let node = Node::start().await;
    for n in 0..200 {
        node.observer.observe(unhealthy(&format!("payment-{n}")));
    }
    let mut bytes = 0;
    for path in [
        "/",
        "/assets/app.css",
        "/assets/app.js",
        "/assets/theme.js",
        "/assets/icon.svg",
    ] {
        bytes += node.get(path).await.text.len();
    }
    assert!(bytes < 150_000, "{bytes} bytes");
    node.stop().await;
}
