//! A client that writes bytes and reads answers, without opinions of its own.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A request that is not safe to repeat.
pub(crate) const POST: &str = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\nabc";

/// Far beyond anything a test waits for: a hang becomes a failure that says where.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: String,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// The gateway's reason code.
    pub(crate) fn reason(&self) -> &str {
        self.field("mainstay-reason").unwrap_or_default()
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the gateway listens");
        Self {
            stream,
            input: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .await
            .expect("the gateway reads");
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        let is_head = request.as_ref().starts_with(b"HEAD ");
        self.send(request).await;
        self.answer(is_head).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
            .await
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self, to_head: bool) -> Answer {
        self.try_answer(to_head)
            .await
            .expect("the connection ended before the answer did")
    }

    /// The next answer, or `None` when the connection ends before it does.
    pub(crate) async fn try_answer(&mut self, to_head: bool) -> Option<Answer> {
        let head = self.until(b"\r\n\r\n").await?;
        let status = head[9..12].parse().expect("the status is a number");
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
            trailers: String::new(),
        };
        if to_head || matches!(status, 100..=199 | 204 | 304) {
            return Some(answer);
        }
        if let Some(length) = answer.field("content-length") {
            let length: usize = length.parse().expect("the length is a number");
            while self.input.len() < length {
                self.fill().await?;
            }
            answer.body = self.input.drain(..length).collect();
        } else if answer.field("transfer-encoding").is_some() {
            self.chunks(&mut answer).await?;
        } else {
            while self.fill().await.is_some() {}
            answer.body = std::mem::take(&mut self.input);
        }
        Some(answer)
    }

    async fn chunks(&mut self, answer: &mut Answer) -> Option<()> {
        loop {
            let size = self.until(b"\r\n").await?;
            let size = usize::from_str_radix(size.trim(), 16)
                .unwrap_or_else(|_| panic!("{size:?} is no size, in {answer:?}"));
            if size == 0 {
                break;
            }
            while self.input.len() < size + 2 {
                self.fill().await?;
            }
            answer.body.extend(self.input.drain(..size));
            self.input.drain(..2);
        }
        loop {
            let line = self.until(b"\r\n").await?;
            if line == "\r\n" {
                return Some(());
            }
            answer.trailers.push_str(&line);
        }
    }

    async fn until(&mut self, end: &[u8]) -> Option<String> {
        loop {
            let found = self
                .input
                .windows(end.len())
                .position(|window| window == end);
            if let Some(at) = found {
                let bytes: Vec<u8> = self.input.drain(..at + end.len()).collect();
                return Some(String::from_utf8(bytes).expect("heads are text"));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Option<()> {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.input));
        let count = read.await.expect("nothing came for too long").ok()?;
        (count > 0).then_some(())
    }

    /// Reads to the end of the connection; what came before it.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await.is_some() {}
        std::mem::take(&mut self.input)
    }
}
