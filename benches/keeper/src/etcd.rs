//! etcd's protocol, as far as the load needs it: messages of `etcdserverpb` by hand.

use anyhow::{Result, bail};

use crate::http2::{Came, Http2};
use crate::operation::{LITTER, NODE_BYTES, Operation, VALUE_BYTES, value};
use crate::protocol::{self, What};

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const TXN: &str = "/etcdserverpb.KV/Txn";

/// gRPC's prefix of a message.
const PREFIX_BYTES: usize = 5;

/// A connection, and what was asked on it.
#[derive(Debug, Default)]
pub struct Client {
    http: Http2,
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    stream: u32,
    token: u32,
    expects: Expects,
    answer: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Expects {
    /// A message, whatever it says.
    Message,
    /// A value of at least so many bytes.
    Value(usize),
    /// A transaction whose condition held.
    Success,
}

impl protocol::Client for Client {
    fn greet(&mut self, out: &mut Vec<u8>) {
        self.asked.clear();
        self.http.greet(out);
    }

    fn ask(&mut self, operation: Operation, token: u32, out: &mut Vec<u8>) {
        let key = operation.path();
        let (path, message, expects) = match operation {
            Operation::Set { .. } | Operation::Key { .. } => {
                let message = put(key.as_bytes(), &value::<VALUE_BYTES>());
                (PUT, message, Expects::Message)
            },
            Operation::Folder { .. } => (PUT, put(key.as_bytes(), &[]), Expects::Message),
            Operation::Get { .. } | Operation::Watch { .. } => {
                (RANGE, range(key.as_bytes()), Expects::Value(VALUE_BYTES))
            },
            Operation::Look { .. } => (RANGE, range(key.as_bytes()), Expects::Value(NODE_BYTES)),
            Operation::Create { .. } => {
                let put = put(key.as_bytes(), &value::<VALUE_BYTES>());
                (TXN, create(key.as_bytes(), &put), Expects::Success)
            },
            Operation::Litter { first } => (TXN, litter(first), Expects::Success),
        };
        let stream = self.http.ask(path, &message, out);
        self.asked.push(Asked {
            stream,
            token,
            expects,
            answer: Vec::new(),
        });
    }

    fn hear(&mut self, input: &[u8], out: &mut Vec<u8>, heard: &mut Vec<What>) -> Result<usize> {
        let mut rest = input;
        while let Some(came) = self.http.take(&mut rest, out)? {
            match came {
                Came::Nothing => {},
                Came::Open => heard.push(What::Open),
                Came::Data(stream, data) => self.append(stream, data),
                Came::End(stream) => self.end(stream, heard)?,
            }
        }
        Ok(input.len() - rest.len())
    }

    fn leave(&mut self, _: &mut Vec<u8>) -> bool {
        false
    }
}

impl Client {
    fn append(&mut self, stream: u32, data: &[u8]) {
        let of_stream = |one: &&mut Asked| one.stream == stream;
        if let Some(asked) = self.asked.iter_mut().find(of_stream) {
            asked.answer.extend_from_slice(data);
        }
    }

    fn end(&mut self, stream: u32, heard: &mut Vec<What>) -> Result<()> {
        let Some(at) = self.asked.iter().position(|one| one.stream == stream) else {
            bail!("an answer that nobody asked for");
        };
        let asked = self.asked.swap_remove(at);
        heard.push(match asked.failure() {
            None => What::Done(asked.token),
            Some(why) => What::Refused(asked.token, why),
        });
        Ok(())
    }
}

impl Asked {
    /// Why the answer is not the right one.
    fn failure(&self) -> Option<String> {
        // A call that failed is answered by a head alone.
        let Some(message) = self.answer.get(PREFIX_BYTES..) else {
            return Some("the call failed".to_owned());
        };
        let fails = match self.expects {
            Expects::Message => message.is_empty(),
            Expects::Value(bytes) => message.len() < bytes,
            Expects::Success => !says_success(message),
        };
        fails.then(|| format!("the wrong answer: {message:?}"))
    }
}

/// Whether a `TxnResponse` says that the condition held: its field 2, behind the header.
fn says_success(message: &[u8]) -> bool {
    const HEADER: u8 = 1 << 3 | 2;
    const SUCCEEDED: u8 = 2 << 3;
    let [HEADER, length, rest @ ..] = message else {
        return false;
    };
    rest.get(usize::from(*length)..)
        .is_some_and(|rest| rest.starts_with(&[SUCCEEDED, 1]))
}

/// A `PutRequest`.
fn put(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    field(&mut out, 1, key);
    field(&mut out, 2, value);
    out
}

/// A `RangeRequest` of one key, answered by the member that is asked.
fn range(key: &[u8]) -> Vec<u8> {
    const SERIALIZABLE: u8 = 7 << 3;
    let mut out = Vec::new();
    field(&mut out, 1, key);
    out.extend_from_slice(&[SERIALIZABLE, 1]);
    out
}

/// A `TxnRequest`: puts what was not there.
fn create(key: &[u8], put: &[u8]) -> Vec<u8> {
    const VERSION: u8 = 4 << 3;
    let mut is_new = Vec::new();
    field(&mut is_new, 3, key);
    // Both are zero, the comparison (equal) and what is compared (the version), and left out.
    is_new.extend_from_slice(&[VERSION, 0]);
    let mut out = Vec::new();
    field(&mut out, 1, &is_new);
    then(&mut out, put);
    out
}

/// A `TxnRequest` without a condition.
fn litter(first: u32) -> Vec<u8> {
    let mut out = Vec::new();
    for node in first..first + LITTER {
        let key = Operation::Look { node }.path();
        then(&mut out, &put(key.as_bytes(), &value::<NODE_BYTES>()));
    }
    out
}

/// A put of a transaction, to be done when its condition holds.
fn then(out: &mut Vec<u8>, put: &[u8]) {
    let mut operation = Vec::new();
    field(&mut operation, 2, put);
    field(out, 2, &operation);
}

/// Appends a field of bytes.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or(0));
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_seven_bits_at_a_time() {
        let mut out = Vec::new();
        field(&mut out, 1, &[9; 300]);
        assert_eq!(out[..3], [0x0a, 0b1010_1100, 0b10]);
        assert_eq!(out.len(), 303);
    }

    #[test]
    fn a_transaction_whose_condition_did_not_hold_is_no_success() {
        assert!(says_success(&[0x0a, 2, 8, 1, 0x10, 1, 0x1a, 0]));
        assert!(!says_success(&[0x0a, 2, 8, 1]));
        assert!(!says_success(&[]));
    }

    #[test]
    fn a_call_without_a_message_failed() {
        let asked = Asked {
            stream: 1,
            token: 1,
            expects: Expects::Message,
            answer: Vec::new(),
        };
        assert!(asked.failure().is_some());
    }
}
