//! Why a history has no order, for people: a few operations, as text and as a timeline.
//!
//! Prevents a verdict of "no" that nobody can act on. What always holds: a failure names the
//! operation whose reply nothing explains, and shows the time around it, not the whole run.

mod html;

use std::fmt;

use crate::history::{Client, Time};

/// A text of a reply or a state is cut after so many characters.
const TEXT_MAX: usize = 160;

/// One part of a history that has no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The part, as its name is printed; `()` when there is only one.
    pub part: String,
    /// The operation whose return no order gets past.
    pub blocked: usize,
    /// The state behind the last operations of the window that could be ordered.
    pub state: String,
    /// The longest order that could be found, as operations of the history.
    pub order: Vec<usize>,
    /// The operations around the failure, by invocation. Reads that the failure does not need
    /// are left out.
    pub window: Vec<Shown>,
}

/// An operation of the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its place in the history.
    pub operation: usize,
    /// Who asked.
    pub client: Client,
    /// When.
    pub invoked: Time,
    /// When the reply came, if one came.
    pub returned: Option<Time>,
    /// What was asked and answered.
    pub text: String,
    /// Its place in the order.
    pub place: Place,
}

/// Where an operation stands in the longest order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Counted from 1, over the operations that the failure needs.
    Ordered(usize),
    /// No order gets past its return.
    Blocked,
    /// Not needed yet, or tried in vain.
    Open,
}

impl Failure {
    /// The window as a page of its own, with a row per client: no scripts, no other files, light
    /// and dark.
    pub fn html(&self) -> String {
        html::Page(self).to_string()
    }

    fn blocked_shown(&self) -> Option<&Shown> {
        self.window
            .iter()
            .find(|shown| shown.place == Place::Blocked)
    }

    /// One sentence.
    fn headline(&self) -> String {
        let (client, text) = self
            .blocked_shown()
            .map_or((0, ""), |shown| (shown.client, shown.text.as_str()));
        let part = if self.part == "()" {
            String::new()
        } else {
            format!(" in part {}", self.part)
        };
        format!(
            "no order explains client {client}: {text}{part}, where the state is {}",
            self.state
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.headline())?;
        writeln!(
            f,
            "{:>7}  {:>8}  {:>20}  {:>20}  {:>10}  operation",
            "order", "client", "invoked", "returned", "number"
        )?;
        for shown in &self.window {
            let place = match shown.place {
                Place::Ordered(place) => place.to_string(),
                Place::Blocked => "BLOCKED".to_owned(),
                Place::Open => "-".to_owned(),
            };
            let returned = shown
                .returned
                .map_or_else(|| "never".to_owned(), |at| at.to_string());
            writeln!(
                f,
                "{place:>7}  {:>8}  {:>20}  {returned:>20}  {:>10}  {}",
                shown.client, shown.invoked, shown.operation, shown.text
            )?;
        }
        Ok(())
    }
}

/// A text that fits in a line.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
