//! The endpoints of a service, one row each.

use mainstay_observe::status::{BreakerState, EndpointStatus, ServiceStatus};

use super::figure;
use super::html::Html;
use super::service::mark;
use super::state::State;

/// Heading, and its class: numbers are set flush right.
const COLUMNS: [(&str, &str); 11] = [
    ("Health", ""),
    ("Breaker", ""),
    ("Since", "n"),
    ("Last check", ""),
    ("In flight", "n"),
    ("EWMA", "n"),
    ("Attempts", "n"),
    ("Retries", "n"),
    ("Failures", "n"),
    ("Restarts", "n"),
    ("PID", "n"),
];

pub(super) fn table(html: &mut Html, service: &ServiceStatus) {
    html.raw("<table class=\"endpoints\"><caption class=\"hidden\">Endpoints of ")
        .text(&service.name)
        .raw("</caption>\n<thead><tr><th scope=\"col\">Endpoint</th>");
    for (name, class) in COLUMNS {
        html.raw("<th scope=\"col\" class=\"")
            .raw(class)
            .raw("\">")
            .raw(name)
            .raw("</th>");
    }
    html.raw("</tr></thead>\n<tbody>\n");
    for endpoint in &service.endpoints {
        row(html, endpoint);
    }
    html.raw("</tbody></table>\n");
}

fn row(html: &mut Html, endpoint: &EndpointStatus) {
    let health = State::of_health(endpoint.health);
    let breaker = State::of_breaker(endpoint.breaker);
    html.raw("<tr class=\"")
        .raw(health.max(breaker).class())
        .raw("\"><th scope=\"row\">")
        .text(&endpoint.name);
    // An endpoint without a name of its own is called by its address.
    if *endpoint.name != *endpoint.address {
        html.raw(" <span class=\"quiet address\">")
            .text(&endpoint.address)
            .raw("</span>");
    }
    html.raw("</th>");
    let none = || figure::NONE.to_owned();
    let (ewma, unit) = figure::latency(endpoint.ewma_ms);
    let restarts = endpoint.restarts.map(|n| figure::count(n.into()));
    let pid = endpoint.pid.map(|pid| pid.to_string());
    let cells = [
        Cell::Mark(health, endpoint.health.as_str()),
        Cell::Mark(breaker, word(endpoint.breaker)),
        Cell::Text(figure::span(endpoint.since_ms)),
        Cell::Check(endpoint),
        Cell::Text(figure::count(endpoint.in_flight.into())),
        Cell::Text(format!("{ewma} {unit}")),
        Cell::Text(figure::count(endpoint.attempts)),
        Cell::Text(figure::count(endpoint.retries)),
        Cell::Text(figure::count(endpoint.failures)),
        Cell::Text(restarts.unwrap_or_else(none)),
        Cell::Text(pid.unwrap_or_else(none)),
    ];
    for ((name, class), cell) in COLUMNS.iter().zip(cells) {
        html.raw("<td data-name=\"")
            .raw(name)
            .raw("\" class=\"")
            .raw(class)
            .raw("\">");
        cell.write(html);
        html.raw("</td>");
    }
    html.raw("</tr>\n");
}

/// What is in a cell.
enum Cell<'a> {
    Mark(State, &'static str),
    Text(String),
    Check(&'a EndpointStatus),
}

impl Cell<'_> {
    fn write(&self, html: &mut Html) {
        match self {
            Self::Mark(state, word) => mark(html, *state, word),
            Self::Text(text) => {
                html.text(text);
            },
            Self::Check(endpoint) => last_check(html, endpoint),
        }
    }
}

fn last_check(html: &mut Html, endpoint: &EndpointStatus) {
    match endpoint.last_check_ms {
        Some(ms) => html
            .text(&endpoint.last_check)
            .raw(" <span class=\"quiet\">")
            .text(&figure::span(ms))
            .raw(" ago</span>"),
        None => html.raw("none yet"),
    };
}

const fn word(breaker: BreakerState) -> &'static str {
    match breaker {
        BreakerState::HalfOpen => "half-open",
        BreakerState::Closed | BreakerState::Open | BreakerState::Off => breaker.as_str(),
    }
}
