//! Claims about the tree. Where they say "as ZooKeeper", the source is 3.8.

use mainstay_zk_proto::acl::perms;
use mainstay_zk_proto::multi::Operations;
use mainstay_zk_proto::request::{Check, Create, CreateTtl, Delete, Request, SetAcl, SetData};
use proptest::prelude::*;

use super::*;

const SESSION: i64 = 0x0100_0000_0000_0001;

/// A tree with the next transaction's number, and what it told.
struct World {
    tree: Tree,
    zxid: i64,
    events: Vec<Event>,
}

impl World {
    fn new() -> Self {
        Self {
            tree: Tree::new(),
            zxid: 0,
            events: Vec::new(),
        }
    }

    fn stamp(&mut self) -> Stamp {
        self.zxid += 1;
        Stamp {
            zxid: self.zxid,
            time_ms: 1_000 * self.zxid,
        }
    }

    fn ask(&mut self, request: &Request<'_>) -> Result<Done, Code> {
        self.ask_as(request, &[])
    }

    fn ask_as(&mut self, request: &Request<'_>, identities: &[Id<'_>]) -> Result<Done, Code> {
        let stamp = self.stamp();
        let change = Change {
            session: SESSION,
            identities,
            request,
        };
        self.tree.apply(change, stamp, &mut self.events)
    }

    fn create(&mut self, path: &str, flags: i32) -> Result<Done, Code> {
        self.ask(&create(path, flags))
    }

    fn heard(&mut self) -> Vec<(EventKind, String)> {
        let events = std::mem::take(&mut self.events);
        events
            .into_iter()
            .map(|event| (event.kind, event.path.into_string()))
            .collect()
    }
}

fn create(path: &str, flags: i32) -> Request<'_> {
    Request::Create(Create {
        path,
        data: Some(b"x"),
        acl: vec![Acl::OPEN],
        flags,
    })
}

const fn delete(path: &str, version: i32) -> Request<'_> {
    Request::Delete(Delete { path, version })
}

const fn set<'a>(path: &'a str, data: &'a [u8], version: i32) -> Request<'a> {
    Request::SetData(SetData {
        path,
        data: Some(data),
        version,
    })
}

const fn check(path: &str, version: i32) -> Request<'_> {
    Request::Check(Check { path, version })
}

fn number(done: &Result<Done, Code>) -> Option<i32> {
    let Ok(Done::Created { number, .. }) = done else {
        panic!("{done:?} is not a creation");
    };
    *number
}

#[test]
fn a_new_tree_has_the_nodes_of_an_ensemble() {
    let tree = Tree::new();
    for path in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"] {
        assert!(tree.stat(path).is_some(), "{path}");
    }
    assert_eq!(tree.len(), 4);
}

#[test]
fn a_node_that_was_made_has_the_stat_that_zookeeper_gives_it() {
    let mut world = World::new();
    world.create("/a", 0).expect("made");
    world.ask(&set("/a", b"four", -1)).expect("set");
    world.create("/a/b", 0).expect("made");
    let stat = world.tree.stat("/a").expect("there");
    let expected = Stat {
        czxid: 1,
        mzxid: 2,
        ctime: 1_000,
        mtime: 2_000,
        version: 1,
        cversion: 1,
        aversion: 0,
        ephemeral_owner: 0,
        data_length: 4,
        num_children: 1,
        pzxid: 3,
    };
    assert_eq!(stat, expected);
    world.ask(&delete("/a/b", -1)).expect("removed");
    let stat = world.tree.stat("/a").expect("there");
    assert_eq!((stat.cversion, stat.num_children, stat.pzxid), (2, 0, 4));
}

#[test]
fn numbers_of_sequential_nodes_count_all_creations_and_no_removals() {
    let mut world = World::new();
    assert_eq!(number(&world.create("/p", 0)), None);
    assert_eq!(number(&world.create("/p/a", 2)), Some(0));
    assert_eq!(number(&world.create("/p/a", 2)), Some(1));
    world.ask(&delete("/p/a0000000001", -1)).expect("removed");
    assert_eq!(number(&world.create("/p/", 2)), Some(2));
    assert!(world.tree.stat("/p/0000000002").is_some());
}

#[test]
fn of_several_errors_zookeepers_first_one_is_told() {
    let mut world = World::new();
    world.create("/e", 1).expect("made");
    for (request, code) in [
        (create("a", 0), Code::BadArguments),
        (create("/a", 7), Code::BadArguments),
        (create("/a/", 0), Code::NoNode),
        (create("/no/a", 0), Code::NoNode),
        (create("/a\u{1}", 0), Code::BadArguments),
        (create("/e", 0), Code::NodeExists),
        (create("/e/a", 0), Code::NoChildrenForEphemerals),
        (delete("/no", -1), Code::NoNode),
        (delete("/", -1), Code::BadArguments),
        (delete("/zookeeper/quota", -1), Code::BadArguments),
        (delete("/e", 3), Code::BadVersion),
        (set("/no", b"", -1), Code::NoNode),
        (set("/e", b"", 3), Code::BadVersion),
        (check("/e", 1), Code::BadVersion),
    ] {
        let before = world.tree.digest();
        assert_eq!(world.ask(&request), Err(code), "{request:?}");
        assert_eq!(world.tree.digest(), before, "{request:?} changed the tree");
    }
    world.create("/p", 0).expect("made");
    world.create("/p/c", 0).expect("made");
    assert_eq!(world.ask(&delete("/p", -1)), Err(Code::NotEmpty));
}

#[test]
fn watchers_hear_of_a_node_and_of_its_parent() {
    let mut world = World::new();
    world.create("/a", 0).expect("made");
    world.ask(&set("/a", b"", -1)).expect("set");
    world.ask(&delete("/a", -1)).expect("removed");
    let root = |kind| (kind, "/".to_owned());
    let node = |kind| (kind, "/a".to_owned());
    assert_eq!(
        world.heard(),
        [
            node(EventKind::Created),
            root(EventKind::ChildrenChanged),
            node(EventKind::DataChanged),
            node(EventKind::Deleted),
            root(EventKind::ChildrenChanged),
        ]
    );
}

#[test]
fn ephemeral_nodes_go_with_their_session_and_no_other() {
    let mut world = World::new();
    world.create("/p", 0).expect("made");
    world.create("/p/b", 1).expect("made");
    world.create("/p/a", 1).expect("made");
    assert_eq!(world.tree.ephemerals(SESSION, "/p"), ["/p/a", "/p/b"]);
    world.heard();

    let stamp = world.stamp();
    world
        .tree
        .end_session(SESSION + 1, stamp, &mut world.events);
    assert_eq!(world.heard(), []);
    let stamp = world.stamp();
    world.tree.end_session(SESSION, stamp, &mut world.events);
    let paths: Vec<String> = world
        .heard()
        .into_iter()
        .filter(|(kind, _)| *kind == EventKind::Deleted)
        .map(|(_, path)| path)
        .collect();
    assert_eq!(paths, ["/p/a", "/p/b"]);
    assert_eq!(world.tree.stat("/p").expect("there").pzxid, stamp.zxid);
    assert_eq!(world.tree.ephemerals_len(), 0);
}

#[test]
fn a_multi_is_done_whole_or_not_at_all() {
    let mut world = World::new();
    world.create("/a", 0).expect("made");
    world.create("/gone", 1).expect("made");
    let before = (world.tree.digest(), world.tree.len());
    world.heard();
    let acl = vec![Acl {
        perms: perms::READ,
        ..Acl::OPEN
    }];
    let parts = |world: &mut World, last: Request<'_>| {
        let operations = vec![
            create("/a/b", 2),
            set("/a", b"new", 0),
            Request::SetAcl(SetAcl {
                path: "/gone",
                acl: acl.clone(),
                version: -1,
            }),
            delete("/gone", -1),
            last,
            check("/a", -1),
        ];
        let done = world.ask(&Request::Multi(Operations(operations)));
        let Ok(Done::Multi(parts)) = done else {
            panic!("{done:?} is not the answer to a multi");
        };
        parts
    };

    let failed = parts(&mut world, check("/a", 9));
    assert_eq!(failed[..4], [const { Part::RolledBack }; 4]);
    assert_eq!(failed[4], Part::Failed(Code::BadVersion));
    assert_eq!(failed[5], Part::Failed(Code::RuntimeInconsistency));
    assert_eq!((world.tree.digest(), world.tree.len()), before);
    assert_eq!(world.heard(), [], "nothing happened");
    assert_eq!(world.tree.ephemerals(SESSION, ""), ["/gone"]);

    let done = parts(&mut world, check("/a", 1));
    assert!(
        done.iter().all(|part| matches!(part, Part::Done(_))),
        "{done:?}"
    );
    assert!(world.tree.stat("/a/b0000000000").is_some());
    assert!(world.tree.stat("/gone").is_none());
}

#[test]
fn only_those_who_may_do() {
    let alice = Id {
        scheme: "digest",
        id: "alice:secret",
    };
    let mut world = World::new();
    let private = Request::Create(Create {
        path: "/private",
        data: None,
        acl: vec![Acl {
            perms: perms::ALL,
            id: alice,
        }],
        flags: 0,
    });
    world.ask_as(&private, &[alice]).expect("made");
    for request in [create("/private/a", 0), set("/private", b"", -1)] {
        assert_eq!(world.ask(&request), Err(Code::NoAuth), "{request:?}");
        world.ask_as(&request, &[alice]).expect("alice may");
    }
    assert_eq!(world.ask(&delete("/private/a", -1)), Err(Code::NoAuth));
    assert_eq!(world.tree.data("/private", &[]), Err(Code::NoAuth));
    assert!(world.tree.data("/private", &[alice]).is_ok());
    let (seen, _) = world.tree.acl("/private", &[alice]).expect("alice may");
    assert_eq!(&*seen[0].id, "alice:secret");
}

#[test]
fn digests_of_passwords_are_shown_to_administrators_alone() {
    let mut world = World::new();
    let acl = |perms, scheme, id| Acl {
        perms,
        id: Id { scheme, id },
    };
    let node = Request::Create(Create {
        path: "/a",
        data: None,
        acl: vec![
            acl(perms::READ, "world", "anyone"),
            acl(perms::ALL, "digest", "alice:secret"),
        ],
        flags: 0,
    });
    world.ask(&node).expect("made");
    let (seen, _) = world.tree.acl("/a", &[]).expect("anyone may look");
    assert_eq!(&*seen[1].id, "alice:x");
}

#[test]
fn the_root_is_not_made_again() {
    let mut world = World::new();
    assert_eq!(world.create("/", 0), Err(Code::NodeExists));
    assert_eq!(world.create("/", 1), Err(Code::NodeExists));
}

#[test]
fn who_may_not_read_a_node_hears_nothing_of_it() {
    let mut world = World::new();
    let alice = [Id {
        scheme: "digest",
        id: "alice:secret",
    }];
    let node = Request::Create(Create {
        path: "/a",
        data: None,
        acl: vec![Acl {
            perms: perms::READ,
            id: alice[0],
        }],
        flags: 0,
    });
    world.ask(&node).expect("made");
    let [made, above] = &world.events[..] else {
        panic!("{:?}", world.events);
    };
    assert!(made.is_for(&alice) && !made.is_for(&[]));
    assert!(above.is_for(&[]), "the root is everybody's");
}

#[test]
fn containers_and_mortal_nodes_expire_when_they_may() {
    let mut world = World::new();
    world.create("/c", 4).expect("made");
    let mortal = Request::CreateTtl(CreateTtl {
        path: "/t",
        data: None,
        acl: vec![Acl::OPEN],
        flags: 5,
        ttl_ms: 10_000,
    });
    world.ask(&mortal).expect("made");
    let container = world.tree.stat("/c").expect("there");
    assert_eq!(container.ephemeral_owner, 0, "it goes with no session");
    // A container that never had a child stays.
    assert_eq!(world.tree.expired(i64::MAX), [("/t".to_owned(), 2)]);
    assert_eq!(world.tree.expired(12_000), []);

    world.create("/c/a", 0).expect("made");
    world.ask(&delete("/c/a", -1)).expect("removed");
    assert_eq!(world.tree.expired(0), [("/c".to_owned(), 1)]);
    world.ask(&set("/t", b"", -1)).expect("set");
    let stamp = world.stamp();
    let events = &mut world.events;
    let stale = world.tree.expire("/t", Some(2), stamp, events);
    assert_eq!(
        stale,
        Err(Code::BadVersion),
        "somebody changed it in between"
    );
    assert_eq!(world.tree.expire("/c", Some(1), stamp, events), Ok(()));
    assert_eq!(
        world.tree.expire("/zookeeper", None, stamp, events),
        Err(Code::BadArguments)
    );
}

#[test]
fn a_time_to_live_needs_a_mode_that_has_one_and_the_other_way_round() {
    let mut world = World::new();
    for (flags, ttl_ms) in [(5, 0), (5, -1), (5, 1 << 40), (0, 10)] {
        let request = Request::CreateTtl(CreateTtl {
            path: "/t",
            data: None,
            acl: vec![Acl::OPEN],
            flags,
            ttl_ms,
        });
        assert_eq!(
            world.ask(&request),
            Err(Code::BadArguments),
            "{flags} {ttl_ms}"
        );
    }
    assert_eq!(world.create("/t", 5), Err(Code::BadArguments));
}

#[derive(Clone, Debug)]
enum Step {
    Create(usize, i32),
    Delete(usize),
    Set(usize, u8),
    Multi(Vec<Self>),
    EndSession,
}

const PATHS: [&str; 6] = ["/a", "/b", "/a/x", "/a/y", "/a/x/z", "/b/x"];

fn step() -> impl Strategy<Value = Step> {
    let leaf = prop_oneof![
        (0..PATHS.len(), 0..5).prop_map(|(path, flags)| Step::Create(path, flags)),
        (0..PATHS.len()).prop_map(Step::Delete),
        (0..PATHS.len(), any::<u8>()).prop_map(|(path, byte)| Step::Set(path, byte)),
    ];
    let multi = prop::collection::vec(leaf.clone(), 1..5).prop_map(Step::Multi);
    prop_oneof![4 => leaf, 2 => multi, 1 => Just(Step::EndSession)]
}

fn request(step: &Step) -> Request<'_> {
    match step {
        Step::Create(path, flags) => create(PATHS[*path], *flags),
        Step::Delete(path) => delete(PATHS[*path], -1),
        Step::Set(path, byte) => set(PATHS[*path], std::slice::from_ref(byte), -1),
        Step::Multi(steps) => Request::Multi(Operations(steps.iter().map(request).collect())),
        Step::EndSession => Request::CloseSession,
    }
}

impl World {
    fn take(&mut self, step: &Step) -> Option<Result<Done, Code>> {
        if matches!(step, Step::EndSession) {
            let stamp = self.stamp();
            self.tree.end_session(SESSION, stamp, &mut self.events);
            return None;
        }
        Some(self.ask(&request(step)))
    }

    /// The digest as if every node had just been added.
    fn digest_from_scratch(&self) -> u64 {
        let mut sum = 0_u64;
        let mut waiting = vec![NodeId::ROOT];
        while let Some(id) = waiting.pop() {
            sum = sum.wrapping_add(self.tree.digest_of(id));
            waiting.extend(self.tree.nodes.children(id));
        }
        sum
    }
}

proptest! {
    #[test]
    fn the_same_log_gives_the_same_tree_and_the_digest_never_drifts(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let (mut one, mut two) = (World::new(), World::new());
        for step in &steps {
            let before = one.tree.digest();
            let done = one.take(step);
            prop_assert_eq!(&done, &two.take(step));
            if matches!(done, Some(Err(_))) {
                prop_assert_eq!(one.tree.digest(), before);
            }
            if let Some(Ok(Done::Multi(parts))) = &done
                && parts.iter().any(|part| matches!(part, Part::Failed(_)))
            {
                prop_assert_eq!(one.tree.digest(), before);
            }
            prop_assert_eq!(one.tree.digest(), one.digest_from_scratch());
        }
        prop_assert_eq!(one.tree.digest(), two.tree.digest());
        prop_assert_eq!(one.tree.len(), two.tree.nodes.below(NodeId::ROOT) + 1);
        prop_assert_eq!(one.heard(), two.heard());
        // Every list that is kept is some node's.
        prop_assert_eq!(one.tree.lists.len(), 2);
    }
}
