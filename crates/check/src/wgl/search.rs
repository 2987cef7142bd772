//! The search for an order that explains all replies of one part.
//!
//! Prevents a wrong verdict by being small: take a call that was invoked before the first
//! outstanding return, ask the model, go on; where nothing fits, undo the last choice (Wing and
//! Gong 1993; Lowe 2017). Four things that change no verdict make it fast:
//!
//! - A completed call that changes nothing and fits is taken at once and never tried otherwise:
//!   moved to the front of any order, it still fits and disturbs nobody.
//! - Crashed calls are tried last, only where they change the state, and of equal ones the
//!   earliest first. An order without them is enough, because they may never have happened.
//! - Where a reply yet to come can no longer fit, nothing more is tried.
//! - Only configurations with a choice are remembered; the others follow from one of those.
//!
//! What always holds: each remembered configuration is entered once, so the search ends.

use super::budget::{Purse, Why};
use super::entries::Entries;
use super::part::{Part, small};
use super::seen::{Bits, Configuration, Seen, States, mix};
use crate::model::Model;

/// So many invocations and returns ahead are looked at for one that can no longer fit.
const LOOK_AHEAD_MAX: usize = 512;

/// What a search found.
pub(super) enum Found<S> {
    /// An order of calls that explains everything.
    Order(Vec<u32>),
    /// There is none.
    Stuck(Stuck<S>),
}

/// How far the search came.
pub(super) struct Stuck<S> {
    /// The calls that could be taken.
    pub order: Vec<u32>,
    /// The state behind them.
    pub state: S,
    /// The call whose return no order gets past.
    pub blocked: u32,
}

#[derive(Clone, Copy)]
struct Taken {
    call: u32,
    /// State, and end of the stretch of taken calls, before it.
    state: u32,
    end: u32,
    /// There was no choice.
    forced: bool,
}

/// Which call to try next.
#[derive(Clone, Copy)]
enum Next {
    /// From this entry on.
    Completed(u32),
    /// From this crashed call on.
    Crashed(u32),
}

/// The furthest dead end.
struct Furthest {
    first_return: u32,
    order: Vec<u32>,
    state: u32,
    /// So many calls at the front of `order` are those of the present path.
    shared: usize,
}

pub(super) struct Search<'a, 'h, 'b, M: Model> {
    model: &'a M,
    part: &'a Part<'h, M::Input, M::Output>,
    purse: Purse<'b>,
    entries: Entries,
    states: States<M::State>,
    seen: Seen,
    state: u32,
    completed: Bits,
    crashed: Bits,
    hash: u64,
    end: u32,
    left: u32,
    path: Vec<Taken>,
    furthest: Furthest,
}

impl<'a, 'h, 'b, M: Model> Search<'a, 'h, 'b, M> {
    pub(super) fn new(
        model: &'a M,
        part: &'a Part<'h, M::Input, M::Output>,
        purse: Purse<'b>,
    ) -> Self {
        Self {
            model,
            part,
            purse,
            entries: Entries::new(&part.entries, part.completed),
            states: States::new(model.init()),
            seen: Seen::default(),
            state: 0,
            completed: Bits::new(part.completed as usize),
            crashed: Bits::new(part.crashed.len()),
            hash: 0,
            end: 0,
            left: part.completed,
            path: Vec::new(),
            furthest: Furthest {
                first_return: 0,
                order: Vec::new(),
                state: 0,
                shared: 0,
            },
        }
    }

    pub(super) fn run(mut self) -> Result<Found<M::State>, Why> {
        if self.explore()? {
            let order = self.path.iter().map(|taken| taken.call).collect();
            return Ok(Found::Order(order));
        }
        let furthest = self.furthest;
        Ok(Found::Stuck(Stuck {
            order: furthest.order,
            state: self.states.get(furthest.state).clone(),
            blocked: self.entries.what(furthest.first_return).0,
        }))
    }

    /// Whether there is an order; it is then the path.
    fn explore(&mut self) -> Result<bool, Why> {
        while self.left > 0 {
            if self.take_forced()? {
                continue;
            }
            let next = Next::Completed(self.entries.first());
            let chosen = self.has_hope() && self.remember()? && self.take_next(next)?;
            if !chosen && !self.choose_again()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the calls that must end before the state can begin anew can all still fit.
    fn has_hope(&self) -> bool {
        let anew = |place: u32| {
            let call = self.part.completed + place;
            let forgets = self.model.forgets(self.part.calls[call as usize].input);
            forgets && !self.crashed.has(place)
        };
        let mut crashed = (0..).zip(&self.part.crashed);
        let horizon = crashed.find(|(place, _)| anew(*place));
        let horizon = horizon.map_or(u32::MAX, |(_, crashed)| crashed.from);
        let mut entry = self.entries.first();
        for _ in 0..LOOK_AHEAD_MAX {
            if entry == 0 || entry >= horizon {
                break;
            }
            let (call, is_return) = self.entries.what(entry);
            let asked = self.part.calls[call as usize];
            let observes = self.model.observes_only(asked.input, asked.output);
            if !observes && self.model.forgets(asked.input) {
                break;
            }
            let state = self.states.get(self.state);
            if observes && is_return && !self.model.may_fit_later(state, asked) {
                return false;
            }
            entry = self.entries.after(entry);
        }
        true
    }

    /// Undoes calls until another choice is possible, and takes it; `false` if there is none.
    fn choose_again(&mut self) -> Result<bool, Why> {
        self.note_dead_end(self.entries.first_return());
        while let Some(next) = self.retreat() {
            if self.take_next(next)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes a completed call that changes nothing and fits, if there is one.
    fn take_forced(&mut self) -> Result<bool, Why> {
        let mut entry = self.entries.first();
        loop {
            let (call, is_return) = self.entries.what(entry);
            if entry == 0 || is_return {
                return Ok(false);
            }
            let asked = self.part.calls[call as usize];
            if self.model.observes_only(asked.input, asked.output) && self.step(call)?.is_some() {
                self.take(call, self.state, true);
                return Ok(true);
            }
            entry = self.entries.after(entry);
        }
    }

    fn take_next(&mut self, next: Next) -> Result<bool, Why> {
        let from = match next {
            Next::Completed(entry) => {
                if self.take_completed(entry)? {
                    return Ok(true);
                }
                0
            },
            Next::Crashed(from) => from,
        };
        self.take_crashed(from)
    }

    fn take_completed(&mut self, mut entry: u32) -> Result<bool, Why> {
        loop {
            let (call, is_return) = self.entries.what(entry);
            if entry == 0 || is_return {
                return Ok(false);
            }
            let asked = self.part.calls[call as usize];
            // Those that change nothing were tried already: none fits here.
            if !self.model.observes_only(asked.input, asked.output)
                && let Some(state) = self.step(call)?
            {
                let state = self.number(state)?;
                self.take(call, state, false);
                return Ok(true);
            }
            entry = self.entries.after(entry);
        }
    }

    fn take_crashed(&mut self, from: u32) -> Result<bool, Why> {
        if self.part.crashed.is_empty() {
            return Ok(false);
        }
        let first_return = self.entries.first_return();
        for place in from..small(self.part.crashed.len()) {
            let crashed = self.part.crashed[place as usize];
            // They stand in the order of their invocations: the rest is too late as well.
            if crashed.from > first_return {
                return Ok(false);
            }
            let waits = crashed.twin.is_some_and(|twin| !self.crashed.has(twin));
            if waits || self.crashed.has(place) {
                continue;
            }
            let call = self.part.completed + place;
            let Some(state) = self.step(call)? else {
                continue;
            };
            let state = self.number(state)?;
            if state != self.state {
                self.take(call, state, false);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Undoes choices up to one that has an alternative; where to go on from there.
    fn retreat(&mut self) -> Option<Next> {
        loop {
            let taken = self.path.pop()?;
            self.furthest.shared = self.furthest.shared.min(self.path.len());
            self.flip(taken.call);
            (self.state, self.end) = (taken.state, taken.end);
            if taken.call >= self.part.completed {
                return Some(Next::Crashed(taken.call - self.part.completed + 1));
            }
            self.left += 1;
            self.entries.put_back(taken.call);
            if !taken.forced {
                let invocation = self.entries.invocation(taken.call);
                return Some(Next::Completed(self.entries.after(invocation)));
            }
        }
    }

    fn take(&mut self, call: u32, state: u32, forced: bool) {
        self.path.push(Taken {
            call,
            state: self.state,
            end: self.end,
            forced,
        });
        self.flip(call);
        self.state = state;
        if call < self.part.completed {
            self.end = self.end.max(call + 1);
            self.left -= 1;
            self.entries.lift(call);
        }
    }

    fn flip(&mut self, call: u32) {
        self.hash ^= mix(u64::from(call) + 1);
        match call.checked_sub(self.part.completed) {
            Some(place) => self.crashed.flip(place),
            None => self.completed.flip(call),
        }
    }

    fn step(&mut self, call: u32) -> Result<Option<M::State>, Why> {
        self.purse.step()?;
        let asked = self.part.calls[call as usize];
        let state = self.states.get(self.state);
        Ok(self.model.step(state, asked.input, asked.output))
    }

    fn number(&mut self, state: M::State) -> Result<u32, Why> {
        let model = self.model;
        self.states
            .number(state, |state| model.bytes(state), &mut self.purse)
    }

    fn remember(&mut self) -> Result<bool, Why> {
        let configuration = Configuration {
            hash: self.hash,
            state: self.state,
            base: self.entries.what(self.entries.first()).0,
            end: self.end,
            completed: &self.completed,
            crashed: &self.crashed,
        };
        self.seen.insert(&configuration, &mut self.purse)
    }

    /// Keeps the path if none came further. Only what differs from the last is copied.
    fn note_dead_end(&mut self, first_return: u32) {
        let furthest = &mut self.furthest;
        let reach = (first_return, self.path.len());
        if reach <= (furthest.first_return, furthest.order.len()) {
            return;
        }
        furthest.order.truncate(furthest.shared);
        let new = &self.path[furthest.shared.min(self.path.len())..];
        furthest.order.extend(new.iter().map(|taken| taken.call));
        furthest.shared = self.path.len();
        furthest.first_return = first_return;
        furthest.state = self.state;
    }
}
