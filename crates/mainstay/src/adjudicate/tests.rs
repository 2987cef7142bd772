//! Claims about asking replicas, in virtual time.

use std::cell::Cell;
use std::future::{pending, ready};

use tokio::time::{advance, sleep};

use super::*;
use crate::clock::Clock;
use crate::heard::Heard;

const SECOND: Duration = Duration::from_secs(1);

fn adjudicator(rule: Rule, quorum: u32, total: Option<Duration>) -> Adjudicator {
    Adjudicator::builder("sums")
        .config(Config {
            judge: Judge {
                rule,
                quorum: NonZeroU32::new(quorum).expect("positive"),
            },
            total,
        })
        .build()
        .expect("valid")
}

fn numbers(replicas: Replicas) -> Vec<usize> {
    replicas.iter().collect()
}

async fn after(seconds: u32, answer: i32) -> Result<i32, &'static str> {
    sleep(SECOND * seconds).await;
    Ok(answer)
}

#[tokio::test(start_paused = true)]
async fn the_majority_is_believed_and_the_liar_is_named() {
    let replicas = [after(1, 4), after(1, 5), after(1, 4)];
    let verdict = adjudicator(Rule::Majority, 1, None)
        .call(replicas)
        .await
        .expect("two agree");
    assert_eq!(verdict.answer, 4);
    assert_eq!(numbers(verdict.tally.agreed), [0, 2]);
    assert_eq!(numbers(verdict.tally.differed), [1]);
}

/// Counts the futures that are left.
struct Left<'a>(&'a Cell<u32>);

impl<'a> Left<'a> {
    fn new(left: &'a Cell<u32>) -> Self {
        left.set(left.get() + 1);
        Self(left)
    }
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[tokio::test(start_paused = true)]
async fn who_cannot_change_the_result_is_not_waited_for_and_is_dropped() {
    let clock = Clock::new();
    let left = Cell::new(0);
    let replicas = [1, 2, 3, 1_000, 2_000].map(|seconds| {
        let left = Left::new(&left);
        async move {
            let _left = left;
            after(seconds, 4).await
        }
    });
    assert_eq!(left.get(), 5);
    let verdict = adjudicator(Rule::Majority, 1, None)
        .call(replicas)
        .await
        .expect("three agree");
    assert_eq!(clock.now(), crate::Instant::ORIGIN + SECOND * 3);
    assert_eq!(numbers(verdict.tally.unheard), [3, 4]);
    assert_eq!(left.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_call_drops_the_replicas() {
    let left = Cell::new(0);
    let silent = async |left: Left<'_>| {
        let _left = left;
        pending::<Result<i32, ()>>().await
    };
    let replicas = [(), ()].map(|()| silent(Left::new(&left)));
    let adjudicator = adjudicator(Rule::Majority, 1, None);
    let call = adjudicator.call(replicas);
    assert!(tokio::time::timeout(SECOND, call).await.is_err());
    assert_eq!(left.get(), 0);
}

#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
async fn a_replica_that_fails_or_panics_abstains() {
    let replica = async |number: i32| match number {
        0 => Err("reset"),
        1 => panic!("on purpose"),
        _ => Ok(4),
    };
    let adjudicator = adjudicator(Rule::Plurality, 2, None);
    let verdict = adjudicator
        .call([0, 1, 2, 3].map(replica))
        .await
        .expect("two agree");
    assert_eq!(verdict.answer, 4);
    assert_eq!(numbers(verdict.tally.abstained), [0, 1]);
    assert_eq!(verdict.failures, [(0, "reset")]);

    let undecided = adjudicator.call([0, 1, 2].map(replica)).await;
    let Err(NoVerdict::Undecided { why, failures, .. }) = &undecided else {
        panic!("{undecided:?}");
    };
    assert_eq!((*why, failures.len()), (Why::Quorum, 1));
    let message = undecided.expect_err("too few").to_string();
    assert_eq!(message, "no answer of sums: too few replicas answered");
}

#[tokio::test(start_paused = true)]
async fn when_the_time_is_up_those_who_answered_decide() {
    let clock = Clock::new();
    let verdict = adjudicator(Rule::Plurality, 1, Some(SECOND * 2))
        .call([after(1, 4), after(2, 4), after(9, 5), after(9, 5)])
        .await
        .expect("an answer in the same tick counts");
    assert_eq!(verdict.answer, 4);
    assert_eq!(numbers(verdict.tally.agreed), [0, 1]);
    assert_eq!(numbers(verdict.tally.unheard), [2, 3]);
    assert_eq!(clock.now(), crate::Instant::ORIGIN + SECOND * 2);

    let silent = adjudicator(Rule::Majority, 1, Some(SECOND))
        .call([after(9, 4), after(9, 4)])
        .await;
    assert!(matches!(
        silent,
        Err(NoVerdict::Undecided {
            why: Why::NoMajority | Why::Quorum,
            ..
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_tolerance_decides_what_is_alike_and_a_weight_what_it_counts() {
    let near = |a: &f64, b: &f64| (a - b).abs() < 0.01;
    let sums = || [1.0, 1.005, 7.0].map(|sum| ready(Ok::<_, ()>(sum)));
    let fair = Adjudicator::builder("sums").build().expect("valid");
    let verdict = fair.call_with(sums(), near).await.expect("two are near");
    assert_eq!(numbers(verdict.tally.agreed), [0, 1]);

    let weight = |n| NonZeroU32::new(n).expect("positive");
    let biased = Adjudicator::builder("sums")
        .weights([weight(1), weight(1), weight(3)])
        .build()
        .expect("valid");
    let verdict = biased.call_with(sums(), near).await.expect("one outweighs");
    assert_eq!(numbers(verdict.tally.agreed), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_call_may_be_spawned() {
    let adjudicator = adjudicator(Rule::Majority, 1, None);
    let mut calls = tokio::task::JoinSet::new();
    calls.spawn(async move { adjudicator.call([ready(Ok::<_, &str>("4"))]).await });
    let verdict = calls.join_all().await.pop().expect("one");
    assert_eq!(verdict.map(|verdict| verdict.answer), Ok("4"));
}

#[tokio::test(start_paused = true)]
async fn replicas_that_cannot_be_judged_are_not_asked() {
    let none: [std::future::Ready<Result<i32, ()>>; 0] = [];
    let adjudicator = adjudicator(Rule::Majority, 3, None);
    let refused = adjudicator.call(none).await;
    assert_eq!(
        refused,
        Err(NoVerdict::Replicas(ReplicasError::Replicas(0)))
    );
    let two = [(), ()].map(|()| async { panic!("is not asked") as Result<i32, ()> });
    assert!(matches!(
        adjudicator.call(two).await,
        Err(NoVerdict::Replicas(ReplicasError::Quorum { .. }))
    ));
    let weighted = Adjudicator::builder("sums")
        .weights([NonZeroU32::MIN])
        .build()
        .expect("valid");
    assert_eq!(
        weighted.call([ready(Ok::<_, ()>(1)), ready(Ok(1))]).await,
        Err(NoVerdict::Replicas(ReplicasError::Weights {
            weights: 1,
            replicas: 2
        }))
    );
}

#[tokio::test(start_paused = true)]
async fn a_liar_is_an_event_once_and_too_few_answers_are_none() {
    let heard = Heard::new();
    let adjudicator = Adjudicator::builder("sums")
        .config(Config {
            judge: Judge {
                rule: Rule::Majority,
                quorum: NonZeroU32::MIN.saturating_add(1),
            },
            total: None,
        })
        .observer(Arc::<Heard>::clone(&heard))
        .build()
        .expect("valid");
    let say = |answers: [Result<i32, ()>; 3]| answers.map(ready);
    let lie = || say([Ok(5), Ok(4), Ok(4)]);
    // One answer is too few, and disagrees with nobody.
    let silent = adjudicator.call(say([Ok(4), Err(()), Err(())])).await;
    assert!(silent.is_err());
    assert_eq!(heard.take(), []);

    for _ in 0..5 {
        adjudicator.call(lie()).await.expect("two agree");
    }
    let event = Event::AnswersDisagreed {
        service: Arc::from("sums"),
        agreed: 2,
        differed: 1,
    };
    assert_eq!(heard.take(), [event]);

    advance(SECOND * 2).await;
    adjudicator
        .call(say([Ok(4), Ok(4), Ok(4)]))
        .await
        .expect("all agree");
    adjudicator.call(lie()).await.expect("two agree");
    assert_eq!(heard.names(), ["answers_disagreed"]);
}

#[test]
fn what_no_replicas_can_be_judged_by_is_refused_when_it_is_built() {
    let built = |quorum, weights: usize, total| {
        let config = Config {
            judge: Judge {
                rule: Rule::Majority,
                quorum: NonZeroU32::new(quorum).expect("positive"),
            },
            total,
        };
        let weights = vec![NonZeroU32::MIN; weights];
        let builder = Adjudicator::builder("sums").config(config);
        builder.weights(weights).build().map(drop)
    };
    let unreachable = |quorum, replicas| Err(ReplicasError::Quorum { quorum, replicas }.into());
    assert_eq!(built(3, 3, None), Ok(()));
    assert_eq!(built(4, 3, None), unreachable(4, 3));
    assert_eq!(built(64, 0, None), Ok(()), "as many may be asked");
    assert_eq!(built(65, 0, None), unreachable(65, REPLICAS_MAX));
    let many = built(1, 65, None);
    assert_eq!(many, Err(ReplicasError::Replicas(65).into()));
    for total in [Duration::ZERO, Duration::MAX] {
        assert_eq!(built(1, 0, Some(total)), Err(ConfigError::Total(total)));
    }
}
