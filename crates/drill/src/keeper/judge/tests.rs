//! Claims about the judge: a store that kept its promises passes, and each broken promise is seen.

use mainstay_zk_proto::Code;

use super::*;
use crate::keeper::history::Reply;

const ROOT: &str = "/drill-1";

/// A history that is written by hand; each question is answered before the next one.
#[derive(Default)]
struct Story {
    entries: Vec<Entry>,
    time: u64,
}

impl Story {
    fn told(&mut self, session: u64, asked: Asked, zxid: i64, answer: Answer) -> &mut Self {
        let invoked = self.time + 1;
        self.time += 2;
        let at = self.time;
        let reply = Some(Reply { at, zxid, answer });
        self.entries.push(Entry {
            session,
            member: 0,
            invoked,
            asked,
            reply,
        });
        self
    }

    fn unknown(&mut self, session: u64, asked: Asked) -> &mut Self {
        self.time += 1;
        self.entries.push(Entry {
            session,
            member: 0,
            invoked: self.time,
            asked,
            reply: None,
        });
        self
    }

    fn set(&mut self, session: u64, value: u64, zxid: i64, version: i32) -> &mut Self {
        let mzxid = zxid;
        self.told(
            session,
            set(value),
            zxid,
            Answer::Version { version, mzxid },
        )
    }

    /// A read behind a sync; `zxid` is how far the member is, `shown` what it shows.
    fn get(&mut self, session: u64, zxid: i64, shown: (u64, i64, i32)) -> &mut Self {
        let (value, mzxid, version) = shown;
        let answer = Answer::Data {
            value: Some(value),
            version,
            mzxid,
        };
        self.told(session, Asked::Sync, zxid, Answer::Done);
        self.told(session, get(), zxid, answer)
    }

    fn judged(&self, held: Option<(u64, i64)>) -> Judgement {
        self.judged_with(&Left {
            values: [(key(), held)].into(),
            ..Left::default()
        })
    }

    fn judged_with(&self, left: &Left) -> Judgement {
        let mut entries = Vec::new();
        let create = Asked::Create {
            path: key(),
            value: 0,
            life: Life::Persistent,
        };
        let (path, czxid) = (key(), 1);
        let mut before = Self::default();
        before.told(99, create, czxid, Answer::Made { path, czxid });
        entries.append(&mut before.entries);
        entries.extend(self.entries.iter().cloned().map(|mut entry| {
            entry.invoked += 10;
            if let Some(reply) = &mut entry.reply {
                reply.at += 10;
            }
            entry
        }));
        let evidence = Evidence {
            history: History {
                entries,
                ..History::default()
            },
            locks: LockLog::default(),
            left: vec![left.clone(); 3],
            root: ROOT.into(),
        };
        judge(&evidence, &Subject::Mainstay)
    }
}

fn key() -> Path {
    format!("{ROOT}/register-0").into()
}

fn set(value: u64) -> Asked {
    Asked::Set {
        path: key(),
        value,
        expected: None,
    }
}

fn get() -> Asked {
    Asked::Get {
        path: key(),
        watch: false,
        synced: true,
    }
}

fn watching() -> Asked {
    Asked::Get {
        path: key(),
        watch: true,
        synced: false,
    }
}

fn event() -> Asked {
    Asked::Event { path: key() }
}

fn data(value: u64, mzxid: i64, version: i32) -> Answer {
    Answer::Data {
        value: Some(value),
        version,
        mzxid,
    }
}

#[test]
fn a_store_that_keeps_its_promises_passes() {
    let mut story = Story::default();
    story.set(1, 10, 2, 1);
    story.get(2, 2, (10, 2, 1));
    story.unknown(1, set(20));
    story.get(2, 3, (20, 3, 2));
    let judged = story.judged(Some((20, 3)));
    assert!(judged.is_kept(), "{judged:?}");
    assert_eq!((judged.acknowledged, judged.unknown), (2, 1));
    assert_eq!(judged.synced_reads, 2);
}

#[test]
fn an_acknowledged_write_that_is_gone_is_lost() {
    let mut story = Story::default();
    story.set(1, 10, 2, 1).set(1, 20, 3, 2);
    assert_eq!(story.judged(Some((10, 2))).lost, 1);
    assert_eq!(story.judged(None).lost, 1);
}

#[test]
fn a_read_behind_a_sync_that_shows_the_past_has_no_order() {
    let mut story = Story::default();
    story.set(1, 10, 2, 1).set(1, 20, 3, 2);
    story.get(2, 2, (10, 2, 1));
    let judged = story.judged(Some((20, 3)));
    // Both the certificate and the search, which does not know zxids, find it.
    assert!(judged.disorder >= 2, "{judged:?}");
    let words = judged.words.join("\n");
    assert!(words.contains("not linearizable"), "{words}");
}

#[test]
fn a_write_that_nobody_made_is_seen() {
    let mut story = Story::default();
    story.set(1, 10, 2, 1);
    story.get(2, 3, (666, 3, 2));
    assert!(!story.judged(Some((666, 3))).is_kept());
}

#[test]
fn a_session_that_goes_back_is_seen() {
    let mut story = Story::default();
    story.set(1, 10, 2, 1).set(1, 20, 3, 2);
    story.told(2, watching(), 3, data(20, 3, 2));
    story.told(2, watching(), 2, data(10, 2, 1));
    assert_eq!(story.judged(Some((20, 3))).sessions, 1);
}

#[test]
fn an_event_comes_once_and_before_the_new_data() {
    let then = |acts: [(Asked, Answer); 2]| {
        let mut story = Story::default();
        story.told(2, watching(), 1, data(0, 1, 0));
        story.set(1, 10, 2, 1);
        for (asked, answer) in acts {
            let zxid = if asked == event() { -1 } else { 2 };
            story.told(2, asked, zxid, answer);
        }
        story.judged(Some((10, 2))).watches
    };
    let told = || (event(), Answer::Done);
    let read = || (get(), data(10, 2, 1));
    assert_eq!(then([told(), read()]), 0);
    assert_eq!(then([read(), told()]), 1, "after the new data");
    assert_eq!(then([told(), told()]), 1, "twice");
}

#[test]
fn a_node_that_came_and_went_between_two_connections_may_be_missed_and_no_other() {
    use crate::keeper::history::Parting;

    let path: Path = format!("{ROOT}/presence/7").into();
    let mut story = Story::default();
    let exists = Asked::Exists { path: path.clone() };
    // Asked twice, it is still one watch.
    story.told(2, exists.clone(), 1, Answer::Refused(Code::NoNode));
    story.told(2, exists, 1, Answer::Refused(Code::NoNode));
    let create = Asked::Create {
        path: path.clone(),
        value: 7,
        life: Life::Ephemeral,
    };
    let made = Answer::Made {
        path: path.clone(),
        czxid: 2,
    };
    story.told(1, create, 2, made);
    story.told(1, Asked::Delete { path }, 3, Answer::Done);
    story.told(2, Asked::Sync, 3, Answer::Done);
    let judged = |partings: Vec<Parting>| {
        let evidence = Evidence {
            history: History {
                entries: story.entries.clone(),
                partings,
                ..History::default()
            },
            locks: LockLog::default(),
            left: Vec::new(),
            root: ROOT.into(),
        };
        judge(&evidence, &Subject::Mainstay).watches
    };
    assert_eq!(judged(vec![]), 1);
    let parting = |session| Parting {
        at: 5,
        session,
        member: 0,
        since: 0,
        said: 4,
        why: None,
    };
    assert_eq!(judged(vec![parting(1)]), 1, "somebody else's connection");
    assert_eq!(judged(vec![parting(2)]), 0);
}

#[test]
fn a_closed_session_takes_what_it_has_and_nothing_else() {
    let path = |number| -> Path { format!("{ROOT}/presence/{number}").into() };
    let create = |number| Asked::Create {
        path: path(number),
        value: number,
        life: Life::Ephemeral,
    };
    let watch = |story: &mut Story, number| {
        let exists = Asked::Exists { path: path(number) };
        story.told(2, exists, 3, Answer::Refused(Code::NoNode));
    };
    let mut story = Story::default();
    let made = Answer::Made {
        path: path(1),
        czxid: 2,
    };
    story.told(1, create(1), 2, made);
    story.told(1, Asked::Delete { path: path(1) }, 3, Answer::Done);
    story.unknown(1, create(2));
    // Neither is there when the session is closed, so nothing is told.
    watch(&mut story, 1);
    watch(&mut story, 2);
    story.told(1, Asked::Close, 4, Answer::Done);
    story.told(2, Asked::Sync, 4, Answer::Done);
    let judged = story.judged(Some((0, 1)));
    assert!(judged.is_kept(), "{judged:?}");
}

#[test]
fn an_element_of_the_set_is_there_once() {
    let mut story = Story::default();
    for (value, number) in [(7, 0), (8, 1)] {
        let prefix: Path = format!("{ROOT}/set/{value}-").into();
        let path: Path = format!("{prefix}{number:010}").into();
        let czxid = number + 2;
        let append = Asked::Append {
            prefix,
            value,
            life: Life::Persistent,
        };
        story.told(1, append, czxid, Answer::Made { path, czxid });
    }
    let left = |names: &[&str]| {
        let left = Left {
            elements: names.iter().map(ToString::to_string).collect(),
            ..Left::default()
        };
        let judged = story.judged_with(&left);
        (judged.lost, judged.disorder)
    };
    assert_eq!(left(&["7-0000000000", "8-0000000001"]), (0, 0));
    assert_eq!(left(&["7-0000000000"]), (1, 0));
    let doubled = ["7-0000000000", "8-0000000001", "8-0000000002"];
    assert_eq!(left(&doubled), (0, 1));
}

#[test]
fn an_ephemeral_node_that_is_left_outlived_its_session() {
    let left = Left {
        presences: vec!["7".to_owned()],
        ..Left::default()
    };
    assert_eq!(Story::default().judged_with(&left).outlived, 1);
}

#[test]
fn members_that_differ_are_named() {
    let left = |value| Left {
        values: [(key(), Some((value, 1)))].into(),
        ..Left::default()
    };
    let evidence = Evidence {
        history: History::default(),
        locks: LockLog::default(),
        left: vec![left(1), left(1), left(2)],
        root: ROOT.into(),
    };
    let judged = judge(&evidence, &Subject::Mainstay);
    assert_eq!(judged.differing, 1);
    let named = |words: &String| words.starts_with("member 3 differs: /drill-1/register-0");
    assert!(judged.words.iter().any(named), "{judged:?}");
}

#[test]
fn a_plant_in_a_good_history_is_found() {
    use crate::keeper::plant::{double_event, forget_write, read_the_past};

    let mut story = Story::default();
    story.told(2, watching(), 1, data(0, 1, 0));
    story.set(1, 10, 2, 1);
    story.told(2, event(), -1, Answer::Done);
    story.set(1, 20, 3, 2).get(2, 3, (20, 3, 2));
    assert!(story.judged(Some((20, 3))).is_kept());
    let plants: [fn(&mut History); 3] = [forget_write, read_the_past, double_event];
    for plant in plants {
        let mut history = History {
            entries: story.entries.clone(),
            ..History::default()
        };
        plant(&mut history);
        let planted = Story {
            entries: history.entries,
            time: 0,
        };
        assert!(!planted.judged(Some((20, 3))).is_kept());
    }
}
