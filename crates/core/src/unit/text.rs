//! Typed strings for `serde`: the functions that a configuration names with `deserialize_with`.
//!
//! Prevents numbers whose unit the reader guesses, and a zero that means "off": what may be left
//! out is switched off with the word. One function per kind of value; a new configuration needs
//! attributes only.
//!
//! ```
//! # use core::{num::NonZeroU32, time::Duration};
//! use mainstay_core::unit::text;
//!
//! #[derive(serde::Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct Config {
//!     #[serde(deserialize_with = "text::duration")]
//!     wait: Duration,
//!     #[serde(deserialize_with = "text::or_off")]
//!     queue: Option<NonZeroU32>,
//! }
//! # impl Default for Config {
//! #     fn default() -> Self {
//! #         Self { wait: Duration::from_secs(1), queue: None }
//! #     }
//! # }
//! let config: Config = serde_json::from_str(r#"{ "wait": "1m30s", "queue": "off" }"#).unwrap();
//! assert_eq!(config.wait, Duration::from_secs(90));
//! assert_eq!(config.queue, None);
//! ```

use core::fmt;
use core::marker::PhantomData;
use core::num::NonZeroU32;
use core::time::Duration;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{
    Deserializer, Error, IntoDeserializer as _, MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::Expected;

/// The word that switches off.
const OFF: &str = "off";

/// Reads `"250ms"` or `"1m30s"`, as [`unit::duration`](super::duration) does.
///
/// # Errors
///
/// The deserializer's own, and "invalid value" with what was expected instead.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_str(Typed {
        read: super::duration,
        expected: super::DURATION,
    })
}

/// Reads `"20%"` as 0.2, as [`unit::percent`](super::percent) does.
///
/// # Errors
///
/// As [`duration`].
pub fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_str(Typed {
        read: super::percent,
        expected: super::PERCENT,
    })
}

/// Reads `"64KiB"` as 65536, as [`unit::size`](super::size) does.
///
/// # Errors
///
/// As [`duration`].
pub fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    deserializer.deserialize_str(Typed {
        read: super::size,
        expected: super::SIZE,
    })
}

/// Reads `"250ms"`, or `"off"` as `None`.
///
/// # Errors
///
/// As [`duration`].
pub fn duration_or_off<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    deserializer.deserialize_str(Typed {
        read: |text: &str| unless_off(text, super::duration),
        expected: super::DURATION,
    })
}

/// Reads `"20%"`, or `"off"` as `None`.
///
/// # Errors
///
/// As [`duration`].
pub fn share_or_off<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    deserializer.deserialize_str(Typed {
        read: |text: &str| unless_off(text, super::percent),
        expected: super::PERCENT,
    })
}

/// Reads `"10s"` as `Ok`, or a count above zero as `Err`.
///
/// # Errors
///
/// As [`duration`].
pub fn duration_or_count<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Result<Duration, NonZeroU32>, D::Error> {
    deserializer.deserialize_any(DurationOrCount)
}

struct DurationOrCount;

impl Visitor<'_> for DurationOrCount {
    type Value = Result<Duration, NonZeroU32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a number above zero", super::DURATION)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let wrong = |_| E::invalid_value(Unexpected::Str(text), &self);
        super::duration(text).map(Ok).map_err(wrong)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        let count = u32::try_from(number).ok().and_then(NonZeroU32::new);
        let wrong = || E::invalid_value(Unexpected::Unsigned(number), &self);
        count.map(Err).ok_or_else(wrong)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let Ok(positive) = u64::try_from(number) else {
            return Err(E::invalid_value(Unexpected::Signed(number), &self));
        };
        self.visit_u64(positive)
    }
}

/// Reads a number or a table as `T` has it, or `"off"` as `None`.
///
/// # Errors
///
/// The deserializer's own, and what `T` expected instead where it has begun to read.
pub fn or_off<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(OrOff(PhantomData))
}

fn unless_off<T>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, Expected>,
) -> Result<Option<T>, Expected> {
    if text == OFF {
        return Ok(None);
    }
    read(text).map(Some)
}

/// Reads a typed string.
struct Typed<F> {
    read: F,
    expected: Expected,
}

impl<T, F: FnOnce(&str) -> Result<T, Expected>> Visitor<'_> for Typed<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).map_err(|expected| E::invalid_value(Unexpected::Str(text), &expected))
    }
}

/// Reads a value or the word.
struct OrOff<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OrOff<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or \"off\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<T>, E> {
        if text == OFF {
            return Ok(None);
        }
        T::deserialize(text.into_deserializer()).map(Some)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<T>, E> {
        T::deserialize(number.into_deserializer()).map(Some)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<T>, E> {
        T::deserialize(number.into_deserializer()).map(Some)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<T>, E> {
        T::deserialize(number.into_deserializer()).map(Some)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Option<T>, A::Error> {
        T::deserialize(SeqAccessDeserializer::new(list)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;
    use core::num::NonZeroU32;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_number_without_a_unit_is_refused_in_words() {
        let error = duration(json!(5)).expect_err("a number has no unit");
        let expected = "invalid type: integer `5`, expected a duration such as";
        assert!(error.to_string().starts_with(expected), "{error}");
        let error = share(json!("50")).expect_err("it lacks its sign");
        let expected = "invalid value: string \"50\", expected a percentage";
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[test]
    fn zero_never_means_off_but_the_word_does() {
        assert!(duration_or_off(json!("0s")).is_err());
        assert_eq!(duration_or_off(json!("off")).expect("the word"), None);
        assert!(share_or_off(json!("0%")).is_err());
        assert_eq!(share_or_off(json!("off")).expect("the word"), None);
        let count = |value: Value| or_off::<_, NonZeroU32>(value);
        assert!(count(json!(0)).is_err());
        assert!(count(json!(-1)).is_err());
        assert!(count(json!("none")).is_err());
        assert_eq!(count(json!("off")).expect("the word"), None);
        assert_eq!(count(json!(5)).expect("a count"), NonZeroU32::new(5));
    }

    #[test]
    fn sizes_are_typed_strings_too() {
        assert_eq!(size(json!("64KiB")).expect("a size"), 65_536);
        assert!(size(json!(65_536)).is_err());
    }
}
