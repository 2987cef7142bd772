//! `cargo xtask tidy`: the rules that no other tool knows.
//!
//! Prevents rules that live in a document only. All rules look at all files, all findings appear in
//! one run as `file:line: sentence`, and each rule has a test that breaks it. `--fix` writes what
//! is generated; it never touches what people wrote.

mod defaults;
mod edges;
mod links;
mod manifest;
mod metrics;
mod picture;
mod pitfalls;
mod planted;
mod reference;
mod source;

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::workspace;

/// What `tidy` is asked to do.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Write the generated documents instead of comparing them.
    #[arg(long)]
    fix: bool,
}

/// One broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// From 1.
    line: usize,
    text: String,
}

impl Finding {
    fn new(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            text: text.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.text)
    }
}

/// A text file of the project.
#[derive(Debug)]
struct TextFile {
    /// From the workspace's root, with slashes.
    path: String,
    text: String,
}

impl TextFile {
    /// Its lines with their numbers from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }
}

/// A path's last extension, without the dot; empty where there is none.
fn extension_of(path: &str) -> &str {
    let extension = Path::new(path).extension();
    extension
        .and_then(|extension| extension.to_str())
        .unwrap_or_default()
}

/// A file whose content follows from the code.
#[derive(Debug, PartialEq, Eq)]
struct Generated {
    path: String,
    text: String,
}

/// Checks all rules and says whether all hold.
#[expect(
    clippy::needless_pass_by_value,
    reason = "commands consume their arguments, all alike"
)]
pub(crate) fn run(args: Args) -> Result<bool> {
    let root = workspace::root();
    if args.fix {
        reference::write_config(&root)?;
    }
    let files = read_files(&root)?;
    let metadata = workspace::metadata()?;
    let crates = edges::crates(&metadata, &root)?;

    let mut findings = edges::check(&crates, &files);
    findings.extend(source::check(&files));
    findings.extend(manifest::check(&files));
    findings.extend(links::check(&files));
    findings.extend(pitfalls::check(&files));
    findings.extend(defaults::check(&files));
    findings.extend(planted::check(&files));
    let mut generated = reference::generate(&files, &mut findings);
    generated.extend(picture::generate(&crates, &files, &mut findings));
    for document in generated {
        settle(&root, &document, args.fix, &mut findings)?;
    }

    findings.sort();
    findings.dedup();
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} files, {} findings", files.len(), findings.len());
    Ok(findings.is_empty())
}

/// Writes a generated document where it differs, or reports that it does.
fn settle(root: &Path, new: &Generated, fix: bool, findings: &mut Vec<Finding>) -> Result<()> {
    let path = root.join(&new.path);
    let old = fs::read_to_string(&path).unwrap_or_default();
    let Some(line) = first_difference(&old, &new.text) else {
        return Ok(());
    };
    if fix {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, &new.text).with_context(|| format!("cannot write {}", new.path))?;
        println!("wrote {}", new.path);
    } else {
        let text = "differs from the code; `cargo xtask tidy --fix` writes it";
        findings.push(Finding::new(&new.path, line, text));
    }
    Ok(())
}

/// The number of the first line in which two texts differ.
fn first_difference(old: &str, new: &str) -> Option<usize> {
    if old == new {
        return None;
    }
    let same = old
        .lines()
        .zip(new.lines())
        .take_while(|(old, new)| old == new)
        .count();
    Some(same + 1)
}

/// All text files that are, or would be, under version control.
fn read_files(root: &Path) -> Result<Vec<TextFile>> {
    let mut files = Vec::new();
    for path in workspace::files(root)? {
        // Removed but not yet committed, a link, or not text: there is nothing to read.
        if let Ok(text) = fs::read_to_string(root.join(&path)) {
            files.push(TextFile { path, text });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Scratch;

    #[test]
    fn a_finding_names_file_and_line() {
        let finding = Finding::new("crates/core/src/lib.rs", 7, "is too long");
        assert_eq!(finding.to_string(), "crates/core/src/lib.rs:7: is too long");
    }

    #[test]
    fn drift_is_found_and_fixed() {
        let scratch = Scratch::new("drift").expect("a scratch folder");
        let new = Generated {
            path: "docs/events.md".into(),
            text: "one\nthree\n".into(),
        };
        let check = |fix| {
            let mut findings = Vec::new();
            settle(scratch.path(), &new, fix, &mut findings).expect("a writable folder");
            findings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(check(false)[0].starts_with("docs/events.md:1: differs"));
        assert_eq!(check(true), [""; 0]);
        assert_eq!(check(false), [""; 0]);
        fs::write(scratch.path().join("docs/events.md"), "one\ntwo\n").expect("a file");
        assert!(check(false)[0].starts_with("docs/events.md:2: differs"));
    }
}
