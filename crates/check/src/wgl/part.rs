//! One independent part of a history, made ready for the search.
//!
//! Prevents the search from wading through operations that cannot matter: crashed operations that
//! change nothing or left no trace are dropped, and of two crashed operations that ask the same
//! the later one waits for the earlier.
//!
//! What always holds: completed calls come first, in the order of their invocations; then the
//! crashed ones. An entry is an invocation or a return of a completed call; entries are numbered
//! from 1 in the order of time, where an invocation comes before a return of the same time.

use crate::history::{History, Reply};
use crate::model::{Call, Model};

/// So many earlier crashed calls are looked through for one that asks the same.
const TWINS_LOOKED_AT: usize = 256;

/// An operation of the history, and whether to treat it as crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub operation: usize,
    pub crashed: bool,
}

/// A crashed call's place in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crashed {
    /// It may be taken once the first outstanding return is this entry or a later one.
    pub from: u32,
    /// An earlier call that asks the same and is taken first.
    pub twin: Option<u32>,
}

/// The calls of one part.
pub(super) struct Part<'h, I, O> {
    pub calls: Vec<Call<'h, I, O>>,
    /// For each call, its place in the history.
    pub operations: Vec<usize>,
    /// How many calls completed.
    pub completed: u32,
    /// For each entry from 1 on: the call, and whether it is its return.
    pub entries: Vec<(u32, bool)>,
    pub crashed: Vec<Crashed>,
}

impl<'h, I: PartialEq, O> Part<'h, I, O> {
    pub(super) fn new<M>(model: &M, history: &'h History<I, O>, chosen: &[Chosen]) -> Self
    where
        M: Model<Input = I, Output = O>,
    {
        let all = history.operations();
        let call = |chosen: &Chosen| {
            let operation = &all[chosen.operation];
            Call {
                input: &operation.input,
                output: operation.output().filter(|_| !chosen.crashed),
            }
        };
        let calls: Vec<_> = chosen.iter().map(call).collect();
        let mut keep = vec![true; calls.len()];
        for place in model.traceless(&calls) {
            if let Some(keep) = keep.get_mut(place) {
                *keep = false;
            }
        }
        let mut completed = Vec::new();
        let mut crashed = Vec::new();
        for ((chosen, call), keep) in chosen.iter().zip(calls).zip(keep) {
            if call.output.is_some() {
                completed.push((chosen.operation, call));
            } else if keep && !model.observes_only(call.input, None) {
                crashed.push((chosen.operation, call));
            }
        }
        let count = small(completed.len());

        let mut moments = Vec::with_capacity(completed.len() * 2);
        for (call, (operation, _)) in (0..).zip(&completed) {
            let operation = &all[*operation];
            moments.push((operation.invoked, false, call));
            if let Reply::Returned { at, .. } = operation.reply {
                moments.push((at, true, call));
            }
        }
        moments.sort_unstable();
        let waiting = place_crashed(&crashed, |operation| {
            let invoked = all[operation].invoked;
            small(moments.partition_point(|(time, ..)| *time < invoked)) + 1
        });
        completed.append(&mut crashed);
        let (operations, calls) = completed.into_iter().unzip();
        Self {
            calls,
            operations,
            completed: count,
            entries: moments
                .into_iter()
                .map(|(_, is_return, call)| (call, is_return))
                .collect(),
            crashed: waiting,
        }
    }
}

fn place_crashed<I: PartialEq, O>(
    crashed: &[(usize, Call<'_, I, O>)],
    from: impl Fn(usize) -> u32,
) -> Vec<Crashed> {
    let twin = |place: usize| {
        let asked = crashed[place].1.input;
        let mut earlier = (0..place).rev().take(TWINS_LOOKED_AT);
        earlier.find(|earlier| crashed[*earlier].1.input == asked)
    };
    let places = crashed.iter().enumerate();
    places
        .map(|(place, (operation, _))| Crashed {
            from: from(*operation),
            twin: twin(place).map(small),
        })
        .collect()
}

/// A count that `OPERATIONS_MAX` keeps below 2^24.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a history holds fewer than 2^24 operations"
)]
pub(super) const fn small(count: usize) -> u32 {
    count as u32
}
