//! The result as one page for the browser: style inside, nothing loaded from anywhere.

use std::fmt::Write as _;

use super::Report;
use super::text::{FAULT_COLUMNS, fault_cells};
use crate::report::html::{STYLE, checks, class, escaped};

impl Report {
    /// The page.
    pub fn to_html(&self) -> String {
        let mut page = String::with_capacity(16 * 1024);
        let (verdict, mark) = (self.verdict.as_str(), self.verdict.mark());
        // Writing into a String cannot fail.
        writeln!(
            page,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{verdict}: keeper, seed {} · Mainstay drill</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <header>\n<p class=\"eyebrow\">Mainstay drill · keeper</p>\n\
             <h1>{} acknowledged writes, {} lost</h1>\n<p class=\"lead\">{}</p>\n\
             <p class=\"badges\"><strong class=\"badge {}\">{mark} verdict: {verdict}</strong></p>\n\
             </header>",
            self.seed,
            self.counts.acknowledged,
            self.lost(),
            escaped(&self.summary()),
            class(self.verdict),
        )
        .ok();
        checks(&mut page, &self.checks);
        self.faults_to(&mut page);
        list(&mut page, "What broke", &self.findings);
        list(&mut page, "Skipped", &self.skipped);
        writeln!(
            page,
            "<footer><p>Run it again: <code>{}</code></p><p>Mainstay {}.</p></footer>\n\
             </main>\n</body>\n</html>",
            escaped(&self.rerun),
            self.version,
        )
        .ok();
        page
    }

    fn lost(&self) -> f64 {
        let lost = self.checks.iter().find(|check| check.name == "writes_lost");
        lost.map_or(0.0, |check| check.value)
    }

    fn faults_to(&self, page: &mut String) {
        page.push_str("<section>\n<h2>Faults</h2>\n<div class=\"wide\"><table>\n<thead><tr>");
        for name in FAULT_COLUMNS {
            write!(page, "<th scope=\"col\">{name}</th>").ok();
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        for fault in &self.faults {
            page.push_str("<tr>");
            for cell in fault_cells(fault) {
                write!(page, "<td>{}</td>", escaped(&cell)).ok();
            }
            let columns = FAULT_COLUMNS.len();
            let evidence = escaped(&fault.evidence);
            writeln!(
                page,
                "</tr>\n<tr class=\"note\"><td colspan=\"{columns}\"><b>proof</b> {evidence}</td></tr>"
            )
            .ok();
        }
        page.push_str("</tbody></table></div></section>\n");
    }
}

fn list(page: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    write!(page, "<section>\n<h2>{title}</h2>\n<ul>").ok();
    for line in lines {
        let line = escaped(line).replace('\n', "<br>");
        writeln!(page, "<li>{line}</li>").ok();
    }
    page.push_str("</ul></section>\n");
}
