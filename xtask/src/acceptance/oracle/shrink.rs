//! The shortest story that still shows a difference.
//!
//! Prevents a finding of five thousand steps that nobody reads: whatever can be left out is left
//! out, by halves, then quarters, and so on (delta debugging, Zeller and Hildebrandt 2002).

use anyhow::Result;

use super::story::Step;

/// Most times that a story is played again.
const TRIES_MAX: usize = 400;

/// Shortens `steps`; `shows` plays them and says whether the difference is still there.
pub(super) fn shrink(
    mut steps: Vec<Step>,
    mut shows: impl FnMut(&[Step]) -> Result<bool>,
) -> Result<Vec<Step>> {
    let mut tries = 0;
    let mut size = steps.len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        let mut is_shorter = false;
        while start < steps.len() {
            if tries == TRIES_MAX {
                return Ok(steps);
            }
            tries += 1;
            let end = (start + size).min(steps.len());
            let rest = [&steps[..start], &steps[end..]].concat();
            if shows(&rest)? {
                steps = rest;
                is_shorter = true;
            } else {
                start = end;
            }
        }
        if size == 1 && !is_shorter {
            break;
        }
        size = if size == 1 { 1 } else { size.div_ceil(2) };
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::super::story::Deed;
    use super::*;

    #[test]
    fn what_has_nothing_to_do_with_it_is_left_out() {
        let steps = (0..1_000).map(|client| Step {
            client,
            deed: Deed::Cut,
        });
        let needed = [3, 500, 999];
        let shrunk = shrink(steps.collect(), |steps| {
            let is_there = |client: &usize| steps.iter().any(|step| step.client == *client);
            Ok(needed.iter().all(is_there))
        });
        let left: Vec<usize> = shrunk
            .expect("no error")
            .iter()
            .map(|step| step.client)
            .collect();
        assert_eq!(left, needed);
    }
}
