//! What Cache-Control says, as far as stale answers go.
//!
//! Prevents an answer from being used against the will of its author or its reader: unknown and
//! malformed directives never allow anything.

use http::header::{CACHE_CONTROL, HeaderMap};
use mainstay_core::time::Duration;

/// The directives of one message.
#[expect(
    clippy::struct_excessive_bools,
    reason = "directives are there or not, in any combination"
)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Directives {
    /// Nothing may be kept.
    pub(crate) no_store: bool,
    /// Nothing may be used without asking.
    pub(crate) no_cache: bool,
    /// A shared cache may use it for others than the asker.
    pub(crate) public: bool,
    /// Some directive forbids a shared cache to use it stale.
    pub(crate) forbids: bool,
    /// How long it is fresh.
    pub(crate) max_age: Option<Duration>,
    /// How long past that it may be used when all else fails.
    pub(crate) stale_if_error: Option<Duration>,
}

impl Directives {
    /// The directives of a message with these fields.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            for directive in value.as_bytes().split(|byte| *byte == b',') {
                directives.take(directive.trim_ascii());
            }
        }
        directives
    }

    fn take(&mut self, directive: &[u8]) {
        let mut halves = directive.splitn(2, |byte| *byte == b'=');
        let name = halves.next().unwrap_or_default().to_ascii_lowercase();
        let mut seconds = || {
            let value = halves.next()?.trim_ascii();
            let digits = value.strip_prefix(b"\"").unwrap_or(value);
            let digits = digits.strip_suffix(b"\"").unwrap_or(digits);
            crate::framing::head::decimal(digits).map(Duration::from_secs)
        };
        match name.as_slice() {
            b"no-store" => {
                self.no_store = true;
                self.forbids = true;
            },
            b"no-cache" => {
                self.no_cache = true;
                self.forbids = true;
            },
            b"private" | b"must-revalidate" | b"proxy-revalidate" | b"s-maxage" => {
                self.forbids = true;
            },
            b"public" => self.public = true,
            // A second value is a contradiction; the shorter one is safe.
            b"max-age" => self.max_age = Some(shorter(self.max_age, seconds())),
            b"stale-if-error" => {
                self.stale_if_error = Some(shorter(self.stale_if_error, seconds()));
            },
            _ => {},
        }
    }
}

/// The shorter of two times; a value that is no number is zero.
fn shorter(before: Option<Duration>, value: Option<Duration>) -> Duration {
    let value = value.unwrap_or_default();
    before.map_or(value, |before| before.min(value))
}
