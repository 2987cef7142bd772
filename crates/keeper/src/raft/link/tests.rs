//! Claims about links whose other end is slow, silent or gone. Time is virtual.

use std::sync::Mutex;

use mainstay_zk_proto::jute::Malformed;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;
use crate::disk::simulated::SimulatedDisk;
use crate::network::memory::MemoryNetwork;
use crate::raft::frame::Lane;
use crate::raft::outgoing::LINGER;
use crate::raft::serve::{Answers, serve};

/// Answers a body of `n` after `n` tenths of a second, and remembers what it was asked.
#[derive(Default)]
struct Slow(Mutex<Vec<u8>>);

impl Answers for Slow {
    async fn greeted(&self, _: u64) {}

    fn hear(&self, body: &[u8]) -> Result<(), Malformed> {
        self.0.lock().expect("nobody panics").extend(body);
        Ok(())
    }

    async fn answer(self: Arc<Self>, _: u64, _: Kind, body: Vec<u8>) -> Worded {
        let tenths = body.first().copied().unwrap_or_default();
        self.0.lock().expect("nobody panics").push(tenths);
        sleep(Duration::from_millis(100) * u32::from(tenths)).await;
        if tenths == 0 {
            return Err("zero".to_owned());
        }
        Ok(body)
    }
}

type Worded = Result<Vec<u8>, String>;

fn greeting(member: u64, wanted: u64) -> Greeting {
    Greeting {
        cluster: "test".to_owned(),
        member,
        incarnation: 1,
        seat: member.cast_signed() + 1,
        known: 0,
        wanted,
        lane: Lane::Bulk,
    }
}

fn known(member: u64, wanted: u64) -> (Greeting, Arc<Seats>) {
    let greeting = greeting(member, wanted);
    let seats = Seats::open(&SimulatedDisk::new(member), member, greeting.seat);
    (greeting, Arc::new(seats.expect("the disk is good")))
}

struct Ends {
    network: MemoryNetwork,
    link: Link,
    answers: Arc<Slow>,
    tasks: JoinSet<()>,
}

fn at(place: &str) -> Addresses {
    let addresses = Addresses::default();
    addresses.set(vec![place.to_owned()]);
    addresses
}

async fn ends() -> Ends {
    let network = MemoryNetwork::default();
    let answers = Arc::new(Slow::default());
    let mut tasks = JoinSet::new();
    let there = network.host("b");
    let listener = there.listen("b").await.expect("listens");
    let serving =
        serve::<crate::network::memory::Host, _>(listener, known(2, 0), Arc::clone(&answers));
    tasks.spawn(serving);
    let (link, carrier) = Link::new(network.host("a"), at("b"), known(1, 2), Random::seeded(1));
    tasks.spawn(carrier);
    Ends {
        network,
        link,
        answers,
        tasks,
    }
}

const LONG: Duration = Duration::from_hours(1);

#[tokio::test(start_paused = true)]
async fn requests_are_in_line_as_they_were_sent_and_answered_as_they_are_done() {
    let ends = ends().await;
    let begun = Instant::now();
    let pending = [9, 3, 6, 0].map(|n| ends.link.begin(Kind::Forward, vec![n]));
    let [nine, three, six, zero] = pending.map(|pending| pending.expect("there is room"));
    let refused = zero.answer(LONG).await;
    assert_eq!(refused, Err(LinkError::Refused("zero".to_owned())));
    for (pending, tenths) in [(three, 3), (six, 6), (nine, 9)] {
        assert_eq!(pending.answer(LONG).await, Ok(vec![tenths]));
        let took = begun.elapsed().as_millis() / 100;
        assert_eq!(took, u128::from(tenths), "none waits for another");
    }
    assert_eq!(*ends.answers.0.lock().expect("good"), [9, 3, 6, 0]);
}

#[tokio::test(start_paused = true)]
async fn who_takes_long_and_is_alive_is_waited_for() {
    let ends = ends().await;
    let answer = ends.link.call(Kind::Forward, vec![250], LONG).await;
    assert_eq!(answer, Ok(vec![250]), "25 seconds are no silence");
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_is_given_up_and_called_again_when_it_is_back() {
    let ends = ends().await;
    ends.link
        .call(Kind::Forward, vec![1], LONG)
        .await
        .expect("it is there");
    ends.network.cut("b", "a");
    let begun = Instant::now();
    let answer = ends.link.call(Kind::Forward, vec![1], LONG).await;
    assert_eq!(answer, Err(LinkError::Lost));
    assert_eq!(begun.elapsed().as_secs(), SILENT_MAX.as_secs());
    let late = Duration::from_millis(10);
    let answer = ends.link.call(Kind::Forward, vec![1], late).await;
    assert!(answer.is_err(), "{answer:?}");
    ends.network.heal();
    let back = async {
        while ends.link.call(Kind::Forward, vec![1], LONG).await.is_err() {
            sleep(late).await;
        }
    };
    timeout(CONNECT_TIMEOUT + BACKOFF_MAX * 2, back)
        .await
        .expect("it is back");
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_member_is_refused_at_once_and_its_queue_has_an_end() {
    let mut ends = ends().await;
    ends.tasks.shutdown().await;
    assert_eq!(
        ends.link.call(Kind::Forward, vec![1], LONG).await,
        Err(LinkError::Unreachable)
    );
    let (link, _carrier) = Link::new(
        ends.network.host("a"),
        at("nobody"),
        known(1, 3),
        Random::seeded(1),
    );
    let taken: Vec<Pending> = std::iter::from_fn(|| link.begin(Kind::Vote, Vec::new()).ok())
        .take(QUEUE_MAX * 2)
        .collect();
    assert_eq!(taken.len(), QUEUE_MAX);
    assert_eq!(
        link.begin(Kind::Vote, Vec::new()).err(),
        Some(LinkError::Full)
    );
}

#[tokio::test(start_paused = true)]
async fn what_brings_nothing_new_goes_in_front_of_the_next_request_or_after_a_moment() {
    let ends = ends().await;
    let asked = || ends.answers.0.lock().expect("good").clone();
    let connected = ends.link.call(Kind::Append, vec![1], LONG).await;
    connected.expect("it is there");

    let late = ends.link.begin_late(Kind::Append, vec![2]);
    sleep(LINGER / 2).await;
    assert_eq!(asked(), [1], "it waits for company");
    let now = ends.link.begin(Kind::Append, vec![3]);
    sleep(LINGER / 4).await;
    assert_eq!(asked(), [1, 2, 3], "in line, and at once");

    let alone = ends.link.begin_late(Kind::Append, vec![4]);
    sleep(LINGER + LINGER / 2).await;
    assert_eq!(asked(), [1, 2, 3, 4], "nothing came");
    for (pending, tenths) in [(late, 2), (now, 3), (alone, 4)] {
        let answer = pending.expect("there is room").answer(LONG).await;
        assert_eq!(answer, Ok(vec![tenths]));
    }
}
