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

#[tokio::test(start_paused = true)]
async fn a_sync_that_was_not_over_when_the_power_was_cut_promised_nothing() {
    let second = Duration::from_secs(1);
    let (mut kept, mut named) = (0, 0);
    for seed in 0..100 {
        let disk = SimulatedDisk::new(seed);
        let file = disk.open("f").expect("opens");
        disk.sync_names().expect("syncs");
        disk.pace(Pace {
            least: second,
            most: second,
        });
        let process = process::Process::new(seed, 0);
        let work = write_twice_and_rename(disk.clone(), file);
        let mut task = tokio::task::JoinSet::new();
        task.spawn(process.run(process::blocking(work)));
        tokio::time::sleep(second * 3 / 2).await;
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
