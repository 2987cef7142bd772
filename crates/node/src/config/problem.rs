//! What is wrong with a configuration file: all of it, in one run.
//!
//! Prevents the edit-run-edit loop: every mistake carries its place, so that it is shown with
//! line, column and snippet, and with the nearest known key where a name is wrong.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, lower case, without a full stop.
    pub message: String,
    /// The bytes of the file that it is about.
    pub span: Range<usize>,
    /// What stands beside the bytes.
    pub label: String,
    /// What to do, where that is not plain.
    pub help: Option<String>,
}

/// All mistakes of one file.
#[derive(Debug)]
pub struct Problems {
    path: String,
    source: String,
    list: Vec<Problem>,
}

/// One mistake as `--json` gives it.
#[derive(Debug, Serialize)]
pub struct Located<'a> {
    /// The file.
    pub path: &'a str,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: &'a str,
    /// What to do.
    pub help: Option<&'a str>,
}

impl Problems {
    /// The mistakes of the file at `path` with the text `source`, in the order of the file.
    pub fn new(path: &str, source: &str, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| problem.span.start);
        Self {
            path: path.to_owned(),
            source: source.to_owned(),
            list,
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The mistakes with line and column.
    pub fn located(&self) -> Vec<Located<'_>> {
        self.list
            .iter()
            .map(|problem| {
                let before = self
                    .source
                    .get(..problem.span.start)
                    .unwrap_or(&self.source);
                let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
                Located {
                    path: &self.path,
                    line: before.matches('\n').count() + 1,
                    column: before[line_start..].chars().count() + 1,
                    message: &problem.message,
                    help: problem.help.as_deref(),
                }
            })
            .collect()
    }

    /// The mistakes as a compiler would print them; with colours when `styled`.
    pub fn render(&self, styled: Style) -> String {
        let renderer = match styled {
            Style::Plain => Renderer::plain(),
            Style::Colour => Renderer::styled(),
        }
        .decor_style(DecorStyle::Ascii);
        let mut text = String::new();
        for problem in &self.list {
            let snippet = Snippet::source(self.source.as_str())
                .path(self.path.as_str())
                .annotation(
                    AnnotationKind::Primary
                        .span(problem.span.clone())
                        .label(problem.label.as_str()),
                );
            let mut group = Level::ERROR
                .primary_title(problem.message.as_str())
                .element(snippet);
            if let Some(help) = &problem.help {
                group = group.element(Level::HELP.message(help.as_str()));
            }
            text.push_str(&renderer.render(&[group]));
            text.push_str("\n\n");
        }
        let (count, s) = (self.count(), if self.count() == 1 { "" } else { "s" });
        text.extend([
            &count.to_string(),
            " mistake",
            s,
            " in ",
            &self.path,
            "; nothing was changed",
        ]);
        text
    }
}

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(Style::Plain))
    }
}

impl std::error::Error for Problems {}

/// Whether the reader is a terminal that shows colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text only.
    Plain,
    /// With ANSI colours.
    Colour,
}
