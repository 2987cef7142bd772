//! What the disk costs: how long it takes to make a small write durable.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::clock;
use crate::speed::share;

/// A write's size: a record of a log with one request in it.
const BLOCK: [u8; 512] = [7; 512];
/// The file is this long before, as a log is that writes its space ahead.
const LENGTH: usize = 1 << 20;

/// Writes and syncs `count` times, one after the other; prints percentiles.
pub fn run(folder: &Path, count: usize) -> Result<()> {
    ensure!(count > 0, "nothing to sync");
    let path = folder.join("keeper-load-sync");
    let mut file = File::create(&path).with_context(|| path.display().to_string())?;
    file.write_all(&vec![0; LENGTH])?;
    file.sync_all()?;
    let mut times: Vec<Duration> = Vec::with_capacity(count);
    for number in 0..count {
        let at = number * BLOCK.len() % LENGTH;
        file.seek(SeekFrom::Start(at as u64))?;
        let begin = clock::now();
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        times.push(clock::now() - begin);
    }
    std::fs::remove_file(&path)?;
    times.sort_unstable();
    println!("p50_us {}", share(&times, 500));
    println!("p99_us {}", share(&times, 990));
    Ok(())
}
