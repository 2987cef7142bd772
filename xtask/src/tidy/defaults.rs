//! What a configuration has where nobody sets it stands at the field, and is what the code has.
//!
//! Prevents defaults that can only be found in the source, and documents that go on promising the
//! default of last year. A struct with public fields and a hand-written `Default` says `Default: …`
//! at each of them. Where the value is a number, a duration, a share, a variant or nothing, it must
//! be that of the code; what is computed elsewhere has to be named, in whatever words.

use std::collections::BTreeMap;

use super::source::is_test;
use super::{Finding, TextFile};

/// The library: what its users configure in code.
const FOLDERS: &[&str] = &["crates/core/src/", "crates/mainstay/src/"];

const MARK: &str = "Default: ";

/// Finds public fields that do not say their default, or another one than the code's.
pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let of_the_library = |file: &&TextFile| {
        FOLDERS.iter().any(|folder| file.path.starts_with(folder)) && !is_test(&file.path)
    };
    files
        .iter()
        .filter(of_the_library)
        .flat_map(check_file)
        .collect()
}

fn check_file(file: &TextFile) -> Vec<Finding> {
    let lines: Vec<&str> = file.text.lines().collect();
    let named = lines.iter().filter_map(|line| {
        line.strip_prefix("impl Default for ")?
            .strip_suffix(" {")
            .filter(|name| name.chars().all(char::is_alphanumeric))
    });
    named
        .flat_map(|name| {
            let values = values_of(name, &lines);
            fields_of(name, &lines)
                .into_iter()
                .filter_map(move |field| field.finding(&file.path, &values))
        })
        .collect()
}

/// A public field with its documentation.
struct Field<'a> {
    name: &'a str,
    /// From 1.
    line: usize,
    doc: String,
}

impl Field<'_> {
    fn finding(&self, path: &str, values: &BTreeMap<&str, String>) -> Option<Finding> {
        let name = self.name;
        if !self.doc.contains(MARK) {
            let text = format!("`{name}` does not say its default: `{MARK}…`");
            return Some(Finding::new(path, self.line, text));
        }
        let value = words(values.get(name)?)?;
        let said = format!("{MARK}{value}.");
        (!self.doc.contains(&said)).then(|| {
            let text = format!("`{name}` must say `{said}`, as the code has it");
            Finding::new(path, self.line, text)
        })
    }
}

/// The public fields of the struct `name`; none where it has no body here.
fn fields_of<'a>(name: &str, lines: &[&'a str]) -> Vec<Field<'a>> {
    let mut fields = Vec::new();
    let mut doc = String::new();
    for (index, line) in block(&format!("pub struct {name} {{"), "}", lines) {
        let text = line.trim();
        if let Some(more) = text.strip_prefix("///") {
            doc.push_str(more);
        } else if let Some((name, _)) = field(line) {
            let doc = std::mem::take(&mut doc);
            let line = index + 1;
            fields.push(Field { name, line, doc });
        }
    }
    fields
}

/// Name and type of `    pub name: Type,`.
fn field(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("    pub ")?.split_once(": ")
}

/// What `Default` of `name` gives each field, as the code says it, in one line.
fn values_of<'a>(name: &str, lines: &[&'a str]) -> BTreeMap<&'a str, String> {
    let whole: Vec<_> = block(&format!("impl Default for {name} {{"), "}", lines).collect();
    let whole: Vec<&str> = whole.into_iter().map(|(_, line)| line).collect();
    let mut values = BTreeMap::new();
    let mut last = None;
    for (_, line) in block("        Self {", "        }", &whole) {
        let own = line
            .strip_prefix("            ")
            .filter(|rest| !rest.starts_with([' ', '}']));
        match own.and_then(|rest| rest.split_once(": ")) {
            Some((name, value)) => {
                values.insert(name, value.to_owned());
                last = Some(name);
            },
            // The rest of a value that takes several lines; or a shorthand, which says nothing.
            None => {
                if let Some(value) = last.and_then(|name| values.get_mut(name)) {
                    value.push_str(line.trim());
                }
            },
        }
    }
    values
}

/// The lines between the one that is `first` and the next that is `last`, with their index.
fn block<'l, 'a>(
    first: &str,
    last: &'l str,
    lines: &'l [&'a str],
) -> impl Iterator<Item = (usize, &'a str)> + use<'l, 'a> {
    let begin = lines.iter().position(|line| *line == first);
    let begin = begin.map_or(lines.len(), |index| index + 1);
    let numbered = lines.iter().copied().enumerate().skip(begin);
    numbered.take_while(move |(_, line)| *line != last)
}

/// A value of the code in the words of a document; `None` for what is computed.
fn words(value: &str) -> Option<String> {
    let value = value.trim_end_matches(',');
    let inside = |before: &str, after: &str| value.strip_prefix(before)?.strip_suffix(after);
    if let Some(value) = inside("Some(", ")").or_else(|| inside("const { ", " }")) {
        return words(value);
    }
    if let Some(count) = inside("NonZeroU32::MIN.saturating_add(", ")") {
        let more: u64 = digits(count)?.parse().ok()?;
        return Some(grouped(&(more + 1).to_string()));
    }
    if let Some(count) = inside("count(", ")") {
        return digits(count).map(|count| grouped(&count));
    }
    for (call, unit) in [
        ("Duration::from_micros(", "µs"),
        ("Duration::from_millis(", "ms"),
        ("Duration::from_secs(", "s"),
        ("Duration::from_mins(", "min"),
        ("Duration::from_hours(", "h"),
    ] {
        if let Some(number) = inside(call, ")").and_then(digits) {
            return Some(format!("{} {unit}", grouped(&number)));
        }
    }
    match value {
        "NonZeroU32::MIN" => Some("1".to_owned()),
        "None" | "true" | "false" => Some(format!("`{value}`")),
        _ => number(value).or_else(|| variant(value)),
    }
}

/// `8.0` as 8, `0.25` as it is.
fn number(value: &str) -> Option<String> {
    match value.split_once('.') {
        None => digits(value).map(|whole| grouped(&whole)),
        Some((whole, "0")) => digits(whole).map(|whole| grouped(&whole)),
        Some((whole, fraction)) => Some(format!("{}.{}", digits(whole)?, digits(fraction)?)),
    }
}

/// `Jitter::Full`, as a link.
fn variant(value: &str) -> Option<String> {
    let (of, one) = value.split_once("::")?;
    let named = |name: &str| {
        name.starts_with(char::is_uppercase)
            && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    (named(of) && named(one)).then(|| format!("[`{value}`]"))
}

fn digits(number: &str) -> Option<String> {
    let plain = number.replace('_', "");
    let is_number = !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(plain)
}

/// With a comma between thousands.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "crates/core/src/breaker/config.rs";

    /// A configuration whose field of this value is documented so.
    fn findings(path: &str, value: &str, doc: &str) -> Vec<String> {
        let text = format!(
            "//! Doc.\npub struct Config {{\n    /// {doc}\n    #[cfg_attr(\n        x\n    )]\n    \
             pub field: Type,\n    private: Type,\n}}\n\nimpl Default for Config {{\n    fn \
             default() -> Self {{\n        Self {{\n            field: {value},\n            \
             private: 7,\n        }}\n    }}\n}}\n"
        );
        let file = TextFile {
            path: path.into(),
            text,
        };
        check(&[file]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_public_field_says_its_default() {
        let found = findings(PATH, "7", "How many.");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("{PATH}:7: `field` does not")));
    }

    #[test]
    fn the_default_is_that_of_the_code() {
        let documented = [
            ("0.5", "0.5"),
            ("8.0", "8"),
            ("10_000", "10,000"),
            ("const { count(20) }", "20"),
            ("Some(const { count(5) })", "5"),
            (
                "Some(const { NonZeroU32::MIN.saturating_add(9_999) })",
                "10,000",
            ),
            ("NonZeroU32::MIN", "1"),
            ("Duration::from_millis(250)", "250 ms"),
            ("Some(Duration::from_mins(1))", "1 min"),
            ("None", "`None`"),
            ("true", "`true`"),
            ("Jitter::Full", "[`Jitter::Full`]"),
        ];
        for (value, words) in documented {
            let found = findings(PATH, value, &format!("How much. Default: {words}."));
            assert_eq!(found, [""; 0], "{value}");
            let found = findings(PATH, value, "How much. Default: 77.");
            let wanted = format!("must say `Default: {words}.`");
            assert!(found[0].contains(&wanted), "{value}: {found:?}");
        }
    }

    #[test]
    fn a_document_may_break_its_lines_anywhere() {
        let found = findings(
            PATH,
            "Duration::from_secs(5)",
            "It is. Default:\n    /// 5 s.",
        );
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn what_is_computed_is_named_in_any_words() {
        for value in [
            "PhiConfig::default()",
            "hundred",
            "Method::Phi(x)",
            "A {\n                b: 1,\n            }",
        ] {
            assert_eq!(
                findings(PATH, value, "It is. Default: see there."),
                [""; 0],
                "{value}"
            );
            assert_eq!(findings(PATH, value, "It is.").len(), 1, "{value}");
        }
    }

    #[test]
    fn other_crates_and_tests_are_left_alone() {
        for path in [
            "crates/gateway/src/limits.rs",
            "crates/core/src/breaker/tests.rs",
        ] {
            assert_eq!(findings(path, "7", "How many."), [""; 0], "{path}");
        }
    }
}
