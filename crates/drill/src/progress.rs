//! What a person sees while a drill runs: one line per step, and a bar on a terminal.
//!
//! Prevents a silent minute. Goes to standard error only; a closed one stops nothing.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::load::Tally;
use crate::plan::Plan;

/// A step of a drill, as the right-aligned word at the start of its line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Both arms come up.
    Start,
    /// Nothing is broken yet.
    Steady,
    /// A fault begins.
    Inject,
    /// A fault ends.
    Recover,
    /// The load is over: counting.
    Check,
}

impl Step {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Steady => "STEADY",
            Self::Inject => "INJECT",
            Self::Recover => "RECOVER",
            Self::Check => "CHECK",
        }
    }
}

/// Tells how far a drill is.
#[derive(Debug)]
pub(crate) struct Progress {
    /// On a terminal only.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Progress of a drill whose load lasts `length_ms`.
    pub(crate) fn new(length_ms: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(length_ms), ProgressDrawTarget::stderr());
            // A template that does not parse leaves the default style.
            if let Ok(style) =
                ProgressStyle::with_template("{bar:40.cyan/blue} {percent:>3} % {msg}")
            {
                bar.set_style(style);
            }
            bar
        });
        Self { bar }
    }

    /// One line: a step, when, and what.
    pub(crate) fn say(&self, step: Step, at_ms: u64, what: fmt::Arguments<'_>) {
        let seconds = at_ms as f64 / 1_000.0;
        let line = format!("{:>12} [{seconds:>6.2}s] {what}", step.as_str());
        match &self.bar {
            Some(bar) => bar.println(line),
            None => {
                writeln!(io::stderr().lock(), "{line}").ok();
            },
        }
    }

    /// Tells of the plan's steps when they are due, and moves the bar, until `done`.
    pub(crate) async fn narrate(
        &self,
        plan: &Plan,
        clock: Clock,
        tallies: &[(&str, &Tally)],
        done: &CancellationToken,
    ) {
        let telling = async { tokio::join!(self.tell(plan, clock), self.draw(clock, tallies)) };
        done.run_until_cancelled(telling).await;
    }

    async fn tell(&self, plan: &Plan, clock: Clock) {
        let rate = plan.arrivals.len() as u64 * 1_000 / plan.length_ms.max(1);
        let steady = format_args!("{rate} requests/s to each arm, nothing broken");
        self.say(Step::Steady, 0, steady);
        for fault in &plan.faults {
            let (target, what) = (fault.target, fault.kind.describe());
            let kind = fault.kind.as_str();
            clock.until_ms(fault.at_ms).await;
            self.say(
                Step::Inject,
                fault.at_ms,
                format_args!("{kind:<7} {target}: {what}"),
            );
            clock.until_ms(fault.ends_ms()).await;
            self.say(
                Step::Recover,
                fault.ends_ms(),
                format_args!("{kind:<7} {target}: ended"),
            );
        }
    }

    async fn draw(&self, clock: Clock, tallies: &[(&str, &Tally)]) {
        const EVERY: Duration = Duration::from_millis(200);
        let Some(bar) = &self.bar else {
            return;
        };
        while !bar.is_finished() {
            tokio::time::sleep(EVERY).await;
            bar.set_position(clock.now_ms());
            let counts = tallies.iter().map(|(name, tally)| {
                let failed = tally.failed.load(Ordering::Relaxed);
                format!(
                    "{name}: {} good, {failed} failed",
                    tally.good.load(Ordering::Relaxed)
                )
            });
            bar.set_message(counts.collect::<Vec<_>>().join("  "));
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
