//! The timeline of a failure as one page of HTML.
//!
//! Prevents a rendering that needs a server, a script or another file, and one that a value of
//! the history could break: every text is escaped. Time is drawn by rank, so that a pause of a
//! minute does not hide the microseconds around the failure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use super::{Failure, Place, Shown};

const ROW_PIXELS: usize = 44;
/// A short operation's text fits in the shortest bar; a longer one is cut there and can be pointed at.
const TICK_PIXELS: usize = 132;
const LABEL_PIXELS: usize = 96;

const STYLE: &str = "\
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--faint:#6a737d;--line:#d0d7de;\
--ordered:#dbe9f9;--ordered-edge:#3b7dd8;--blocked:#fbdcdc;--blocked-edge:#c62828;\
--open:#eee;--open-edge:#8a8a8a}\
@media (prefers-color-scheme:dark){:root{--page:#14171b;--ink:#e6e9ec;--faint:#98a2ad;\
--line:#333a42;--ordered:#16304f;--ordered-edge:#6aa5f0;--blocked:#4d1b1b;\
--blocked-edge:#ff7b72;--open:#2a2e33;--open-edge:#9aa0a6}}\
body{margin:2rem;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}\
h1{font-size:1.15rem;max-width:60rem}p{color:var(--faint);max-width:60rem}\
.scroll{overflow-x:auto}svg text{fill:var(--ink);font:12px system-ui,sans-serif}\
svg .client{fill:var(--faint)}svg line{stroke:var(--line)}\
.ordered rect{fill:var(--ordered);stroke:var(--ordered-edge)}\
.blocked rect{fill:var(--blocked);stroke:var(--blocked-edge);stroke-width:2}\
.open rect{fill:var(--open);stroke:var(--open-edge);stroke-dasharray:4 3}\
table{border-collapse:collapse;margin-top:1.5rem}\
th,td{text-align:left;padding:.2rem .8rem;border-bottom:1px solid var(--line)}\
td.n{text-align:right;font-variant-numeric:tabular-nums}";

/// The page, written by [`fmt::Display`].
pub(super) struct Page<'a>(pub &'a Failure);

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (title, window) = (Escaped(&self.0.headline()).to_string(), &self.0.window);
        writeln!(
            f,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">\
             <title>Not linearizable</title><style>{STYLE}</style></head><body>\n\
             <h1>Not linearizable: {title}</h1>\n\
             <p>Each bar is an operation from its invocation to its return; one that reaches the \
             right edge never returned. Numbers give the longest order that could be found. Time \
             is drawn by rank, not to scale.</p>"
        )?;
        timeline(f, window)?;
        table(f, window)?;
        writeln!(f, "</body></html>")
    }
}

/// A text in which nothing is taken for markup.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

const fn class(place: Place) -> &'static str {
    match place {
        Place::Ordered(_) => "ordered",
        Place::Blocked => "blocked",
        Place::Open => "open",
    }
}

fn mark(place: Place) -> String {
    match place {
        Place::Ordered(place) => place.to_string(),
        Place::Blocked => "blocked".to_owned(),
        Place::Open => "–".to_owned(),
    }
}

fn timeline(f: &mut fmt::Formatter<'_>, window: &[Shown]) -> fmt::Result {
    let times: BTreeSet<_> = window
        .iter()
        .flat_map(|shown| [Some(shown.invoked), shown.returned])
        .flatten()
        .collect();
    let ranks: BTreeMap<_, _> = times.into_iter().zip(0_usize..).collect();
    let clients: BTreeSet<_> = window.iter().map(|shown| shown.client).collect();
    let rows: BTreeMap<_, _> = clients.into_iter().zip(0_usize..).collect();
    let width = LABEL_PIXELS + (ranks.len() + 1) * TICK_PIXELS;
    let height = rows.len() * ROW_PIXELS + 8;

    write!(
        f,
        "<div class=\"scroll\"><svg width=\"{width}\" height=\"{height}\" role=\"img\" \
         aria-label=\"timeline of the operations around the failure\">"
    )?;
    for (client, row) in &rows {
        let middle = row * ROW_PIXELS + ROW_PIXELS / 2;
        write!(
            f,
            "<line x1=\"{LABEL_PIXELS}\" x2=\"{width}\" y1=\"{middle}\" y2=\"{middle}\"/>\
             <text class=\"client\" x=\"0\" y=\"{}\">client {client}</text>",
            middle + 4
        )?;
    }
    for shown in window {
        let at = |time| LABEL_PIXELS + ranks.get(&time).copied().unwrap_or(0) * TICK_PIXELS;
        let from = at(shown.invoked);
        let to = shown.returned.map_or(width, at).max(from + TICK_PIXELS / 2);
        let top = rows.get(&shown.client).copied().unwrap_or(0) * ROW_PIXELS + 8;
        let (class, mark) = (class(shown.place), mark(shown.place));
        let (bar, text) = (to - from, Escaped(&shown.text));
        write!(
            f,
            "<g class=\"{class}\"><title>{text}</title><rect x=\"{from}\" y=\"{top}\" \
             width=\"{bar}\" height=\"28\" rx=\"5\"/><svg x=\"{from}\" y=\"{top}\" \
             width=\"{bar}\" height=\"28\"><text x=\"6\" y=\"18\">{mark}: {text}</text></svg></g>"
        )?;
    }
    writeln!(f, "</svg></div>")
}

fn table(f: &mut fmt::Formatter<'_>, window: &[Shown]) -> fmt::Result {
    writeln!(
        f,
        "<table><thead><tr><th>order</th><th>client</th><th>invoked</th><th>returned</th>\
         <th>number</th><th>operation</th></tr></thead><tbody>"
    )?;
    for shown in window {
        let returned = shown
            .returned
            .map_or_else(|| "never".to_owned(), |at| at.to_string());
        writeln!(
            f,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{returned}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            mark(shown.place),
            shown.client,
            shown.invoked,
            shown.operation,
            Escaped(&shown.text)
        )?;
    }
    writeln!(f, "</tbody></table>")
}
