//! What a policy is called.
//!
//! Prevents a refusal that costs more for its name than for the decision, and threads that wait for
//! each other to copy it: a literal is copied as it is; only a name that was made at run time is
//! counted.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// The name of a policy: the service that it guards. Every [`Rejection`](crate::Rejection) carries
/// one.
///
/// ```
/// use mainstay::{Bulkhead, Name};
///
/// let literal = Bulkhead::builder("payment").build().unwrap();
/// let read = Bulkhead::builder(String::from("payment")).build().unwrap();
/// # drop((literal, read));
/// assert_eq!(Name::from("payment"), Name::from(String::from("payment")));
/// ```
#[derive(Clone)]
pub struct Name(Kept);

#[derive(Clone)]
enum Kept {
    Literal(&'static str),
    Counted(Arc<str>),
}

impl Name {
    /// As text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Kept::Literal(name) => name,
            Kept::Counted(name) => name,
        }
    }
}

impl From<&'static str> for Name {
    fn from(name: &'static str) -> Self {
        Self(Kept::Literal(name))
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self(Kept::Counted(name.into()))
    }
}

impl From<Arc<str>> for Name {
    fn from(name: Arc<str>) -> Self {
        Self(Kept::Counted(name))
    }
}

impl From<&Self> for Name {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

/// As events carry it: that of a literal is made anew.
impl From<&Name> for Arc<str> {
    fn from(name: &Name) -> Self {
        match &name.0 {
            Kept::Literal(name) => Self::from(*name),
            Kept::Counted(name) => Self::clone(name),
        }
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other)
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_same_text_are_equal_however_they_are_kept() {
        let literal = Name::from("payment");
        let counted = Name::from(Arc::<str>::from("payment"));
        assert_eq!(literal, counted);
        assert_eq!(literal, "payment");
        assert_eq!(format!("{counted} {counted:?}"), "payment \"payment\"");
        let later = Name::from("storage");
        assert!(literal < later);
    }

    #[test]
    fn only_a_name_made_at_run_time_is_counted() {
        let shared = Arc::<str>::from("payment");
        let counted = Name::from(Arc::clone(&shared));
        let copy = counted.clone();
        assert_eq!(Arc::strong_count(&shared), 3);
        drop((counted, copy));
        assert_eq!(Arc::strong_count(&shared), 1);
    }
}
