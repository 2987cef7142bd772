//! The picture of the crates in ARCHITECTURE.md.
//!
//! Prevents a picture that lies: it is drawn from `cargo metadata`, the same edges that the
//! compiler sees, and a difference is a finding.

use std::fmt::Write as _;

use super::edges::{Crate, PLACES};
use super::{Finding, Generated, TextFile};

const DOCUMENT: &str = "ARCHITECTURE.md";
const BEGIN: &str = "<!-- generated: crates -->";
const END: &str = "<!-- /generated -->";

/// The document with the picture as it has to be.
pub(super) fn generate(
    crates: &[Crate],
    files: &[TextFile],
    findings: &mut Vec<Finding>,
) -> Option<Generated> {
    let Some(document) = files.iter().find(|file| file.path == DOCUMENT) else {
        findings.push(Finding::new(DOCUMENT, 1, "is missing"));
        return None;
    };
    let Some(text) = splice(&document.text, &draw(crates)) else {
        let text = format!("lacks the lines `{BEGIN}` and `{END}` around the picture");
        findings.push(Finding::new(DOCUMENT, 1, text));
        return None;
    };
    Some(Generated {
        path: DOCUMENT.into(),
        text,
    })
}

/// Puts the picture between the two marks.
fn splice(document: &str, picture: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{picture}{END}{after}"))
}

/// Rows of crates, then each crate's arrows.
fn draw(crates: &[Crate]) -> String {
    let mut picture = String::from("```text\n");
    let mut drawn = Vec::new();
    for row in (0..=4).rev() {
        let exists = |name| crates.iter().find(|found| found.name == name);
        let places = PLACES.iter().filter(|place| place.row == row);
        let members: Vec<&Crate> = places.filter_map(|place| exists(place.name)).collect();
        let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        if !names.is_empty() {
            let _infallible = writeln!(picture, "row {row}   {}", names.join("   "));
        }
        drawn.extend(members);
    }
    picture.push('\n');
    let width = drawn
        .iter()
        .map(|drawn| drawn.name.len())
        .max()
        .unwrap_or_default();
    for user in &drawn {
        // In the order of the rows, so that arrows read from near to far.
        let used = drawn.iter().filter(|used| user.uses.contains(&used.name));
        let used: Vec<&str> = used.map(|used| used.name.as_str()).collect();
        if !used.is_empty() {
            let _infallible = writeln!(picture, "{:width$}  ->  {}", user.name, used.join("  "));
        }
    }
    picture.push_str("```\n");
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crate_named(name: &str, uses: &[&str]) -> Crate {
        Crate {
            name: name.into(),
            manifest: String::new(),
            uses: uses.iter().map(ToString::to_string).collect(),
            tests_use: [String::from("sim")].into(),
        }
    }

    fn document(text: &str) -> TextFile {
        TextFile {
            path: DOCUMENT.into(),
            text: text.into(),
        }
    }

    #[test]
    fn the_picture_shows_rows_from_the_top_and_arrows_from_near_to_far() {
        let crates = [
            crate_named("core", &[]),
            crate_named("gateway", &["core", "mainstay"]),
            crate_named("mainstay", &["core"]),
            crate_named("observe", &["core"]),
            crate_named("xtask", &["core"]),
        ];
        let expected = "```text\n\
            row 2   gateway\n\
            row 1   mainstay   observe\n\
            row 0   core\n\
            \n\
            gateway   ->  mainstay  core\n\
            mainstay  ->  core\n\
            observe   ->  core\n\
            ```\n";
        assert_eq!(draw(&crates), expected);
    }

    #[test]
    fn an_old_picture_is_replaced_and_the_text_around_it_stays() {
        let old = document(&format!("# A\n{BEGIN}\nold\n{END}\nrest\n"));
        let mut findings = Vec::new();
        let new = generate(&[crate_named("core", &[])], &[old], &mut findings).expect("marks");
        assert_eq!(
            new.text,
            format!("# A\n{BEGIN}\n```text\nrow 0   core\n\n```\n{END}\nrest\n")
        );
        assert_eq!(findings, []);
    }

    #[test]
    fn a_missing_document_or_mark_is_found() {
        for files in [vec![], vec![document("# A\n")], vec![document(BEGIN)]] {
            let mut findings = Vec::new();
            assert_eq!(generate(&[], &files, &mut findings), None);
            assert_eq!(findings.len(), 1, "{files:?}");
        }
    }
}
