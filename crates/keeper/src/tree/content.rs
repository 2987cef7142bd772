//! A node's name and its data, in one piece of memory.
//!
//! Prevents two allocations for each node, whose heads and rounding weigh more than most names: a
//! name lies before the data that it is the name of, and is copied when those change.
//!
//! ```text
//! form:1 | length of a long name:4 | name | data
//! form   the length of a short name, or LONG; and whether there are data
//! ```

use std::iter::repeat_n;
use std::sync::Arc;

/// Set in the form when there are data, be they empty.
const HAS_DATA: u8 = 0x80;

/// In the form instead of a length that does not fit there.
const LONG: u8 = 0x7f;

/// A name and data. Cheap to copy.
#[derive(Clone, Debug)]
pub(super) struct Content(Arc<[u8]>);

impl Content {
    pub(super) fn new(name: &str, data: Option<&[u8]>) -> Self {
        // A name comes from a message, which is shorter than that.
        let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
        let long = length.to_le_bytes();
        let short = u8::try_from(length).ok().filter(|&length| length < LONG);
        let form = [short.unwrap_or(LONG) | if data.is_some() { HAS_DATA } else { 0 }];
        let parts: [&[u8]; 4] = [
            &form,
            if short.is_some() { &[] } else { &long },
            name.as_bytes(),
            data.unwrap_or_default(),
        ];
        let total = parts.iter().map(|part| part.len()).sum();
        let mut bytes: Arc<[u8]> = repeat_n(0, total).collect();
        // Nobody else has it yet.
        let mut rest = Arc::get_mut(&mut bytes).unwrap_or_default();
        for part in parts {
            let (room, behind) = rest.split_at_mut(part.len());
            room.copy_from_slice(part);
            rest = behind;
        }
        Self(bytes)
    }

    /// The same name with other data.
    pub(super) fn with_data(&self, data: Option<&[u8]>) -> Self {
        Self::new(self.name(), data)
    }

    pub(super) fn name_bytes(&self) -> &[u8] {
        let (from, to) = self.place_of_name();
        &self.0[from..to]
    }

    pub(super) fn name(&self) -> &str {
        // It was made of a text, so it always is one.
        std::str::from_utf8(self.name_bytes()).unwrap_or_default()
    }

    pub(super) fn data(&self) -> Option<&[u8]> {
        let has_data = self.0[0] & HAS_DATA != 0;
        has_data.then(|| &self.0[self.place_of_name().1..])
    }

    fn place_of_name(&self) -> (usize, usize) {
        let form = self.0[0] & !HAS_DATA;
        if form < LONG {
            return (1, 1 + usize::from(form));
        }
        let mut length = [0; 4];
        length.copy_from_slice(&self.0[1..5]);
        (5, 5 + u32::from_le_bytes(length) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_data_are_what_they_were_made_of_however_long() {
        let bytes = vec![7; 300];
        for length in [0, 1, 2, 125, 126, 127, 128, 255, 256, 300, 70_000] {
            let name: String = "an".chars().cycle().take(length).collect();
            for data in [None, Some(&bytes[..0]), Some(&bytes[..1]), Some(&bytes[..])] {
                let made = Content::new(&name, data);
                assert_eq!((made.name(), made.data()), (&*name, data));
                assert_eq!(made.name_bytes(), name.as_bytes());
                let other = made.with_data(Some(b"other"));
                assert_eq!((other.name(), other.data()), (&*name, Some(&b"other"[..])));
                assert_eq!(made.data(), data, "and the one before stays as it is");
            }
        }
    }

    #[test]
    fn a_short_name_costs_a_byte_more_than_it_has() {
        assert_eq!(Content::new("n000123", Some(&[1; 100])).0.len(), 108);
    }
}
