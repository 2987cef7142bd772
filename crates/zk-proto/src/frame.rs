//! Frames: four bytes of length, then the message.
//!
//! Prevents a peer that promises gigabytes from being believed: the length is checked against a
//! limit before anything is kept for it.

use alloc::vec::Vec;
use core::fmt;

/// ZooKeeper's own limit (`jute.maxbuffer`): a mebibyte, less one.
pub const MESSAGE_BYTES_MAX: usize = 0xf_ffff;

/// Bytes before a message.
pub const PREFIX_BYTES: usize = 4;

/// A message longer than allowed, or of negative length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// The promised length.
    pub length: i32,
    /// What is allowed.
    pub bytes_max: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { length, bytes_max } = self;
        write!(
            f,
            "a message of {length} bytes; at most {bytes_max} are allowed (jute.maxbuffer)"
        )
    }
}

impl core::error::Error for TooLong {}

/// The length of the first message in `buffer`; `None` while its prefix is not there.
///
/// # Errors
///
/// [`TooLong`]: the connection cannot go on, since nobody knows where the next message begins.
pub fn length(buffer: &[u8], bytes_max: usize) -> Result<Option<usize>, TooLong> {
    let Some(prefix) = buffer.first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*prefix);
    usize::try_from(length)
        .ok()
        .filter(|&bytes| bytes <= bytes_max)
        .map(Some)
        .ok_or(TooLong { length, bytes_max })
}

/// Appends one frame; `write` appends the message.
pub fn append(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    write(out);
    let length = out.len() - start - PREFIX_BYTES;
    // Who writes frames keeps them below i32::MAX; a longer one would be refused by every peer.
    let prefix = i32::try_from(length).unwrap_or(-1).to_be_bytes();
    out[start..start + PREFIX_BYTES].copy_from_slice(&prefix);
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_frame_is_found_in_what_was_appended() {
        let mut out = vec![];
        append(&mut out, |out| out.extend_from_slice(b"ruok"));
        append(&mut out, |_| {});
        assert_eq!(length(&out, MESSAGE_BYTES_MAX), Ok(Some(4)));
        assert_eq!(&out[4..8], b"ruok");
        assert_eq!(length(&out[8..], MESSAGE_BYTES_MAX), Ok(Some(0)));
        assert_eq!(length(&out[..3], MESSAGE_BYTES_MAX), Ok(None));
    }

    #[test]
    fn a_length_beyond_the_limit_or_below_zero_ends_the_connection() {
        let at_limit = 0x000f_ffff_i32.to_be_bytes();
        assert_eq!(length(&at_limit, MESSAGE_BYTES_MAX), Ok(Some(0xf_ffff)));
        for wrong in [0x0010_0000, -1, i32::MIN] {
            assert_eq!(
                length(&wrong.to_be_bytes(), MESSAGE_BYTES_MAX),
                Err(TooLong {
                    length: wrong,
                    bytes_max: MESSAGE_BYTES_MAX
                })
            );
        }
    }
}
