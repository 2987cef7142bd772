//! Registers: set, compare-and-set, reads with and without a sync, several at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mainstay_core::random::Random;

use super::Stage;
use crate::keeper::history::{Answer, Asked, Path};
use crate::keeper::session::Client;

/// The longest pause between two handfuls of questions.
const PAUSE_MAX: Duration = Duration::from_millis(8);

/// Questions that are asked at once, at most.
const HANDFUL_MAX: u64 = 3;

pub(super) async fn work(client: Arc<Client>, stage: Arc<Stage>, mut random: Random) {
    let mut versions: BTreeMap<Path, i32> = BTreeMap::new();
    while stage.goes_on() {
        let count = 1 + random.below(HANDFUL_MAX);
        let asks: Vec<_> = (0..count)
            .map(|_| question(&stage, &versions, &mut random))
            .collect();
        let told = join_all(asks.iter().map(|(_, asked)| client.ask(asked.clone()))).await;
        for ((path, _), told) in asks.into_iter().zip(told) {
            if let Ok(Answer::Version { version, .. } | Answer::Data { version, .. }) = told {
                versions.insert(path, version);
            }
        }
        stage.pause(&mut random, PAUSE_MAX).await;
    }
}

fn question(stage: &Stage, versions: &BTreeMap<Path, i32>, random: &mut Random) -> (Path, Asked) {
    let path = stage.key(random);
    let (key, value) = (Arc::clone(&path), stage.value());
    let asked = match random.below(100) {
        0..30 => Asked::Set {
            path: key,
            value,
            expected: None,
        },
        30..55 => Asked::Set {
            expected: versions.get(&key).copied().or(Some(0)),
            path: key,
            value,
        },
        chance => Asked::Get {
            path: key,
            watch: false,
            synced: chance < 80,
        },
    };
    (path, asked)
}
