//! A number that grows with each start of a member.
//!
//! Prevents a proposal of an earlier start from being taken for one of this start, whose numbers
//! begin at one again. The number is durable before it is used. It is not below the wall clock
//! either, so that it also grows when the folder was emptied.

use std::io;

use crc32c::crc32c;

use crate::disk::{Disk, DiskFile as _};

const NAME: &str = "incarnation";
const NEW: &str = "new-incarnation";

/// The number of this start.
pub(super) fn next<D: Disk>(disk: &D, time_ms: i64) -> io::Result<i64> {
    let number = read(disk)?.map_or(0, |last| last + 1).max(time_ms).max(1);
    if disk.names()?.iter().any(|name| name == NEW) {
        disk.remove(NEW)?;
    }
    let mut file = disk.open(NEW)?;
    let bytes = number.to_le_bytes();
    file.write_at(&bytes, 0)?;
    file.write_at(&crc32c(&bytes).to_le_bytes(), 8)?;
    file.sync()?;
    disk.rename(NEW, NAME)?;
    disk.sync_names()?;
    Ok(number)
}

fn read<D: Disk>(disk: &D) -> io::Result<Option<i64>> {
    if !disk.names()?.iter().any(|name| name == NAME) {
        return Ok(None);
    }
    let file = disk.open(NAME)?;
    let mut bytes = [0; 8];
    let mut crc = [0; 4];
    file.read_at(&mut bytes, 0)?;
    file.read_at(&mut crc, 8)?;
    if crc32c(&bytes) != u32::from_le_bytes(crc) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file `incarnation` is damaged; without it this member cannot tell its starts apart",
        ));
    }
    Ok(Some(i64::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::SimulatedDisk;

    #[test]
    fn each_start_has_a_higher_number_whatever_the_clock_says() {
        for seed in 0..20 {
            let disk = SimulatedDisk::new(seed);
            let mut last = 0;
            for time_ms in [1_000, 500, 0, 2_000, -5] {
                let number = next(&disk, time_ms).expect("the disk is good");
                assert!(number > last, "seed {seed}: {number} after {last}");
                last = number;
                disk.cut_power();
            }
        }
    }
}
