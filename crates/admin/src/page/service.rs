//! One service: how well it is, its figures, its endpoints.

use mainstay_observe::status::ServiceStatus;

use super::html::Html;
use super::state::{State, usable};
use super::{endpoint, figure, trend};
use crate::snapshot::Trend;

/// Below these shares of good answers the figure is marked.
const SUCCESS_WARN: f64 = 0.999;
const SUCCESS_BAD: f64 = 0.99;
/// Below this share of its budget a service is about to go without retries.
const BUDGET_WARN: f64 = 0.2;
/// Above this many attempts per request, retries are a load of their own.
const ATTEMPTS_WARN: f64 = 1.1;

pub(super) fn write(html: &mut Html, index: usize, service: &ServiceStatus, trend: &Trend) {
    let index = index.to_string();
    let state = State::of_service(service);
    html.raw("<section class=\"service\" aria-labelledby=\"service-")
        .text(&index)
        .raw("\">\n<div class=\"bar\"><h2 id=\"service-")
        .text(&index)
        .raw("\">")
        .text(&service.name)
        .raw("</h2>");
    mark(html, state, state.of_service_word());
    html.raw("<p class=\"quiet\">")
        .text(&format!(
            "{} of {}",
            usable(service),
            service.endpoints.len()
        ))
        .raw(" endpoints in rotation</p><p class=\"quiet address\">")
        .text(&service.listen)
        .raw("</p></div>\n<div class=\"overview\">\n");
    figures(html, service);
    trend::write(html, trend);
    html.raw("</div>\n");
    endpoint::table(html, service);
    html.raw("</section>\n");
}

/// A state: symbol, word and colour.
pub(super) fn mark(html: &mut Html, state: State, word: &'static str) {
    html.raw("<span class=\"mark ")
        .raw(state.class())
        .raw("\"><span class=\"symbol\" aria-hidden=\"true\">")
        .raw(state.symbol())
        .raw("</span> ")
        .raw(word)
        .raw("</span>");
}

/// One figure of the strip.
struct Figure {
    name: &'static str,
    value: String,
    unit: &'static str,
    state: State,
}

impl Figure {
    const fn new(name: &'static str, value: String, unit: &'static str) -> Self {
        Self {
            name,
            value,
            unit,
            state: State::Good,
        }
    }

    const fn marked(mut self, state: State) -> Self {
        self.state = state;
        self
    }

    fn latency(name: &'static str, ms: Option<f64>) -> Self {
        let (value, unit) = figure::latency(ms.unwrap_or(f64::NAN));
        Self::new(name, value, unit)
    }

    fn share(name: &'static str, share: Option<f64>) -> Self {
        let unit = if share.is_some() { "%" } else { "" };
        let value = figure::percent(share.unwrap_or(f64::NAN));
        Self::new(name, value, unit)
    }

    fn write(&self, html: &mut Html) {
        html.raw("<div class=\"")
            .raw(self.state.class())
            .raw("\"><dt>")
            .raw(self.name)
            .raw("</dt><dd>");
        if self.state > State::Good {
            html.raw("<span class=\"symbol\" aria-hidden=\"true\">")
                .raw(self.state.symbol())
                .raw("</span>\u{202f}");
        }
        html.text(&self.value);
        if !self.unit.is_empty() {
            html.raw(" <small>").raw(self.unit).raw("</small>");
        }
        html.raw("</dd></div>");
    }
}

fn figures(html: &mut Html, service: &ServiceStatus) {
    let per_request = if service.requests == 0 {
        f64::NAN
    } else {
        service.attempts as f64 / service.requests as f64
    };
    let attempts = match per_request {
        n if n > ATTEMPTS_WARN => State::Warn,
        _ => State::Good,
    };
    let budget = match service.retry_budget {
        n if n <= 0.0 => State::Bad,
        n if n < BUDGET_WARN => State::Warn,
        _ => State::Good,
    };
    let queued = if service.queued > 0 {
        State::Warn
    } else {
        State::Good
    };
    html.raw("<dl class=\"figures\">");
    for figure in [
        Figure::new("Rate", figure::quantity(service.rate), "/s"),
        Figure::share("Success", service.success).marked(success(service.success)),
        Figure::latency("p50", service.p50_ms),
        Figure::latency("p99", service.p99_ms),
        Figure::new("In flight", figure::count(service.in_flight.into()), ""),
        Figure::new("Queue", figure::count(service.queued.into()), "").marked(queued),
        Figure::share("Retry budget", Some(service.retry_budget)).marked(budget),
        Figure::new("Attempts/request", ratio(per_request), "").marked(attempts),
        Figure::new("Fallbacks", figure::count(service.fallbacks), ""),
        Figure::new("Requests", figure::count(service.requests), ""),
    ] {
        figure.write(html);
    }
    html.raw("</dl>\n");
}

fn success(share: Option<f64>) -> State {
    match share {
        Some(share) if share < SUCCESS_BAD => State::Bad,
        Some(share) if share < SUCCESS_WARN => State::Warn,
        _ => State::Good,
    }
}

fn ratio(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.3}")
    } else {
        figure::NONE.to_owned()
    }
}
