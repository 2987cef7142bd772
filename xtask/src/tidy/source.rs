//! Rules for single files: length, name, module doc, leftovers, paths of one machine.
//!
//! Prevents files that nobody can take in, names that say nothing, code that nobody finished, and
//! a tree that only builds where it was written.

use std::path::Path;

use super::{Finding, TextFile, extension_of};

/// Past 400 lines one asks why; this is the end.
const LINES_MAX: usize = 600;

/// Names that say nothing about what is inside.
const NAMES_FORBIDDEN: &[&str] = &[
    "utils", "util", "helpers", "common", "misc", "manager", "handler", "base", "impl", "types",
];

/// Marks of unfinished work. Spelt in two parts, so that this file may be checked as well.
const LEFTOVERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
];

/// Folders that exist on the machine of one person only.
const MACHINE_PATHS: &[&str] = &[
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!(r"C:", r"\"),
];

/// Checks every file by every rule.
pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let own = files.iter().filter(|file| !is_foreign(file));
    let rules = [length, name, module_doc, leftovers, machine_paths];
    own.flat_map(|file| rules.into_iter().flat_map(|rule| rule(file)))
        .collect()
}

/// Written by others or by a machine.
fn is_foreign(file: &TextFile) -> bool {
    let generated = is_lock(&file.path) || file.path.starts_with("docs/reference/");
    let foreign = file.path.starts_with("vendor/") || file.path.contains("/vendor/");
    generated || file.path.starts_with("LICENSE") || foreign
}

/// Of the workspace, or of the one that the peers have.
pub(super) fn is_lock(path: &str) -> bool {
    Path::new(path).file_name() == Some("Cargo.lock".as_ref())
}

fn length(file: &TextFile) -> Vec<Finding> {
    let lines = file.text.lines().count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    let text = format!("has {lines} lines, more than {LINES_MAX}: it holds two concepts");
    vec![Finding::new(&file.path, LINES_MAX + 1, text)]
}

fn name(file: &TextFile) -> Vec<Finding> {
    if file.path.ends_with("/mod.rs") {
        let text = "`foo.rs` and `foo/` instead of `foo/mod.rs`, so that every file has a name";
        return vec![Finding::new(&file.path, 1, text)];
    }
    let forbidden = |part: &str| {
        let stem = part.split('.').next().unwrap_or(part);
        NAMES_FORBIDDEN.contains(&stem).then(|| stem.to_owned())
    };
    let finding = |stem| {
        let text = format!("`{stem}` says nothing; name the concept");
        Finding::new(&file.path, 1, text)
    };
    file.path
        .split('/')
        .filter_map(forbidden)
        .map(finding)
        .collect()
}

fn module_doc(file: &TextFile) -> Vec<Finding> {
    if extension_of(&file.path) != "rs" || file.text.starts_with("//!") {
        return Vec::new();
    }
    let text = "starts without `//!`: what it is, which failure it prevents, what always holds";
    vec![Finding::new(&file.path, 1, text)]
}

fn leftovers(file: &TextFile) -> Vec<Finding> {
    words(file, LEFTOVERS, |mark| {
        format!("`{mark}`: finish it, or file it")
    })
}

fn machine_paths(file: &TextFile) -> Vec<Finding> {
    words(file, MACHINE_PATHS, |path| {
        format!("`{path}` is a path of one machine")
    })
}

/// One finding per line and needle that stands there as a word of its own.
fn words(file: &TextFile, needles: &[&str], text: impl Fn(&str) -> String) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in file.lines() {
        let found = needles.iter().filter(|needle| has_word(line, needle));
        findings.extend(found.map(|needle| Finding::new(&file.path, number, text(needle))));
    }
    findings
}

/// Whether `needle` occurs and is not a piece of a longer word or path.
fn has_word(line: &str, needle: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let ends_open = needle.ends_with(|c: char| !c.is_alphanumeric());
    line.match_indices(needle).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + needle.len()..].chars().next();
        let starts = !before.is_some_and(|c| part_of_word(c) || c == '.');
        starts && (ends_open || !after.is_some_and(part_of_word))
    })
}

/// Whether a file is a test of its own or a module of tests.
pub(super) fn is_test(path: &str) -> bool {
    let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str());
    path.contains("/tests/") || stem == Some("tests")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let file = TextFile {
            path: path.into(),
            text: text.into(),
        };
        check(&[file]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_decent_file_has_no_findings() {
        let text = "//! What it is.\nlet todo = \"a method; xxx; method XXXX\";\n";
        assert_eq!(findings("crates/core/src/time.rs", text), [""; 0]);
    }

    #[test]
    fn a_file_may_have_600_lines_and_no_more() {
        let lines = |count| format!("//! Doc.\n{}", "x\n".repeat(count - 1));
        assert_eq!(findings("a.rs", &lines(LINES_MAX)), [""; 0]);
        let found = findings("a.rs", &lines(LINES_MAX + 1));
        assert!(found[0].starts_with("a.rs:601: has 601 lines"), "{found:?}");
    }

    #[test]
    fn empty_names_are_found_in_files_and_folders() {
        for path in [
            "src/utils.rs",
            "src/helpers/a.rs",
            "crates/common/b.css",
            "src/types.rs",
        ] {
            let found = findings(path, "//! Doc.\n");
            assert!(found[0].contains("says nothing"), "{path}: {found:?}");
        }
        assert!(findings("src/a/mod.rs", "//! Doc.\n")[0].contains("instead of `foo/mod.rs`"));
        assert_eq!(findings("src/type_name.rs", "//! Doc.\n"), [""; 0]);
    }

    #[test]
    fn rust_starts_with_a_module_doc_wherever_it_lies() {
        for path in ["src/a.rs", "tests/a.rs", "examples/a.rs", "build.rs"] {
            let found = findings(path, "#![no_std]\n//! Too late.\n");
            assert!(
                found[0].starts_with(&format!("{path}:1: starts without")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn every_leftover_is_found_in_every_kind_of_file() {
        for mark in LEFTOVERS {
            for path in ["a.rs", "a.js", "a.toml", "a.md", "run"] {
                let found = findings(path, &format!("//! Doc.\nx ({mark}) y\n"));
                assert_eq!(found.len(), 1, "{path}: {found:?}");
                assert!(
                    found[0].starts_with(&format!("{path}:2: `{mark}`")),
                    "{found:?}"
                );
            }
        }
    }

    #[test]
    fn paths_of_one_machine_are_found_and_addresses_are_not() {
        for path in MACHINE_PATHS {
            let found = findings("a.md", &format!("see `{path}x`\n"));
            assert!(found[0].contains("a path of one machine"), "{found:?}");
            assert_eq!(
                findings("a.md", &format!("http://host.example{path}x\n")),
                [""; 0]
            );
        }
    }

    #[test]
    fn what_others_wrote_is_not_ours_to_judge() {
        let long = "x\n".repeat(LINES_MAX + 1);
        assert_eq!(findings("Cargo.lock", &long), [""; 0]);
        assert_eq!(findings("benches/peers/Cargo.lock", &long), [""; 0]);
        assert_eq!(
            findings("crates/admin/assets/vendor/chart.js", &long),
            [""; 0]
        );
        assert_eq!(findings("vendor/a/src/lib.rs", &long), [""; 0]);
    }
}
