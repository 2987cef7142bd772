//! Claims about the routes and what faults do to them.

use super::*;

fn service(folder: &tempfile::TempDir) -> Service {
    let options = Options {
        faults: true,
        name: "payment-1".to_owned(),
        ..Options::default()
    };
    let ledger = Ledger::open(Some(folder.path())).expect("a temporary folder opens");
    Service::new(&options, ledger)
}

fn request(method: Method, path: &str, body: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .body(Full::from(body.to_owned()))
        .expect("tests make valid requests")
}

fn payment(key: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = request(Method::POST, "/payments", r#"{"id":"w1","amount":5}"#);
    if let Some(key) = key {
        let key = HeaderValue::from_str(key).expect("tests use valid keys");
        request.headers_mut().insert("idempotency-key", key);
    }
    request
}

async fn status(service: &Service, method: Method, path: &str, body: &str) -> u16 {
    let answer = service.answer(request(method, path, body)).await;
    answer.status().as_u16()
}

async fn set(service: &Service, kind: &str) {
    let body = format!(r#"{{"kind":"{kind}"}}"#);
    assert_eq!(status(service, Method::POST, "/fault", &body).await, 200);
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[tokio::test(start_paused = true)]
async fn a_balance_names_its_account_and_may_be_cached_for_a_second() {
    let (folder, get) = (folder(), request(Method::GET, "/accounts/7/balance", ""));
    let answer = service(&folder).answer(get).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "max-age=1");
    let body = answer.into_body().collect().await.expect("in memory");
    let body: serde_json::Value = serde_json::from_slice(&body.to_bytes()).expect("JSON");
    let expected = json!({"account": 7, "balance": 55_433, "replica": "payment-1"});
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_payment_sent_again_with_its_key_is_answered_alike_and_marked() {
    let folder = folder();
    let replicas = [service(&folder), service(&folder)];
    let first = replicas[0].answer(payment(Some("w1"))).await;
    let second = replicas[1].answer(payment(Some("w1"))).await;
    assert_eq!(
        (first.status(), second.status()),
        (StatusCode::CREATED, StatusCode::CREATED)
    );
    assert!(!first.headers().contains_key("idempotent-replayed"));
    assert_eq!(second.headers()["idempotent-replayed"], "true");
    let body = |answer: Answer| async { answer.into_body().collect().await.expect("in memory") };
    assert_eq!(body(first).await.to_bytes(), body(second).await.to_bytes());
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("readable").count(),
        1
    );
}

#[tokio::test]
async fn a_payment_sent_twice_without_a_key_is_charged_twice() {
    let folder = folder();
    let service = service(&folder);
    for _ in 0..2 {
        assert_eq!(service.answer(payment(None)).await.status(), 201);
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("readable").count(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_fault_is_grey() {
    let folder = folder();
    let service = service(&folder);
    set(&service, "error").await;
    assert_eq!(status(&service, Method::GET, "/healthz", "").await, 200);
    assert_eq!(
        status(&service, Method::GET, "/accounts/1/balance", "").await,
        500
    );
    assert_eq!(service.answer(payment(None)).await.status(), 500);
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("readable").count(),
        0
    );
    set(&service, "none").await;
    assert_eq!(
        status(&service, Method::GET, "/accounts/1/balance", "").await,
        200
    );
}

#[tokio::test(start_paused = true)]
async fn a_hang_fault_never_answers_and_can_be_ended() {
    let folder = folder();
    let service = service(&folder);
    set(&service, "hang").await;
    let hour = Duration::from_hours(1);
    let health = status(&service, Method::GET, "/healthz", "");
    assert!(tokio::time::timeout(hour, health).await.is_err());
    set(&service, "none").await;
    assert_eq!(status(&service, Method::GET, "/healthz", "").await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_slow_fault_takes_ten_times_as_long() {
    let folder = folder();
    let service = service(&folder);
    let mut took = Vec::new();
    for kind in ["none", "slow"] {
        set(&service, kind).await;
        let start = tokio::time::Instant::now();
        assert_eq!(status(&service, Method::GET, "/healthz", "").await, 200);
        took.push(start.elapsed());
    }
    assert_eq!(took[1], took[0] * SLOWDOWN);
}

#[tokio::test(start_paused = true)]
async fn wrong_requests_are_refused_with_the_right_status() {
    let folder = folder();
    let service = service(&folder);
    let long = format!(r#"{{"id":"{}","amount":1}}"#, "x".repeat(BODY_BYTES_MAX));
    for (method, path, body, expected) in [
        (Method::GET, "/accounts/x/balance", "", 404),
        (Method::POST, "/accounts/1/balance", "", 405),
        (Method::GET, "/payments", "", 405),
        (Method::POST, "/payments", "{}", 400),
        (Method::POST, "/payments", r#"{"id":"","amount":1}"#, 400),
        (Method::POST, "/payments", &long, 400),
        (Method::POST, "/fault", r#"{"kind":"explode"}"#, 400),
        (Method::GET, "/", "", 200),
    ] {
        let got = status(&service, method, path, body).await;
        assert_eq!(got, expected, "{path} {body}");
    }
}
