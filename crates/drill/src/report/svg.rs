//! The timeline of both arms as a picture: what users saw in each quarter of a second, with the
//! latency and the faults.
//!
//! Prevents a picture that only some can read: failures stand in a row of marks of their own, so
//! that a single one is visible and none is told by colour alone; every slot says its figures when
//! pointed at.

use std::fmt::Write as _;

use crate::report::{ArmReport, FaultReport, Report};
use crate::timeline::{SLOT_MS, Slot};

const WIDTH: f64 = 1_080.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 52.0;
const TOP: f64 = 52.0;
/// Height of the bars of an arm.
const BARS: f64 = 130.0;
/// From the top of one arm to the top of the next: bars, row of marks, title.
const LANE: f64 = 196.0;
/// Latency axis: logarithmic from 1 ms to 1 s, the users' patience.
const LATENCY_DECADES: f64 = 3.0;

/// Draws the timeline.
pub(super) fn timeline(report: &Report) -> String {
    let height = TOP + LANE * report.arms.len() as f64 + 18.0;
    let mut svg = String::new();
    // Writing into a String cannot fail.
    writeln!(
        svg,
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" \
         aria-label=\"Good, stale and failed requests of both arms over time, with the faults; \
         the tables below give the same in figures\">\n\
         <defs><pattern id=\"hatch\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" \
         patternTransform=\"rotate(45)\"><rect width=\"5\" height=\"5\" class=\"stale-back\"/>\
         <rect width=\"2\" height=\"5\" class=\"stale-line\"/></pattern></defs>"
    )
    .ok();
    let x = Axis::new(report.length_ms);
    for (index, fault) in report.faults.iter().enumerate() {
        fault_band(&mut svg, &x, fault, index, height);
    }
    for (index, arm) in report.arms.iter().enumerate() {
        lane(&mut svg, &x, arm, TOP + LANE * index as f64);
    }
    time_axis(&mut svg, &x, report.length_ms, height - 20.0);
    svg.push_str("</svg>\n");
    svg
}

struct Axis {
    per_ms: f64,
}

impl Axis {
    fn new(length_ms: u64) -> Self {
        let per_ms = (WIDTH - LEFT - RIGHT) / length_ms.max(1) as f64;
        Self { per_ms }
    }

    fn at(&self, ms: u64) -> f64 {
        LEFT + ms as f64 * self.per_ms
    }
}

/// The time of a fault, across both arms, with its name above.
fn fault_band(svg: &mut String, x: &Axis, fault: &FaultReport, index: usize, height: f64) {
    let (left, right) = (x.at(fault.at_ms), x.at(fault.at_ms + fault.for_ms));
    let (kind, target, number) = (fault.kind.as_str(), &fault.target, index + 1);
    let what = fault.kind.describe();
    writeln!(
        svg,
        "<g><title>{number}. {kind} {target}: {what}</title>\
         <rect class=\"fault\" x=\"{left:.1}\" y=\"34\" width=\"{:.1}\" height=\"{:.0}\"/>\
         <rect class=\"fault-bar\" x=\"{left:.1}\" y=\"34\" width=\"{:.1}\" height=\"4\"/>\
         <text class=\"fault-name\" x=\"{left:.1}\" y=\"14\">{kind}</text>\
         <text class=\"small\" x=\"{left:.1}\" y=\"27\">{target}</text></g>",
        right - left,
        height - 34.0 - 22.0,
        right - left,
    )
    .ok();
}

fn lane(svg: &mut String, x: &Axis, arm: &ArmReport, top: f64) {
    let floor = top + 24.0 + BARS;
    let requests = |slot: &Slot| slot.good + slot.stale + slot.failed + slot.excused;
    let most = arm.timeline.iter().map(requests).max().unwrap_or(1).max(1);
    writeln!(
        svg,
        "<text class=\"lane\" x=\"{LEFT}\" y=\"{:.0}\">{}</text>\
         <text class=\"small end\" x=\"{:.0}\" y=\"{:.0}\">{most}</text>\
         <text class=\"small end\" x=\"{:.0}\" y=\"{floor:.0}\">0</text>",
        top + 16.0,
        arm.name,
        LEFT - 6.0,
        floor - BARS + 8.0,
        LEFT - 6.0,
    )
    .ok();
    for (index, slot) in arm.timeline.iter().enumerate() {
        bars(svg, x, (index, slot), most, floor);
    }
    latency(svg, x, &arm.timeline, floor);
}

/// The requests of one slot, stacked: good, stale, excused, failed on top.
fn bars(svg: &mut String, x: &Axis, (index, slot): (usize, &Slot), most: u32, floor: f64) {
    let at_ms = index as u64 * SLOT_MS;
    let left = x.at(at_ms);
    let width = x.at(at_ms + SLOT_MS) - left - 0.6;
    writeln!(
        svg,
        "<g><title>{:.2} s: {} good, {} stale, {} failed, {} writes while no replica lived, \
         p99 {:.0} ms</title>",
        at_ms as f64 / 1_000.0,
        slot.good,
        slot.stale,
        slot.failed,
        slot.excused,
        slot.p99_ms,
    )
    .ok();
    let mut y = floor;
    let stack = [
        ("good", slot.good),
        ("stale", slot.stale),
        ("excused", slot.excused),
        ("failed", slot.failed),
    ];
    for (class, count) in stack.into_iter().filter(|(_, count)| *count > 0) {
        let tall = BARS * f64::from(count) / f64::from(most);
        y -= tall;
        writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{tall:.1}\"/>"
        )
        .ok();
    }
    if slot.failed > 0 {
        let (middle, row) = (left + width / 2.0, floor + 11.0);
        writeln!(
            svg,
            "<path class=\"mark\" d=\"M{:.1} {:.1}l3.2 6h-6.4z\"/>",
            middle,
            row - 6.0
        )
        .ok();
    }
    svg.push_str("</g>\n");
}

/// The 99th percentile of latency, and its axis at the right.
fn latency(svg: &mut String, x: &Axis, slots: &[Slot], floor: f64) {
    let y = |ms: f64| floor - BARS * (ms.max(1.0).log10() / LATENCY_DECADES).min(1.0);
    for (ms, name) in [(10.0, "10 ms"), (100.0, "100 ms"), (1_000.0, "1 s")] {
        writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
             <text class=\"small p99-name\" x=\"{:.0}\" y=\"{:.1}\">{name}</text>",
            WIDTH - RIGHT,
            y(ms),
            y(ms),
            WIDTH - RIGHT + 6.0,
            y(ms) + 4.0,
        )
        .ok();
    }
    let points = slots
        .iter()
        .enumerate()
        .filter(|(_, slot)| slot.p99_ms > 0.0)
        .map(|(n, slot)| {
            let middle = x.at(n as u64 * SLOT_MS + SLOT_MS / 2);
            format!("{middle:.1},{:.1}", y(slot.p99_ms))
        });
    let points: Vec<_> = points.collect();
    writeln!(
        svg,
        "<polyline class=\"p99\" points=\"{}\"/>",
        points.join(" ")
    )
    .ok();
}

fn time_axis(svg: &mut String, x: &Axis, length_ms: u64, y: f64) {
    for second in (0..=length_ms / 1_000).step_by(5) {
        let at = x.at(second * 1_000);
        writeln!(
            svg,
            "<line class=\"tick\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.0}\" y2=\"{:.0}\"/>\
             <text class=\"small middle\" x=\"{at:.1}\" y=\"{:.0}\">{second} s</text>",
            y - 4.0,
            y,
            y + 14.0,
        )
        .ok();
    }
}
