//! What the service really charged, against what its users were told.
//!
//! Prevents a drill that believes the answers: the charges are counted in the ledger by the id
//! that each write carried. An acknowledged write that was never charged is lost; a write that was
//! charged more than once is doubled, whatever its user was told. A write that was charged but
//! never acknowledged is neither: its user may send it again with its key.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

/// What is wrong with the writes of an arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Writes {
    /// Acknowledged and never charged.
    pub(crate) lost: u64,
    /// Charged more than once.
    pub(crate) doubled: u64,
}

/// Charges by the id of the write.
pub(crate) type Charges = BTreeMap<String, u64>;

/// A charge as the service records it.
#[derive(Deserialize)]
struct Charge {
    id: String,
}

/// Counts the charges in `ledger`.
///
/// # Errors
/// The ledger or a charge cannot be read: then nothing can be said about any write.
pub(crate) fn charges(ledger: &Path) -> anyhow::Result<Charges> {
    let mut charges = Charges::new();
    let unreadable = || format!("cannot read the ledger {}", ledger.display());
    for entry in std::fs::read_dir(ledger).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        // A draft never became a charge: its replica was killed before it took its name.
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let name = || format!("cannot read the charge {}", entry.path().display());
        let bytes = std::fs::read(entry.path()).with_context(name)?;
        let charge: Charge = serde_json::from_slice(&bytes).with_context(name)?;
        *charges.entry(charge.id).or_default() += 1;
    }
    Ok(charges)
}

/// Holds `acknowledged` against `charges`.
pub(crate) fn compare(acknowledged: impl Iterator<Item = String>, charges: &Charges) -> Writes {
    let lost = acknowledged.filter(|id| !charges.contains_key(id)).count();
    let doubled = charges.values().filter(|count| **count > 1).count();
    Writes {
        lost: lost as u64,
        doubled: doubled as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(charges: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, content) in charges {
            std::fs::write(folder.path().join(name), content).expect("writable");
        }
        folder
    }

    fn count(charges: &[(&str, &str)], acknowledged: &[&str]) -> Writes {
        let folder = ledger(charges);
        let charges = super::charges(folder.path()).expect("readable");
        compare(acknowledged.iter().map(|id| (*id).to_owned()), &charges)
    }

    const ONE: (&str, &str) = ("key-1", r#"{"id":"w1","amount":1}"#);
    const TWO: (&str, &str) = ("key-2", r#"{"id":"w2","amount":1}"#);

    #[test]
    fn writes_charged_once_are_right_whether_acknowledged_or_not() {
        assert_eq!(count(&[ONE, TWO], &["w1"]), Writes::default());
    }

    #[test]
    fn a_planted_loss_is_found() {
        let lost = Writes {
            lost: 1,
            doubled: 0,
        };
        assert_eq!(count(&[ONE], &["w1", "w2"]), lost);
        assert_eq!(count(&[], &["w1"]), lost);
    }

    #[test]
    fn a_planted_double_is_found_even_when_nobody_was_told() {
        let again = ("one-7-1", ONE.1);
        let doubled = Writes {
            lost: 0,
            doubled: 1,
        };
        assert_eq!(count(&[ONE, again, TWO], &[]), doubled);
        assert_eq!(count(&[ONE, again, TWO], &["w1", "w2"]), doubled);
    }

    #[test]
    fn a_draft_is_no_charge() {
        let draft = (".draft-7-1", r#"{"id":"w1","am"#);
        assert_eq!(
            count(&[draft], &["w1"]),
            Writes {
                lost: 1,
                doubled: 0
            }
        );
    }

    #[test]
    fn a_charge_that_cannot_be_read_is_an_error_not_a_guess() {
        let folder = ledger(&[("key-1", "{")]);
        let error = charges(folder.path()).expect_err("half a charge");
        assert!(error.to_string().contains("key-1"), "{error}");
        assert!(charges(&folder.path().join("nowhere")).is_err());
    }
}
