//! Bugs on purpose, one per run: each has to be found.
//!
//! Prevents a simulation that finds nothing because it looks at nothing. Most are in the keeper,
//! where only builds of the simulation know them ([`planted`](mainstay_keeper::planted)); two lie
//! outside of it: a disk that lies, and a resource that does not look at tokens.

use mainstay_keeper::planted::Bug;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// One of the keeper's.
    Keeper(Bug),
    /// A disk says that it has synced, and has not: an acknowledgement before its fsync.
    LyingDisk,
    /// What the lock protects does not look at fencing tokens.
    LockWithoutFencing,
}

impl Plant {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let keepers = Bug::ALL.into_iter().map(Self::Keeper);
        keepers.chain([Self::LyingDisk, Self::LockWithoutFencing])
    }

    /// Its name, for the command line.
    pub fn name(self) -> String {
        let name = match self {
            Self::Keeper(bug) => format!("{bug:?}"),
            Self::LyingDisk | Self::LockWithoutFencing => format!("{self:?}"),
        };
        let mut words = String::new();
        for letter in name.chars() {
            if letter.is_uppercase() && !words.is_empty() {
                words.push('-');
            }
            words.extend(letter.to_lowercase());
        }
        words
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|plant| plant.name() == name)
    }

    /// Plants it in this process.
    #[cfg(mainstay_planted)]
    pub fn plant(self) {
        if let Self::Keeper(bug) = self {
            mainstay_keeper::planted::plant(bug);
        }
    }

    /// Nothing can be planted in a build that does not know how.
    #[cfg(not(mainstay_planted))]
    #[expect(clippy::unused_self, reason = "as it is where something can be")]
    pub const fn plant(self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name_of_its_own() {
        for plant in Plant::all() {
            assert_eq!(Plant::named(&plant.name()), Some(plant));
        }
        assert!(Plant::all().count() >= 12);
        assert_eq!(Plant::LyingDisk.name(), "lying-disk");
    }
}
