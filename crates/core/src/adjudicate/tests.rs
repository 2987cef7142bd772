//! Claims about adjudication.

use proptest::prelude::*;

use super::*;

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("positive")
}

fn ask(
    rule: Rule,
    quorum: u32,
    replicas: usize,
) -> Adjudicator<i32, impl Fn(&i32, &i32) -> bool + Clone> {
    let config = Config {
        rule,
        quorum: count(quorum),
    };
    Adjudicator::new(config, replicas, |a: &i32, b: &i32| a == b).expect("valid")
}

fn numbers(replicas: Replicas) -> Vec<usize> {
    replicas.iter().collect()
}

#[test]
fn one_liar_among_three_is_outvoted_and_named() {
    let mut answers = ask(Rule::Majority, 1, 3);
    answers.answer(0, 7);
    answers.answer(1, -1);
    assert_eq!(answers.decision(), Decision::Pending);
    answers.answer(2, 7);
    let (answer, tally) = answers.finish();
    assert_eq!(answer, Ok(7));
    assert_eq!(numbers(tally.agreed), [0, 2]);
    assert_eq!(numbers(tally.differed), [1]);
}

#[test]
fn a_majority_does_not_wait_for_the_slowest() {
    let mut answers = ask(Rule::Majority, 1, 5);
    for replica in [4, 1, 3] {
        assert_eq!(answers.decision(), Decision::Pending);
        answers.answer(replica, 7);
    }
    assert_eq!(answers.decision(), Decision::Chosen);
    assert_eq!(numbers(answers.finish().1.unheard), [0, 2]);
}

#[test]
fn no_majority_is_known_as_soon_as_none_can_be_reached() {
    let mut answers = ask(Rule::Majority, 1, 4);
    answers.answer(0, 1);
    answers.answer(1, 2);
    assert_eq!(answers.decision(), Decision::Pending);
    answers.answer(2, 3);
    assert_eq!(answers.decision(), Decision::Undecided(Why::NoMajority));
}

#[test]
fn a_lead_that_the_rest_could_even_out_is_not_unassailable() {
    let mut answers = ask(Rule::Plurality, 1, 5);
    answers.answer(0, 1);
    answers.answer(1, 1);
    answers.answer(2, 2);
    answers.abstain(3);
    assert_eq!(answers.decision(), Decision::Pending, "2 to 1, and 1 left");
    let mut led = answers.clone();
    led.abstain(4);
    assert_eq!(led.finish().0, Ok(1));
    answers.answer(4, 2);
    assert_eq!(answers.decision(), Decision::Undecided(Why::Tie));
    assert_eq!(numbers(answers.finish().1.differed), [0, 1, 2, 4]);
}

#[test]
fn unanimity_ends_with_the_first_difference() {
    let mut answers = ask(Rule::Unanimous, 1, 9);
    answers.answer(0, 1);
    answers.answer(1, 2);
    assert_eq!(answers.decision(), Decision::Undecided(Why::Disagreement));
}

#[test]
fn failed_replicas_abstain_and_the_quorum_says_how_many_may() {
    let mut answers = ask(Rule::Unanimous, 2, 3);
    answers.answer(0, 1);
    answers.abstain(1);
    let mut failed = answers.clone();
    failed.abstain(2);
    assert_eq!(failed.decision(), Decision::Undecided(Why::Quorum));
    answers.answer(2, 1);
    assert_eq!(answers.finish().0, Ok(1));
}

#[test]
fn when_the_time_is_up_the_silent_have_no_say() {
    let mut answers = ask(Rule::Plurality, 1, 3);
    answers.answer(1, 5);
    assert_eq!(answers.decision(), Decision::Pending);
    let (answer, tally) = answers.finish();
    assert_eq!(answer, Ok(5));
    assert_eq!(numbers(tally.unheard), [0, 2]);
    assert_eq!(tally.abstained, Replicas::NONE);
}

#[test]
fn a_heavy_replica_outweighs_two_light_ones() {
    let weights = [count(3), count(1), count(1)];
    let mut answers = Adjudicator::weighted(Config::default(), &weights, |a: &i32, b: &i32| a == b)
        .expect("valid");
    answers.answer(1, 9);
    answers.answer(2, 9);
    assert_eq!(answers.decision(), Decision::Pending);
    answers.answer(0, 1);
    assert_eq!(answers.finish().0, Ok(1));
}

#[test]
fn a_tolerance_makes_answers_alike() {
    let near = |a: &f64, b: &f64| (a - b).abs() < 0.01;
    let mut answers = Adjudicator::new(Config::default(), 3, near).expect("valid");
    answers.answer(0, 1.000);
    answers.answer(1, 1.005);
    assert_eq!(answers.finish().0, Ok(1.0));
}

#[test]
fn a_replica_has_one_say() {
    let mut answers = ask(Rule::Majority, 1, 3);
    answers.answer(0, 1);
    answers.answer(0, 1);
    answers.abstain(0);
    answers.answer(3, 1);
    answers.answer(64, 1);
    answers.abstain(1_000);
    assert_eq!(answers.decision(), Decision::Pending);
    assert_eq!(numbers(answers.unheard()), [1, 2]);
}

#[test]
fn replicas_that_cannot_be_judged_are_refused() {
    let make = |replicas, quorum| {
        let config = Config {
            rule: Rule::Majority,
            quorum: count(quorum),
        };
        Adjudicator::new(config, replicas, |a: &i32, b: &i32| a == b).map(drop)
    };
    assert_eq!(make(0, 1), Err(ConfigError::Replicas(0)));
    assert_eq!(make(65, 1), Err(ConfigError::Replicas(65)));
    assert_eq!(
        make(3, 4),
        Err(ConfigError::Quorum {
            quorum: 4,
            replicas: 3
        })
    );
    assert_eq!(make(64, 64), Ok(()));
}

/// A replica's say: an answer, or none.
type Say = Option<i32>;

/// The textbook: all have been heard.
fn final_choice(rule: Rule, quorum: u32, weights: &[NonZeroU32], says: &[Say]) -> Say {
    let weight = |wanted: i32| -> u32 {
        let own = |(say, weight): (&Say, &NonZeroU32)| (*say == Some(wanted)).then(|| weight.get());
        says.iter().zip(weights).filter_map(own).sum()
    };
    let total: u32 = weights.iter().map(|weight| weight.get()).sum();
    let cast = says.iter().flatten().count();
    if cast < quorum as usize {
        return None;
    }
    let answers = [0, 1, 2];
    answers.into_iter().find(|&answer| {
        let mine = weight(answer);
        let mut others = answers.into_iter().filter(|&other| other != answer);
        mine > 0
            && match rule {
                Rule::Unanimous => others.all(|other| weight(other) == 0),
                Rule::Majority => 2 * mine > total,
                Rule::Plurality => others.all(|other| weight(other) < mine),
            }
    })
}

/// Every way in which `says` may still end.
fn completions(says: &[Option<Say>]) -> Vec<Vec<Say>> {
    let mut all = alloc::vec![Vec::new()];
    for say in says {
        let options: &[Say] = match say {
            Some(say) => core::slice::from_ref(say),
            None => &[None, Some(0), Some(1), Some(2)],
        };
        all = all
            .iter()
            .flat_map(|begun: &Vec<Say>| {
                options.iter().map(move |option| {
                    let mut next = begun.clone();
                    next.push(*option);
                    next
                })
            })
            .collect();
    }
    all
}

fn say() -> impl Strategy<Value = Say> {
    prop_oneof![Just(None), Just(Some(0)), Just(Some(1)), Just(Some(2))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Soundness and speed at once: decided exactly when all endings are the same.
    #[test]
    #[cfg_attr(miri, ignore = "too many steps for an interpreter")]
    fn a_decision_falls_exactly_when_the_rest_cannot_change_it(
        rule in prop_oneof![Just(Rule::Unanimous), Just(Rule::Majority), Just(Rule::Plurality)],
        quorum in 1_u32..5,
        replicas in proptest::collection::vec((say(), 1_u32..4, any::<u8>()), 1..6),
    ) {
        let quorum = quorum.min(u32::try_from(replicas.len()).expect("few"));
        let weights: Vec<_> = replicas.iter().map(|(_, weight, _)| count(*weight)).collect();
        let mut order: Vec<usize> = (0..replicas.len()).collect();
        order.sort_by_key(|&replica| replicas[replica].2);
        let config = Config { rule, quorum: count(quorum) };
        let mut answers = Adjudicator::weighted(config, &weights, |a: &i32, b: &i32| a == b)
            .expect("valid");
        let mut says = alloc::vec![None; replicas.len()];
        for replica in order {
            let endings: Vec<Say> = completions(&says)
                .iter()
                .map(|ending| final_choice(rule, quorum, &weights, ending))
                .collect();
            let settled = endings.iter().all(|ending| *ending == endings[0]);
            let chosen = answers.clone().finish().0.ok();
            match answers.decision() {
                Decision::Pending => prop_assert!(!settled, "{says:?}"),
                Decision::Chosen => prop_assert!(settled && chosen == endings[0], "{says:?}"),
                Decision::Undecided(_) => prop_assert!(settled && endings[0].is_none(), "{says:?}"),
            }
            let say = replicas[replica].0;
            match say {
                Some(answer) => answers.answer(replica, answer),
                None => answers.abstain(replica),
            }
            says[replica] = Some(say);
        }
        let all: Vec<Say> = says.into_iter().flatten().collect();
        prop_assert_ne!(answers.decision(), Decision::Pending);
        prop_assert_eq!(answers.finish().0.ok(), final_choice(rule, quorum, &weights, &all));
    }
}
