//! A tiny origin server that does what a test tells it, and remembers what it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The head without its last empty line.
    pub(crate) head: String,
    /// The body without its chunks.
    pub(crate) body: Vec<u8>,
    /// What followed the last chunk.
    pub(crate) trailers: String,
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
}

impl Seen {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// What to do with a request.
pub(crate) enum Action {
    /// Write these bytes and keep the connection.
    Reply(Vec<u8>),
    /// Write these bytes and close.
    Last(Vec<u8>),
    /// Close without a word.
    Close,
    /// Write these bytes once told to, and keep the connection.
    When(Arc<Notify>, Vec<u8>),
    /// Never answer.
    Hang,
}

/// `200` with this body.
pub(crate) fn ok(body: &str) -> Action {
    status("200 OK", "", body)
}

/// This status, these fields (each with its CR LF) and this body.
pub(crate) fn status(status: &str, fields: &str, body: &str) -> Action {
    let length = body.len();
    Action::Reply(
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{fields}\r\n{body}").into_bytes(),
    )
}

pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    tasks: JoinSet<()>,
}

impl Origin {
    /// An origin that does what `script` says of each request.
    pub(crate) async fn start(script: impl Fn(&Seen) -> Action + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has ports");
        Self::serve(listener, script)
    }

    /// The same on an address that was used before.
    pub(crate) async fn start_at(
        address: SocketAddr,
        script: impl Fn(&Seen) -> Action + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address)
            .await
            .expect("the port is free again");
        Self::serve(listener, script)
    }

    fn serve(
        listener: TcpListener,
        script: impl Fn(&Seen) -> Action + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let (script, all) = (Arc::new(script), Arc::clone(&seen));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            let mut count = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let (script, all) = (Arc::clone(&script), Arc::clone(&all));
                connections.spawn(serve(stream, script, all, count));
                count += 1;
            }
        });
        Self {
            address,
            seen,
            tasks,
        }
    }

    /// What arrived so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panics here").clone()
    }

    /// Closes the listener and all connections.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn serve(
    mut stream: TcpStream,
    script: Arc<impl Fn(&Seen) -> Action>,
    all: Arc<Mutex<Vec<Seen>>>,
    connection: usize,
) {
    let mut input = Vec::new();
    loop {
        let Some(seen) = read_request(&mut stream, &mut input, connection).await else {
            return;
        };
        all.lock().expect("no test panics here").push(seen.clone());
        match script(&seen) {
            Action::Reply(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            },
            Action::Last(bytes) => {
                // The client may be gone; that is its business.
                drop(stream.write_all(&bytes).await);
                return;
            },
            Action::Close => return,
            Action::When(told, bytes) => {
                told.notified().await;
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            },
            Action::Hang => std::future::pending::<()>().await,
        }
    }
}

async fn read_request(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    connection: usize,
) -> Option<Seen> {
    let end = loop {
        if let Some(end) = find(input, b"\r\n\r\n") {
            break end;
        }
        fill(stream, input).await?;
    };
    let head = String::from_utf8_lossy(&input[..end]).into_owned();
    input.drain(..end + 4);
    let mut seen = Seen {
        head,
        body: Vec::new(),
        trailers: String::new(),
        connection,
    };
    if seen.field("expect").is_some() {
        stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .ok()?;
    }
    if let Some(length) = seen.field("content-length") {
        let length: usize = length.parse().expect("the gateway sends numbers");
        while input.len() < length {
            fill(stream, input).await?;
        }
        seen.body = input.drain(..length).collect();
    } else if seen.field("transfer-encoding").is_some() {
        read_chunks(stream, input, &mut seen).await?;
    }
    Some(seen)
}

async fn read_chunks(stream: &mut TcpStream, input: &mut Vec<u8>, seen: &mut Seen) -> Option<()> {
    loop {
        let end = loop {
            if let Some(end) = find(input, b"\r\n") {
                break end;
            }
            fill(stream, input).await?;
        };
        let size = std::str::from_utf8(&input[..end]).expect("sizes are text");
        let size = usize::from_str_radix(size, 16).expect("sizes are hexadecimal");
        input.drain(..end + 2);
        if size == 0 {
            break;
        }
        while input.len() < size + 2 {
            fill(stream, input).await?;
        }
        seen.body.extend(input.drain(..size));
        input.drain(..2);
    }
    while !input.starts_with(b"\r\n") && find(input, b"\r\n\r\n").is_none() {
        fill(stream, input).await?;
    }
    let end = if input.starts_with(b"\r\n") {
        0
    } else {
        find(input, b"\r\n\r\n")? + 2
    };
    seen.trailers = String::from_utf8_lossy(&input[..end]).into_owned();
    input.drain(..end + 2);
    Some(())
}

async fn fill(stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<()> {
    let count = stream.read_buf(input).await.ok()?;
    (count > 0).then_some(())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
