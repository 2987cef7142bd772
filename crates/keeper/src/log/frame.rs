//! Frames: what one flush wrote.

use crc32c::crc32c_append;
use mainstay_zk_proto::jute::Jute as _;

use super::record::Record;

/// Before the frames of a file.
pub(super) const SEGMENT_HEAD: u64 = 16;

/// Before the records of a frame.
pub(super) const FRAME_HEAD: usize = 24;

/// Frames begin at multiples of this.
pub(super) const ALIGN: usize = 8;

const SEGMENT_MAGIC: [u8; 8] = *b"mainlog1";
const FRAME_MAGIC: [u8; 4] = *b"\xf7fr\x01";

/// One frame, found in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) number: u64,
    pub(super) records: &'a [u8],
    /// Its length with head and padding.
    pub(super) length: usize,
}

impl<'a> Frame<'a> {
    /// The bytes of a frame of `records`, in `scratch`.
    pub(super) fn encode<'s>(
        scratch: &'s mut Vec<u8>,
        number: u64,
        salt: u64,
        records: &[Record<'_>],
    ) -> &'s [u8] {
        scratch.clear();
        scratch.resize(FRAME_HEAD, 0);
        for record in records {
            record.write(scratch);
        }
        let length = scratch.len() - FRAME_HEAD;
        // A flush is bounded by what a leader sends at once, far below four gigabytes.
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        scratch[0..4].copy_from_slice(&FRAME_MAGIC);
        scratch[8..16].copy_from_slice(&number.to_le_bytes());
        scratch[16..20].copy_from_slice(&length);
        let crc = checksum(salt, &scratch[8..]);
        scratch[4..8].copy_from_slice(&crc.to_le_bytes());
        scratch.resize(scratch.len().next_multiple_of(ALIGN), 0);
        scratch
    }

    /// The frame at the beginning of `bytes`, if there is a good one.
    pub(super) fn decode(bytes: &'a [u8], salt: u64) -> Option<Self> {
        let head = bytes.first_chunk::<FRAME_HEAD>()?;
        if head[..4] != FRAME_MAGIC {
            return None;
        }
        let crc = u32::from_le_bytes(*head[4..].first_chunk()?);
        let number = u64::from_le_bytes(*head[8..].first_chunk()?);
        let length = u32::from_le_bytes(*head[16..].first_chunk()?) as usize;
        let end = FRAME_HEAD.checked_add(length)?;
        let records = bytes.get(FRAME_HEAD..end)?;
        (checksum(salt, &bytes[8..end]) == crc).then_some(Self {
            number,
            records,
            length: end.next_multiple_of(ALIGN),
        })
    }
}

fn checksum(salt: u64, bytes: &[u8]) -> u32 {
    crc32c_append(crc32c_append(0, &salt.to_le_bytes()), bytes)
}

/// The name of the file whose first frame is `number`.
pub(super) fn segment_name(number: u64) -> String {
    format!("log-{number:016x}")
}

/// The number of the first frame of the file called so; `None` when it is none of the log's.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    let digits = name
        .strip_prefix("log-")
        .filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// The head of a file.
pub(super) fn segment_head(salt: u64) -> Vec<u8> {
    [SEGMENT_MAGIC, salt.to_le_bytes()].concat()
}

/// The salt in the head of a file.
pub(super) fn segment_salt(bytes: &[u8]) -> Option<u64> {
    let salt = bytes.strip_prefix(&SEGMENT_MAGIC)?;
    Some(u64::from_le_bytes(*salt.first_chunk()?))
}
