//! A small picture of a service's last two minutes: its rate, and how much of it failed.
//!
//! Prevents missing what happened between two looks. The numbers are in its text too.

use std::fmt::Write;

use super::figure::quantity;
use super::html::Html;
use crate::snapshot::{Point, TREND_POINTS, Trend};

/// Units of the picture; the style sets its size.
const WIDTH: usize = 2 * (TREND_POINTS - 1);
const HEIGHT: f64 = 40.0;
/// Failures that matter are drawn at least this high, so that few among many can be seen.
const FAILED_HEIGHT_MIN: f64 = 2.5;
/// The share of failures that matters.
const FAILED_SHARE_MIN: f64 = 0.001;
/// Failures per second that are worth words.
const FAILED_MIN: f64 = 0.01;

pub(super) fn write(html: &mut Html, trend: &Trend) {
    let peak = trend.iter().map(|point| point.rate).fold(0.0, f64::max);
    let failed = trend.iter().map(|point| point.failed).fold(0.0, f64::max);
    let scale = if peak > 0.0 { HEIGHT / peak } else { 0.0 };
    let rate = line(trend, |point| point.rate * scale);
    html.raw("<figure class=\"trend\"><svg viewBox=\"0 -2 238 43\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"Requests per second in the last two minutes: at most ")
        .text(&quantity(peak))
        .raw("; failed: at most ")
        .text(&quantity(failed))
        .raw("\">");
    if let Some(start) = start(trend) {
        html.raw("<path class=\"area\" d=\"M")
            .text(&closed(start, &rate))
            .raw("\"/><path class=\"line\" d=\"M")
            .text(&rate)
            .raw("\"/>");
        if failed >= FAILED_MIN {
            let failures = line(trend, |point| match point.failed {
                n if n > point.rate * FAILED_SHARE_MIN => (n * scale).max(FAILED_HEIGHT_MIN),
                n => n * scale,
            });
            html.raw("<path class=\"failed\" d=\"M")
                .text(&closed(start, &failures))
                .raw("\"/>");
        }
    }
    html.raw("</svg><figcaption>2 min, peak ")
        .text(&quantity(peak))
        .raw("/s");
    if failed >= FAILED_MIN {
        html.raw(", <span class=\"bad\">failed up to ")
            .text(&quantity(failed))
            .raw("/s</span>");
    }
    html.raw("</figcaption></figure>\n");
}

/// Where the oldest point is; the newest is at the right edge.
fn start(trend: &Trend) -> Option<usize> {
    let points = trend.len().checked_sub(1)?;
    WIDTH.checked_sub(2 * points)
}

fn line(trend: &Trend, height: impl Fn(&Point) -> f64) -> String {
    let start = start(trend).unwrap_or(WIDTH);
    let mut path = String::with_capacity(trend.len() * 9);
    for (i, point) in trend.iter().enumerate() {
        let y = HEIGHT - height(point).clamp(0.0, HEIGHT);
        let separator = if i == 0 { "" } else { "L" };
        write!(path, "{separator}{} {y:.1}", start + 2 * i).unwrap_or_default();
    }
    path
}

/// The line, closed along the bottom.
fn closed(start: usize, line: &str) -> String {
    format!("{start} {HEIGHT}L{line}L{WIDTH} {HEIGHT}Z")
}
