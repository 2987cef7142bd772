//! Claims about what survives.

use mainstay_core::random::Random;

use super::*;
use crate::disk::simulated::{Failing, SimulatedDisk};

const fn id(index: u64) -> LogId {
    LogId {
        term: 1,
        leader: 1,
        index,
    }
}

fn entry(index: u64, payload: &[u8]) -> Record<'_> {
    Record::Entry {
        id: id(index),
        kind: EntryKind::Normal,
        payload,
    }
}

fn open(disk: &SimulatedDisk) -> (Log<SimulatedDisk>, Recovered) {
    Log::open(disk.clone(), 7, LIMITS).expect("the log is good")
}

const LIMITS: Limits = Limits {
    segment_bytes: 64 * 1_024,
    ahead_bytes: 8 * 1_024,
};

fn indexes(recovered: &Recovered) -> Vec<u64> {
    recovered
        .entries
        .iter()
        .map(|entry| entry.id.index)
        .collect()
}

#[test]
fn what_was_flushed_is_there_after_a_start() {
    let disk = SimulatedDisk::new(1);
    let vote = Vote {
        term: 1,
        member: 2,
        committed: true,
    };
    let (mut log, empty) = open(&disk);
    assert_eq!(empty, Recovered::default());
    log.flush(&[Record::Vote(vote), entry(1, b"a"), entry(2, b"b")])
        .expect("flushes");
    log.flush(&[Record::Committed(id(1)), entry(3, b"c")])
        .expect("flushes");
    log.flush(&[Record::Truncate { from: 2 }, entry(2, b"B")])
        .expect("flushes");
    disk.cut_power();

    let (_, recovered) = open(&disk);
    assert_eq!(recovered.vote, Some(vote));
    assert_eq!(recovered.committed, Some(id(1)));
    assert_eq!(indexes(&recovered), [1, 2]);
    assert_eq!(&*recovered.entries[1].payload, b"B");
    assert_eq!(recovered.torn_bytes, 0);
}

#[test]
fn a_power_cut_in_the_middle_of_a_flush_loses_nothing_that_was_promised() {
    let mut torn = 0;
    for seed in 0..200 {
        let disk = SimulatedDisk::new(seed);
        let mut random = Random::seeded(seed);
        let (mut log, _) = open(&disk);
        let mut promised = 0;
        for index in 1..=random.below(5) {
            log.flush(&[entry(index, &vec![1; 700])]).expect("flushes");
            promised = index;
        }
        // The write reaches the disk's cache, the sync does not come back.
        disk.fail(Some(Failing::Sync));
        let payload = vec![2; usize::try_from(random.below(5_000)).expect("small")];
        assert!(log.flush(&[entry(promised + 1, &payload)]).is_err());
        disk.fail(None);
        disk.cut_power();

        let (mut log, recovered) = open(&disk);
        torn += usize::from(recovered.torn_bytes > 0);
        let found = indexes(&recovered);
        let all: Vec<u64> = (1..=promised + 1).collect();
        let kept = usize::try_from(promised).expect("small");
        assert!(
            found == all[..kept] || found == all,
            "seed {seed}: {found:?}"
        );
        // And it goes on from there.
        let next = found.len() as u64 + 1;
        log.flush(&[entry(next, b"next")]).expect("flushes");
        assert_eq!(indexes(&open(&disk).1).last(), Some(&next), "seed {seed}");
    }
    assert!(torn > 20, "only {torn} of 200 cuts tore a frame");
}

#[test]
fn after_a_failed_sync_the_log_takes_nothing_more() {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = open(&disk);
    disk.fail(Some(Failing::Sync));
    assert!(matches!(
        log.flush(&[entry(1, b"")]),
        Err(LogError::Disk(..))
    ));
    disk.fail(None);
    assert!(matches!(
        log.flush(&[entry(1, b"")]),
        Err(LogError::Broken(_))
    ));
}

#[test]
fn damage_to_what_was_promised_stops_the_start_and_names_the_place() {
    for offset in 0..150 {
        let disk = SimulatedDisk::new(1);
        let (mut log, _) = open(&disk);
        for index in 1..=3 {
            log.flush(&[entry(index, b"content")]).expect("flushes");
        }
        disk.damage("log-0000000000000000", offset);
        match Log::open(disk, 7, LIMITS) {
            Err(LogError::Damaged { file, .. }) => assert_eq!(file, "log-0000000000000000"),
            // Between two frames there is nothing to damage.
            Ok((_, recovered)) => assert!((107..112).contains(&offset), "{offset}: {recovered:?}"),
            Err(error) => panic!("byte {offset}: {error}"),
        }
    }
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = open(&disk);
    disk.fail(Some(Failing::Full));
    log.flush(&[entry(1, b"there is room ahead")])
        .expect("flushes");
    let large = vec![0; 10 * 1_024];
    assert!(matches!(
        log.flush(&[entry(2, &large)]),
        Err(LogError::Full)
    ));
    disk.fail(None);
    log.flush(&[entry(2, &large)]).expect("flushes");
    assert_eq!(indexes(&open(&disk).1), [1, 2]);
}

#[test]
fn a_log_whose_first_files_went_is_opened_whatever_was_purged_when_the_next_one_began() {
    for purged in [10, 60, 61, 62, 63, 64, 65, 100, 129, 130] {
        let disk = SimulatedDisk::new(1);
        let (mut log, _) = open(&disk);
        let payload = vec![7; 1_024];
        for index in 1..=70 {
            log.flush(&[entry(index, &payload)]).expect("flushes");
            if index == 5 {
                log.flush(&[Record::Purge(id(5))]).expect("flushes");
            }
        }
        for index in 71..=130 {
            log.flush(&[entry(index, &payload)]).expect("flushes");
        }
        log.flush(&[Record::Purge(id(purged))]).expect("flushes");

        let (_, recovered) = open(&disk);
        assert_eq!(recovered.purged, Some(id(purged)));
        let left: Vec<u64> = (purged + 1..=130).collect();
        assert_eq!(indexes(&recovered), left, "purged up to {purged}");
    }
}

#[test]
fn files_go_when_all_of_them_was_purged_and_nothing_else_is_lost() {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = open(&disk);
    let vote = Vote {
        term: 9,
        member: 1,
        committed: false,
    };
    log.flush(&[Record::Vote(vote)]).expect("flushes");
    let payload = vec![7; 1_024];
    for index in 1..=130 {
        log.flush(&[entry(index, &payload)]).expect("flushes");
    }
    assert_eq!(disk.names().expect("lists").len(), 3);
    log.flush(&[Record::Purge(id(100))]).expect("flushes");
    assert_eq!(disk.names().expect("lists").len(), 2);

    let (_, recovered) = open(&disk);
    assert_eq!(recovered.vote, Some(vote));
    assert_eq!(recovered.purged, Some(id(100)));
    assert_eq!(indexes(&recovered), (101..=130).collect::<Vec<_>>());
}
