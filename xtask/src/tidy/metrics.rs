//! The metrics that the crates declare.
//!
//! Prevents a metric that nobody documented: each crate lists its metrics in one table,
//!
//! ```text
//! pub const METRICS: &[(&str, &str)] = &[REQUESTS, ("mainstay_retries_total", "Retries sent"), …];
//! const REQUESTS: (&str, &str) = ("mainstay_requests_total", "Requests answered");
//! ```
//!
//! and this file reads the tables out of the sources, because linking every service would make the
//! tool slow to build. It understands this one form, its parts in place or by the name of a constant
//! of the same file, and reports any other. A metric's name that stands in the code and in no table is
//! reported too.

use std::collections::BTreeSet;

use super::source::is_test;
use super::{Finding, TextFile, extension_of};

const NAME: &str = "const METRICS";
const FORM: &str = "const METRICS: &[(&str, &str)] = &[";
const PREFIX: &str = "mainstay_";

/// One metric of one crate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Metric {
    /// The folder of its crate.
    pub owner: String,
    /// Its name on `/metrics`.
    pub name: String,
    /// What it says.
    pub help: String,
}

/// All metrics, by crate and name; findings where a table is not understood or incomplete.
pub(super) fn collect(files: &[TextFile], findings: &mut Vec<Finding>) -> Vec<Metric> {
    let sources = files
        .iter()
        .filter_map(|file| Some((owner(&file.path)?, file)));
    let sources: Vec<(&str, &TextFile)> = sources.collect();
    let mut metrics = Vec::new();
    for (owner, file) in &sources {
        for (at, _) in code(file).match_indices(NAME) {
            let line = line_at(&file.text, at);
            match table(code(file), at) {
                Ok(entries) => metrics.extend(entries.into_iter().map(|(name, help)| {
                    findings
                        .extend(misnamed(&name).map(|text| Finding::new(&file.path, line, text)));
                    Metric {
                        owner: (*owner).to_owned(),
                        name,
                        help,
                    }
                })),
                Err(reason) => findings.push(Finding::new(&file.path, line, reason)),
            }
        }
    }
    metrics.sort();
    for (owner, file) in sources {
        findings.extend(undocumented(owner, file, &metrics));
    }
    metrics
}

/// The crate whose source this is; tests declare no metrics.
fn owner(path: &str) -> Option<&str> {
    let (owner, rest) = path.strip_prefix("crates/")?.split_once('/')?;
    let is_source = rest.starts_with("src/") && extension_of(path) == "rs" && !is_test(path);
    is_source.then_some(owner)
}

/// The file up to its module of tests.
fn code(file: &TextFile) -> &str {
    let end = file.text.find("\nmod tests {").unwrap_or(file.text.len());
    &file.text[..end]
}

fn line_at(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn misnamed(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let good = name.starts_with(PREFIX) && name.chars().all(plain);
    (!good).then(|| format!("metric `{name}` is not `{PREFIX}` and a snake_case name"))
}

/// Names of metrics in the code that stand in no table.
fn undocumented(owner: &str, file: &TextFile, metrics: &[Metric]) -> Vec<Finding> {
    let own = metrics.iter().filter(|metric| metric.owner == owner);
    let known: BTreeSet<&str> = own.map(|metric| metric.name.as_str()).collect();
    // The registry adds the suffix of counters itself.
    let documented =
        |name: &str| known.contains(name) || known.contains(format!("{name}_total").as_str());
    let mut findings = Vec::new();
    for (index, line) in code(file).lines().enumerate() {
        let names = line.split('"').skip(1).step_by(2);
        let names = names.filter(|name| misnamed(name).is_none() && !documented(name));
        let text = |name| format!("metric `{name}` is in no `METRICS` table of `{owner}`");
        findings.extend(names.map(|name| Finding::new(&file.path, index + 1, text(name))));
    }
    findings
}

/// Reads the table at `at`: `const METRICS… = &[("name", "help"), CONSTANT, …]`.
fn table(code: &str, at: usize) -> Result<Vec<(String, String)>, String> {
    let other_form = || format!("the table of metrics is not of the form `{FORM}(\"…\", \"…\")]`");
    let rest = code[at..].strip_prefix(FORM).ok_or_else(other_form)?;
    let mut cursor = Cursor { code, rest };
    let mut entries = Vec::new();
    while !cursor.take("]") {
        entries.push(cursor.entry().ok_or_else(other_form)?);
        // The comma may be missing after the last entry only.
        if !cursor.take(",") && !cursor.rest.starts_with(']') {
            return Err(other_form());
        }
    }
    Ok(entries)
}

/// What is left to read, and the file in which constants are looked up.
struct Cursor<'a> {
    code: &'a str,
    rest: &'a str,
}

impl Cursor<'_> {
    /// Skips blanks and comments, then the token, if it comes next.
    fn take(&mut self, token: &str) -> bool {
        self.skip_blank();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        self.skip_blank();
        rest.is_some()
    }

    fn skip_blank(&mut self) {
        self.rest = self.rest.trim_start();
        while self.rest.starts_with("//") {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.rest = self.rest[end..].trim_start();
        }
    }

    /// A pair, or the name of a constant of the file that is one.
    fn entry(&mut self) -> Option<(String, String)> {
        if let Some(mut value) = self.constant("(&str, &str)") {
            return value.pair();
        }
        self.pair()
    }

    fn pair(&mut self) -> Option<(String, String)> {
        let opened = self.take("(");
        let name = self.text().filter(|_| opened)?;
        let separated = self.take(",");
        let help = self.text().filter(|_| separated)?;
        let _trailing_comma = self.take(",");
        self.take(")").then_some((name, help))
    }

    /// A string, or the name of a constant of the file that is one.
    fn text(&mut self) -> Option<String> {
        if let Some(mut value) = self.constant("&str") {
            return value.string();
        }
        self.string()
    }

    /// Where the value of a constant starts, if the name of one comes next; nothing can be read
    /// there if the file has none of that name and type.
    fn constant(&mut self, kind: &str) -> Option<Self> {
        let part_of_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let end = self
            .rest
            .find(|c| !part_of_name(c))
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if name.is_empty() {
            return None;
        }
        self.rest = rest;
        let value = self.code.split_once(&format!("const {name}: {kind} ="));
        Some(Self {
            code: self.code,
            rest: value.map_or("", |(_, value)| value.trim_start()),
        })
    }

    /// A string literal: quotes and backslashes may be escaped, lines may be continued.
    fn string(&mut self) -> Option<String> {
        let body = self.rest.strip_prefix('"')?;
        let mut value = String::new();
        let mut chars = body.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &body[at + 1..];
                    return Some(value);
                },
                '\\' => match chars.next()?.1 {
                    escaped @ ('"' | '\\') => value.push(escaped),
                    '\n' => {
                        let blank = chars.as_str();
                        let next = blank.trim_start();
                        let skipped = blank[..blank.len() - next.len()].chars().count();
                        chars.by_ref().take(skipped).for_each(drop);
                    },
                    _ => return None,
                },
                plain => value.push(plain),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(text: &str) -> (Vec<(String, String)>, Vec<String>) {
        let file = TextFile {
            path: "crates/gateway/src/metrics.rs".into(),
            text: text.into(),
        };
        let mut findings = Vec::new();
        let metrics = collect(&[file], &mut findings);
        let entries = metrics
            .into_iter()
            .map(|metric| (metric.name, metric.help))
            .collect();
        (entries, findings.iter().map(ToString::to_string).collect())
    }

    fn pair(name: &str, help: &str) -> (String, String) {
        (name.into(), help.into())
    }

    #[test]
    fn a_table_is_read_with_comments_escapes_and_continued_lines() {
        let text = r#"//! Doc.
pub const METRICS: &[(&str, &str)] = &[
    // How much.
    ("mainstay_b_total", "Says \"b\", \
        and more."),
    (
        "mainstay_a_seconds",
        "A \\ B.",
    )
];
registry.register("mainstay_b", HELP, b);
"#;
        let expected = vec![
            pair("mainstay_a_seconds", r"A \ B."),
            pair("mainstay_b_total", "Says \"b\", and more."),
        ];
        assert_eq!(collected(text), (expected, vec![]));
    }

    #[test]
    fn entries_may_be_constants_of_the_same_file() {
        let text = "const METRICS: &[(&str, &str)] = &[A, (B, \"B\"), C_2];\n\
            const B: &str = \"mainstay_b\";\n\
            const A: (&str, &str) = (\"mainstay_a\", \"A\");\n\
            const C_2: (&str, &str) =\n    (\"mainstay_c\", \"C\");\n";
        let expected = vec![
            pair("mainstay_a", "A"),
            pair("mainstay_b", "B"),
            pair("mainstay_c", "C"),
        ];
        assert_eq!(collected(text), (expected, vec![]));
    }

    #[test]
    fn a_table_of_another_form_is_reported_and_never_skipped() {
        for text in [
            "const METRICS: [Metric; 1] = [Metric::new()];",
            "const METRICS: &[(&str, &str)] = &[(NAME, \"help\")];",
            "const METRICS: &[(&str, &str)] = &[NOWHERE];",
            "const METRICS: &[(&str, &str)] = &[OTHER];\nconst OTHER: Metric = (\"\", \"\");",
            "const METRICS: &[(&str, &str)] = &[(\"mainstay_a\", concat!())];",
            "const METRICS: &[(&str, &str)] = &[(\"mainstay_a\", \"a\") (\"mainstay_b\", \"b\")];",
            "const METRICS: &[(&str, &str)] = &[(\"mainstay_a\", \"never ends",
        ] {
            let (metrics, findings) = collected(&format!("\n{text}"));
            assert_eq!(metrics, [], "{text}");
            let start = "crates/gateway/src/metrics.rs:2: the table of metrics is not of the form";
            assert!(findings[0].starts_with(start), "{text}: {findings:?}");
        }
    }

    #[test]
    fn a_metric_has_the_prefix_and_a_plain_name() {
        for name in ["requests_total", "mainstay_Requests", "mainstay_a-b"] {
            let text = format!("const METRICS: &[(&str, &str)] = &[(\"{name}\", \"x\")];");
            let (_, findings) = collected(&text);
            assert!(
                findings[0].contains("is not `mainstay_`"),
                "{name}: {findings:?}"
            );
        }
    }

    #[test]
    fn a_metric_outside_the_table_is_found_at_its_line() {
        let (_, findings) = collected("//! Doc.\nregister(\"mainstay_extra\", 1);\n");
        let expected = "crates/gateway/src/metrics.rs:2: metric `mainstay_extra` is in no \
            `METRICS` table of `gateway`";
        assert_eq!(findings, [expected]);
    }

    #[test]
    fn tests_may_name_what_they_like() {
        let text = "#[cfg(test)]\nmod tests {\n    const NAME: &str = \"mainstay_extra\";\n}\n";
        assert_eq!(collected(text), (vec![], vec![]));
    }
}
