//! ZooKeeper's protocol, as far as the load needs it.

use std::collections::VecDeque;

use anyhow::{Context as _, Result, bail, ensure};

use crate::operation::{LITTER, NODE_BYTES, Operation, VALUE_BYTES, value};
use crate::protocol::{Client, What};

/// The longest that servers grant: no session of the load is to end by itself.
const TIMEOUT_MS: i32 = 40_000;

const CREATE: i32 = 1;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const MULTI: i32 = 14;
const CLOSE: i32 = -11;

const XID_EVENT: i32 = -1;

const NODE_EXISTS: i32 = -110;

/// A session.
#[derive(Debug, Default)]
pub struct Session {
    is_open: bool,
    id: i64,
    password: [u8; 16],
    xid: i32,
    /// Answers come in this order.
    asked: VecDeque<Asked>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    xid: i32,
    token: u32,
    opcode: i32,
    /// Whether it may be there already.
    may_exist: bool,
}

/// The token of a goodbye, which nobody waits for by token.
const GOODBYE: u32 = u32::MAX;

impl Client for Session {
    fn greet(&mut self, out: &mut Vec<u8>) {
        self.is_open = false;
        self.asked.clear();
        frame(out, |out| {
            int(out, 0);
            long(out, 0);
            int(out, TIMEOUT_MS);
            long(out, self.id);
            bytes(out, &self.password);
            out.push(0);
        });
    }

    fn ask(&mut self, operation: Operation, token: u32, out: &mut Vec<u8>) {
        let path = operation.path();
        let opcode = match operation {
            Operation::Set { .. } => SET_DATA,
            Operation::Get { .. } | Operation::Look { .. } | Operation::Watch { .. } => GET_DATA,
            Operation::Create { .. } | Operation::Folder { .. } | Operation::Key { .. } => CREATE,
            Operation::Litter { .. } => MULTI,
        };
        let may_exist = matches!(operation, Operation::Folder { .. } | Operation::Key { .. });
        self.request((opcode, token), may_exist, out, |out| match operation {
            Operation::Set { .. } => {
                bytes(out, path.as_bytes());
                bytes(out, &value::<VALUE_BYTES>());
                int(out, -1);
            },
            Operation::Get { .. } | Operation::Look { .. } => {
                bytes(out, path.as_bytes());
                out.push(0);
            },
            Operation::Watch { .. } => {
                bytes(out, path.as_bytes());
                out.push(1);
            },
            Operation::Create { .. } | Operation::Key { .. } => {
                create(out, &path, &value::<VALUE_BYTES>());
            },
            Operation::Folder { .. } => create(out, &path, &[]),
            Operation::Litter { first } => litter(out, first),
        });
    }

    fn hear(&mut self, input: &[u8], out: &mut Vec<u8>, heard: &mut Vec<What>) -> Result<usize> {
        let _ = out;
        let mut rest = input;
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*length))?;
            let Some((message, after)) = after.split_at_checked(length) else {
                break;
            };
            rest = after;
            if self.is_open {
                self.answer(message, heard)?;
            } else {
                self.open(message)?;
                heard.push(What::Open);
            }
        }
        Ok(input.len() - rest.len())
    }

    fn leave(&mut self, out: &mut Vec<u8>) -> bool {
        self.request((CLOSE, GOODBYE), false, out, |_| {});
        true
    }
}

impl Session {
    fn request(
        &mut self,
        (opcode, token): (i32, u32),
        may_exist: bool,
        out: &mut Vec<u8>,
        body: impl FnOnce(&mut Vec<u8>),
    ) {
        self.xid = self.xid.checked_add(1).unwrap_or(1);
        let xid = self.xid;
        self.asked.push_back(Asked {
            xid,
            token,
            opcode,
            may_exist,
        });
        frame(out, |out| {
            int(out, xid);
            int(out, opcode);
            body(out);
        });
    }

    fn open(&mut self, message: &[u8]) -> Result<()> {
        // version:4 | timeout:4 | session:8 | password, its length before it
        let id = long_at(message, 8)?;
        ensure!(id != 0, "the session is over");
        self.id = id;
        let password = message
            .get(20..36)
            .context("a greeting that is too short")?;
        self.password.copy_from_slice(password);
        self.is_open = true;
        Ok(())
    }

    fn answer(&mut self, message: &[u8], heard: &mut Vec<What>) -> Result<()> {
        // xid:4 | zxid:8 | error:4 | body
        let xid = int_at(message, 0)?;
        let error = int_at(message, 12)?;
        if xid == XID_EVENT {
            heard.push(What::Event);
            return Ok(());
        }
        let asked = self
            .asked
            .pop_front()
            .context("an answer that nobody asked for")?;
        ensure!(asked.xid == xid, "answer {xid} instead of {}", asked.xid);
        if asked.token == GOODBYE {
            heard.push(What::Done(GOODBYE));
            return Ok(());
        }
        let fails = match asked.opcode {
            // A multi that failed says so in its first result.
            MULTI if error == 0 => (int_at(message, 16)? != CREATE).then_some(-2),
            GET_DATA if error == 0 => {
                let length = usize::try_from(int_at(message, 16)?).unwrap_or(0);
                ensure!(
                    [VALUE_BYTES, NODE_BYTES].contains(&length),
                    "a value of {length} bytes"
                );
                None
            },
            _ => (error != 0 && !(asked.may_exist && error == NODE_EXISTS)).then_some(error),
        };
        heard.push(match fails {
            None => What::Done(asked.token),
            Some(error) => What::Refused(asked.token, format!("error {error}")),
        });
        Ok(())
    }
}

/// Appends a message with its length before it.
fn frame(out: &mut Vec<u8>, message: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    int(out, 0);
    message(out);
    let length = i32::try_from(out.len() - start - 4).unwrap_or(i32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn create(out: &mut Vec<u8>, path: &str, data: &[u8]) {
    const ALL: i32 = 31;
    bytes(out, path.as_bytes());
    bytes(out, data);
    int(out, 1);
    int(out, ALL);
    bytes(out, b"world");
    bytes(out, b"anyone");
    int(out, 0);
}

fn litter(out: &mut Vec<u8>, first: u32) {
    for node in first..first + LITTER {
        int(out, CREATE);
        out.push(0);
        int(out, -1);
        let path = Operation::Look { node }.path();
        create(out, &path, &value::<NODE_BYTES>());
    }
    int(out, -1);
    out.push(1);
    int(out, -1);
}

fn int(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn long(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    int(out, i32::try_from(value.len()).unwrap_or(i32::MAX));
    out.extend_from_slice(value);
}

fn int_at(message: &[u8], at: usize) -> Result<i32> {
    match message.get(at..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => Ok(i32::from_be_bytes(*bytes)),
        None => bail!("a message of {} bytes", message.len()),
    }
}

fn long_at(message: &[u8], at: usize) -> Result<i64> {
    match message.get(at..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => Ok(i64::from_be_bytes(*bytes)),
        None => bail!("a message of {} bytes", message.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(xid: i32, error: i32, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame(&mut out, |out| {
            int(out, xid);
            long(out, 9);
            int(out, error);
            out.extend_from_slice(body);
        });
        out
    }

    fn open() -> Session {
        let mut session = Session::default();
        let mut greeting = Vec::new();
        frame(&mut greeting, |out| {
            int(out, 0);
            int(out, TIMEOUT_MS);
            long(out, 7);
            bytes(out, &[5; 16]);
            out.push(0);
        });
        let mut heard = Vec::new();
        let used = session.hear(&greeting, &mut Vec::new(), &mut heard);
        assert_eq!(used.expect("well-formed"), greeting.len());
        assert_eq!(heard, [What::Open]);
        session
    }

    fn hear(session: &mut Session, input: &[u8]) -> Result<Vec<What>> {
        let mut heard = Vec::new();
        session.hear(input, &mut Vec::new(), &mut heard)?;
        Ok(heard)
    }

    #[test]
    fn answers_belong_to_requests_in_their_order_and_events_to_none() {
        let mut session = open();
        let mut out = Vec::new();
        session.ask(Operation::Set { key: 1 }, 10, &mut out);
        session.ask(Operation::Set { key: 2 }, 11, &mut out);
        let input = [answer(1, 0, &[]), answer(-1, 0, &[]), answer(2, -101, &[])].concat();
        let heard = hear(&mut session, &input).expect("well-formed");
        let refused = What::Refused(11, "error -101".to_owned());
        assert_eq!(heard, [What::Done(10), What::Event, refused]);
    }

    #[test]
    fn an_answer_out_of_order_is_an_error() {
        let mut session = open();
        session.ask(Operation::Set { key: 1 }, 10, &mut Vec::new());
        assert!(hear(&mut session, &answer(2, 0, &[])).is_err());
    }

    #[test]
    fn a_value_of_the_wrong_length_is_an_error() {
        let mut session = open();
        session.ask(Operation::Get { key: 1 }, 10, &mut Vec::new());
        assert!(hear(&mut session, &answer(1, 0, &[0, 0, 0, 3, 1, 2, 3])).is_err());
    }

    #[test]
    fn a_multi_that_failed_is_refused_although_its_answer_has_no_error() {
        let mut session = open();
        session.ask(Operation::Litter { first: 0 }, 10, &mut Vec::new());
        let heard = hear(&mut session, &answer(1, 0, &(-1_i32).to_be_bytes()));
        assert!(matches!(
            heard.expect("well-formed")[..],
            [What::Refused(10, _)]
        ));
    }

    #[test]
    fn half_a_message_waits_for_its_other_half() {
        let mut session = open();
        session.ask(Operation::Set { key: 1 }, 10, &mut Vec::new());
        let message = answer(1, 0, &[]);
        let mut heard = Vec::new();
        let used = session.hear(&message[..9], &mut Vec::new(), &mut heard);
        assert_eq!((used.expect("well-formed"), heard), (0, vec![]));
    }
}
