//! Differences between the keeper and Apache ZooKeeper that are meant.
//!
//! Prevents a list that grows in silence: each has a name, says exactly when it applies, and stands
//! with its reason in `docs/guides/zookeeper-differences.md`; everything else is a finding.

use mainstay_zk_proto::Opcode;

use super::ask::Ask;

/// One that is meant.
#[derive(Debug)]
pub(super) struct Meant {
    /// Its name, as in the guide.
    pub(super) name: &'static str,
    /// Whether it explains what was seen: the request, ours, and theirs.
    explains: fn(&Ask, &str, &str) -> bool,
}

/// All that are meant.
pub(super) const MEANT: &[Meant] = &[
    Meant {
        name: "check-watches",
        explains: |ask, ours, theirs| {
            let is_yes = theirs.starts_with("ok ") && theirs.ends_with(": done");
            let is_known = is_yes || theirs.starts_with("Marshalling");
            let is_refused = ours.starts_with("NoWatcher") && is_known;
            ask.opcode == Opcode::CheckWatches && (is_refused || ask.path == "!")
        },
    },
    Meant {
        name: "empty-path",
        explains: |ask, _, _| ask.opcode == Opcode::GetAllChildrenNumber && ask.path == "!",
    },
];

/// The name of the difference that explains what was seen.
pub(super) fn meant(ask: Option<&Ask>, ours: &str, theirs: &str) -> Option<&'static str> {
    let ask = ask?;
    let found = MEANT
        .iter()
        .find(|meant| (meant.explains)(ask, ours, theirs));
    found.map(|meant| meant.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUIDE: &str = include_str!("../../../../docs/guides/zookeeper-differences.md");

    #[test]
    fn every_meant_difference_stands_in_the_guide() {
        for meant in MEANT {
            let name = meant.name;
            assert!(
                GUIDE.contains(&format!("`{name}`")),
                "{name} is not in the guide"
            );
        }
    }
}
