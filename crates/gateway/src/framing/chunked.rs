//! The chunked coding as a small state machine that accepts nothing ambiguous.
//!
//! Prevents two readers who disagree on where a message ends: sizes are plain hexadecimal, lines
//! end in CR LF and in nothing else, extensions and trailers are bounded. It judges bytes and
//! copies only trailers; whoever steps it takes the data.

/// Bytes of all chunk extensions of one message; they mean nothing to us, so a few are enough.
const EXTENSION_BYTES_MAX: u32 = 4_096;
/// Bytes of a trailer section.
const TRAILER_BYTES_MAX: usize = 8_192;
/// Hexadecimal digits of a chunk's size; 16 hold 2^64 - 1.
const SIZE_DIGITS_MAX: u8 = 16;

/// What the bytes just stepped over were.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Sizes, line ends, extensions or trailers.
    Framing,
    /// Data of the message.
    Data,
    /// The message ended with these bytes.
    End,
}

/// The bytes are not a valid chunked message; the text says why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

#[derive(Debug, Clone, Copy)]
enum State {
    Size { value: u64, digits: u8 },
    Extension { value: u64 },
    SizeEnd { value: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// A chunked message being read.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    extension_bytes: u32,
    trailers: Vec<u8>,
}

impl Chunked {
    /// At the first chunk's size.
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Size {
                value: 0,
                digits: 0,
            },
            extension_bytes: 0,
            trailers: Vec::new(),
        }
    }

    /// The trailer section, line by line with the empty line at its end; complete after
    /// [`Piece::End`].
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Whether the message has ended.
    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Steps over some of `input`, which must not be empty; returns how many bytes and what they
    /// were.
    pub(crate) fn step(&mut self, input: &[u8]) -> Result<(usize, Piece), Malformed> {
        match self.state {
            State::Data { left } => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let left = left - count as u64;
                self.state = if left == 0 {
                    State::DataCr
                } else {
                    State::Data { left }
                };
                Ok((count, Piece::Data))
            },
            State::Trailers => self.trailer_bytes(input),
            State::Done => Ok((0, Piece::End)),
            State::Size { .. }
            | State::Extension { .. }
            | State::SizeEnd { .. }
            | State::DataCr
            | State::DataLf => self.framing_bytes(input),
        }
    }

    fn framing_bytes(&mut self, input: &[u8]) -> Result<(usize, Piece), Malformed> {
        for (index, byte) in input.iter().enumerate() {
            self.state = self.framing_byte(*byte)?;
            if matches!(self.state, State::Data { .. } | State::Trailers) {
                return Ok((index + 1, Piece::Framing));
            }
        }
        Ok((input.len(), Piece::Framing))
    }

    fn framing_byte(&mut self, byte: u8) -> Result<State, Malformed> {
        match (self.state, byte) {
            (State::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err(Malformed("chunk size is too large"));
                }
                Ok(State::Size {
                    value: value << 4 | u64::from(hex(byte)),
                    digits: digits + 1,
                })
            },
            (State::Size { digits: 0, .. }, _) => Err(Malformed("chunk without a size")),
            (State::Size { value, .. } | State::Extension { value }, b'\r') => {
                Ok(State::SizeEnd { value })
            },
            (State::Size { value, .. }, b';') => Ok(State::Extension { value }),
            (State::Size { .. }, _) => Err(Malformed("chunk size is not hexadecimal")),
            (State::Extension { value }, b'\t' | b' '..=b'~' | 0x80..=0xff) => {
                self.extension_bytes += 1;
                if self.extension_bytes > EXTENSION_BYTES_MAX {
                    return Err(Malformed("chunk extensions are too long"));
                }
                Ok(State::Extension { value })
            },
            (State::Extension { .. }, _) => Err(Malformed("control byte in a chunk extension")),
            (State::SizeEnd { value: 0 }, b'\n') => Ok(State::Trailers),
            (State::SizeEnd { value }, b'\n') => Ok(State::Data { left: value }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size {
                value: 0,
                digits: 0,
            }),
            (State::SizeEnd { .. } | State::DataCr | State::DataLf, _) => {
                Err(Malformed("chunk does not end in CR LF"))
            },
            (State::Data { .. } | State::Trailers | State::Done, _) => Ok(self.state),
        }
    }

    fn trailer_bytes(&mut self, input: &[u8]) -> Result<(usize, Piece), Malformed> {
        for (index, byte) in input.iter().enumerate() {
            let after_cr = self.trailers.last() == Some(&b'\r');
            if after_cr != (*byte == b'\n') {
                return Err(Malformed("trailer line does not end in CR LF"));
            }
            if self.trailers.len() == TRAILER_BYTES_MAX {
                return Err(Malformed("trailers are too long"));
            }
            self.trailers.push(*byte);
            if self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n") {
                self.state = State::Done;
                return Ok((index + 1, Piece::End));
            }
        }
        Ok((input.len(), Piece::Framing))
    }
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(mut input: &[u8], step: usize) -> Result<(Vec<u8>, bool), Malformed> {
        let mut chunked = Chunked::new();
        let mut data = Vec::new();
        while !input.is_empty() {
            let (count, piece) = chunked.step(&input[..step.min(input.len())])?;
            if piece == Piece::Data {
                data.extend_from_slice(&input[..count]);
            }
            input = &input[count..];
            if piece == Piece::End {
                return Ok((data, true));
            }
        }
        Ok((data, false))
    }

    #[test]
    fn a_message_decodes_alike_however_it_is_cut() {
        let message = b"5\r\nhello\r\n06;a=b\r\n world\r\n0\r\nx-sum: 1\r\n\r\n";
        for step in 1..message.len() {
            let decoded = decode(message, step).expect("the message is valid");
            assert_eq!(decoded, (b"hello world".to_vec(), true), "cut at {step}");
        }
    }

    #[test]
    fn ambiguous_chunks_are_malformed() {
        for message in [
            &b"\r\n"[..],
            b"5\nhello",
            b"0x5\r\nhello",
            b"+5\r\nhello",
            b" 5\r\nhello",
            b"5 \r\nhello",
            b"-1\r\n",
            b"10000000000000000\r\n",
            b"00000000000000005\r\nhello",
            b"5;a\nb\r\nhello",
            b"5;\0\r\nhello",
            b"5\r\nhelloX\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello\r0\r\n\r\n",
            b"0\r\nx: 1\n\r\n",
            b"0\r\nx: 1\rY\r\n\r\n",
        ] {
            let text = String::from_utf8_lossy(message);
            assert!(decode(message, 1).is_err(), "{text:?} byte by byte");
            assert!(decode(message, 99).is_err(), "{text:?} at once");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let long = [b"1;".to_vec(), vec![b'a'; 5_000], b"\r\n".to_vec()].concat();
        assert!(decode(&long, 512).is_err());
        let long = [b"0\r\nx: ".to_vec(), vec![b'a'; 9_000]].concat();
        assert!(decode(&long, 512).is_err());
    }
}
