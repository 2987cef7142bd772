//! Walks the spanned tree of a TOML document and collects every mistake on the way.
//!
//! Prevents stopping at the first mistake, which `serde` would do: a wrong value is reported and
//! reading goes on. A getter returns `None` when there is no value to be had; the mistake, if it
//! was one, is already in the list.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::key::{self, Key};
use super::problem::Problem;
use mainstay_core::unit;

/// How different a misspelt name may be to be taken for a known one.
const LIKENESS_MIN: f64 = 0.7;

/// A value in force and where it came from, for `config explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effective {
    /// The key, for instance `service.payment.timeout.total`.
    pub path: String,
    /// The value as it would be written.
    pub value: String,
    /// The line of the file it stands on; `None` for a default.
    pub line: Option<usize>,
}

/// A value could not be had, and the mistake is in the list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported;

/// One walk through one document.
#[derive(Debug)]
pub(super) struct Reader<'s> {
    source: &'s str,
    problems: RefCell<Vec<Problem>>,
    effective: RefCell<Vec<Effective>>,
}

/// One table of the document, or the place where it would stand.
#[derive(Clone, Debug)]
pub(super) struct Section<'r, 's> {
    reader: &'r Reader<'s>,
    table: Option<&'r DeTable<'s>>,
    /// The bytes of the table, or of the nearest one around it.
    span: Range<usize>,
    path: String,
    pattern: String,
}

impl<'s> Reader<'s> {
    /// A walk through `source`.
    pub(super) const fn new(source: &'s str) -> Self {
        Self {
            source,
            problems: RefCell::new(Vec::new()),
            effective: RefCell::new(Vec::new()),
        }
    }

    /// The whole document.
    pub(super) fn root<'r>(&'r self, table: &'r Spanned<DeTable<'s>>) -> Section<'r, 's> {
        Section {
            reader: self,
            table: Some(table.get_ref()),
            span: 0..0,
            path: String::new(),
            pattern: String::new(),
        }
        .checked()
    }

    /// Reports a mistake.
    pub(super) fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// The mistakes found and the values in force.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<Effective>) {
        (self.problems.into_inner(), self.effective.into_inner())
    }

    fn line(&self, offset: usize) -> usize {
        self.source
            .get(..offset)
            .unwrap_or(self.source)
            .matches('\n')
            .count()
            + 1
    }
}

impl<'r, 's> Section<'r, 's> {
    /// Its path, for instance `service.payment`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Where it stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Whether the file has the key `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Where the value of `name` stands; the section itself when it is left out.
    pub(super) fn span_of(&self, name: &str) -> Range<usize> {
        self.value(name).map_or_else(|| self.span(), Spanned::span)
    }

    /// Reports a mistake about the value of `name`.
    pub(super) fn problem(&self, name: &str, message: String, label: &str, help: Option<&str>) {
        self.reader.problem(Problem {
            message,
            span: self.span_of(name),
            label: label.to_owned(),
            help: help.map(str::to_owned),
        });
    }

    /// Reports a mistake about the bytes at `span`.
    pub(super) fn problem_at(&self, span: Range<usize>, message: String, label: &str) {
        self.reader.problem(Problem {
            message,
            span,
            label: label.to_owned(),
            help: None,
        });
    }

    /// Reports that `name` is required.
    pub(super) fn missing(&self, name: &str, help: &str) {
        let message = format!("`{}` lacks the key `{name}`", self.path);
        self.problem(name, message, "required here", Some(help));
    }

    /// The table below `name`, empty when it is left out.
    pub(super) fn table(&self, name: &str) -> Self {
        let value = self.value(name);
        let table = value.and_then(|value| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                self.wrong(name, value, "a table");
            }
            table
        });
        self.below(name, name, table, value.map(Spanned::span))
    }

    /// What `read` makes of the table below `name`; `None` for `name = "off"`, and for a table
    /// that is left out where the default is "off".
    pub(super) fn table_or_off<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Self) -> Option<T>,
    ) -> Result<Option<T>, Reported> {
        self.or_off(name, |section| read(&section.table(name)))
    }

    /// The tables below `name`, whose names the user chooses.
    pub(super) fn named(&self, name: &str) -> Vec<(&'r str, Self)> {
        let group = self.table(name);
        let Some(tables) = group.table else {
            return Vec::new();
        };
        tables
            .iter()
            .map(|(key, value)| {
                let name: &'r str = key.get_ref();
                let table = value.get_ref().as_table();
                if table.is_none() {
                    group.wrong(name, value, "a table");
                }
                (name, group.below(name, "*", table, Some(key.span())))
            })
            .collect()
    }

    /// Pairs of text, whose names the user chooses.
    pub(super) fn texts(&self, name: &str) -> Vec<(String, String)> {
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(name, value, "a table of texts");
            return Vec::new();
        };
        table
            .iter()
            .filter_map(|(key, value)| {
                let text = self.text_of(key.get_ref(), value)?;
                Some((key.get_ref().to_string(), text))
            })
            .collect()
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.scalar(name, |text| Ok(text.to_owned()), "a text")
    }

    /// A duration, above zero.
    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        self.scalar(
            name,
            unit::duration,
            "a duration such as \"250ms\" or \"5s\"",
        )
    }

    /// A share, above 0 and at most 1.
    pub(super) fn percent(&self, name: &str) -> Option<f64> {
        self.scalar(name, unit::percent, "a percentage such as \"20%\"")
    }

    /// A number of bytes, above zero.
    pub(super) fn size(&self, name: &str) -> Option<usize> {
        self.scalar(name, unit::size, "a size such as \"64KiB\"")
    }

    /// An address with a port.
    pub(super) fn address(&self, name: &str) -> Option<SocketAddr> {
        let expected = "an address such as \"127.0.0.1:8080\"";
        self.scalar(name, |text| text.parse().map_err(|_| expected), expected)
    }

    /// A whole number above zero.
    pub(super) fn count(&self, name: &str) -> Option<NonZeroU32> {
        let expected = "a whole number above zero and below 2^32";
        let Some(value) = self.value(name) else {
            let default = self.key(name)?.default;
            let count = default.parse().ok()?;
            self.record(name, default.to_owned());
            return Some(count);
        };
        let count = value
            .get_ref()
            .as_integer()
            .and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok())
            .and_then(NonZeroU32::new);
        match count {
            Some(count) => self.record(name, count.to_string()),
            None => self.wrong(name, value, expected),
        }
        count
    }

    /// A count, or `None` for `"off"`.
    pub(super) fn count_or_off(&self, name: &str) -> Result<Option<NonZeroU32>, Reported> {
        self.or_off(name, |section| section.count(name))
    }

    /// What `read` makes of the value of `name`; `None` for `"off"`, and for a value that is left
    /// out where the default is "off".
    pub(super) fn or_off<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Self) -> Option<T>,
    ) -> Result<Option<T>, Reported> {
        if self.is_off(name) {
            self.record(name, "off".to_owned());
            return Ok(None);
        }
        read(self).map(Some).ok_or(Reported)
    }

    /// Whether the value of `name` is a whole number, good or bad.
    pub(super) fn has_number(&self, name: &str) -> bool {
        self.value(name)
            .is_some_and(|value| value.get_ref().as_integer().is_some())
    }

    fn is_off(&self, name: &str) -> bool {
        match self.value(name) {
            Some(value) => value.get_ref().as_str() == Some("off"),
            None => self.key(name).is_some_and(|key| key.default == "off"),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        let value = self.value(name)?;
        let flag = value.get_ref().as_bool();
        match flag {
            Some(flag) => self.record(name, flag.to_string()),
            None => self.wrong(name, value, "true or false"),
        }
        flag
    }

    /// A list.
    pub(super) fn list(&self, name: &str) -> Option<&'r DeArray<'s>> {
        let value = self.value(name)?;
        let list = value.get_ref().as_array();
        match list {
            Some(_) => self.record(name, self.text_at(value.span())),
            None => self.wrong(name, value, "a list"),
        }
        list
    }

    /// A list of texts; wrong entries are reported.
    pub(super) fn text_list(&self, name: &str) -> Option<Vec<(String, Range<usize>)>> {
        let list = self.list(name)?;
        let texts = list
            .iter()
            .filter_map(|value| Some((self.text_of(name, value)?, value.span())));
        Some(texts.collect())
    }

    fn text_of(&self, name: &str, value: &Spanned<DeValue<'s>>) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong(name, value, "a text");
        }
        text
    }

    /// Reports that `value` is not what was expected.
    pub(super) fn wrong(&self, name: &str, value: &Spanned<DeValue<'s>>, expected: &str) {
        self.reader.problem(Problem {
            message: format!("`{}` is wrong", self.path_of(name)),
            span: value.span(),
            label: format!("expected {expected}, found {}", found(value.get_ref())),
            help: None,
        });
    }

    /// The text of the file at `span`.
    pub(super) fn text_at(&self, span: Range<usize>) -> String {
        self.reader.source.get(span).unwrap_or_default().to_owned()
    }

    /// A typed string, or its default.
    fn scalar<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, unit::Expected>,
        expected: &'static str,
    ) -> Option<T> {
        let Some(value) = self.value(name) else {
            let default = self.key(name)?.default;
            let parsed = parse(default).ok().filter(|_| !default.is_empty())?;
            self.record(name, default.to_owned());
            return Some(parsed);
        };
        let parsed = value.get_ref().as_str().ok_or(expected).and_then(&parse);
        match parsed {
            Ok(parsed) => {
                self.record(
                    name,
                    value.get_ref().as_str().unwrap_or_default().to_owned(),
                );
                Some(parsed)
            },
            Err(expected) => {
                self.wrong(name, value, expected);
                None
            },
        }
    }

    /// Notes a value in force.
    pub(super) fn record(&self, name: &str, value: String) {
        let line = self
            .value(name)
            .map(|value| self.reader.line(value.span().start));
        let path = self.path_of(name);
        self.reader
            .effective
            .borrow_mut()
            .push(Effective { path, value, line });
    }

    fn value(&self, name: &str) -> Option<&'r Spanned<DeValue<'s>>> {
        self.table?.get(name)
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        key::find(&join(&self.pattern, name))
    }

    fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    fn below(
        &self,
        name: &str,
        pattern: &str,
        table: Option<&'r DeTable<'s>>,
        span: Option<Range<usize>>,
    ) -> Self {
        Section {
            reader: self.reader,
            table,
            span: span.unwrap_or_else(|| self.span()),
            path: self.path_of(name),
            pattern: join(&self.pattern, pattern),
        }
        .checked()
    }

    /// Reports names that no key has.
    fn checked(self) -> Self {
        let known: Vec<&str> = key::children(&self.pattern).collect();
        if known.is_empty() || known == ["*"] {
            return self;
        }
        for (name, _) in self.table.into_iter().flat_map(DeTable::iter) {
            if known.contains(&name.get_ref().as_ref()) {
                continue;
            }
            let place = if self.path.is_empty() {
                "at the top of the file".to_owned()
            } else {
                format!("in `{}`", self.path)
            };
            self.reader.problem(Problem {
                message: format!("unknown key `{}` {place}", name.get_ref()),
                span: name.span(),
                label: "no such key".to_owned(),
                help: Some(suggestion(name.get_ref(), &known)),
            });
        }
        self
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The nearest known name, or all of them.
fn suggestion(name: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, nearest)) if likeness >= LIKENESS_MIN => {
            format!("did you mean `{nearest}`?")
        },
        _ => format!("known here: {}", known.join(", ")),
    }
}

fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
