//! A set: each element is a node of its own, with a number that the store chooses.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::random::Random;

use super::Stage;
use crate::keeper::history::{Asked, Life};
use crate::keeper::session::Client;

/// The longest pause between two elements.
const PAUSE_MAX: Duration = Duration::from_millis(10);

pub(super) async fn work(client: Arc<Client>, stage: Arc<Stage>, mut random: Random) {
    let set = stage.set();
    while stage.goes_on() {
        let value = stage.value();
        let (prefix, life) = (format!("{set}/{value}-").into(), Life::Persistent);
        // What became of it is in the history; it is never asked for again.
        client
            .ask(Asked::Append {
                prefix,
                value,
                life,
            })
            .await
            .ok();
        stage.pause(&mut random, PAUSE_MAX).await;
    }
}
