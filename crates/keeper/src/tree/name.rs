//! A node's own name.
//!
//! Prevents an allocation for each name, which costs more bytes than most names have: a short one
//! lies in the node itself.

use std::sync::Arc;

/// Longer ones are shared. As much as fits beside the length without making nodes larger.
const SHORT_MAX: usize = 22;

/// A name. Cheap to copy.
#[derive(Clone, Debug)]
pub(super) enum Name {
    /// UTF-8, as its maker had it, in the first `length` bytes.
    Short { length: u8, text: [u8; SHORT_MAX] },
    /// Too long for that.
    Long(Arc<str>),
}

impl Name {
    pub(super) fn new(name: &str) -> Self {
        let mut text = [0; SHORT_MAX];
        match (text.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(room), Ok(length)) => {
                room.copy_from_slice(name.as_bytes());
                Self::Short { length, text }
            },
            _ => Self::Long(name.into()),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, text } => &text[..usize::from(*length)],
            Self::Long(name) => name.as_bytes(),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            // It was made of a text, so it always is one.
            Self::Short { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Self::Long(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_they_were_made_of_however_long() {
        for length in 0..2 * SHORT_MAX {
            let name: String = "añc".chars().cycle().take(length).collect();
            let made = Name::new(&name);
            assert_eq!(made.as_str(), name);
            assert_eq!(made.as_bytes(), name.as_bytes());
            let is_short = matches!(made, Name::Short { .. });
            assert_eq!(is_short, name.len() <= SHORT_MAX, "{name}");
        }
    }

    #[test]
    fn a_name_is_no_larger_than_its_shared_form_and_a_word() {
        assert_eq!(size_of::<Name>(), 24);
    }
}
