//! The engine against a slow model that keeps every call and computes everything anew.

use proptest::prelude::*;

use super::*;

const ENDPOINTS: usize = 4;

/// Neither can be met exactly by whole numbers of calls, where rounding would decide.
const GAP: f64 = 0.103_7;
const DEVIATIONS: f64 = 2.913_7;

#[derive(Clone, Debug)]
enum Step {
    /// So many calls, of which so many failed, the failures last.
    Calls(usize, u32, u32),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..ENDPOINTS, 0_u32..60, 0_u32..12).prop_map(|(endpoint, good, bad)| Step::Calls(endpoint, good, bad)),
        1 => (0..ENDPOINTS, 0_u32..3, 0_u32..60).prop_map(|(endpoint, good, bad)| Step::Calls(endpoint, good, bad)),
        4 => (1_u64..4_000).prop_map(Step::Pass),
    ]
}

/// What the model knows of one endpoint.
#[derive(Clone, Default)]
struct Endpoint {
    /// When it was evaluated first, and whether it failed.
    calls: Vec<(u64, bool)>,
    /// Not evaluated yet.
    new: Vec<bool>,
    streak: u32,
    until: Option<u64>,
}

impl Endpoint {
    fn weighed(&self, now: u64, failed_only: bool) -> f64 {
        let weight = |at: u64| libm::pow(0.5, (now - at) as f64 / 5_000.0);
        let counted = self.calls.iter().filter(|call| call.1 || !failed_only);
        counted.map(|call| weight(call.0)).sum()
    }
}

#[derive(Default)]
struct Model {
    endpoints: Vec<Endpoint>,
    ejected_max: usize,
}

impl Model {
    fn record(&mut self, endpoint: usize, failed: bool, now: u64) {
        let endpoint = &mut self.endpoints[endpoint];
        if endpoint.until.is_some_and(|until| now < until) {
            return;
        }
        endpoint.new.push(failed);
        endpoint.streak = if failed {
            (endpoint.streak + 1).min(5)
        } else {
            0
        };
    }

    fn in_service(&self) -> Vec<usize> {
        let mut indices: Vec<usize> = (0..ENDPOINTS).collect();
        indices.retain(|&index| self.endpoints[index].until.is_none());
        indices
    }

    /// Who returns, then who is ejected, in order.
    fn evaluate(&mut self, now: u64) -> (Vec<usize>, Vec<usize>) {
        let indices = self.in_service();
        let nobody_works = indices
            .iter()
            .all(|&index| self.endpoints[index].streak >= 5);
        let mut returned = Vec::new();
        for (index, endpoint) in self.endpoints.iter_mut().enumerate() {
            match endpoint.until {
                Some(until) if now >= until => endpoint.until = None,
                Some(_) if nobody_works => *endpoint = Endpoint::default(),
                Some(_) | None => continue,
            }
            returned.push(index);
        }
        for endpoint in &mut self.endpoints {
            let new = core::mem::take(&mut endpoint.new);
            endpoint
                .calls
                .extend(new.into_iter().map(|failed| (now, failed)));
        }
        let mut ejected = Vec::new();
        while ENDPOINTS - self.in_service().len() < self.ejected_max
            && let Some(worst) = self.worst(now)
        {
            // Until the engine says for how long.
            self.endpoints[worst] = Endpoint {
                until: Some(u64::MAX),
                ..Endpoint::default()
            };
            ejected.push(worst);
        }
        (returned, ejected)
    }

    fn worst(&self, now: u64) -> Option<usize> {
        let indices = self.in_service();
        let works = |index: usize| {
            let endpoint = &self.endpoints[index];
            endpoint.streak == 0
                && endpoint.weighed(now, false) - endpoint.weighed(now, true) >= 0.5
        };
        let dead = indices
            .iter()
            .rev()
            .find(|&&index| self.endpoints[index].streak >= 5);
        if let Some(&dead) = dead
            && indices.iter().any(|&index| works(index))
        {
            return Some(dead);
        }
        let mut worst: Option<(usize, f64)> = None;
        for &index in &indices {
            let sum = |failed_only: bool, own: bool| -> f64 {
                let of = indices.iter().filter(|&&other| (other == index) == own);
                of.map(|&other| self.endpoints[other].weighed(now, failed_only))
                    .sum()
            };
            let (n, f) = (sum(false, true), sum(true, true));
            let (rest_n, rest_f) = (sum(false, false), sum(true, false));
            if n < 20.0 || rest_n < 20.0 || rest_f / rest_n > 0.5 {
                continue;
            }
            let gap = f / n - rest_f / rest_n;
            let pooled = (f + rest_f) / (n + rest_n);
            let error = libm::sqrt(pooled * (1.0 - pooled) * (1.0 / n + 1.0 / rest_n));
            let beats = worst.is_none_or(|(_, other)| gap >= other - 1e-12);
            if gap >= GAP && gap / error >= DEVIATIONS && beats {
                worst = Some((index, gap));
            }
        }
        worst.map(|(index, _)| index)
    }
}

proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "too many steps for an interpreter")]
    fn decisions_are_those_of_a_model_that_keeps_every_call(
        steps in prop::collection::vec(step(), 1..120),
        ejected_max in 1_u32..6,
    ) {
        let config = Config {
            failure_gap: Some(GAP),
            deviations: DEVIATIONS,
            latency_ratio: None,
            eject: ms(3_000),
            ejected_max: NonZeroU32::new(ejected_max),
            ..Config::default()
        };
        let mut service = Service::new(&config, ENDPOINTS);
        let mut model = Model {
            endpoints: alloc::vec![Endpoint::default(); ENDPOINTS],
            ejected_max: (ejected_max as usize).min(ENDPOINTS - 1),
        };
        for step in steps {
            match step {
                Step::Calls(endpoint, good, bad) => {
                    for call in 0..good + bad {
                        let failed = call >= good;
                        let outcome = if failed { FAILED } else { Outcome::Success };
                        service.cells[endpoint].record(outcome, ms(1), at(service.now));
                        model.record(endpoint, failed, service.now);
                    }
                },
                Step::Pass(millis) => {
                    service.now += millis;
                    compare(&mut service, &mut model)?;
                },
            }
        }
    }

    #[test]
    fn a_median_lies_in_the_bucket_of_the_exact_one(
        micros in prop::collection::vec(0_u64..10_000_000, 20..200),
    ) {
        let cell = Cell::new(&Config::default());
        for &micros in &micros {
            cell.record(Outcome::Success, Duration::from_micros(micros), at(0));
        }
        let mut evidence = Evidence::new();
        evidence.gather(&cell, 1.0);
        let median = evidence.median(20.0).expect("enough calls");
        let mut sorted = micros;
        sorted.sort_unstable();
        let exact = sorted[(sorted.len() - 1) / 2] as f64;
        let computed = median.as_secs_f64() * 1e6;
        prop_assert!((computed - exact).abs() <= exact * 0.25 + 1.0, "{} {}", computed, exact);
    }
}

fn compare(service: &mut Service, model: &mut Model) -> Result<(), TestCaseError> {
    let (mut returned, mut out) = (Vec::new(), Vec::new());
    let decisions = service.outliers.evaluate(&service.cells, at(service.now));
    let (expected_returned, expected_out) = model.evaluate(service.now);
    for decision in decisions {
        match decision {
            Decision::Returned { endpoint } => returned.push(endpoint),
            Decision::Ejected {
                endpoint, duration, ..
            } => {
                out.push(endpoint);
                let until = nanos(duration).div_ceil(1_000_000) + service.now;
                model.endpoints[endpoint].until = Some(until);
            },
        }
    }
    prop_assert_eq!((returned, out), (expected_returned, expected_out));
    let ejected = model
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.until.is_some());
    prop_assert!(ejected.count() <= model.ejected_max);
    Ok(())
}
