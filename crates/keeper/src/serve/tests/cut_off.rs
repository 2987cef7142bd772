//! Claims about what clients may do at a member that no leader speaks to.

use super::*;

/// Longer than anything here is waited for.
const LONG: Duration = Duration::from_secs(5);

fn reading() -> (Arc<Desk>, Arc<Held>) {
    let desk = Desk::new(Settings {
        without_quorum: WithoutQuorum::Read,
        ..Settings::default()
    });
    desk.begin(Held::ORIGIN, 1_700_000_000_000);
    let replica = Held::new(&desk);
    replica.lead(false);
    (desk, replica)
}

impl Client {
    async fn shake_as_reader(&mut self, session_id: i64, password: &[u8]) {
        let mut out = Vec::new();
        frame::append(&mut out, |out| {
            ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: 0,
                timeout_ms: 4_000,
                session_id,
                password,
                read_only: Some(true),
            }
            .write(out);
        });
        self.stream.write_all(&out).await.expect("open");
    }

    /// The session, its password, and whether it only reads.
    async fn reader(&mut self) -> (i64, Vec<u8>, Option<bool>) {
        let message = self.message().await.expect("an answer");
        let answer: ConnectResponse<'_> = read_all(&message).expect("well-formed");
        (
            answer.session_id,
            answer.password.to_vec(),
            answer.read_only,
        )
    }
}

async fn meanwhile(desk: &Desk, replica: &Held, story: impl Future<Output = ()>) {
    tokio::select! {
        never = crate::serve::cut_off::watch(desk, replica) => match never {},
        () = story => {},
    }
}

#[tokio::test(start_paused = true)]
async fn who_said_that_reading_will_do_reads_and_writes_nothing() {
    let (desk, replica) = reading();
    meanwhile(&desk, &replica, async {
        sleep(LONG).await;
        let mut client = Client::connect(&desk, &replica);
        client.shake_as_reader(0, &[0; 16]).await;
        let (session, _, reads_only) = client.reader().await;
        assert!(session != 0 && reads_only == Some(true));
        client.ask(1, &exists("/", false)).await;
        client.ask(2, &create("/a", 0)).await;
        client.ask(3, &Request::Sync(OfPath { path: "/" })).await;
        client.ask(XID_PING, &Request::Ping).await;
        client.ask(4, &Request::CloseSession).await;
        let answers = client.next_of(6).await;
        assert_eq!(
            answers,
            ["1", "2 NotReadOnly", "3 NotReadOnly", "-2", "4", "end"]
        );
    })
    .await;
    assert_eq!(
        replica.waiting.lock().expect("whole").0,
        0,
        "nothing was proposed"
    );
}

#[tokio::test(start_paused = true)]
async fn who_did_not_say_so_is_sent_away_at_once() {
    let (desk, replica) = reading();
    meanwhile(&desk, &replica, async {
        // Whoever came before it was clear does not wait for long either.
        let mut early = Client::connect(&desk, &replica);
        early.shake(0, &[0; 16], 0).await;
        assert_eq!(early.next().await, "end");
        let mut late = Client::connect(&desk, &replica);
        late.shake(0, &[0; 16], 0).await;
        let began = Instant::now();
        assert_eq!(late.next().await, "end");
        assert!(began.elapsed() < Duration::from_millis(100));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_only_reads_goes_on_with_its_password_and_ends_in_silence() {
    let (desk, replica) = reading();
    meanwhile(&desk, &replica, async {
        sleep(LONG).await;
        let mut first = Client::connect(&desk, &replica);
        first.shake_as_reader(0, &[0; 16]).await;
        let (session, password, _) = first.reader().await;
        let mut thief = Client::connect(&desk, &replica);
        thief.shake_as_reader(session, &[9; 16]).await;
        assert_eq!(thief.reader().await.0, 0);
        let mut second = Client::connect(&desk, &replica);
        second.shake_as_reader(session, &password).await;
        assert_eq!(second.reader().await.0, session);
        assert_eq!(first.next().await, "end");
        sleep(LONG).await;
        assert_eq!(second.next().await, "end", "it was silent");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_session_of_the_ensemble_is_not_ended_where_there_is_none() {
    let (desk, replica) = reading();
    replica.lead(true);
    let mut client = Client::connect(&desk, &replica);
    client.shake(0, &[0; 16], 0).await;
    replica.release_next().await;
    let (session, password, _) = client.shaken().await;
    replica.lead(false);
    meanwhile(&desk, &replica, async {
        sleep(LONG).await;
        let mut again = Client::connect(&desk, &replica);
        again.shake_as_reader(session, &password).await;
        // Not that it is over: nothing.
        assert_eq!(again.next().await, "end");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn when_somebody_leads_again_readers_come_for_real() {
    let (desk, replica) = reading();
    meanwhile(&desk, &replica, async {
        sleep(LONG).await;
        let mut reader = Client::connect(&desk, &replica);
        reader.shake_as_reader(0, &[0; 16]).await;
        let (session, password, _) = reader.reader().await;
        replica.lead(true);
        assert_eq!(reader.next().await, "end");
        let mut again = Client::connect(&desk, &replica);
        again.shake_as_reader(session, &password).await;
        replica.release_next().await;
        assert_eq!(again.reader().await.0, 0, "nobody else knew of it");
        let mut fresh = Client::connect(&desk, &replica);
        fresh.shake_as_reader(0, &[0; 16]).await;
        replica.release_next().await;
        let (session, _, reads_only) = fresh.reader().await;
        assert!(session != 0 && reads_only == Some(false));
    })
    .await;
}
