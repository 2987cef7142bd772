//! Every pitfall of the list has a bug that can be planted, for `cargo xtask pitfalls`.
//!
//! Prevents a list of planted bugs that rots while nobody runs it: each number has one, its place
//! in the code is there, once, the tests that have to find it are those that its row names, and no
//! test of a row is without a bug that it finds.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, TextFile, pitfalls};
use crate::pitfalls::{FOLDER, Planted, parse};

/// The packages whose tests the rows name, and where they are.
const PACKAGES: &[(&str, &str)] = &[
    ("mainstay-core", "crates/core/"),
    ("mainstay", "crates/mainstay/"),
];

/// The tests of each row.
type Rows<'a> = BTreeMap<usize, BTreeSet<&'a str>>;

/// Finds tests without a planted bug, and bugs that cannot be planted or found.
pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let rows = files.iter().find(|file| file.path == pitfalls::LIST);
    let rows = rows.into_iter().flat_map(pitfalls::rows);
    let rows: Rows<'_> = rows
        .map(|(_, row, tests)| (row, tests.into_iter().collect()))
        .collect();

    let mut findings = Vec::new();
    let mut unseen = rows.clone();
    for list in files.iter().filter(|file| file.path.starts_with(FOLDER)) {
        let bugs = match parse(&list.text) {
            Ok(bugs) => bugs,
            Err(error) => {
                findings.push(unreadable(list, &error));
                continue;
            },
        };
        let heads = list.lines().filter(|(_, line)| *line == "[[planted]]");
        for ((line, _), bug) in heads.zip(&bugs) {
            let mistakes = place(bug, files)
                .into_iter()
                .chain(tests(bug, &rows, files));
            findings.extend(mistakes.map(|mistake| Finding::new(&list.path, line, mistake)));
            if let Some(unseen) = unseen.get_mut(&bug.pitfall) {
                let found = |test: &str| bug.tests.values().flatten().any(|one| one == test);
                unseen.retain(|test| !found(test));
            }
        }
    }
    let unseen = unseen
        .iter()
        .flat_map(|(row, tests)| tests.iter().map(move |test| (row, test)));
    findings.extend(unseen.map(|(row, test)| {
        let text = format!("no planted bug of pitfall {row} is found by `{test}`");
        Finding::new(FOLDER, 1, text)
    }));
    findings
}

fn unreadable(list: &TextFile, error: &toml::de::Error) -> Finding {
    let before = error.span().and_then(|span| list.text.get(..span.start));
    let line = before.unwrap_or_default().matches('\n').count() + 1;
    Finding::new(&list.path, line, error.message())
}

/// What is wrong with where it is planted.
fn place(bug: &Planted, files: &[TextFile]) -> Option<String> {
    let Planted {
        file,
        find,
        replace,
        ..
    } = bug;
    let Some(source) = files.iter().find(|source| source.path == *file) else {
        return Some(format!("there is no file {file}"));
    };
    if find == replace {
        return Some("changes nothing".to_owned());
    }
    let places = source.text.matches(&**find).count();
    (places != 1).then(|| format!("`{find}` is {places} times in {file}, and has to be once"))
}

/// What is wrong with the tests that have to find it.
fn tests(bug: &Planted, rows: &Rows<'_>, files: &[TextFile]) -> Vec<String> {
    let number = bug.pitfall;
    let Some(row) = rows.get(&number) else {
        return vec![format!("there is no pitfall {number}")];
    };
    if bug.tests.values().all(Vec::is_empty) {
        return vec!["names no test".to_owned()];
    }
    let mut mistakes = Vec::new();
    for (source, tests) in &bug.tests {
        let package = &source.package;
        let Some((_, folder)) = PACKAGES.iter().find(|(name, _)| name == package) else {
            mistakes.push(format!("no pitfall has tests in {package}"));
            continue;
        };
        let others = tests.iter().filter(|test| !row.contains(&***test));
        mistakes
            .extend(others.map(|test| format!("`{test}` is not in the row of pitfall {number}")));
        let missing = tests
            .iter()
            .filter(|test| !pitfalls::exists(test, &[*folder], files));
        mistakes.extend(missing.map(|test| format!("`{test}` is no test of {package}")));
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "crates/core/src/a.rs";

    fn entry(number: usize) -> String {
        format!(
            "[[planted]]\npitfall = {number}\nbroken = 'It is.'\nfile = '{SOURCE}'\nfind = 'one'\n\
             replace = 'two'\ntests = {{ mainstay-core = ['it_holds'], mainstay = ['far'] }}\n"
        )
    }

    /// A whole list, but for the entry of 7.
    fn found_with(seventh: &str) -> Vec<String> {
        let entries =
            |numbers: std::ops::RangeInclusive<usize>| numbers.map(entry).collect::<String>();
        let rows = (1..=pitfalls::LAST).map(|n| format!("| {n} | a claim | `it_holds`, `far` |\n"));
        let list = |name: &str, text: String| (format!("{FOLDER}{name}.toml"), text);
        let files = [
            list("one", entries(1..=6) + seventh),
            list("two", entries(8..=pitfalls::LAST)),
            (pitfalls::LIST.to_owned(), rows.collect()),
            (
                SOURCE.to_owned(),
                "one three three fn it_holds() {}".to_owned(),
            ),
            (
                "crates/mainstay/src/b.rs".to_owned(),
                "fn far() {}".to_owned(),
            ),
        ];
        let files = files.map(|(path, text)| TextFile { path, text });
        check(&files).into_iter().map(|one| one.text).collect()
    }

    /// As [`found_with`], with one word of the entry changed.
    fn found(old: &str, new: &str) -> Vec<String> {
        let changed = entry(7).replace(old, new);
        assert_ne!(changed, entry(7));
        found_with(&changed)
    }

    #[test]
    fn a_whole_list_is_fine_and_a_test_without_a_bug_is_found() {
        assert_eq!(found_with(&entry(7)), [""; 0]);
        let [far, holds] = ["far", "it_holds"]
            .map(|test| format!("no planted bug of pitfall 7 is found by `{test}`"));
        assert_eq!(found_with(""), [&*far, &*holds]);
        assert_eq!(found("['far']", "[]"), [far]);
    }

    #[test]
    fn a_bug_that_cannot_be_planted_is_found() {
        let absent = "`five` is 0 times in crates/core/src/a.rs, and has to be once";
        assert_eq!(found("'one'", "'five'"), [absent]);
        let twice = "`three` is 2 times in crates/core/src/a.rs, and has to be once";
        assert_eq!(found("'one'", "'three'"), [twice]);
        assert_eq!(
            found("/a.rs", "/c.rs"),
            ["there is no file crates/core/src/c.rs"]
        );
        assert_eq!(found("'two'", "'one'"), ["changes nothing"]);
    }

    #[test]
    fn a_test_that_is_not_in_its_row_or_in_another_package_is_found() {
        let first = |old: &str, new: &str| found(old, new).swap_remove(0);
        let text = first("it_holds", "it_held");
        assert_eq!(text, "`it_held` is not in the row of pitfall 7");
        let text = first("it_holds", "far");
        assert_eq!(text, "`far` is no test of mainstay-core");
        let text = first("mainstay-core", "mainstay-keeper");
        assert_eq!(text, "no pitfall has tests in mainstay-keeper");
        assert_eq!(first("= 7", "= 46"), "there is no pitfall 46");
        let none = entry(7).replace("'it_holds'", "").replace("'far'", "");
        assert_eq!(found_with(&none)[0], "names no test");
    }

    #[test]
    fn a_list_that_cannot_be_read_is_found_where_it_breaks() {
        let text = format!("{}wrong = 1\n", entry(1));
        let lines = text.lines().count();
        let path = format!("{FOLDER}one.toml");
        let found = check(&[TextFile { path, text }]);
        assert_eq!((found.len(), found[0].line), (1, lines));
        assert!(found[0].text.contains("unknown field"), "{}", found[0].text);
    }
}
