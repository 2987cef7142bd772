//! Ephemeral nodes: made, then gone by a delete, with a closed session, or with one that was left.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::random::Random;

use super::Stage;
use crate::keeper::history::{Asked, Life, Path};
use crate::keeper::session::Client;

/// The longest pause between two steps.
const PAUSE_MAX: Duration = Duration::from_millis(150);

pub(super) async fn work(client: Arc<Client>, stage: Arc<Stage>, mut random: Random) {
    let folder = stage.presence();
    while stage.goes_on() {
        let value = stage.value();
        let path: Path = format!("{folder}/{value}").into();
        stage.announce(&path);
        stage.pause(&mut random, PAUSE_MAX).await;
        let (made, life) = (Arc::clone(&path), Life::Ephemeral);
        client
            .ask(Asked::Create {
                path: made,
                value,
                life,
            })
            .await
            .ok();
        stage.pause(&mut random, PAUSE_MAX).await;
        match random.below(8) {
            0..3 => drop(client.ask(Asked::Delete { path }).await),
            3..5 => drop(client.ask(Asked::Close).await),
            5 => client.vanish().await,
            // Stays, beside the next one.
            _ => {},
        }
    }
    // Closing may end as unknown: then the store has to find out.
    client.ask(Asked::Close).await.ok();
    client.vanish().await;
}
