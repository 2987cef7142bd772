//! The list of planted bugs: the files of xtask/pitfalls.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::suite::Source;
use crate::workspace;

/// Where the list is, from the workspace's root.
pub(crate) const FOLDER: &str = "xtask/pitfalls/";

/// A bug that some library of this kind has, and how ours gets it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Planted {
    /// Its number in docs/pitfalls.md.
    pub(crate) pitfall: usize,
    /// What is broken, in a sentence.
    pub(crate) broken: String,
    /// The file, from the workspace's root.
    pub(crate) file: String,
    /// What is replaced; the file has it once.
    pub(crate) find: String,
    /// What takes its place, and compiles.
    pub(crate) replace: String,
    /// The tests that fail with it, each of them, by their test program; all are of the pitfall's
    /// row.
    pub(crate) tests: BTreeMap<Source, Vec<String>>,
    /// Whether a test that does not end has found it: the bug is that something never happens.
    #[serde(default)]
    pub(crate) hangs: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    planted: Vec<Planted>,
}

/// Reads one file of the list.
pub(crate) fn parse(text: &str) -> Result<Vec<Planted>, toml::de::Error> {
    toml::from_str(text).map(|list: List| list.planted)
}

/// Reads all of it.
pub(super) fn read() -> Result<Vec<Planted>> {
    let mut bugs = Vec::new();
    for entry in fs::read_dir(workspace::root().join(FOLDER))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        bugs.extend(parse(&text).with_context(|| path.display().to_string())?);
    }
    Ok(bugs)
}

impl Planted {
    /// The crate that it is planted in.
    pub(super) fn folder(&self) -> &str {
        let end = self.file.match_indices('/').nth(1);
        end.map_or(&*self.file, |(end, _)| &self.file[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_program_is_the_librarys_own_or_one_of_its_package() {
        let text = "[[planted]]\npitfall = 3\nbroken = 'It is.'\nfile = 'crates/core/src/a.rs'\n\
            find = 'a'\nreplace = 'b'\ntests = { mainstay = ['one'], 'mainstay-core/herd' = ['two'] }\n";
        let bugs = parse(text).expect("a whole entry");
        assert_eq!(bugs[0].folder(), "crates/core");
        assert!(!bugs[0].hangs);
        let sources: Vec<_> = bugs[0]
            .tests
            .keys()
            .map(|it| (&*it.package, it.program.as_deref()))
            .collect();
        assert_eq!(
            sources,
            [("mainstay", None), ("mainstay-core", Some("herd"))]
        );
        let error = parse(&format!("{text}test = 'it_holds'\n"));
        assert!(error.is_err(), "a key that nobody reads");
    }

    #[test]
    fn the_list_of_the_project_can_be_read() {
        let bugs = read().expect("it is there");
        assert!(!bugs.is_empty());
    }
}
