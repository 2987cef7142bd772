//! A connection: from its first byte to its last.
//!
//! Prevents one client from holding up another: each connection is a task of its own, reads no
//! more than it may, and waits for its own requests only.

use std::sync::Arc;
use std::{fmt, io};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use mainstay_zk_proto::frame::{PREFIX_BYTES, TooLong};
use mainstay_zk_proto::header::{ReplyHeader, RequestHeader};
use mainstay_zk_proto::jute::{Jute as _, Malformed, Reader as Message};
use mainstay_zk_proto::request::{Auth, Sasl};
use mainstay_zk_proto::{Code, Opcode, Reply, Request, frame};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::desk::{Desk, Waiter, read};
use super::frames::Frames;
use super::identity::Identities;
use super::line::{Asked, Line, Load, Pending, Stage, Then, answer};
use super::read::Reader;
use super::sasl::{Exchange, Step};
use super::{handshake, reconfig, word};
use crate::process::random;
use crate::proposal::Action;
use crate::replica::{NoQuorum, Proposal, Replica};

/// A connection that says nothing does not stay.
const FIRST_WORDS_MAX: Duration = Duration::from_secs(10);
/// What is left when a connection ends from elsewhere is sent within this time, or not.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);
/// A wrong proof of identity is answered so late: whoever guesses passwords gets few tries, and a
/// client is told after it has noticed that it is connected (kazoo reports a time-out otherwise).
const GUESS_PAUSE: Duration = Duration::from_millis(250);
/// Room that a buffer for sending keeps.
const SPARE_BYTES_MAX: usize = 16 << 10;

/// Whether the first message of `frames` asks for a change. What cannot be read changes nothing.
fn is_write(frames: &[u8]) -> bool {
    let mut reader = Message::new(frames.get(PREFIX_BYTES..).unwrap_or_default());
    let header = reader.read::<RequestHeader>();
    let opcode = header.and_then(|header| Opcode::from_wire(header.opcode));
    opcode.is_ok_and(Opcode::is_write)
}

/// Why a connection ends.
#[derive(Debug)]
#[must_use]
pub(super) enum End {
    /// The client left.
    Left,
    /// It was answered, and that was all.
    Served,
    /// It said something that is no request.
    Malformed(Malformed),
    /// It promised too much.
    TooLong(TooLong),
    /// It was silent at the beginning.
    Silent,
    /// It cannot be served here and now.
    Refused(&'static str),
    /// The network failed.
    Io(io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("the client left"),
            Self::Served => f.write_str("the client was served"),
            Self::Malformed(error) => error.fmt(f),
            Self::TooLong(error) => error.fmt(f),
            Self::Silent => f.write_str("the client said nothing"),
            Self::Refused(why) => f.write_str(why),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl End {
    /// Whether it is one that operators should hear of.
    pub(super) const fn is_fault(&self) -> bool {
        match self {
            Self::Left | Self::Served | Self::Io(_) => false,
            Self::Malformed(_) | Self::TooLong(_) | Self::Silent | Self::Refused(_) => true,
        }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<TooLong> for End {
    fn from(error: TooLong) -> Self {
        Self::TooLong(error)
    }
}

impl From<Malformed> for End {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

/// What others had to agree on first, by number, and what came of it.
type Barrier = BoxFuture<'static, Passed>;
type Passed = (u64, Result<Result<(), Code>, NoQuorum>);

/// Serves one connection until it ends.
pub(super) async fn serve<R: Replica>(
    desk: &Arc<Desk>,
    replica: &Arc<R>,
    line: &Arc<Line>,
    (mut input, mut output): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
) -> End {
    let mut frames = Frames::new(desk.settings.message_bytes_max);
    let begun = begin(desk, replica, line, &mut frames, (&mut input, &mut output)).await;
    if let Err(end) = begun {
        return end;
    }
    let mut connection = Connection {
        desk,
        replica,
        line,
        identities: line.identities(),
        sasl: Exchange::default(),
        barriers: FuturesUnordered::new(),
        barrier_next: 0,
        since: Instant::now(),
    };
    tokio::select! {
        end = connection.listen(&mut frames, &mut input) => {
            // What was answered is still sent, to those who still read.
            line.outbox().close();
            line.ready.notify_one();
            if !matches!(end, End::Left | End::Io(_)) {
                drop(timeout(LAST_WORDS_MAX, send(line, &mut output)).await);
            }
            end
        },
        end = send(line, &mut output) => end,
        () = cut(line) => End::Served,
    }
}

/// A word, or the beginning of a session.
async fn begin<R: Replica>(
    desk: &Arc<Desk>,
    replica: &Arc<R>,
    line: &Arc<Line>,
    frames: &mut Frames,
    (input, output): (
        &mut (impl AsyncRead + Unpin),
        &mut (impl AsyncWrite + Unpin),
    ),
) -> Result<(), End> {
    let first = timeout(FIRST_WORDS_MAX, first(frames, input)).await;
    match first.map_err(|_| End::Silent)?? {
        First::Word(word) => {
            let answer = word::answer(desk, &**replica, word, frames.rest());
            output.write_all(answer.as_bytes()).await?;
            output.shutdown().await?;
            Err(End::Served)
        },
        First::Message(length) => {
            desk.tally.receive();
            line.tally.receive();
            handshake::shake(desk, replica, line, frames.take(length), output).await
        },
    }
}

/// What a client begins with.
enum First {
    /// All of a four-letter word.
    Word(word::Word),
    /// All of a message of this length.
    Message(usize),
}

async fn first(frames: &mut Frames, input: &mut (impl AsyncRead + Unpin)) -> Result<First, End> {
    loop {
        match word::find(frames.rest()) {
            Some(word) if frames.rest().len() >= word.bytes() => return Ok(First::Word(word)),
            Some(_) => {},
            None => {
                if let Some(length) = frames.next_len()? {
                    return Ok(First::Message(length));
                }
            },
        }
        if frames.more(input).await? == 0 {
            return Err(End::Left);
        }
    }
}

/// Ends some time after somebody else ended the connection.
async fn cut(line: &Line) {
    line.over.notified().await;
    sleep(LAST_WORDS_MAX).await;
}

/// Sends what is put on the line.
async fn send(line: &Line, output: &mut (impl AsyncWrite + Unpin)) -> End {
    let mut spare = Vec::new();
    loop {
        let load = line.outbox().load(std::mem::take(&mut spare));
        match load {
            Load::Bytes(mut bytes) => {
                if let Err(error) = output.write_all(&bytes).await {
                    return End::Io(error);
                }
                line.room.notify_one();
                bytes.clear();
                if bytes.capacity() <= SPARE_BYTES_MAX {
                    spare = bytes;
                }
            },
            Load::Nothing => line.ready.notified().await,
            Load::End => {
                // A client that is gone already needs no goodbye.
                drop(output.shutdown().await);
                return End::Served;
            },
        }
    }
}

struct Connection<'a, R: Replica> {
    desk: &'a Arc<Desk>,
    replica: &'a Arc<R>,
    line: &'a Arc<Line>,
    identities: Identities,
    sasl: Exchange,
    barriers: FuturesUnordered<Barrier>,
    barrier_next: u64,
    /// When the bytes came that are being looked at.
    since: Instant,
}

impl<R: Replica> Connection<'_, R> {
    /// Takes requests until there are none.
    async fn listen(&mut self, frames: &mut Frames, input: &mut (impl AsyncRead + Unpin)) -> End {
        loop {
            if let Err(end) = self.take_all(frames).await {
                return end;
            }
            tokio::select! {
                read = frames.more(input) => match read {
                    Ok(0) => return End::Left,
                    Ok(_) => {
                        self.since = Instant::now();
                        self.line.hear();
                    },
                    Err(error) => return End::Io(error),
                },
                Some(over) = self.barriers.next() => if let Err(end) = self.pass(over) {
                    return end;
                },
            }
        }
    }

    /// Takes all requests that are there, as far as there is room for them.
    async fn take_all(&mut self, frames: &mut Frames) -> Result<(), End> {
        while let Some(length) = frames.next_len()? {
            while !self.line.outbox().has_room() {
                self.line.ready.notify_one();
                tokio::select! {
                    () = self.line.room.notified() => {},
                    Some(over) = self.barriers.next() => self.pass(over)?,
                }
            }
            if self.line.outbox().stage() != Stage::Open {
                return Err(End::Served);
            }
            if is_write(frames.rest()) {
                self.pass_all().await?;
            }
            self.take(frames.take(length)).await?;
        }
        self.line.ready.notify_one();
        Ok(())
    }

    /// Waits for the barriers that were asked before. A write that was proposed meanwhile could be
    /// applied first, and what is read behind the barrier would show what was asked after it.
    async fn pass_all(&mut self) -> Result<(), End> {
        if !self.barriers.is_empty() {
            self.line.ready.notify_one();
        }
        while let Some(over) = self.barriers.next().await {
            self.pass(over)?;
        }
        Ok(())
    }

    fn pass(&self, (number, result): Passed) -> Result<(), End> {
        // A client that loses its connection tries elsewhere, where there may be a quorum.
        let result = result.map_err(|NoQuorum| End::Refused("there is no quorum to agree with"))?;
        self.line.outbox().pass(number, result);
        read(self.replica.state(), |state| {
            self.desk.go_on(state, self.line);
        });
        self.line.ready.notify_one();
        Ok(())
    }

    /// Takes one request.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only these two may end the connection"
    )]
    async fn take(&mut self, message: &[u8]) -> Result<(), End> {
        self.desk.tally.receive();
        self.line.tally.receive();
        let mut reader = Message::new(message);
        let header: RequestHeader = reader.read()?;
        let body = reader.rest();
        self.line.tally.note(header);
        let Ok(opcode) = Opcode::from_wire(header.opcode) else {
            self.read(header, body);
            return Ok(());
        };
        match opcode {
            Opcode::Auth => self.authenticate(header, reader.read()?).await,
            Opcode::Sasl => self.sasl(header, reader.read()?).await,
            _ if !self.is_proved() => {
                self.refuse(header.xid, Code::SessionClosedRequireSaslAuth);
                Err(End::Refused("the client did not prove who it is"))
            },
            _ => {
                self.ask(header, opcode, body);
                Ok(())
            },
        }
    }

    /// Whether this client proved as much as the settings ask for.
    fn is_proved(&self) -> bool {
        let required = &self.desk.settings.schemes_required;
        required.is_empty() || self.identities.include(required)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what is neither of these is a write or a read, and knows which"
    )]
    fn ask(&mut self, header: RequestHeader, opcode: Opcode, body: &[u8]) {
        let xid = header.xid;
        if self.line.reads_only() {
            return self.ask_reader(header, opcode, body);
        }
        match opcode {
            Opcode::Sync => {
                if let Ok(Request::Sync(of)) = Request::read(opcode, body) {
                    self.sync(xid, of.path);
                } else {
                    self.refuse(xid, Code::Marshalling);
                }
            },
            Opcode::CloseSession => self.propose(xid, 0, Action::Close),
            Opcode::Reconfig => self.reconfigure(xid, body),
            Opcode::DeleteContainer | Opcode::CreateSession => {
                self.read(header, body);
            },
            // What cannot be read is refused before anybody has to remember it.
            _ if opcode.is_write() && Request::read(opcode, body).is_err() => {
                self.refuse(xid, Code::Marshalling);
            },
            _ if opcode.is_write() && !self.replica.takes_writes() => {
                self.refuse(xid, Code::ThrottledOp);
            },
            _ if opcode.is_write() => {
                self.propose(xid, body.len(), Action::Request { opcode, body });
            },
            _ => self.read(header, body),
        }
    }

    /// A request where nothing can be agreed on.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what is neither of these is a write or a read, and knows which"
    )]
    fn ask_reader(&self, header: RequestHeader, opcode: Opcode, body: &[u8]) {
        match opcode {
            Opcode::CloseSession => {
                self.desk.cut_off.close(self.line.session());
                let zxid = read(self.replica.state(), crate::state::State::zxid);
                self.say(|out| answer(out, header.xid, zxid, Ok(Reply::Done)));
                self.line.hang_up();
            },
            Opcode::Sync | Opcode::Reconfig | Opcode::Check | Opcode::DeleteContainer => {
                self.refuse(header.xid, Code::NotReadOnly);
            },
            _ if opcode.is_write() => self.refuse(header.xid, Code::NotReadOnly),
            _ => self.read(header, body),
        }
    }

    /// Proposes a write; its answer comes when it is applied.
    fn propose(&self, xid: i32, bytes: usize, action: Action<'_>) {
        let proposal = Proposal {
            session: self.line.session(),
            identities: self.identities.ids(),
            action,
        };
        let since = self.since;
        self.replica.propose(proposal, &mut |sequence| {
            self.line.outbox().wait(Pending::Write {
                sequence,
                xid,
                bytes,
                since,
            });
            let waiter = Waiter::Line(Arc::clone(self.line));
            self.desk.wait(sequence, waiter);
        });
    }

    /// Answers a read at once, or puts it behind what was asked before.
    fn read(&self, header: RequestHeader, body: &[u8]) {
        // Only this task adds to what waits: what is idle now stays so.
        let is_idle = {
            let mut outbox = self.line.outbox();
            let is_idle = outbox.is_idle();
            if !is_idle {
                outbox.wait(Pending::Read(Asked {
                    header,
                    body: body.into(),
                    identities: self.identities.clone(),
                }));
            }
            is_idle
        };
        if !is_idle {
            return;
        }
        read(self.replica.state(), |state| {
            let mut outbox = self.line.outbox();
            let Some(out) = outbox.out() else { return };
            Reader {
                state,
                desk: self.desk,
                watcher: self.line.id,
                session: self.line.session(),
                identities: &self.identities,
            }
            .answer(header, body, out);
        });
        self.desk.tally.answer(self.since);
        self.line.tally.answer(self.since);
    }

    /// Puts an answer where its turn is.
    fn say(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut outbox = self.line.outbox();
        if outbox.is_idle() {
            if let Some(out) = outbox.out() {
                write(out);
            }
        } else {
            let mut frame = Vec::new();
            write(&mut frame);
            outbox.wait(Pending::Answer(frame));
        }
        drop(outbox);
        self.desk.tally.answer(self.since);
        self.line.tally.answer(self.since);
    }

    /// Says no. It may wait behind what is done later than now, so it says nothing about how far
    /// this member is: a client must not believe that it has seen less than it has.
    fn refuse(&self, xid: i32, code: Code) {
        self.say(|out| answer(out, xid, 0, Err(code)));
    }

    fn sync(&mut self, xid: i32, path: &str) {
        let replica = Arc::clone(self.replica);
        self.wait(xid, Then::Path(path.into()), async move {
            replica.barrier().await.map(Ok)
        });
    }

    fn reconfigure(&mut self, xid: i32, body: &[u8]) {
        let Ok(Request::Reconfig(request)) = Request::read(Opcode::Reconfig, body) else {
            return self.refuse(xid, Code::Marshalling);
        };
        let settings = &self.desk.settings;
        match reconfig::change(&request, settings, &**self.replica, &self.identities) {
            Ok(change) => {
                let replica = Arc::clone(self.replica);
                self.wait(xid, Then::Members, async move {
                    replica.change_members(change).await
                });
            },
            Err(code) => self.refuse(xid, code),
        }
    }

    /// What is asked from now on waits until others have agreed.
    fn wait(
        &mut self,
        xid: i32,
        then: Then,
        agreed: impl Future<Output = Result<Result<(), Code>, NoQuorum>> + Send + 'static,
    ) {
        let number = self.barrier_next;
        self.barrier_next += 1;
        self.line.outbox().wait(Pending::Barrier {
            number,
            xid,
            then,
            passed: None,
        });
        self.barriers
            .push(Box::pin(async move { (number, agreed.await) }));
    }

    async fn authenticate(&mut self, header: RequestHeader, auth: Auth<'_>) -> Result<(), End> {
        let super_digest = self.desk.settings.super_digest.as_deref();
        match self.identities.prove(&auth, super_digest) {
            Ok(()) => {
                self.line.identify(self.identities.clone());
                self.say(|out| answer(out, header.xid, 0, Ok(Reply::Done)));
                Ok(())
            },
            Err(code) => {
                sleep(GUESS_PAUSE).await;
                self.say(|out| answer(out, header.xid, 0, Err(code)));
                Err(End::Refused("the identity was not proved"))
            },
        }
    }

    async fn sasl(&mut self, header: RequestHeader, step: Sasl<'_>) -> Result<(), End> {
        let random = random().map_err(|_| End::Refused("there is no randomness"))?;
        let users = &self.desk.settings.users;
        let proved = match self.sasl.step(step.token, users, random) {
            Ok(Step::Challenge(token)) => Some(token),
            Ok(Step::Proved { user, token }) => {
                let added = self.identities.add("sasl", &user);
                added.is_ok().then_some(token)
            },
            Err(_) => None,
        };
        if let Some(token) = proved {
            self.line.identify(self.identities.clone());
            let token = Reply::Token(Some(token.as_bytes()));
            self.say(|out| answer(out, header.xid, 0, Ok(token)));
            return Ok(());
        }
        sleep(GUESS_PAUSE).await;
        // Clients read a token here although there is an error.
        self.say(|out| {
            frame::append(out, |out| {
                let error = Code::AuthFailed.to_wire();
                let (xid, zxid) = (header.xid, 0);
                ReplyHeader { xid, zxid, error }.write(out);
                Reply::Token(None).write(out);
            });
        });
        Err(End::Refused("the identity was not proved by SASL"))
    }
}
