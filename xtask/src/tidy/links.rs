//! What documents point at has to be there.
//!
//! Prevents a reader sent to a file that was renamed: links between documents, and paths of sources
//! in backquotes, are looked up among the project's files.

use super::{Finding, TextFile, extension_of};

/// A path in backquotes that starts so is one of the project.
const ROOTS: &[&str] = &["crates/", "docs/", "xtask/"];

/// Finds what points nowhere in all Markdown files.
pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let documents = files.iter().filter(|file| extension_of(&file.path) == "md");
    documents
        .flat_map(|document| check_document(document, files))
        .collect()
}

fn check_document(document: &TextFile, files: &[TextFile]) -> Vec<Finding> {
    let folder = document
        .path
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    for (number, line) in document.lines() {
        let links = links(line).filter_map(|link| Some((link, resolve(folder, link)?)));
        let paths = quoted_paths(line).map(|path| (path, path.to_owned()));
        let missing = links.chain(paths).filter(|(_, path)| !exists(path, files));
        findings.extend(missing.map(|(pointer, _)| {
            Finding::new(&document.path, number, format!("`{pointer}` is not there"))
        }));
    }
    findings
}

/// Targets of `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
}

/// Paths in backquotes that name one file or folder of the project.
fn quoted_paths(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2);
    // Braces, stars and angles stand for many paths, or for one that is still to come.
    let plain = |path: &str| !path.contains(|c: char| c.is_whitespace() || "{}*<>:…".contains(c));
    let ours = |path: &str| ROOTS.iter().any(|root| path.starts_with(root));
    quoted.filter(move |path| ours(path) && plain(path) && !path.contains("NNNN"))
}

/// The path from the workspace's root that a link in `folder` means; `None` for other places.
fn resolve(folder: &str, link: &str) -> Option<String> {
    let path = link.split('#').next().unwrap_or_default();
    if path.is_empty() || path.contains(':') {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "." | "" => {},
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

fn exists(path: &str, files: &[TextFile]) -> bool {
    let folder = format!("{}/", path.trim_end_matches('/'));
    files
        .iter()
        .any(|file| file.path == path || file.path.starts_with(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let file = |path: &str, text: &str| TextFile {
            path: path.into(),
            text: text.into(),
        };
        let files = [
            file("STYLE.md", ""),
            file("crates/core/src/time.rs", ""),
            file(path, text),
        ];
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_and_paths_that_are_there_pass() {
        let text = "[a](STYLE.md) [b](STYLE.md#one) [c](#two) [d](https://a.example/x.md)\n\
            `crates/core/src/time.rs` `crates/core` `crates/<name>` `docs/adr/NNNN-x.md` `time.rs`";
        assert_eq!(findings("README.md", text), [""; 0]);
        assert_eq!(
            findings("docs/adr/0001.md", "[up](../../STYLE.md) [here](./0001.md)"),
            [""; 0]
        );
    }

    #[test]
    fn a_link_that_points_nowhere_is_found() {
        assert_eq!(
            findings("README.md", "\n[a](STYLE.md) and [b](docs/gone.md)"),
            ["README.md:2: `docs/gone.md` is not there"],
        );
        assert_eq!(findings("docs/a.md", "[a](STYLE.md)").len(), 1);
    }

    #[test]
    fn a_path_of_a_source_that_is_gone_is_found() {
        assert_eq!(
            findings("ARCHITECTURE.md", "see `crates/core/src/clock.rs`"),
            ["ARCHITECTURE.md:1: `crates/core/src/clock.rs` is not there"],
        );
    }
}
