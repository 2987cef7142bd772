//! Claims about snapshots: whole or not at all.

use super::*;
use crate::disk::simulated::{Failing, SimulatedDisk};

const fn meta(index: u64) -> Meta {
    Meta {
        last: Some(LogId {
            term: 2,
            leader: 1,
            index,
        }),
        members_at: None,
        members: Vec::new(),
    }
}

fn newest(disk: &SimulatedDisk) -> Result<(Meta, State), SnapshotError> {
    let names = names(disk).expect("lists");
    let reader = Reader::open(disk, names.first().expect("there is one"))?;
    let meta = reader.meta().clone();
    Ok((meta, reader.load()?))
}

#[test]
fn what_was_written_is_read_after_a_power_cut() {
    let disk = SimulatedDisk::new(1);
    let state = State::new();
    write(&disk, &meta(7), &state.freeze()).expect("writes");
    disk.cut_power();
    let (found, loaded) = newest(&disk).expect("complete");
    assert_eq!(found, meta(7));
    assert_eq!(loaded.tree().digest(), state.tree().digest());
}

#[test]
fn a_snapshot_that_could_not_be_finished_does_not_count() {
    let disk = SimulatedDisk::new(1);
    let frozen = State::new().freeze();
    write(&disk, &meta(1), &frozen).expect("writes");
    for failing in [Failing::Sync, Failing::Full] {
        disk.fail(Some(failing));
        assert!(write(&disk, &meta(2), &frozen).is_err(), "{failing:?}");
        disk.fail(None);
        disk.cut_power();
        assert_eq!(newest(&disk).expect("the old one").0, meta(1));
    }
    write(&disk, &meta(3), &frozen).expect("writes");
    assert_eq!(newest(&disk).expect("the new one").0, meta(3));
}

#[test]
fn every_damaged_byte_is_noticed() {
    let disk = SimulatedDisk::new(1);
    let name = write(&disk, &meta(1), &State::new().freeze()).expect("writes");
    let length = disk
        .open(&name)
        .and_then(|file| file.length())
        .expect("there");
    for byte in 0..usize::try_from(length).expect("small") {
        disk.damage(&name, byte);
        assert!(newest(&disk).is_err(), "byte {byte} of {length}");
        disk.damage(&name, byte);
    }
    assert!(newest(&disk).is_ok(), "all damage was repaired");
}

#[test]
fn only_the_newest_are_kept() {
    let disk = SimulatedDisk::new(1);
    let frozen = State::new().freeze();
    for index in 1..=20 {
        write(&disk, &meta(index), &frozen).expect("writes");
    }
    let kept = names(&disk).expect("lists");
    assert_eq!(kept.len(), 3);
    assert_eq!(newest(&disk).expect("complete").0, meta(20));
}
