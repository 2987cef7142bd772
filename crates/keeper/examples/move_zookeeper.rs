//! Reads the data folder of an Apache ZooKeeper that is not running, says what is in it, and writes
//! it as a snapshot for the way back:
//!
//! ```text
//! cargo run -p mainstay-keeper --example move_zookeeper -- DATA_DIR [FOLDER_TO_WRITE_TO]
//! ```
#![expect(clippy::print_stdout, reason = "an example tells what it did")]

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use mainstay_keeper::zookeeper::{export, import};

fn main() -> Result<(), Box<dyn Error>> {
    let mut folders = std::env::args_os().skip(1).map(PathBuf::from);
    let data = folders
        .next()
        .ok_or("name the folder that zoo.cfg calls dataDir")?;
    let imported = import(&data, &data)?;
    let state = &imported.state;
    for (path, why) in &imported.skipped {
        println!("skipped {}: {why}", path.display());
    }
    if let Some(snapshot) = &imported.snapshot {
        println!("snapshot {}", snapshot.display());
    }
    println!(
        "{} transactions after it, up to {:#x}",
        imported.replayed,
        state.zxid()
    );
    println!(
        "{} nodes, {} of them ephemeral, {} sessions, digest {:016x}",
        state.tree().len(),
        state.tree().ephemerals_len(),
        state.sessions().len(),
        state.tree().digest()
    );
    if let Some(folder) = folders.next() {
        let (name, bytes) = export(state);
        let inner = folder.join("version-2");
        fs::create_dir_all(&inner)?;
        fs::write(inner.join(&name), bytes)?;
        println!("wrote {}", inner.join(name).display());
    }
    Ok(())
}
