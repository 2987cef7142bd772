//! A member that differs from the others is taken out of service, for good.
//!
//! Prevents a member from going back to work after a restart, and its files from being lost for
//! those who want to know what happened: it leaves a mark beside them, with which it does not
//! start, and touches nothing else.

use std::io;

use crc32c::crc32c;
use openraft::Raft;
use tokio::sync::watch;

use super::engine::Engine;
use super::machine::Machine;
use crate::disk::{Disk, DiskFile as _, SharedDisk};
use crate::process::blocking;

const NAME: &str = "quarantine";

/// Waits until this member differs; then it neither votes nor serves any more. Says so when the mark
/// is durable.
pub(super) async fn isolate<D: SharedDisk>(
    mut differs: watch::Receiver<Option<u64>>,
    raft: Raft<Engine, Machine<D>>,
    disk: D,
    isolated: watch::Sender<Option<u64>>,
) {
    let Ok(Some(index)) = differs.wait_for(Option::is_some).await.map(|index| *index) else {
        return;
    };
    drop(raft.shutdown().await);
    // Without the mark it is found out again, at the next comparison.
    drop(blocking(move || mark(&disk, index)).await);
    isolated.send_replace(Some(index));
}

/// Leaves the mark: behind entry `index` this member has what the others have not.
pub(super) fn mark<D: Disk>(disk: &D, index: u64) -> io::Result<()> {
    let mut file = disk.open(NAME)?;
    let bytes = index.to_le_bytes();
    file.write_at(&bytes, 0)?;
    file.write_at(&crc32c(&bytes).to_le_bytes(), 8)?;
    file.sync()?;
    disk.sync_names()
}

/// The entry that a mark names; zero when it cannot be read, for it is a mark all the same.
pub(super) fn marked<D: Disk>(disk: &D) -> io::Result<Option<u64>> {
    if !disk.names()?.iter().any(|name| name == NAME) {
        return Ok(None);
    }
    let file = disk.open(NAME)?;
    let mut bytes = [0; 8];
    let mut crc = [0; 4];
    let read = file
        .read_at(&mut bytes, 0)
        .and_then(|()| file.read_at(&mut crc, 8));
    let is_whole = read.is_ok() && crc32c(&bytes) == u32::from_le_bytes(crc);
    Ok(Some(if is_whole {
        u64::from_le_bytes(bytes)
    } else {
        0
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::SimulatedDisk;

    #[test]
    fn a_mark_that_was_left_stays() {
        let disk = SimulatedDisk::new(1);
        assert_eq!(marked(&disk).expect("the disk is good"), None);
        mark(&disk, 42).expect("the disk is good");
        disk.cut_power();
        assert_eq!(marked(&disk).expect("the disk is good"), Some(42));
        disk.damage(NAME, 0);
        assert_eq!(marked(&disk).expect("the disk is good"), Some(0));
    }
}
