//! A node with made-up services, and a small HTTP client to ask it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use futures_util::StreamExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mainstay_admin::{Admin, Readiness};
use mainstay_core::health::Verdict;
use mainstay_observe::Observer;
use mainstay_observe::status::{BreakerState, EndpointStatus, ServiceStatus, StatusSource};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on a machine that works.
pub(crate) const PATIENT: Duration = Duration::from_mins(1);

/// Services that a test sets, and how often they were asked for.
#[derive(Default)]
pub(crate) struct MadeUp {
    pub(crate) services: Mutex<Vec<ServiceStatus>>,
    pub(crate) asked: AtomicUsize,
}

impl StatusSource for MadeUp {
    fn services(&self) -> Vec<ServiceStatus> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.services.lock().expect("not poisoned").clone()
    }
}

pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) observer: Observer,
    pub(crate) readiness: Readiness,
    pub(crate) source: Arc<MadeUp>,
    pub(crate) shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let observer = Observer::new("n1");
        let readiness = Readiness::new();
        let source = Arc::new(MadeUp::default());
        *source.services.lock().expect("not poisoned") = vec![service("payment")];
        let admin = Admin::bind(address, observer.clone(), source.clone(), readiness.clone())
            .await
            .expect("a free port");
        let address = admin.address();
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(admin.run(shutdown.clone()));
        Self {
            address,
            observer,
            readiness,
            source,
            shutdown,
            tasks,
        }
    }

    /// Stops it and waits until nothing of it runs any more.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENT, self.tasks.join_next());
        let ended = ended.await.expect("it ends soon").expect("one task");
        ended.expect("no panic");
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let open = self.open(path, headers).await;
        let (status, headers) = (open.status, open.headers.clone());
        let text = open.rest().await;
        Answer {
            status,
            headers,
            text,
        }
    }

    /// Asks and reads no more than the head.
    pub(crate) async fn open(&self, path: &str, headers: &[(&str, &str)]) -> Open {
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .expect("a new connection");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(connection.await) });
        let mut request = Request::get(path).header("host", self.address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        let (head, body) = response.into_parts();
        Open {
            status: head.status,
            headers: head.headers,
            body: Body::new(body).into_data_stream(),
            text: String::new(),
            _tasks: tasks,
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).expect(&self.text)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).expect(name);
        value.to_str().expect("ASCII")
    }
}

/// An answer under way.
pub(crate) struct Open {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: BodyDataStream,
    pub(crate) text: String,
    _tasks: JoinSet<()>,
}

impl Open {
    /// Reads until the text so far contains `words`.
    pub(crate) async fn until(&mut self, words: &str) {
        let mut searched = 0;
        while !self.text[searched..].contains(words) {
            searched = self.text.len().saturating_sub(words.len());
            searched = self.text.floor_char_boundary(searched);
            self.more().await;
        }
    }

    /// Reads what comes next.
    pub(crate) async fn more(&mut self) {
        let chunk = self.chunk().await;
        let chunk = chunk.unwrap_or_else(|| panic!("ended after {}", self.text));
        self.text.push_str(&String::from_utf8_lossy(&chunk));
    }

    /// Reads to the end.
    pub(crate) async fn rest(mut self) -> String {
        while let Some(chunk) = self.chunk().await {
            self.text.push_str(&String::from_utf8_lossy(&chunk));
        }
        self.text
    }

    async fn chunk(&mut self) -> Option<Bytes> {
        let chunk = tokio::time::timeout(PATIENT, self.body.next()).await;
        let chunk = chunk.expect("the next bytes come soon")?;
        chunk.ok()
    }
}

pub(crate) fn service(name: &str) -> ServiceStatus {
    ServiceStatus {
        name: name.into(),
        listen: "127.0.0.1:8080".into(),
        rate: 412.0,
        success: Some(0.999_99),
        p50_ms: Some(1.84),
        p99_ms: Some(11.7),
        in_flight: 6,
        queued: 0,
        requests: 1_000,
        attempts: 1_020,
        fallbacks: 3,
        retry_budget: 0.93,
        endpoints: vec![
            endpoint(&format!("{name}-1")),
            endpoint(&format!("{name}-2")),
        ],
    }
}

pub(crate) fn endpoint(name: &str) -> EndpointStatus {
    EndpointStatus {
        name: name.into(),
        address: "127.0.0.1:40121".into(),
        pid: Some(48_211),
        restarts: Some(0),
        health: Verdict::Healthy,
        breaker: BreakerState::Closed,
        since_ms: 61_000,
        last_check: "200 in 0.6 ms".into(),
        last_check_ms: Some(1_000),
        in_flight: 3,
        attempts: 510,
        retries: 20,
        failures: 12,
        ewma_ms: 2.31,
    }
}
