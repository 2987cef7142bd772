//! Watches: of registers, and of ephemeral nodes that are there or not.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::random::Random;

use super::Stage;
use crate::keeper::history::{Asked, Path};
use crate::keeper::session::Client;

/// How long it waits for an event before it watches something else too.
const PATIENCE: Duration = Duration::from_millis(50);

pub(super) async fn work(client: Arc<Client>, stage: Arc<Stage>, mut random: Random) {
    while stage.goes_on() {
        let path = stage.key(&mut random);
        watch(&client, path).await;
        if let Some(path) = stage.announced().filter(|_| random.below(4) == 0) {
            client.ask(Asked::Exists { path }).await.ok();
        }
        for path in client.changes(PATIENCE).await {
            // What the event told of has to be there now. Events of the round before are late here.
            if stage.is_key(&path) {
                watch(&client, path).await;
            }
        }
    }
}

async fn watch(client: &Client, path: Path) {
    let (watch, synced) = (true, false);
    // A watch that was not set because the connection was lost is no loss.
    client
        .ask(Asked::Get {
            path,
            watch,
            synced,
        })
        .await
        .ok();
}
