//! Health with hysteresis: `fall` failed probes in a row take an endpoint out, `rise` good ones
//! bring it back.
//!
//! Prevents flapping: one lost probe changes nothing, and neither does one lucky answer of a
//! dying endpoint. The words are HAProxy's.

use core::num::NonZeroU32;

/// How many probes in a row change the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Hysteresis {
    /// Good probes in a row that make an unhealthy endpoint healthy.
    pub rise: NonZeroU32,
    /// Failed probes in a row that make a healthy endpoint unhealthy.
    pub fall: NonZeroU32,
}

/// Whether an endpoint may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum Verdict {
    /// No probe has decided yet.
    Unknown,
    /// Usable.
    Healthy,
    /// Not usable.
    Unhealthy,
}

impl Verdict {
    /// The word in logs and on the wire: the overview's heartbeat says `healthy`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// The health of one endpoint.
///
/// ```
/// use core::num::NonZeroU32;
/// use mainstay_core::health::{Health, Hysteresis, Verdict};
///
/// let two = NonZeroU32::new(2).unwrap();
/// let mut health = Health::new(Hysteresis { rise: two, fall: two });
/// assert_eq!(health.probed(true), Some(Verdict::Healthy), "the first probe decides");
/// // One lost probe changes nothing.
/// assert_eq!(health.probed(false), None);
/// assert_eq!(health.probed(true), None);
/// assert_eq!(health.probed(false), None);
/// assert_eq!(health.probed(false), Some(Verdict::Unhealthy));
/// ```
#[derive(Clone, Debug)]
pub struct Health {
    hysteresis: Hysteresis,
    verdict: Verdict,
    /// Probes in a row that contradict the verdict.
    against: u32,
}

impl Health {
    /// Health that the first probe decides, whatever it says.
    pub const fn new(hysteresis: Hysteresis) -> Self {
        Self {
            hysteresis,
            verdict: Verdict::Unknown,
            against: 0,
        }
    }

    /// The verdict so far.
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Takes one probe's result; returns the new verdict if it changed.
    pub fn probed(&mut self, ok: bool) -> Option<Verdict> {
        let wanted = if ok {
            Verdict::Healthy
        } else {
            Verdict::Unhealthy
        };
        if self.verdict == wanted {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = match self.verdict {
            Verdict::Unknown => 1,
            Verdict::Healthy => self.hysteresis.fall.get(),
            Verdict::Unhealthy => self.hysteresis.rise.get(),
        };
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.verdict = wanted;
        Some(wanted)
    }

    /// Forgets everything: the process behind the endpoint is another one now.
    pub const fn reset(&mut self) {
        self.verdict = Verdict::Unknown;
        self.against = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(rise: u32, fall: u32) -> Health {
        let of = |n| NonZeroU32::new(n).expect("tests use positive counts");
        Health::new(Hysteresis {
            rise: of(rise),
            fall: of(fall),
        })
    }

    #[test]
    fn the_first_probe_decides() {
        assert_eq!(health(3, 3).probed(true), Some(Verdict::Healthy));
        assert_eq!(health(3, 3).probed(false), Some(Verdict::Unhealthy));
    }

    #[test]
    fn an_endpoint_falls_after_exactly_fall_failures_in_a_row() {
        let mut health = health(2, 3);
        let verdicts =
            [true, false, false, true, false, false, false].map(|probe| health.probed(probe));
        assert_eq!(
            verdicts[..6],
            [Some(Verdict::Healthy), None, None, None, None, None]
        );
        assert_eq!(verdicts[6], Some(Verdict::Unhealthy));
    }

    #[test]
    fn an_endpoint_rises_after_exactly_rise_good_probes_in_a_row() {
        let mut health = health(2, 1);
        let verdicts = [false, true, false, true, true].map(|probe| health.probed(probe));
        assert_eq!(
            verdicts,
            [
                Some(Verdict::Unhealthy),
                None,
                None,
                None,
                Some(Verdict::Healthy)
            ]
        );
    }
}
