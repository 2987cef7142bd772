//! Claims about vector clocks, checked against a run whose causality is known by construction.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn node(name: &str) -> Arc<str> {
    Arc::from(name)
}

#[test]
fn a_message_orders_what_came_before_it_at_the_sender() {
    let (a, b) = (node("a"), node("b"));
    let mut at_a = VectorClock::new();
    at_a.tick(&a);
    let sent = at_a.clone();
    let mut at_b = VectorClock::new();
    at_b.tick(&b);
    let unrelated = at_b.clone();
    at_b.merge(&sent);
    at_b.tick(&b);

    assert!(sent.happened_before(&at_b));
    assert_eq!(at_b.causality(&sent), Causality::After);
    assert_eq!(unrelated.causality(&sent), Causality::Concurrent);
    assert_eq!(sent.causality(&sent.clone()), Causality::Same);
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn a_peer_that_names_endless_nodes_does_not_grow_the_clock_without_bound() {
    let mut hostile = VectorClock::new();
    for i in 0..2 * NODES_MAX {
        hostile.tick(&Arc::from(alloc::format!("n{i}")));
    }
    let mut clock = VectorClock::new();
    clock.merge(&hostile);
    assert_eq!(clock.0.len(), NODES_MAX);
}

/// One step of a run: a local event, or a message from one node to another.
#[derive(Clone, Debug)]
enum Step {
    Local(usize),
    Message(usize, usize),
}

const NODES: usize = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..NODES).prop_map(Step::Local),
        (0..NODES, 0..NODES).prop_map(|(from, to)| Step::Message(from, to)),
    ];
    proptest::collection::vec(step, 0..40)
}

proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "too many steps for an interpreter")]
    fn stamps_agree_with_the_causality_of_a_run(steps in steps()) {
        let names: Vec<Arc<str>> = ["a", "b", "c"].into_iter().map(node).collect();
        let mut clocks = vec![VectorClock::new(); NODES];
        // The model: for each event, the set of events that it knows of.
        let mut known: Vec<Vec<bool>> = Vec::new();
        let mut last: [Option<usize>; NODES] = [None; NODES];
        let mut stamps = Vec::new();
        let mut event = |at: usize, cause: Option<usize>, clocks: &mut Vec<VectorClock>, stamps: &mut Vec<VectorClock>| {
            let mut knows = vec![false; known.len() + 1];
            for past in [last[at], cause].into_iter().flatten() {
                for (slot, &seen) in knows.iter_mut().zip(&known[past]) {
                    *slot |= seen;
                }
                knows[past] = true;
            }
            known.push(knows);
            last[at] = Some(known.len() - 1);
            if let Some(cause) = cause {
                let stamp: VectorClock = stamps[cause].clone();
                clocks[at].merge(&stamp);
            }
            clocks[at].tick(&names[at]);
            stamps.push(clocks[at].clone());
            known.len() - 1
        };
        for step in steps {
            match step {
                Step::Local(at) => { event(at, None, &mut clocks, &mut stamps); },
                Step::Message(from, to) => {
                    let sent = event(from, None, &mut clocks, &mut stamps);
                    event(to, Some(sent), &mut clocks, &mut stamps);
                },
            }
        }
        for (i, knows) in known.iter().enumerate() {
            for j in 0..i {
                prop_assert_eq!(stamps[j].happened_before(&stamps[i]), knows[j]);
                prop_assert!(!stamps[i].happened_before(&stamps[j]));
            }
        }
    }
}
