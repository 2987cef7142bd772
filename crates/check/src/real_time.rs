//! What ended before something else began, and yet carries the greater number.
//!
//! Prevents three copies of one sweep: tokens, zxids and prefixes all must respect real time, and
//! each is checked against the strongest witness only, so that a run costs `O(n log n)`.

use crate::history::Time;

/// Something with a number, at a time: an end or a beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub at: Time,
    pub number: u64,
    pub who: usize,
}

/// For each beginning, the end before it that has the greatest number, if that is greater than
/// the beginning's. Pairs of (end, beginning), in the order of the beginnings.
pub(crate) fn overtaken(mut ends: Vec<Moment>, mut begins: Vec<Moment>) -> Vec<(usize, usize)> {
    ends.sort_by_key(|end| (end.at, end.who));
    begins.sort_by_key(|begin| (begin.at, begin.who));
    let mut ends = ends.into_iter().peekable();
    let mut greatest: Option<Moment> = None;
    let mut found = Vec::new();
    for begin in begins {
        while let Some(end) = ends.next_if(|end| end.at < begin.at) {
            if greatest.is_none_or(|greatest| end.number > greatest.number) {
                greatest = Some(end);
            }
        }
        if let Some(end) = greatest.filter(|end| end.number > begin.number) {
            found.push((end.who, begin.who));
        }
    }
    found
}
