//! Claims about who hears what.

use proptest::prelude::*;

use super::*;

const ALICE: Watcher = 1;
const BOB: Watcher = 2;

fn hears(watchers: &BTreeSet<Watcher>) -> Vec<Watcher> {
    watchers.iter().copied().collect()
}

#[test]
fn a_one_shot_watch_fires_once() {
    let mut watches = Watches::default();
    watches.add(ALICE, Kind::Data, "/a");
    watches.add(ALICE, Kind::Data, "/a");
    assert_eq!(
        hears(&watches.fire(EventKind::DataChanged, "/b")),
        [0_u64; 0]
    );
    assert_eq!(hears(&watches.fire(EventKind::DataChanged, "/a")), [ALICE]);
    assert_eq!(
        hears(&watches.fire(EventKind::DataChanged, "/a")),
        [0_u64; 0]
    );
    assert_eq!(watches.counts().watches, 0);
}

#[test]
fn who_watches_in_two_ways_hears_of_an_end_once_and_both_are_gone() {
    let mut watches = Watches::default();
    watches.add(ALICE, Kind::Data, "/a");
    watches.add(ALICE, Kind::Children, "/a");
    assert_eq!(hears(&watches.fire(EventKind::Deleted, "/a")), [ALICE]);
    assert_eq!(watches.counts().watches, 0);
}

#[test]
fn a_persistent_watch_hears_of_the_node_and_of_its_children_and_stays() {
    let mut watches = Watches::default();
    watches.add(ALICE, Kind::Persistent, "/a");
    for event in [
        EventKind::Created,
        EventKind::DataChanged,
        EventKind::ChildrenChanged,
        EventKind::Deleted,
    ] {
        assert_eq!(hears(&watches.fire(event, "/a")), [ALICE], "{event:?}");
        assert_eq!(hears(&watches.fire(event, "/a/b")), [0_u64; 0], "{event:?}");
    }
}

#[test]
fn a_recursive_watch_hears_of_all_below_but_not_of_lists_of_children() {
    let mut watches = Watches::default();
    watches.add(ALICE, Kind::Recursive, "/a");
    watches.add(BOB, Kind::Recursive, "/");
    for path in ["/a", "/a/b", "/a/b/c"] {
        assert_eq!(
            hears(&watches.fire(EventKind::Created, path)),
            [ALICE, BOB],
            "{path}"
        );
    }
    assert_eq!(hears(&watches.fire(EventKind::Created, "/ab")), [BOB]);
    assert_eq!(
        hears(&watches.fire(EventKind::ChildrenChanged, "/a")),
        [0_u64; 0]
    );
}

#[test]
fn a_connection_takes_its_watches_along() {
    let mut watches = Watches::default();
    for kind in Kind::ALL {
        watches.add(ALICE, kind, "/a");
        watches.add(BOB, kind, "/a");
    }
    watches.close(ALICE);
    assert_eq!(hears(&watches.fire(EventKind::Deleted, "/a")), [BOB]);
}

#[test]
fn watches_are_removed_by_kind_or_all() {
    let mut watches = Watches::default();
    watches.add(ALICE, Kind::Data, "/a");
    watches.add(ALICE, Kind::Children, "/a");
    assert!(!watches.has(ALICE, WatcherKind::Persistent, "/a"));
    assert!(!watches.remove(BOB, WatcherKind::Any, "/a"));
    assert!(watches.remove(ALICE, WatcherKind::Data, "/a"));
    assert!(watches.has(ALICE, WatcherKind::Any, "/a"));
    assert!(watches.remove(ALICE, WatcherKind::Any, "/a"));
    assert_eq!(
        watches.counts(),
        Counts {
            watchers: 0,
            paths: 0,
            watches: 0
        }
    );
}

#[test]
fn what_was_missed_while_away_is_told_at_once_and_not_watched_again() {
    let changed = Stat {
        mzxid: 9,
        pzxid: 9,
        ..Stat::default()
    };
    let stat = |path: &str| match path {
        "/gone" => None,
        "/changed" => Some(changed),
        _ => Some(Stat::default()),
    };
    let again = SetWatches2 {
        relative_zxid: 5,
        data: vec!["/gone", "/changed", "/same"],
        exist: vec!["/gone", "/same"],
        children: vec!["/gone", "/changed", "/same"],
        persistent: vec!["/changed"],
        persistent_recursive: vec!["/gone"],
    };
    let mut watches = Watches::default();
    let missed = watches.set_again(ALICE, &again, stat);
    assert_eq!(
        missed,
        [
            (EventKind::Deleted, "/gone"),
            (EventKind::DataChanged, "/changed"),
            (EventKind::Created, "/same"),
            (EventKind::Deleted, "/gone"),
            (EventKind::ChildrenChanged, "/changed"),
        ]
    );
    // Data of /same, existence of /gone, children of /same, and the two that stay.
    assert_eq!(watches.counts().watches, 5);
}

proptest! {
    #[test]
    fn tables_and_lists_agree_whatever_happens(
        steps in prop::collection::vec((0..5_u8, 0..3_u64, 0..4_usize, 0..4_usize), 0..80),
    ) {
        const PATHS: [&str; 4] = ["/", "/a", "/a/b", "/c"];
        const EVENTS: [EventKind; 4] = [
            EventKind::Created,
            EventKind::Deleted,
            EventKind::DataChanged,
            EventKind::ChildrenChanged,
        ];
        let mut watches = Watches::default();
        for (step, watcher, kind, path) in steps {
            match step {
                0 | 1 => watches.add(watcher, Kind::ALL[kind], PATHS[path]),
                2 => drop(watches.fire(EVENTS[kind], PATHS[path])),
                3 => {
                    let had = watches.has(watcher, WatcherKind::Any, PATHS[path]);
                    prop_assert_eq!(watches.remove(watcher, WatcherKind::Any, PATHS[path]), had);
                },
                _ => watches.close(watcher),
            }
            let listed: usize = watches.of.values().map(BTreeSet::len).sum();
            let tabled: usize = watches.tables.iter().flat_map(HashMap::values).map(BTreeSet::len).sum();
            prop_assert_eq!(listed, tabled);
        }
    }
}
