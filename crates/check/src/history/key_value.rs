//! Reads the key-value histories of Jepsen's text form.
//!
//! Prevents a checker that is only tried on histories of its own making. A line is
//! `{:process 0, :type :ok, :f :append, :key "4", :value "x 0 1 y"}`. What always holds: the
//! time of an event is the number of its line.

use super::{History, ParseError, Recorder};
use crate::model::key_value::{Action, Input, Output};

/// The history that a text tells.
///
/// # Errors
///
/// With the line, when an event cannot be understood or cannot have happened.
pub fn parse(text: &str) -> Result<History<Input, Output>, ParseError> {
    let mut recorder = Recorder::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        // A `usize` fits in 64 bits on every machine that we build for.
        let at = u64::try_from(number).unwrap_or(u64::MAX);
        record(&mut recorder, at, line).map_err(|what| ParseError::new(number, what))?;
    }
    Ok(recorder.finish())
}

/// Reads a line from left to right.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn expect(&mut self, text: &str) -> Result<(), String> {
        self.0 = self
            .0
            .strip_prefix(text)
            .ok_or_else(|| format!("expected {text:?} at {:?}", self.0))?;
        Ok(())
    }

    /// Everything up to `end`, which is passed over.
    fn until(&mut self, end: &str) -> Result<&'a str, String> {
        let (found, rest) = self
            .0
            .split_once(end)
            .ok_or_else(|| format!("expected {end:?} in {:?}", self.0))?;
        self.0 = rest;
        Ok(found)
    }
}

fn record(recorder: &mut Recorder<Input, Output>, at: u64, line: &str) -> Result<(), String> {
    let mut cursor = Cursor(line.trim());
    cursor.expect("{:process ")?;
    let client = cursor.until(", :type ")?;
    let client = client
        .parse()
        .map_err(|_| format!("{client:?} is not the number of a client"))?;
    let kind = cursor.until(", :f ")?;
    let function = cursor.until(", :key \"")?;
    let key = cursor.until("\", :value ")?;
    let value = cursor
        .0
        .strip_suffix('}')
        .ok_or_else(|| "the line does not end with a brace".to_owned())?;
    let value = || {
        let quoted = value
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        quoted.ok_or_else(|| format!("the value {value} is not a text in quotes"))
    };

    let impossible = |error: super::Impossible| error.to_string();
    if kind == ":invoke" {
        let action = match function {
            ":get" => Action::Get,
            ":put" => Action::Put(value()?.into()),
            ":append" => Action::Append(value()?.into()),
            other => return Err(format!("{other:?} is none of :get, :put, :append")),
        };
        let key = key.into();
        return recorder
            .invoke(client, at, Input { key, action })
            .map_err(impossible);
    }
    let open = recorder
        .open(client)
        .ok_or_else(|| format!("client {client} has a reply but no open operation"))?;
    let (asked, output) = match &open.action {
        Action::Get => (":get", None),
        Action::Put(_) => (":put", Some(Output::Done)),
        Action::Append(_) => (":append", Some(Output::Done)),
    };
    if (asked, &*open.key) != (function, key) {
        return Err(format!(
            "client {client} asked {asked} of {:?} and is answered {function} of {key:?}",
            open.key
        ));
    }
    match (kind, output) {
        (":ok", Some(done)) => recorder.returned(client, at, done),
        (":ok", None) => recorder.returned(client, at, Output::Value(value()?.into())),
        (":fail", _) => recorder.failed(client, at),
        (":info", _) => recorder.crashed(client),
        (other, _) => return Err(format!("{other:?} is none of :invoke, :ok, :fail, :info")),
    }
    .map_err(impossible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_operations() {
        let text = "{:process 0, :type :invoke, :f :put, :key \"4\", :value \"x 0 1 y\"}\n\
                    {:process 1, :type :invoke, :f :get, :key \"4\", :value nil}\n\
                    {:process 1, :type :ok, :f :get, :key \"4\", :value \"\"}\n";
        let history = parse(text).expect("a well-formed text");
        assert_eq!(history.len(), 2);
        assert_eq!(
            history.operations()[0].input.action,
            Action::Put("x 0 1 y".into())
        );
        assert_eq!(history.operations()[0].output(), None);
        assert_eq!(
            history.operations()[1].output(),
            Some(&Output::Value("".into()))
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = |line: &str| parse(line).expect_err("a bad line").to_string();
        assert_eq!(
            error("{:process 0, :type :ok}"),
            "line 1: expected \", :f \" in \":ok}\""
        );
        assert_eq!(
            error("{:process 0, :type :invoke, :f :put, :key \"4\", :value nil}"),
            "line 1: the value nil is not a text in quotes"
        );
        assert_eq!(
            error("{:process 0, :type :ok, :f :put, :key \"4\", :value \"a\"}"),
            "line 1: client 0 has a reply but no open operation"
        );
    }
}
