//! Every pitfall of the list has tests, and they are there.
//!
//! Prevents a list of promises whose tests were renamed or removed: each number has its row, and
//! each test that a row names is a function of the library.

use super::{Finding, TextFile, extension_of};

pub(super) const LIST: &str = "docs/pitfalls.md";
/// Where the tests are.
const FOLDERS: &[&str] = &["crates/core/", "crates/mainstay/"];
/// Those that a library can fall into.
pub(super) const LAST: usize = 45;

/// Finds rows without a test, tests that are not there, and numbers without a row.
pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let Some(list) = files.iter().find(|file| file.path == LIST) else {
        return vec![Finding::new(LIST, 1, "is not there")];
    };
    let mut findings = Vec::new();
    let mut next = 1;
    for (number, row, tests) in rows(list) {
        if row != next {
            findings.push(Finding::new(LIST, number, format!("{next} has no row")));
        }
        next = row + 1;
        let missing = tests.iter().filter(|test| !exists(test, FOLDERS, files));
        findings.extend(
            missing.map(|test| Finding::new(LIST, number, format!("there is no test `{test}`"))),
        );
        if tests.is_empty() {
            findings.push(Finding::new(LIST, number, "names no test"));
        }
    }
    if next != LAST + 1 {
        findings.push(Finding::new(LIST, 1, format!("ends before {LAST}")));
    }
    findings
}

/// Line, number and tests of each row.
pub(super) fn rows(list: &TextFile) -> impl Iterator<Item = (usize, usize, Vec<&str>)> {
    list.lines().filter_map(|(number, line)| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let row = cells.next()?.parse().ok()?;
        let tests = cells.nth(1)?.split('`').skip(1).step_by(2).collect();
        Some((number, row, tests))
    })
}

/// Whether a file in one of the folders has this test.
pub(super) fn exists(test: &str, folders: &[&str], files: &[TextFile]) -> bool {
    let function = format!("fn {test}(");
    let is_there = |file: &&TextFile| {
        extension_of(&file.path) == "rs" && folders.iter().any(|root| file.path.starts_with(root))
    };
    let mut sources = files.iter().filter(is_there);
    sources.any(|file| file.text.contains(&function))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: String) -> Vec<TextFile> {
        let file = |path: &str, text: String| TextFile {
            path: path.into(),
            text,
        };
        vec![
            file(LIST, list),
            file("crates/core/src/a/tests.rs", "fn it_holds() {}".into()),
            file("crates/keeper/src/a.rs", "fn elsewhere() {}".into()),
        ]
    }

    fn list(tests_of: impl Fn(usize) -> &'static str) -> String {
        let row = |n| format!("| {n} | a claim | {} |\n", tests_of(n));
        (1..=LAST).map(row).collect()
    }

    #[test]
    fn a_whole_list_with_its_tests_is_fine() {
        assert_eq!(check(&files(list(|_| "`it_holds`"))), []);
    }

    #[test]
    fn a_test_that_is_gone_or_in_another_crate_and_a_row_without_one_are_found() {
        let found = check(&files(list(|n| match n {
            3 => "`it_held`, `it_holds`",
            4 => "`elsewhere`",
            5 => "",
            _ => "`it_holds`",
        })));
        let texts: Vec<_> = found.iter().map(|one| (one.line, &*one.text)).collect();
        let expected = [
            (3, "there is no test `it_held`"),
            (4, "there is no test `elsewhere`"),
            (5, "names no test"),
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn a_number_without_a_row_is_found() {
        let whole = list(|_| "`it_holds`");
        let without = whole.replace("| 7 |", "| seven |");
        assert_eq!(check(&files(without))[0].text, "7 has no row");
        let short = whole.replace("| 45 |", "| last |");
        assert_eq!(check(&files(short))[0].text, "ends before 45");
    }
}
