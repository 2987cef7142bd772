//! What a client hears, written down as it comes.

use std::io;
use std::sync::atomic::Ordering;

use mainstay_check::certificate::{Act, Stamp, Watch};
use mainstay_check::lock::Hold;
use mainstay_check::model::register::Output;
use mainstay_zk_proto::header::{ReplyHeader, XID_WATCH};
use mainstay_zk_proto::jute::{Malformed, Reader};
use mainstay_zk_proto::watch::Event;
use mainstay_zk_proto::{Code, Opcode, Reply};
use tokio::time::Instant;

use super::ask::{Under, What, ephemeral};
use super::{Holding, Life, Watching};
use crate::history;
use crate::key::{self, Key};

fn malformed(_: Malformed) -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// An answer: when it came, and the transaction it is up to date with.
#[derive(Clone, Copy, Debug)]
struct Answer {
    under: Under,
    stamp: Stamp,
}

impl Life {
    /// Hears one message.
    pub(super) fn hear(&mut self, message: &[u8]) -> io::Result<()> {
        let mut reader = Reader::new(message);
        let header: ReplyHeader = reader.read().map_err(malformed)?;
        let (number, xid) = (self.client.number, header.xid);
        self.client.facts.trace.note(format_args!(
            "heard {number} {xid} {} {}",
            header.zxid, header.error
        ));
        if header.xid == XID_WATCH {
            let event: Event<'_> = reader.read().map_err(malformed)?;
            self.told(&event);
            return Ok(());
        }
        let under = self.under_way.front().copied();
        let Some(under) = under.filter(|under| under.xid == header.xid) else {
            let detail = format_args!("client {number} got an answer to {xid} out of turn");
            self.client
                .facts
                .violated("answers come in the order of requests", detail);
            return Err(io::ErrorKind::InvalidData.into());
        };
        self.session.zxid = self.session.zxid.max(header.zxid);
        let answer = Answer {
            under,
            stamp: Stamp {
                at: self.client.facts.moment(),
                zxid: header.zxid.cast_unsigned(),
            },
        };
        if let Some(code) = (header.error != 0).then_some(header.error) {
            let code = Code::from_wire(code).map_err(malformed)?;
            if matches!(code, Code::SessionExpired | Code::SessionMoved) {
                // This was refused; what was asked behind it is lost with the connection.
                self.refused(answer);
                self.under_way.pop_front();
                return Err(io::ErrorKind::NotConnected.into());
            }
            self.answered(under.sent);
            self.under_way.pop_front();
            self.failed(answer, code);
            return Ok(());
        }
        self.answered(under.sent);
        self.under_way.pop_front();
        self.done(answer, reader.rest())
    }

    fn answered(&self, sent: Instant) {
        self.heard(sent);
        self.client.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// The member heard what was sent then.
    pub(super) fn heard(&self, sent: Instant) {
        let (session, member) = (self.session.id, self.member);
        let timeout = self.session.timeout;
        self.client
            .facts
            .check(|properties, _| properties.expiry.heard(session, sent, (member, timeout)));
    }

    fn record(&self, answer: Answer, act: Act<Key, key::Value>) {
        let session = self.session.id.cast_unsigned();
        let record = history::record(session, answer.under.invoked, act, Some(answer.stamp));
        self.client.history.book().record(record);
    }

    fn sampled(&self, answer: Answer, output: Output) {
        let at = answer.stamp.at;
        let mut book = self.client.history.book();
        book.sampled(self.sampling, at, Some(output));
    }

    fn refused(&self, answer: Answer) {
        let is_sampled = matches!(
            answer.under.what,
            What::Sample | What::Set(Key::Sample, _) | What::Create(Key::Sample, _)
        );
        if is_sampled {
            let at = answer.stamp.at;
            self.client.history.book().refused(self.sampling, at);
        }
    }

    /// An error that says something about the nodes.
    fn failed(&mut self, answer: Answer, code: Code) {
        match (answer.under.what, code) {
            (What::Get(key, _), Code::NoNode) => {
                let (found, watch) = (None, Watch::Unset);
                self.record(answer, Act::Read { key, found, watch });
            },
            (What::Await(key), Code::NoNode) => {
                let (found, watch) = (None, Watch::Set);
                self.record(answer, Act::Read { key, found, watch });
                self.watch(key, answer.stamp.zxid, true);
            },
            // Its member has no room on its disk.
            (_, Code::ThrottledOp) => {
                self.client.facts.met("write refused for a full disk");
                self.refused(answer);
            },
            (What::Sample, Code::NoNode) => self.sampled(answer, Output::Value(None)),
            (What::Create(..) | What::Lock, Code::NodeExists)
            | (What::Set(..) | What::Delete(_) | What::Unlock, Code::NoNode) => {
                self.refused(answer);
                if matches!(answer.under.what, What::Unlock) {
                    self.holding = None;
                }
            },
            (what, code) => {
                let number = self.client.number;
                let detail = format_args!("client {number} asked {what:?} and got {code:?}");
                self.client
                    .facts
                    .violated("errors have their reasons", detail);
            },
        }
    }

    fn watch(&mut self, key: Key, zxid: u64, awaits: bool) {
        let watching = Watching { zxid, awaits };
        self.session.watches.entry(key).or_insert(watching);
    }

    fn done(&mut self, answer: Answer, body: &[u8]) -> io::Result<()> {
        match answer.under.what {
            What::Create(key, value) | What::Set(key, value) => {
                let value = Some(value);
                self.record(answer, Act::Write { key, value });
                self.wrote_sample(answer, key);
            },
            What::Delete(key) => self.record(answer, Act::Write { key, value: None }),
            What::Get(key, watch) => {
                let found = found(body)?;
                let found = Some(found);
                self.record(answer, Act::Read { key, found, watch });
                if watch == Watch::Set {
                    self.watch(key, answer.stamp.zxid, false);
                }
            },
            What::Await(key) => {
                let Reply::Stat(stat) = Reply::read(Opcode::Exists, body).map_err(malformed)?
                else {
                    return Err(io::ErrorKind::InvalidData.into());
                };
                let zxid = stat.mzxid.cast_unsigned();
                let value = self.client.history.book().put_by(key, zxid);
                let (found, watch) = (value.map(|value| (value, zxid)), Watch::Set);
                self.record(answer, Act::Read { key, found, watch });
                self.watch(key, answer.stamp.zxid, false);
            },
            What::Sync => self.record(answer, Act::Sync),
            What::Sample => {
                let (value, _) = found(body)?;
                self.sampled(answer, Output::Value(Some(value.cast_signed())));
            },
            What::Ephemeral(number) => {
                let path = ephemeral(self.session.id, number);
                let mut book = self.client.history.book();
                book.ephemeral(self.session.id, path);
            },
            What::Lock => self.acquired(answer),
            What::Unlock => self.holding = None,
            What::WatchAgain => {},
            What::Close => self.session.id = 0,
        }
        Ok(())
    }

    fn wrote_sample(&self, answer: Answer, key: Key) {
        if key == Key::Sample {
            self.sampled(answer, Output::Done);
        }
    }

    fn acquired(&mut self, answer: Answer) {
        let token = answer.stamp.zxid;
        let hold = self.client.history.book().hold(Hold {
            client: self.client.number,
            token,
            invoked: answer.under.invoked,
            acquired: answer.stamp.at,
            released: None,
        });
        self.client.facts.met("lock acquired");
        self.holding = Some(Holding { hold, token });
    }

    /// Uses what the lock protects, believing that it has the lock.
    pub(super) fn use_lock(&mut self) {
        let Some(holding) = self.holding else { return };
        let facts = &self.client.facts;
        let at = (facts.moment(), facts.moment());
        let who = (self.client.number, holding.token);
        let mut book = self.client.history.book();
        book.use_resource(who, at, self.client.is_fenced);
        book.believed_until(holding.hold, at.1);
    }

    /// A watch fired.
    fn told(&mut self, event: &Event<'_>) {
        self.client.facts.met("watch fired");
        let Some(key) = Key::at(event.path) else {
            return;
        };
        let watching = self.session.watches.remove(&key);
        let mut book = self.client.history.book();
        let zxid = watching.map_or(0, |watching| book.first_after(key, watching.zxid));
        let at = self.client.facts.moment();
        let session = self.session.id.cast_unsigned();
        let stamp = Some(Stamp { at, zxid });
        book.record(history::record(session, at, Act::Event { key }, stamp));
    }
}

/// The value and the transaction of a read.
fn found(body: &[u8]) -> io::Result<(key::Value, u64)> {
    let reply = Reply::read(Opcode::GetData, body).map_err(malformed)?;
    let Reply::Data { data, stat } = reply else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    Ok((key::value(data), stat.mzxid.cast_unsigned()))
}
