//! Claims about what survives a power cut.

use super::*;

#[test]
fn what_was_synced_survives_and_the_rest_may_not() {
    let mut kept = 0;
    for seed in 0..100 {
        let disk = SimulatedDisk::new(seed);
        let mut file = disk.open("f").expect("opens");
        disk.sync_names().expect("syncs");
        file.write_at(b"durable", 0).expect("writes");
        file.sync().expect("syncs");
        file.write_at(b"perhaps", 7).expect("writes");
        disk.cut_power();
        let mut bytes = [0; 7];
        file.read_at(&mut bytes, 0).expect("it was promised");
        assert_eq!(&bytes, b"durable", "seed {seed}");
        kept += usize::from(file.read_at(&mut bytes, 7).is_ok());
    }
    assert!(
        (20..80).contains(&kept),
        "{kept} of 100 unsynced writes survived"
    );
}

fn write_twice_and_rename(disk: SimulatedDisk, mut file: SimulatedFile) -> impl FnOnce() + Send {
    move || {
        file.write_at(b"first", 0).expect("writes");
        file.sync().expect("syncs");
        file.write_at(b"second", 5).expect("writes");
        file.sync().expect("syncs");
        disk.rename("f", "g").expect("renames");
        disk.sync_names().expect("syncs");
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// A process that does that on a disk whose syncs take a second.
fn at_work(disk: &SimulatedDisk) -> tokio::task::JoinSet<()> {
    let file = disk.open("f").expect("opens");
    disk.sync_names().expect("syncs");
    disk.pace(Pace {
        least: SECOND,
        most: SECOND,
    });
    let process = process::Process::new(1, 0);
    let work = process::blocking(write_twice_and_rename(disk.clone(), file));
    let mut task = tokio::task::JoinSet::new();
    task.spawn(process.run(async { work.await.expect("nobody panics") }));
    task
}

#[tokio::test(start_paused = true)]
async fn a_sync_that_was_not_over_when_the_power_was_cut_promised_nothing() {
    let (mut kept, mut named) = (0, 0);
    for seed in 0..100 {
        let disk = SimulatedDisk::new(seed);
        let mut task = at_work(&disk);
        tokio::time::sleep(SECOND * 3 / 2).await;
        assert!(task.try_join_next().is_none(), "it takes three seconds");
        disk.cut_power();
        let names = disk.names().expect("lists");
        named += usize::from(names != ["f"]);
        let file = disk.open(&names[0]).expect("opens");
        let mut bytes = [0; 5];
        file.read_at(&mut bytes, 0).expect("it was promised");
        assert_eq!(&bytes, b"first", "seed {seed}");
        kept += usize::from(file.length().expect("known") == 11);
    }
    assert!((20..80).contains(&kept), "{kept} of 100 writes survived");
    assert_eq!(named, 0, "nobody had begun to rename it");
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_process_had_not_begun_is_not_there_for_the_next_one() {
    for (halves, name, length) in [(1, "f", 5), (3, "f", 11), (5, "g", 11)] {
        let disk = SimulatedDisk::new(1);
        let _work = at_work(&disk);
        tokio::time::sleep(SECOND * halves / 2).await;
        disk.abandon();
        assert_eq!(disk.names().expect("lists"), [name], "{halves}");
        let file = disk.open(name).expect("opens");
        assert_eq!(file.length().expect("known"), length, "{halves}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_is_still_waiting_for_nobody_else_sees_and_a_later_sync_does_not_wait_for_it() {
    let disk = SimulatedDisk::new(1);
    let _work = at_work(&disk);
    tokio::time::sleep(SECOND / 2).await;
    disk.pace(Pace::default());
    disk.open("h").expect("opens").sync().expect("syncs");
    disk.sync_names().expect("syncs");
    assert_eq!(disk.names().expect("lists"), ["f", "h"]);
    disk.cut_power();
    assert_eq!(disk.names().expect("lists"), ["f", "h"], "synced");
}

#[test]
fn a_name_that_was_not_synced_may_be_gone() {
    let mut there = 0;
    for seed in 0..100 {
        let disk = SimulatedDisk::new(seed);
        disk.open("f").expect("opens").sync().expect("syncs");
        disk.cut_power();
        there += disk.names().expect("lists").len();
    }
    assert!((20..80).contains(&there), "{there} of 100 names survived");
}
