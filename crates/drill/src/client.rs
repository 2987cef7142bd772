//! A plain HTTP client: the user in both arms.
//!
//! Prevents an unfair comparison: the same client goes round-robin to the replicas in one arm and
//! to the gateway in the other. It never retries an answer or a broken connection, knows nothing
//! of health, and holds no task of its own: dropping a call closes its connection.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Idle connections kept per address.
const IDLE_MAX: usize = 128;

/// Longest answer that is read.
pub(crate) const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// No connection could be made.
    Connect,
    /// The connection broke, or the answer was not HTTP or too long.
    Broken,
}

impl NoAnswer {
    /// The word in reports.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Broken => "reset",
        }
    }
}

/// A client that spreads its requests over some addresses, one after another.
#[derive(Debug)]
pub(crate) struct Client {
    addresses: Vec<Address>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Address {
    socket: SocketAddr,
    host: HeaderValue,
    idle: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Driven only while a call is in progress.
    wire: Pin<Box<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>>,
}

impl Client {
    /// A client for `addresses`, with no connection yet.
    ///
    /// # Errors
    /// An address is not valid in a header, which does not happen.
    pub(crate) fn new(addresses: &[SocketAddr]) -> anyhow::Result<Self> {
        let address = |socket: &SocketAddr| {
            Ok(Address {
                socket: *socket,
                host: HeaderValue::from_str(&socket.to_string())?,
                idle: Mutex::default(),
            })
        };
        Ok(Self {
            addresses: addresses
                .iter()
                .map(address)
                .collect::<anyhow::Result<_>>()?,
            next: AtomicUsize::new(0),
        })
    }

    /// Sends `request` to the next address and reads the whole answer. The caller bounds the
    /// time by dropping the future.
    ///
    /// # Errors
    /// There was no whole answer.
    pub(crate) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, NoAnswer> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.addresses.len().max(1);
        let address = self.addresses.get(turn).ok_or(NoAnswer::Connect)?;
        let headers = request.headers_mut();
        headers.insert(http::header::HOST, address.host.clone());
        let mut connection = match address.idle().await {
            Some(idle) => idle,
            None => Connection::open(address.socket).await?,
        };
        let answer = connection.exchange(request).await?;
        address.keep(connection);
        Ok(answer)
    }
}

impl Address {
    /// The connection that was used last and is still open.
    async fn idle(&self) -> Option<Connection> {
        loop {
            let idle = self.lock().pop();
            let mut connection = idle?;
            if connection.is_usable().await {
                return Some(connection);
            }
        }
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.lock();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self, NoAnswer> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|_| NoAnswer::Connect)?;
        // Only a delay is lost if the socket refuses.
        stream.set_nodelay(true).ok();
        let (sender, wire) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| NoAnswer::Broken)?;
        let wire = Box::pin(wire);
        Ok(Self { sender, wire })
    }

    /// Looks at the socket: whether the other side closed it while nobody was looking.
    async fn is_usable(&mut self) -> bool {
        let open = poll_fn(|context| Poll::Ready(self.wire.as_mut().poll(context).is_pending()));
        open.await && self.sender.is_ready()
    }

    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, NoAnswer> {
        let sender = &mut self.sender;
        let mut answer = std::pin::pin!(async move {
            let answer = sender.send_request(request).await;
            let (head, body) = answer.map_err(|_| NoAnswer::Broken)?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|_| NoAnswer::Broken)?.to_bytes();
            Ok(Response::from_parts(head, body))
        });
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            // The connection may end with the last byte of a good answer.
            _ = self.wire.as_mut() => answer.await,
        }
    }
}

/// One request on a connection of its own.
///
/// # Errors
/// There was no whole answer.
pub(crate) async fn ask(
    address: SocketAddr,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, NoAnswer> {
    let host = HeaderValue::from_str(&address.to_string()).map_err(|_| NoAnswer::Connect)?;
    request.headers_mut().insert(http::header::HOST, host);
    Connection::open(address).await?.exchange(request).await
}

/// A GET request for `path`, which must be valid in a URI.
pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    if let Ok(uri) = path.parse() {
        *request.uri_mut() = uri;
    }
    request
}

/// A POST request of JSON to `path`, which must be valid in a URI.
pub(crate) fn post(path: &str, body: &serde_json::Value) -> Request<Full<Bytes>> {
    let mut request = get(path);
    *request.method_mut() = http::Method::POST;
    let json = HeaderValue::from_static("application/json");
    request
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    *request.body_mut() = Full::from(body.to_string());
    request
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        (listener, address)
    }

    /// Answers `answers` one by one on one connection, then closes it.
    async fn serve(listener: &TcpListener, answers: &[&str]) {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        for answer in answers {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.expect("a whole request"));
            }
            stream.write_all(answer.as_bytes()).await.expect("writable");
        }
    }

    const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const LAST: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nbye";

    async fn bodies(client: &Client, count: usize) -> Vec<Bytes> {
        let mut bodies = Vec::new();
        for _ in 0..count {
            bodies.push(client.send(get("/")).await.expect("an answer").into_body());
        }
        bodies
    }

    #[tokio::test]
    async fn a_connection_is_used_again_until_the_other_side_closes_it() {
        let (listener, address) = listener().await;
        let client = Client::new(&[address]).expect("a valid address");
        let serving = async {
            serve(&listener, &[GOOD, LAST]).await;
            serve(&listener, &[GOOD]).await;
        };
        let (bodies, ()) = tokio::join!(bodies(&client, 3), serving);
        assert_eq!(bodies, ["ok", "bye", "ok"]);
    }

    #[tokio::test]
    async fn requests_go_round_robin() {
        let (first, second) = (listener().await, listener().await);
        let client = Client::new(&[first.1, second.1]).expect("valid addresses");
        let (one, two) = (serve(&first.0, &[GOOD; 2]), serve(&second.0, &[GOOD; 2]));
        // Ends only if each of them got its two requests.
        tokio::join!(bodies(&client, 4), one, two);
    }

    #[tokio::test]
    async fn a_refused_connection_and_a_cut_answer_are_told_apart() {
        let (listener, address) = listener().await;
        let serving = serve(
            &listener,
            &["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut"],
        );
        let (cut, ()) = tokio::join!(ask(address, get("/")), serving);
        assert_eq!(cut.expect_err("the answer was cut"), NoAnswer::Broken);
        drop(listener);
        let refused = ask(address, get("/")).await;
        assert_eq!(refused.expect_err("nobody listens"), NoAnswer::Connect);
    }
}
