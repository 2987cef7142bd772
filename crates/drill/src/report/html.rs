//! The result as one page for the browser: style and picture inside, nothing loaded from anywhere.
//!
//! Prevents a report that cannot be kept: the file alone is the whole report, in dark and light,
//! on paper and on a narrow screen. Everything that is not our own text is escaped.

use std::fmt::Write as _;

use crate::check::{Check, Verdict};
use crate::report::text::{FAULT_COLUMNS, dark, fault_cells, figures, percent, quantity};
use crate::report::{ArmReport, FaultReport, Report, svg};

pub(crate) const STYLE: &str = include_str!("report.css");

impl Report {
    /// The page.
    pub fn to_html(&self) -> String {
        let mut page = String::with_capacity(128 * 1024);
        let (scenario, seed, verdict) = (self.scenario, self.seed, self.verdict.as_str());
        // Writing into a String cannot fail.
        writeln!(
            page,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{verdict}: {scenario}, seed {seed} · Mainstay drill</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<main>"
        )
        .ok();
        header(&mut page, self);
        page.push_str(
            "<section aria-labelledby=\"timeline\">\n<h2 id=\"timeline\">What users saw</h2>\n",
        );
        page.push_str(LEGEND);
        writeln!(
            page,
            "<div class=\"wide\">{}</div></section>",
            svg::timeline(self)
        )
        .ok();
        faults(&mut page, &self.faults);
        checks(&mut page, &self.checks);
        arms(&mut page, &self.arms);
        footer(&mut page, self);
        page.push_str("</main>\n</body>\n</html>\n");
        page
    }
}

const LEGEND: &str = "<p class=\"legend\"><span class=\"key good\"></span> good \
    <span class=\"key stale\"></span> good, but stale \
    <span class=\"key failed\"></span> failed (▲ marks the moment) \
    <span class=\"key excused\"></span> write while no replica lived \
    <span class=\"key p99\"></span> p99 latency, right axis \
    <span class=\"key fault\"></span> fault. Requests per quarter of a second.</p>\n";

fn header(page: &mut String, report: &Report) {
    let outage = |index: usize| report.arms.get(index).map_or(0.0, |arm| arm.outage_s);
    let (verdict, class) = (report.verdict.as_str(), class(report.verdict));
    let mark = report.verdict.mark();
    writeln!(
        page,
        "<header>\n<p class=\"eyebrow\">Mainstay drill · {}</p>\n\
         <h1>{:.1} s of outage without protection, {:.1} s with it</h1>\n\
         <p class=\"lead\">Two copies of the same service got the same {} requests and the same {} \
         faults at the same time, for {:.0} s. One was used directly, the other through Mainstay.</p>\n\
         <p class=\"badges\"><strong class=\"badge {class}\">{mark} verdict: {verdict}</strong>\
         <span class=\"badge\">outage cut by {}</span><span class=\"badge\">seed {}</span>\
         <span class=\"badge\">plan {}</span></p>\n</header>",
        report.scenario,
        outage(0),
        outage(1),
        report.arms.first().map_or(0, |arm| arm.requests),
        report.faults.len(),
        report.length_ms as f64 / 1_000.0,
        percent(report.outage_cut, 1),
        report.seed,
        report.plan,
    )
    .ok();
}

fn faults(page: &mut String, faults: &[FaultReport]) {
    page.push_str("<section aria-labelledby=\"faults\">\n<h2 id=\"faults\">Faults</h2>\n");
    page.push_str("<div class=\"wide\"><table>\n<thead><tr>");
    for (index, name) in FAULT_COLUMNS.iter().enumerate() {
        let class = if index < 2 { "" } else { " class=\"number\"" };
        write!(page, "<th scope=\"col\"{class}>{name}</th>").ok();
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for fault in faults {
        let [kind, cells @ ..] = fault_cells(fault);
        write!(page, "<tr><th scope=\"row\">{kind}</th>").ok();
        for (index, cell) in cells.iter().enumerate() {
            let class = if index == 0 { "" } else { " class=\"number\"" };
            write!(page, "<td{class}>{}</td>", escaped(cell)).ok();
        }
        let (evidence, word) = match (&fault.evidence, &fault.missing) {
            (Some(evidence), _) => (evidence.as_str(), "proof"),
            (None, missing) => (missing.as_deref().unwrap_or_default(), "no proof"),
        };
        write!(
            page,
            "</tr>\n<tr class=\"note\"><td colspan=\"8\"><b>{word}</b> {}. <b>detected by</b> {}{}</td></tr>\n",
            escaped(evidence),
            escaped(&fault.detected_by),
            dark(fault).map_or_else(String::new, |dark| format!(". <b>dark</b> {dark}")),
        )
        .ok();
    }
    page.push_str("</tbody></table></div></section>\n");
}

pub(crate) fn checks(page: &mut String, checks: &[Check]) {
    page.push_str(
        "<section aria-labelledby=\"checks\">\n<h2 id=\"checks\">Checks</h2>\n<div class=\"wide\"><table>\n\
         <thead><tr><th scope=\"col\">verdict</th><th scope=\"col\">check</th>\
         <th scope=\"col\" class=\"number\">measured</th><th scope=\"col\" class=\"number\">limit</th>\
         <th scope=\"col\">meaning</th></tr></thead>\n<tbody>\n",
    );
    for check in checks {
        let (class, mark, word) = (
            class(check.verdict),
            check.verdict.mark(),
            check.verdict.as_str(),
        );
        let [value, limit] = [check.value, check.limit].map(|value| quantity(check, value));
        writeln!(
            page,
            "<tr><td><span class=\"badge {class}\">{mark} {word}</span></td>\
             <th scope=\"row\">{}</th><td class=\"number\">{value}</td>\
             <td class=\"number\">{} {limit}</td><td>{}</td></tr>",
            check.name,
            escaped(check.relation),
            escaped(check.meaning),
        )
        .ok();
    }
    page.push_str("</tbody></table></div></section>\n");
}

fn arms(page: &mut String, arms: &[ArmReport]) {
    page.push_str("<section aria-labelledby=\"arms\">\n<h2 id=\"arms\">Both arms</h2>\n");
    page.push_str("<div class=\"wide\"><table>\n<thead><tr><th></th>");
    for arm in arms {
        write!(page, "<th scope=\"col\" class=\"number\">{}</th>", arm.name).ok();
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    let columns: Vec<_> = arms.iter().map(figures).collect();
    for row in 0..columns.first().map_or(0, |column| column.len()) {
        let name = columns[0][row].0;
        let class = if name.starts_with(' ') {
            " class=\"part\""
        } else {
            ""
        };
        write!(page, "<tr><th scope=\"row\"{class}>{}</th>", name.trim()).ok();
        for column in &columns {
            write!(page, "<td class=\"number\">{}</td>", column[row].1).ok();
        }
        page.push_str("</tr>\n");
    }
    page.push_str("<tr><th scope=\"row\">failed because of</th>");
    for arm in arms {
        let why = arm
            .failures
            .iter()
            .map(|(why, count)| format!("{count} × {}", escaped(why)));
        let why: Vec<_> = why.collect();
        write!(page, "<td class=\"number\">{}</td>", why.join("<br>")).ok();
    }
    page.push_str("</tr>\n</tbody></table></div></section>\n");
}

fn footer(page: &mut String, report: &Report) {
    writeln!(
        page,
        "<footer><p>Run it again: <code>{}</code></p>\n\
         <p>Latency counts from the moment a request was due; after 1 s its user gives up. Outage is \
         time in slots of 100 ms in which a request was due and then failed; writes due while no \
         replica lived are excused and counted apart. Restored is the time from a fault's start to \
         the end of the last failed request. Mainstay {}.</p></footer>",
        escaped(&report.rerun),
        report.version,
    )
    .ok();
}

pub(crate) const fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "is-pass",
        Verdict::Fail => "is-fail",
        Verdict::Unknown | Verdict::Invalid => "is-invalid",
    }
}

pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(c),
        }
    }
    escaped
}
