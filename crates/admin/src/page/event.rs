//! One event, one row.
//!
//! Prevents an event that is left out because nobody wrote a sentence for it: rows are made from
//! the list of fields that every kind of event has.

use mainstay_core::event::Event;
use mainstay_observe::Record;
use serde_json::Value;

use super::html::Html;
use super::service::mark;
use super::state::State;

/// Fields that say where, in the order they are shown.
const PLACES: [&str; 4] = ["service", "endpoint", "replica", "node_id"];

/// The row of a record that comes in live; heartbeats have none.
pub(crate) fn row(record: &Record) -> Option<String> {
    if matches!(record.event, Event::Heartbeat { .. }) {
        return None;
    }
    let mut html = Html::new();
    write(&mut html, record, "");
    Some(html.finish())
}

/// A row that says that records are missing.
pub(crate) fn gap(lost: u64) -> String {
    let mut html = Html::new();
    html.raw("<tr class=\"gap\"><td colspan=\"5\">Up to ")
        .text(&lost.to_string())
        .raw(" events are missing here.</td></tr>");
    html.finish()
}

/// Writes a row, hidden when it does not contain `filter`.
pub(super) fn write(html: &mut Html, record: &Record, filter: &str) {
    let kind = record.event.kind();
    let fields = serde_json::to_value(&record.event).unwrap_or_default();
    let (places, words) = describe(kind.fields, &fields);
    let severity = record.severity.as_str();
    let shown = [severity, kind.name, &places, &words];
    let matches = shown.join(" ").to_lowercase();
    let hidden = !matches.contains(&filter.to_lowercase());

    let time = record.time.to_string();
    html.raw("<tr class=\"")
        .raw(State::of_severity(record.severity).class())
        .raw(if hidden { "\" hidden>" } else { "\">" })
        .raw("<td class=\"time\"><time datetime=\"")
        .text(&time)
        .raw("\">")
        .text(time.get(11..23).unwrap_or(&time))
        .raw("</time></td><td>");
    mark(html, State::of_severity(record.severity), severity);
    html.raw("</td><td class=\"name\">")
        .raw(kind.name)
        .raw("</td><td>")
        .text(&places)
        .raw("</td><td class=\"words\">")
        .text(&words)
        .raw("</td></tr>\n");
}

/// Where it happened, and the other fields.
fn describe(names: &[(&'static str, &'static str)], fields: &Value) -> (String, String) {
    let text = |name: &str| match fields.get(name)? {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Some(value.to_string())
        },
    };
    let places: Vec<String> = PLACES.iter().filter_map(|name| text(name)).collect();
    let mut words = String::new();
    for (name, _) in names.iter().filter(|(name, _)| !PLACES.contains(name)) {
        let Some(value) = text(name) else {
            continue;
        };
        if !words.is_empty() {
            words.push_str(" · ");
        }
        // A reason and a detail speak for themselves.
        if !matches!(*name, "reason" | "detail") {
            words.push_str(name);
            words.push(' ');
        }
        words.push_str(&value);
    }
    (places.join(" / "), words)
}
