//! Why a part has no order, reduced to what a reader needs.
//!
//! Prevents a verdict of "no" over ten thousand operations that nobody can follow. The failure is
//! first cut down: what happened after the blocked return is taken away, then reads are taken away
//! as long as the rest still has no order (taking a read away can make a bad history good, never
//! a good one bad). The window is then the time around the last calls that could be ordered.

use super::budget::{Budget, Limits, Purse};
use super::part::{Chosen, Part};
use super::search::{Found, Search, Stuck};
use crate::failure::{Failure, Place, Shown, shorten};
use crate::history::History;
use crate::model::Model;

/// Steps for cutting a failure down; it is a convenience and must not cost as much as the check.
const STEPS_MAX: u64 = 2_000_000;

/// Parts with more operations are only cut behind the blocked return.
const SHRINK_MAX: usize = 4_000;

/// More operations than this nobody reads.
const WINDOW_MAX: usize = 48;

/// So many of the last ordered calls are shown before the blocked one.
const CONTEXT: usize = 3;

/// A part that has no order.
struct Core<S> {
    chosen: Vec<Chosen>,
    order: Vec<usize>,
    state: S,
    blocked: usize,
}

impl<S> Core<S> {
    fn new<I, O>(chosen: Vec<Chosen>, part: &Part<'_, I, O>, stuck: Stuck<S>) -> Self {
        let operation = |call: &u32| part.operations[*call as usize];
        Self {
            order: stuck.order.iter().map(operation).collect(),
            blocked: operation(&stuck.blocked),
            state: stuck.state,
            chosen,
        }
    }
}

/// Explains why `chosen` has no order.
pub(super) fn explain<M: Model>(
    model: &M,
    history: &History<M::Input, M::Output>,
    (chosen, part): (Vec<Chosen>, &Part<'_, M::Input, M::Output>),
    stuck: Stuck<M::State>,
    going: &(dyn Fn() -> bool + Sync),
) -> Failure {
    let whole = Core::new(chosen, part, stuck);
    let order = whole.order.clone();
    let limits = Limits {
        steps_max: STEPS_MAX,
        ..Limits::default()
    };
    let budget = Budget::new(limits, going);
    let core = shrink(model, history, whole, &budget);
    let operations = history.operations();
    let name = model.part(&operations[core.blocked].input);
    Failure {
        part: shorten(&format!("{name:?}")),
        state: shorten(&format!("{:?}", core.state)),
        blocked: core.blocked,
        window: window(model, history, &core),
        order,
    }
}

/// `None` when there is an order, or when nobody knows.
fn still_stuck<M: Model>(
    model: &M,
    history: &History<M::Input, M::Output>,
    chosen: Vec<Chosen>,
    budget: &Budget<'_>,
) -> Option<Core<M::State>> {
    let part = Part::new(model, history, &chosen);
    let purse = Purse::new(budget, &|| false);
    match Search::new(model, &part, purse).run() {
        Ok(Found::Stuck(stuck)) => Some(Core::new(chosen, &part, stuck)),
        Ok(Found::Order(_)) | Err(_) => None,
    }
}

fn shrink<M: Model>(
    model: &M,
    history: &History<M::Input, M::Output>,
    mut core: Core<M::State>,
    budget: &Budget<'_>,
) -> Core<M::State> {
    let operations = history.operations();
    let end = operations[core.blocked].returned();
    let early = core.chosen.iter().copied().filter_map(|chosen| {
        let operation = &operations[chosen.operation];
        (Some(operation.invoked) <= end).then(|| Chosen {
            crashed: chosen.crashed || operation.returned() > end,
            ..chosen
        })
    });
    if let Some(cut) = still_stuck(model, history, early.collect(), budget) {
        core = cut;
    }
    if core.chosen.len() > SHRINK_MAX {
        return core;
    }
    let mut stretch = core.chosen.len().div_ceil(2);
    while stretch > 0 {
        let mut from = 0;
        while from < core.chosen.len() {
            let to = (from + stretch).min(core.chosen.len());
            let rest = without_reads(model, history, &core, from..to);
            let removed = core.chosen.len() - rest.len();
            let less = (removed > 0).then(|| still_stuck(model, history, rest, budget));
            match less.flatten() {
                Some(less) => {
                    core = less;
                    from = to - removed;
                },
                None => from = to,
            }
        }
        stretch /= 2;
    }
    core
}

/// The core without the calls of a stretch that change nothing.
fn without_reads<M: Model>(
    model: &M,
    history: &History<M::Input, M::Output>,
    core: &Core<M::State>,
    stretch: std::ops::Range<usize>,
) -> Vec<Chosen> {
    let operations = history.operations();
    let stays = |place: usize, chosen: &Chosen| {
        let operation = &operations[chosen.operation];
        let output = operation.output().filter(|_| !chosen.crashed);
        !stretch.contains(&place) || !model.observes_only(&operation.input, output)
    };
    let numbered = core.chosen.iter().enumerate();
    let staying = numbered.filter(|(place, chosen)| stays(*place, chosen));
    staying.map(|(_, chosen)| *chosen).collect()
}

fn window<M: Model>(
    model: &M,
    history: &History<M::Input, M::Output>,
    core: &Core<M::State>,
) -> Vec<Shown> {
    let operations = history.operations();
    let last = core.order.iter().rev().take(CONTEXT);
    let from = last
        .chain([&core.blocked])
        .map(|at| operations[*at].invoked);
    let from = from.min().unwrap_or(0);
    let end = operations[core.blocked].returned();

    let inside = core.chosen.iter().map(|chosen| chosen.operation);
    let inside = inside.filter(|operation| {
        let operation = &operations[*operation];
        operation.returned().is_none_or(|at| at >= from) && Some(operation.invoked) <= end
    });
    let mut inside: Vec<_> = inside.collect();
    if inside.len() > WINDOW_MAX {
        // The latest matter most; the blocked one must stay.
        let surplus = inside.len() - WINDOW_MAX;
        inside.retain({
            let mut seen = 0;
            move |operation| {
                seen += 1;
                seen > surplus || *operation == core.blocked
            }
        });
    }
    let mut places = std::collections::BTreeMap::new();
    for (place, operation) in (1..).zip(&core.order) {
        places.insert(*operation, Place::Ordered(place));
    }
    places.insert(core.blocked, Place::Blocked);
    let shown = |at: usize| Shown {
        operation: at,
        client: operations[at].client,
        invoked: operations[at].invoked,
        returned: operations[at].returned(),
        text: shorten(&model.describe(&operations[at].input, operations[at].output())),
        place: places.get(&at).copied().unwrap_or(Place::Open),
    };
    inside.into_iter().map(shown).collect()
}
