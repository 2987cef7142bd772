//! Reads the log of a Jepsen run against one register of etcd.
//!
//! Prevents a checker that is only tried on histories of its own making. A line is
//! `INFO  jepsen.util - 3  :invoke  :cas  [1 2]`; other lines are the run's chatter and are
//! passed over. What always holds: the time of an event is the number of its line.

use super::{History, ParseError, Recorder};
use crate::model::register::{Input, Output};

const MARK: &str = "jepsen.util";

/// The history that a log tells.
///
/// `:fail` of a compare-and-set means that it compared and did not set; `:fail` of a read or a
/// write means that it did not happen; `:info` means that nobody knows.
///
/// # Errors
///
/// With the line, when an event cannot be understood or cannot have happened.
pub fn parse(text: &str) -> Result<History<Input, Output>, ParseError> {
    let mut recorder = Recorder::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = line.split_whitespace();
        if !words.any(|word| word == MARK) {
            continue;
        }
        let event = Event::of(line).map_err(|what| ParseError::new(number, what))?;
        // A `usize` fits in 64 bits on every machine that we build for.
        let at = u64::try_from(number).unwrap_or(u64::MAX);
        record(&mut recorder, at, &event).map_err(|what| ParseError::new(number, what))?;
    }
    Ok(recorder.finish())
}

struct Event<'a> {
    client: u64,
    kind: &'a str,
    function: &'a str,
    value: String,
}

impl<'a> Event<'a> {
    fn of(line: &'a str) -> Result<Self, String> {
        let mut words = line.split_whitespace().skip_while(|word| *word != MARK);
        let mut next = |name: &str| words.next().ok_or_else(|| format!("there is no {name}"));
        next("mark")?;
        if next("dash")? != "-" {
            return Err("after jepsen.util comes a dash".to_owned());
        }
        let client = next("client")?;
        let client = client
            .parse()
            .map_err(|_| format!("{client:?} is not the number of a client"))?;
        let (kind, function) = (next("kind of event")?, next("operation")?);
        let value: Vec<_> = words.collect();
        Ok(Self {
            client,
            kind,
            function,
            value: value.join(" "),
        })
    }

    fn input(&self) -> Result<Input, String> {
        match self.function {
            ":read" => Ok(Input::Read),
            ":write" => number(&self.value).map(Input::Write),
            ":cas" => {
                let inner = self.value.strip_prefix('[');
                let pair = inner.and_then(|value| value.strip_suffix(']'));
                let (from, to) = pair
                    .and_then(|pair| pair.split_once(' '))
                    .ok_or_else(|| format!("{:?} is not a pair as [1 2]", self.value))?;
                Ok(Input::CompareAndSet {
                    expected: number(from)?,
                    new: number(to)?,
                })
            },
            other => Err(format!("{other:?} is none of :read, :write, :cas")),
        }
    }
}

fn number(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number"))
}

fn record(
    recorder: &mut Recorder<Input, Output>,
    at: u64,
    event: &Event<'_>,
) -> Result<(), String> {
    let client = event.client;
    let impossible = |error: super::Impossible| error.to_string();
    if event.kind == ":invoke" {
        return recorder
            .invoke(client, at, event.input()?)
            .map_err(impossible);
    }
    let open = recorder
        .open(client)
        .ok_or_else(|| format!("client {client} has a reply but no open operation"))?;
    let asked = match open {
        Input::Read => ":read",
        Input::Write(_) => ":write",
        Input::CompareAndSet { .. } => ":cas",
    };
    if asked != event.function {
        return Err(format!(
            "client {client} asked {asked} and is answered {}",
            event.function
        ));
    }
    match (event.kind, event.function) {
        (":ok", ":read") if event.value == "nil" => {
            recorder.returned(client, at, Output::Value(None))
        },
        (":ok", ":read") => {
            recorder.returned(client, at, Output::Value(Some(number(&event.value)?)))
        },
        (":ok", ":cas") => recorder.returned(client, at, Output::Swapped(true)),
        (":ok", _) => recorder.returned(client, at, Output::Done),
        (":fail", ":cas") => recorder.returned(client, at, Output::Swapped(false)),
        (":fail", _) => recorder.failed(client, at),
        (":info", _) => recorder.crashed(client),
        (other, _) => return Err(format!("{other:?} is none of :invoke, :ok, :fail, :info")),
    }
    .map_err(impossible)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Reply;

    #[test]
    fn a_log_becomes_operations() {
        let text = "INFO  jepsen.core - Worker starts\n\
                    INFO  jepsen.util - 0\t:invoke\t:write\t4\n\
                    INFO  jepsen.util - 1\t:invoke\t:cas\t[4 2]\n\
                    INFO  jepsen.util - 0\t:info\t:write\t:timed-out\n\
                    INFO  jepsen.util - 1\t:fail\t:cas\t[4 2]\n\
                    INFO  jepsen.util - 1\t:invoke\t:read\tnil\n\
                    INFO  jepsen.util - 1\t:fail\t:read\t:timed-out\n";
        let history = parse(text).expect("a well-formed log");
        let operations = history.operations();

        assert_eq!(operations.len(), 2, "the failed read did not happen");
        assert_eq!(operations[0].reply, Reply::Crashed);
        assert_eq!(operations[1].invoked, 3);
        assert_eq!(
            operations[1].reply,
            Reply::Returned {
                at: 5,
                output: Output::Swapped(false)
            }
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = |line: &str| {
            parse(&format!("\n{line}"))
                .expect_err("a bad line")
                .to_string()
        };
        assert_eq!(
            error("INFO jepsen.util - x :invoke :read nil"),
            "line 2: \"x\" is not the number of a client"
        );
        assert_eq!(
            error("INFO jepsen.util - 1 :invoke :cas [1]"),
            "line 2: \"[1]\" is not a pair as [1 2]"
        );
        assert_eq!(
            error("INFO jepsen.util - 1 :ok :read 3"),
            "line 2: client 1 has a reply but no open operation"
        );
        assert_eq!(error("INFO jepsen.util -"), "line 2: there is no client");
    }
}
