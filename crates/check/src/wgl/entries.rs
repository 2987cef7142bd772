//! The invocations and returns that are still outstanding, as a doubly linked list.
//!
//! Prevents a search that copies its history at every step: taking a call lifts its two entries
//! out, and undoing it puts them back where they were (Wing and Gong, "Testing and verifying
//! concurrent objects", 1993). Entry 0 is the head; what always holds is that undoing happens in
//! the opposite order of doing.

use super::part::small;

/// The list.
pub(super) struct Entries {
    next: Vec<u32>,
    previous: Vec<u32>,
    /// For each entry: the call, and whether it is its return.
    what: Vec<(u32, bool)>,
    /// For each call: its invocation and its return.
    of_call: Vec<(u32, u32)>,
}

impl Entries {
    pub(super) fn new(entries: &[(u32, bool)], calls: u32) -> Self {
        let count = small(entries.len());
        let mut of_call = vec![(0, 0); calls as usize];
        let mut what = vec![(0, false)];
        what.extend_from_slice(entries);
        for (entry, &(call, is_return)) in (1..).zip(entries) {
            let places = &mut of_call[call as usize];
            if is_return {
                places.1 = entry;
            } else {
                places.0 = entry;
            }
        }
        Self {
            next: (1..=count).chain([0]).collect(),
            previous: [count].into_iter().chain(0..count).collect(),
            what,
            of_call,
        }
    }

    /// The first outstanding entry, or 0.
    pub(super) fn first(&self) -> u32 {
        self.next[0]
    }

    /// The outstanding entry after `entry`, or 0.
    pub(super) fn after(&self, entry: u32) -> u32 {
        self.next[entry as usize]
    }

    /// The call of an entry, and whether the entry is its return.
    pub(super) fn what(&self, entry: u32) -> (u32, bool) {
        self.what[entry as usize]
    }

    /// A call's invocation.
    pub(super) fn invocation(&self, call: u32) -> u32 {
        self.of_call[call as usize].0
    }

    /// The first outstanding return, or 0: calls that are invoked after it must wait for it.
    pub(super) fn first_return(&self) -> u32 {
        let mut entry = self.first();
        while entry != 0 && !self.what(entry).1 {
            entry = self.after(entry);
        }
        entry
    }

    pub(super) fn lift(&mut self, call: u32) {
        let (invocation, end) = self.of_call[call as usize];
        self.unlink(invocation);
        self.unlink(end);
    }

    pub(super) fn put_back(&mut self, call: u32) {
        let (invocation, end) = self.of_call[call as usize];
        self.relink(end);
        self.relink(invocation);
    }

    fn unlink(&mut self, entry: u32) {
        let (before, after) = self.neighbours(entry);
        self.next[before] = small(after);
        self.previous[after] = small(before);
    }

    fn relink(&mut self, entry: u32) {
        let (before, after) = self.neighbours(entry);
        self.next[before] = entry;
        self.previous[after] = entry;
    }

    fn neighbours(&self, entry: u32) -> (usize, usize) {
        let entry = entry as usize;
        (self.previous[entry] as usize, self.next[entry] as usize)
    }
}
