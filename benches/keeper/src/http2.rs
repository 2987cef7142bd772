//! HTTP/2, as far as a gRPC client needs it that asks and is answered in small messages.
//!
//! Prevents a compressor on the way: what is said with each request is in the connection's table
//! after the first one, as real clients have it, and is a few bytes then. Heads of answers are not
//! decoded: an answer of gRPC that failed has no message, and that is looked at.

use anyhow::{Context as _, Result, bail, ensure};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// A setting.
const INITIAL_WINDOW_SIZE: u16 = 4;

// HPACK: fields of the standard's table, and names of it whose value follows.
const METHOD_POST: u8 = 0x83;
const SCHEME_HTTP: u8 = 0x86;
/// Not remembered.
const PATH: u8 = 0x04;
/// Remembered.
const AUTHORITY: u8 = 0x41;
const CONTENT_TYPE: u8 = 0x5f;
const NEW_NAME: u8 = 0x40;
/// What was remembered first, then and last, when it was three fields. Names with a colon have to
/// come before those without.
const REMEMBERED: [u8; 3] = [0xc0, 0xbf, 0xbe];

/// What may be sent before the other end makes room.
const WINDOW: i64 = 65_535;
/// What the other end may send before this one makes room.
const OWN_WINDOW: u32 = 1 << 30;

/// The state of a connection.
#[derive(Debug, Default)]
pub struct Http2 {
    is_open: bool,
    is_primed: bool,
    /// The last stream.
    stream: u32,
    /// Bytes of data that may still be sent.
    room: i64,
    /// What waits for room.
    held: Vec<(u32, Vec<u8>)>,
    /// Bytes of data that came since the other end was given room.
    taken: u32,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Came<'a> {
    /// Something about the connection, which was seen to.
    Nothing,
    /// Requests may be sent.
    Open,
    /// Part of a stream's answer.
    Data(u32, &'a [u8]),
    /// The end of a stream.
    End(u32),
}

impl Http2 {
    pub fn greet(&mut self, out: &mut Vec<u8>) {
        *self = Self {
            room: WINDOW,
            ..Self::default()
        };
        out.extend_from_slice(PREFACE);
        let mut settings = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        settings.extend_from_slice(&OWN_WINDOW.to_be_bytes());
        frame(out, SETTINGS, 0, 0, &settings);
        frame(out, WINDOW_UPDATE, 0, 0, &OWN_WINDOW.to_be_bytes());
    }

    /// Sends a request; its answer comes on the stream that is returned.
    pub fn ask(&mut self, path: &str, message: &[u8], out: &mut Vec<u8>) -> u32 {
        self.stream = if self.stream == 0 { 1 } else { self.stream + 2 };
        let head = self.head(path);
        frame(out, HEADERS, END_HEADERS, self.stream, &head);
        // gRPC's prefix: not compressed, and how long.
        let mut data = vec![0];
        data.extend_from_slice(
            &u32::try_from(message.len())
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        data.extend_from_slice(message);
        self.held.push((self.stream, data));
        self.release(out);
        self.stream
    }

    /// Sends what there is room for, in order.
    fn release(&mut self, out: &mut Vec<u8>) {
        let mut sent = 0;
        for (stream, data) in &self.held {
            let length = i64::try_from(data.len()).unwrap_or(i64::MAX);
            if length > self.room {
                break;
            }
            self.room -= length;
            frame(out, DATA, END_STREAM, *stream, data);
            sent += 1;
        }
        self.held.drain(..sent);
    }

    /// The head of a request, in HPACK.
    fn head(&mut self, path: &str) -> Vec<u8> {
        let mut head = vec![METHOD_POST, SCHEME_HTTP, PATH];
        text(&mut head, path);
        if self.is_primed {
            head.extend_from_slice(&REMEMBERED);
        } else {
            self.is_primed = true;
            head.push(AUTHORITY);
            text(&mut head, "localhost");
            head.push(CONTENT_TYPE);
            text(&mut head, "application/grpc");
            head.push(NEW_NAME);
            text(&mut head, "te");
            text(&mut head, "trailers");
        }
        head
    }

    /// Takes one frame off `input`; `None` when it is not all there. Answers what is about the
    /// connection itself, and says what is about a stream.
    pub fn take<'a>(
        &mut self,
        input: &mut &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Came<'a>>> {
        let Some((&[l0, l1, l2, kind, flags, s0, s1, s2, s3], rest)) = input.split_first_chunk()
        else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let Some((body, rest)) = rest.split_at_checked(length) else {
            return Ok(None);
        };
        *input = rest;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]) & (u32::MAX >> 1);
        let is_end = flags & END_STREAM != 0;
        Ok(Some(match kind {
            DATA => {
                // The answers of gRPC end with a head.
                ensure!(flags & (PADDED | END_STREAM) == 0, "data of another kind");
                self.make_room(length, out);
                Came::Data(stream, body)
            },
            HEADERS if is_end => Came::End(stream),
            RST_STREAM => Came::End(stream),
            SETTINGS if flags & ACK == 0 => {
                frame(out, SETTINGS, ACK, 0, &[]);
                if std::mem::replace(&mut self.is_open, true) {
                    Came::Nothing
                } else {
                    Came::Open
                }
            },
            PING if flags & ACK == 0 => {
                frame(out, PING, ACK, 0, body);
                Came::Nothing
            },
            WINDOW_UPDATE if stream == 0 => {
                let more = body.first_chunk().context("a short update of the window")?;
                self.room += i64::from(u32::from_be_bytes(*more));
                self.release(out);
                Came::Nothing
            },
            GOAWAY => bail!("the server goes away: {}", String::from_utf8_lossy(body)),
            _ => Came::Nothing,
        }))
    }

    fn make_room(&mut self, length: usize, out: &mut Vec<u8>) {
        self.taken += u32::try_from(length).unwrap_or(0);
        if self.taken > OWN_WINDOW / 2 {
            frame(out, WINDOW_UPDATE, 0, 0, &self.taken.to_be_bytes());
            self.taken = 0;
        }
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(body);
}

/// A text without compression; none here is longer than one byte of length can say.
fn text(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or(0) & 0x7f);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_wait_until_there_is_room_for_them() {
        let mut http = Http2::default();
        let mut out = Vec::new();
        http.greet(&mut out);
        http.ask("/a", &vec![7; 65_000], &mut out);
        out.clear();
        http.ask("/a", &[7; 1_000], &mut out);
        assert!(out.len() < 100, "only its head goes");
        let mut update = Vec::new();
        frame(&mut update, WINDOW_UPDATE, 0, 0, &65_000_u32.to_be_bytes());
        out.clear();
        let came = http.take(&mut &*update, &mut out).expect("well-formed");
        assert_eq!(came, Some(Came::Nothing));
        assert_eq!(out.len(), 9 + 5 + 1_000);
    }

    #[test]
    fn a_ping_is_answered_with_what_it_holds() {
        let mut http = Http2::default();
        let (mut ping, mut answer) = (Vec::new(), Vec::new());
        frame(&mut ping, PING, 0, 0, b"abcdefgh");
        frame(&mut answer, PING, ACK, 0, b"abcdefgh");
        let mut out = Vec::new();
        http.take(&mut &*ping, &mut out).expect("well-formed");
        assert_eq!(out, answer);
    }

    #[test]
    fn half_a_frame_is_left_where_it_is() {
        let mut whole = Vec::new();
        frame(&mut whole, DATA, END_STREAM, 1, b"body");
        let mut input = &whole[..whole.len() - 1];
        let came = Http2::default().take(&mut input, &mut Vec::new());
        assert_eq!(came.expect("well-formed"), None);
        assert_eq!(input.len(), whole.len() - 1);
    }

    #[test]
    fn the_second_request_of_a_connection_is_much_shorter() {
        let mut http = Http2::default();
        let first = http.head("/a").len();
        assert!(http.head("/a").len() * 4 < first);
    }
}
