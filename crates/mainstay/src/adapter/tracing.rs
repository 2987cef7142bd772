//! Events as events of `tracing`.
//!
//! Prevents a second log beside the one that a service has. Each event has the target `mainstay`,
//! the level of its severity, its name as `event`, its summary as the message and its fields as
//! fields.

use std::fmt::Write as _;

use mainstay_core::event::{Event, Field, Kind, Observe, Severity};

/// Emits each event with `tracing`.
///
/// ```
/// use std::sync::Arc;
/// use mainstay::{Breaker, adapter};
///
/// let observer = Arc::new(adapter::Tracing);
/// let breaker = Breaker::builder("payment").observer(observer).build().unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Tracing;

/// The fields of an event that `tracing` has to know by name when it is compiled: those that
/// policies use. It takes 32 at most; what is not here goes into the message.
#[derive(Default)]
struct Fields<'a> {
    service: Option<&'a str>,
    endpoint: Option<&'a str>,
    reason: Option<&'a str>,
    detail: Option<&'a str>,
    node_id: Option<&'a str>,
    replica: Option<&'a str>,
    status: Option<&'a str>,
    retry_after_ms: Option<u64>,
    ejected_ms: Option<u64>,
    delay_ms: Option<u64>,
    timestamp: Option<u64>,
    in_flight: Option<u64>,
    queued: Option<u64>,
    limit: Option<u64>,
    denied: Option<u64>,
    rejected: Option<u64>,
    served: Option<u64>,
    agreed: Option<u64>,
    differed: Option<u64>,
    message: String,
}

impl Observe for Tracing {
    fn observe(&self, event: Event) {
        let kind = event.kind();
        let fields = Fields::of(kind, &event);
        // The level of a place in the code is fixed, so that there is one place for each.
        macro_rules! emit {
            ($level:ident) => {
                tracing::event!(
                    target: "mainstay",
                    tracing::Level::$level,
                    event = kind.name,
                    service = fields.service,
                    endpoint = fields.endpoint,
                    reason = fields.reason,
                    detail = fields.detail,
                    node_id = fields.node_id,
                    replica = fields.replica,
                    status = fields.status,
                    retry_after_ms = fields.retry_after_ms,
                    ejected_ms = fields.ejected_ms,
                    delay_ms = fields.delay_ms,
                    timestamp = fields.timestamp,
                    in_flight = fields.in_flight,
                    queued = fields.queued,
                    limit = fields.limit,
                    denied = fields.denied,
                    rejected = fields.rejected,
                    served = fields.served,
                    agreed = fields.agreed,
                    differed = fields.differed,
                    "{}",
                    fields.message
                )
            };
        }
        match kind.severity {
            Severity::Debug => emit!(DEBUG),
            Severity::Info => emit!(INFO),
            Severity::Warn => emit!(WARN),
            Severity::Error => emit!(ERROR),
        }
    }
}

impl<'a> Fields<'a> {
    fn of(kind: &'static Kind, event: &'a Event) -> Self {
        let mut fields = Self {
            message: kind.summary.trim().to_owned(),
            ..Self::default()
        };
        event.visit(|name, field| {
            if !fields.set(name, field) {
                // Writing to a `String` cannot fail.
                write!(fields.message, " {name}={field}").unwrap_or_default();
            }
        });
        fields
    }

    /// Whether there is a place for it.
    fn set(&mut self, name: &str, field: Field<'a>) -> bool {
        match field {
            Field::Text(text) => self.text(name).map(|place| *place = Some(text)),
            Field::Number(number) => self.number(name).map(|place| *place = Some(number)),
            Field::Flag(_) => None,
        }
        .is_some()
    }

    fn text(&mut self, name: &str) -> Option<&mut Option<&'a str>> {
        Some(match name {
            "service" => &mut self.service,
            "endpoint" => &mut self.endpoint,
            "reason" => &mut self.reason,
            "detail" => &mut self.detail,
            "node_id" => &mut self.node_id,
            "replica" => &mut self.replica,
            "status" => &mut self.status,
            _ => return None,
        })
    }

    fn number(&mut self, name: &str) -> Option<&mut Option<u64>> {
        Some(match name {
            "retry_after_ms" => &mut self.retry_after_ms,
            "ejected_ms" => &mut self.ejected_ms,
            "delay_ms" => &mut self.delay_ms,
            "timestamp" => &mut self.timestamp,
            "in_flight" => &mut self.in_flight,
            "queued" => &mut self.queued,
            "limit" => &mut self.limit,
            "denied" => &mut self.denied,
            "rejected" => &mut self.rejected,
            "served" => &mut self.served,
            "agreed" => &mut self.agreed,
            "differed" => &mut self.differed,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
