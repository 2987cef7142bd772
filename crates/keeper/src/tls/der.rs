//! DER: as much of it as certificates and key stores need.
//!
//! Prevents a reader that believes lengths: whatever is longer than what there is, or not in the
//! one form that DER allows for lengths, is refused.

use std::fmt;

pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, with something inside.
pub(super) const CONTEXT_0: u8 = 0xa0;

/// Not what DER allows, or not what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotDer;

impl fmt::Display for NotDer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is not well-formed DER")
    }
}

/// One value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    pub(super) tag: u8,
    /// Without tag and length.
    pub(super) body: &'a [u8],
    /// With them.
    pub(super) whole: &'a [u8],
}

/// Values one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next value.
    pub(super) fn peek(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value, whatever it is.
    pub(super) fn next(&mut self) -> Result<Item<'a>, NotDer> {
        let (&[tag, length], rest) = self.0.split_first_chunk().ok_or(NotDer)?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest
                    .split_at_checked(usize::from(length & 0x7f))
                    .ok_or(NotDer)?;
                let length = digits
                    .iter()
                    .fold(0_usize, |sum, &digit| sum << 8 | usize::from(digit));
                (length, rest)
            },
            _ => return Err(NotDer),
        };
        let (body, rest) = rest.split_at_checked(length).ok_or(NotDer)?;
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Ok(Item { tag, body, whole })
    }

    /// The next value, which must be of this kind.
    pub(super) fn expect(&mut self, tag: u8) -> Result<Item<'a>, NotDer> {
        let item = self.next()?;
        if item.tag == tag {
            Ok(item)
        } else {
            Err(NotDer)
        }
    }

    /// What is inside the next value, which must be of this kind.
    pub(super) fn inside(&mut self, tag: u8) -> Result<Self, NotDer> {
        self.expect(tag).map(|item| Self(item.body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        for bytes in [
            &[SEQUENCE][..],
            &[SEQUENCE, 1],
            &[SEQUENCE, 0x80],
            &[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[SEQUENCE, 0x88, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(Der::new(bytes).next().map(|item| item.tag), Err(NotDer));
        }
    }

    #[test]
    fn values_are_found_one_after_the_other() {
        let bytes = [INTEGER, 1, 5, SEQUENCE, 0x81, 2, INTEGER, 0, OID];
        let mut der = Der::new(&bytes);
        assert_eq!(der.next().expect("a number").body, [5]);
        let mut inside = der.inside(SEQUENCE).expect("a sequence");
        assert_eq!(
            inside.expect(INTEGER).expect("a number").whole,
            [INTEGER, 0]
        );
        assert!(inside.is_empty());
        assert_eq!(der.peek(), Some(OID));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut der = Der::new(&bytes);
            while let Ok(item) = der.next() {
                prop_assert!(!item.whole.is_empty());
            }
        }
    }
}
