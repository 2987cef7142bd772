//! The password that ZooKeeper gives a session.
//!
//! Prevents sessions that end with a move: their clients know this password, and it follows from
//! the session's number, as Java's `Random` derives it. Sessions that begin here have random ones.

use mainstay_zk_proto::handshake::PASSWORD_BYTES;

use crate::proposal::Password;

/// What ZooKeeper mixes in.
const SECRET: i64 = 0xB341_5C00;

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const SEED_MASK: u64 = (1 << 48) - 1;

/// The password of `session`.
pub(super) fn of(session: i64) -> Password {
    let mut seed = ((session ^ SECRET).cast_unsigned() ^ MULTIPLIER) & SEED_MASK;
    let mut password = [0; PASSWORD_BYTES];
    for four in password.chunks_exact_mut(4) {
        seed = seed.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & SEED_MASK;
        // The upper 32 of 48 bits, the lowest byte first.
        let bits = u32::try_from(seed >> 16).unwrap_or(u32::MAX);
        four.copy_from_slice(&bits.to_le_bytes());
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_java_gives() {
        // new Random(0x100000000000001L ^ 0xB3415C00L).nextBytes(…), Java 17.
        let expected = [
            5, 76, 199, 74, 55, 50, 125, 178, 21, 231, 2, 226, 12, 115, 240, 5,
        ];
        assert_eq!(of(0x0100_0000_0000_0001), expected);
    }

    #[test]
    fn it_is_what_zookeeper_gave_a_client() {
        // Read from a client of ZooKeeper 3.8.0.
        let given = b"G>\x17\xb0\xc8\x7f\xe2\xa3\xfd\xe3\x9e*Q\xa9Z\x0f";
        assert_eq!(&of(72_058_763_084_496_896), given);
    }
}
