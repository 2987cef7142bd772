//! Claims about what clients see, and in which order.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};

use mainstay_zk_proto::acl::{Acl, Id};
use mainstay_zk_proto::handshake::{ConnectRequest, ConnectResponse};
use mainstay_zk_proto::header::{RequestHeader, XID_AUTH, XID_PING, XID_WATCH};
use mainstay_zk_proto::jute::{Reader, read_all};
use mainstay_zk_proto::request::{Auth, Create, Delete, OfPath, Read, SetData};
use mainstay_zk_proto::{Code, Opcode, Reply, Request};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::{Notify, oneshot};

use super::*;
use crate::proposal::{Batch, Entry, Operation, Origin};
use crate::replica::{DiskStanding, NoQuorum, Solo, Standing};
use crate::state::{Sink as _, State};

mod cut_off;
mod ensemble;
mod held;
mod members;
mod session;
mod tls;
mod watch;

use held::Held;

const PEER: ([u8; 4], u16) = ([127, 0, 0, 1], 7);
const PATIENCE: Duration = Duration::from_mins(1);

fn desk() -> Arc<Desk> {
    let desk = Desk::new(Settings {
        words: None,
        ..Settings::default()
    });
    desk.begin(Held::ORIGIN, 1_700_000_000_000);
    desk
}

fn solo() -> (Arc<Desk>, Arc<Solo<Teller>>) {
    let desk = desk();
    let replica = Solo::new(desk.sink(), || 1);
    (desk, replica)
}

/// A replica that is held, and a client of it whose session has begun.
async fn held() -> (Arc<Desk>, Arc<Held>, Client) {
    let desk = desk();
    let replica = Held::new(&desk);
    let mut client = Client::connect(&desk, &replica);
    client.shake(0, &[0; 16], 0).await;
    replica.release_next().await;
    client.shaken().await;
    (desk, replica, client)
}

/// One end of a connection whose other end is served.
struct Client {
    stream: DuplexStream,
    /// How long its session shall be allowed to be silent.
    wanted_ms: i32,
    _gone: oneshot::Sender<()>,
}

impl Client {
    fn connect<R: Replica>(desk: &Arc<Desk>, replica: &Arc<R>) -> Self {
        let (stream, served) = duplex(1 << 20);
        let (desk, replica) = (Arc::clone(desk), Arc::clone(replica));
        let (gone, leave) = oneshot::channel();
        let mut set = JoinSet::new();
        set.spawn(async move {
            let ends = tokio::io::split(served);
            tokio::select! {
                () = attend(&desk, &replica, PEER.into(), ends) => {},
                _ = leave => {},
            }
        });
        set.detach_all();
        Self {
            stream,
            wanted_ms: 1,
            _gone: gone,
        }
    }

    async fn shake(&mut self, session_id: i64, password: &[u8], last_zxid_seen: i64) {
        let out = greeting(self.wanted_ms, (session_id, password), last_zxid_seen);
        self.stream.write_all(&out).await.expect("open");
    }

    /// The session, its password, and how long it may be silent.
    async fn shaken(&mut self) -> (i64, Vec<u8>, i32) {
        let message = self.message().await.expect("an answer");
        let response: ConnectResponse<'_> = read_all(&message).expect("well-formed");
        let password = response.password.to_vec();
        (response.session_id, password, response.timeout_ms)
    }

    async fn begin(&mut self) -> (i64, Vec<u8>) {
        self.shake(0, &[0; 16], 0).await;
        let (session, password, timeout_ms) = self.shaken().await;
        assert_eq!(timeout_ms, 4_000, "the least that a client gets");
        (session, password)
    }

    async fn ask(&mut self, xid: i32, request: &Request<'_>) {
        assert!(self.try_ask(xid, request).await, "the connection is open");
    }

    /// Asks; `false` when the connection has ended.
    async fn try_ask(&mut self, xid: i32, request: &Request<'_>) -> bool {
        let mut out = Vec::new();
        frame::append(&mut out, |out| {
            let opcode = request.opcode().to_wire();
            RequestHeader { xid, opcode }.write(out);
            request.write(out);
        });
        self.stream.write_all(&out).await.is_ok()
    }

    /// The next message; `None` at the end of the connection.
    async fn message(&mut self) -> Option<Vec<u8>> {
        message(&mut self.stream).await
    }

    /// The next message in words: number and error, or event.
    async fn next(&mut self) -> String {
        let Some(message) = self.message().await else {
            return "end".to_owned();
        };
        let mut reader = Reader::new(&message);
        let header: ReplyHeader = reader.read().expect("a header");
        if header.xid == XID_WATCH {
            let event: Event<'_> = reader.read().expect("an event");
            return format!("{:?} {}", event.kind, event.path);
        }
        match header.error {
            0 => format!("{}", header.xid),
            error => format!(
                "{} {:?}",
                header.xid,
                Code::from_wire(error).expect("known")
            ),
        }
    }

    async fn next_of(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.next().await);
        }
        all
    }

    async fn data(&mut self, xid: i32, path: &str) -> Vec<u8> {
        self.ask(xid, &get(path, false)).await;
        let message = self.message().await.expect("an answer");
        let mut reader = Reader::new(&message);
        let header: ReplyHeader = reader.read().expect("a header");
        assert_eq!((header.xid, header.error), (xid, 0));
        let reply = Reply::read(Opcode::GetData, reader.rest()).expect("data");
        let Reply::Data { data, .. } = reply else {
            panic!("{reply:?}");
        };
        data.unwrap_or_default().to_vec()
    }
}

/// What a client says first.
fn greeting(timeout_ms: i32, (session_id, password): (i64, &[u8]), last_zxid_seen: i64) -> Vec<u8> {
    let mut out = Vec::new();
    frame::append(&mut out, |out| {
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen,
            timeout_ms,
            session_id,
            password,
            read_only: Some(false),
        }
        .write(out);
    });
    out
}

/// The next message; `None` at the end of the connection.
async fn message(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut prefix = [0; 4];
    let read = timeout(PATIENCE, stream.read_exact(&mut prefix)).await;
    read.expect("something comes").ok()?;
    let mut message = vec![0; u32::from_be_bytes(prefix) as usize];
    stream.read_exact(&mut message).await.ok()?;
    Some(message)
}

const fn get(path: &str, watch: bool) -> Request<'_> {
    Request::GetData(Read { path, watch })
}

const fn exists(path: &str, watch: bool) -> Request<'_> {
    Request::Exists(Read { path, watch })
}

fn create(path: &str, flags: i32) -> Request<'_> {
    Request::Create(Create {
        path,
        data: Some(b"old"),
        acl: vec![Acl::OPEN],
        flags,
    })
}

const fn set<'a>(path: &'a str, data: &'a [u8]) -> Request<'a> {
    Request::SetData(SetData {
        path,
        data: Some(data),
        version: -1,
    })
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_the_order_of_requests_whatever_they_wait_for() {
    let (_, replica, mut client) = held().await;

    client.ask(1, &create("/a", 0)).await;
    client.ask(2, &get("/a", false)).await;
    client.ask(XID_PING, &Request::Ping).await;
    client.ask(3, &Request::Sync(OfPath { path: "/a" })).await;
    client.ask(4, &set("/a", b"new")).await;
    client.ask(5, &get("/a", false)).await;
    let auth = Auth {
        kind: 0,
        scheme: "digest",
        proof: b"a:b",
    };
    client.ask(XID_AUTH, &Request::Auth(auth)).await;
    client.ask(6, &get("/b", false)).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(replica.release(), 1, "a write waits for the sync before it");
    assert_eq!(client.next_of(3).await, ["1", "2", "-2"]);
    replica.barrier.notify_one();
    replica.release_next().await;
    assert_eq!(client.next_of(5).await, ["3", "4", "5", "-4", "6 NoNode"]);
}

#[tokio::test(start_paused = true)]
async fn a_read_behind_a_sync_does_not_show_what_was_asked_after_it() {
    let (_, replica, mut client) = held().await;
    client.ask(1, &create("/a", 0)).await;
    replica.release_next().await;
    assert_eq!(client.next().await, "1");

    client.ask(2, &Request::Sync(OfPath { path: "/" })).await;
    client.ask(3, &exists("/b", false)).await;
    client.ask(4, &create("/b", 0)).await;
    sleep(Duration::from_secs(1)).await;
    replica.release();
    replica.barrier.notify_one();
    assert_eq!(client.next_of(2).await, ["2", "3 NoNode"]);
    replica.release_next().await;
    assert_eq!(client.next().await, "4");
}

#[tokio::test(start_paused = true)]
async fn a_read_sees_the_writes_before_it_and_waits_for_those_of_nobody_else() {
    let desk = desk();
    let replica = Held::new(&desk);
    let mut writer = Client::connect(&desk, &replica);
    let mut reader = Client::connect(&desk, &replica);
    for client in [&mut writer, &mut reader] {
        client.shake(0, &[0; 16], 0).await;
        replica.release_next().await;
        client.shaken().await;
    }
    writer.ask(1, &create("/a", 0)).await;
    reader.ask(1, &exists("/a", false)).await;
    assert_eq!(reader.next().await, "1 NoNode");
    writer.ask(2, &exists("/a", false)).await;
    sleep(Duration::from_secs(1)).await;
    replica.release_next().await;
    assert_eq!(writer.next_of(2).await, ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_without_end_is_not_read_without_end() {
    let (_, replica, mut client) = held().await;
    for xid in 1..=1_500 {
        client.ask(xid, &set("/a", b"")).await;
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(replica.release(), 1_000);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(replica.release(), 500);
    for xid in 1..=1_500 {
        assert_eq!(client.next().await, format!("{xid} NoNode"));
    }
}

#[tokio::test]
async fn what_is_too_long_ends_the_connection_and_what_is_malformed_does_not() {
    let (desk, replica) = solo();
    let mut client = Client::connect(&desk, &replica);
    client.begin().await;
    let before = look(replica.state(), State::zxid);
    for opcode in [Opcode::Create, Opcode::Multi, Opcode::GetData, Opcode::Sync] {
        let mut out = Vec::new();
        frame::append(&mut out, |out| {
            let opcode = opcode.to_wire();
            RequestHeader { xid: 5, opcode }.write(out);
            out.extend_from_slice(&[0x7f, 0xff, 0xff, 0xff, 1]);
        });
        client.stream.write_all(&out).await.expect("open");
        assert_eq!(client.next().await, "5 Marshalling");
    }
    let after = look(replica.state(), State::zxid);
    assert_eq!(after, before, "nobody has to remember it");
    let mut out = Vec::new();
    frame::append(&mut out, |out| {
        RequestHeader { xid: 6, opcode: 77 }.write(out);
    });
    client.stream.write_all(&out).await.expect("open");
    assert_eq!(client.next().await, "6 Unimplemented");
    client
        .stream
        .write_all(&0x0010_0000_i32.to_be_bytes())
        .await
        .expect("open");
    assert_eq!(client.next().await, "end");
    assert_eq!(desk.faults().0, 1);
}

#[tokio::test]
async fn who_is_refused_hears_why_and_is_gone() {
    let (desk, replica) = solo();
    let mut client = Client::connect(&desk, &replica);
    client.begin().await;
    let auth = Auth {
        kind: 0,
        scheme: "magic",
        proof: b"",
    };
    client.ask(XID_AUTH, &Request::Auth(auth)).await;
    assert_eq!(client.next_of(2).await, ["-4 AuthFailed", "end"]);
}

#[tokio::test]
async fn a_node_for_its_maker_alone_is_read_by_its_maker_alone() {
    let (desk, replica) = solo();
    let mut maker = Client::connect(&desk, &replica);
    let mut other = Client::connect(&desk, &replica);
    maker.begin().await;
    other.begin().await;
    let auth = Auth {
        kind: 0,
        scheme: "digest",
        proof: b"alice:secret",
    };
    maker.ask(XID_AUTH, &Request::Auth(auth)).await;
    let mine = Acl {
        perms: 31,
        id: Id {
            scheme: "auth",
            id: "",
        },
    };
    let node = Request::Create(Create {
        path: "/mine",
        data: None,
        acl: vec![mine],
        flags: 0,
    });
    maker.ask(1, &node).await;
    maker.ask(2, &get("/mine", false)).await;
    assert_eq!(maker.next_of(3).await, ["-4", "1", "2"]);
    other.ask(1, &get("/mine", true)).await;
    other.ask(2, &exists("/mine", false)).await;
    assert_eq!(other.next_of(2).await, ["1 NoAuth", "2"]);
    assert_eq!(
        desk.watches().counts().watches,
        0,
        "who may not read does not watch"
    );
}

#[tokio::test]
async fn a_word_is_answered_in_plain_text_if_it_is_allowed() {
    let (open, replica) = solo();
    for (word, begins) in [
        ("ruok", "imok"),
        ("srvr", "Zookeeper version: 3.8.0"),
        ("envi", "Environment:\nzookeeper.version=3.8.0"),
        ("mntr", "zk_version\t3.8.0"),
        ("isro", "rw"),
        ("wchs", "0 connections watching 0 paths\nTotal watches:0\n"),
    ] {
        let mut client = Client::connect(&open, &replica);
        client
            .stream
            .write_all(word.as_bytes())
            .await
            .expect("open");
        let mut text = String::new();
        client.stream.read_to_string(&mut text).await.expect("text");
        assert!(text.starts_with(begins), "{word}: {text}");
    }
    let shut = Desk::new(Settings::default());
    let mut client = Client::connect(&shut, &replica);
    client.stream.write_all(b"ruok").await.expect("open");
    let mut text = String::new();
    client.stream.read_to_string(&mut text).await.expect("text");
    assert_eq!(
        text,
        "ruok is not executed because it is not in the whitelist.\n"
    );
}

#[tokio::test]
async fn a_sequential_node_is_named_in_the_answer_also_within_a_multi() {
    let (desk, replica) = solo();
    let mut client = Client::connect(&desk, &replica);
    client.begin().await;
    let delete = Request::Delete(Delete {
        path: "/s0000000000",
        version: -1,
    });
    let multi = vec![create("/s", 2), create("/s", 2), delete];
    let multi = Request::Multi(mainstay_zk_proto::multi::Operations(multi));
    client.ask(1, &multi).await;
    let message = client.message().await.expect("an answer");
    let Ok(Reply::Results(results)) = Reply::read(Opcode::Multi, &message[16..]) else {
        panic!("results");
    };
    let told = format!("{results:?}");
    assert!(
        told.contains("/s0000000000") && told.contains("/s0000000001"),
        "{told}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_make_it_panic_or_hang(
        greeting: Vec<u8>,
        messages in proptest::collection::vec((-12..110_i32, any::<Vec<u8>>()), 0..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (desk, replica) = solo();
            let mut rude = Client::connect(&desk, &replica);
            // It may hang up on us at any time.
            drop(rude.stream.write_all(&greeting).await);
            let mut client = Client::connect(&desk, &replica);
            client.begin().await;
            for (opcode, body) in &messages {
                let mut out = Vec::new();
                frame::append(&mut out, |out| {
                    RequestHeader { xid: 1, opcode: *opcode }.write(out);
                    out.extend_from_slice(body);
                });
                drop(client.stream.write_all(&out).await);
            }
            let mut fresh = Client::connect(&desk, &replica);
            fresh.begin().await;
            fresh.ask(9, &exists("/", false)).await;
            assert_eq!(fresh.next().await, "9");
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_can_promise_nothing_refuses_writes_and_serves_reads() {
    let (desk, replica, mut client) = held().await;
    replica.is_choked.store(true, Ordering::Relaxed);
    client.ask(1, &create("/a", 0)).await;
    client.ask(2, &exists("/", false)).await;
    client.ask(XID_PING, &Request::Ping).await;
    assert_eq!(client.next_of(3).await, ["1 ThrottledOp", "2", "-2"]);
    let mut newcomer = Client::connect(&desk, &replica);
    newcomer.shake(0, &[0; 16], 0).await;
    assert_eq!(newcomer.next().await, "end", "it goes elsewhere");
    // A session can always end.
    client.ask(3, &Request::CloseSession).await;
    replica.release_next().await;
    assert_eq!(client.next_of(2).await, ["3", "end"]);
}
