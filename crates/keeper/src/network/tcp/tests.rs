//! Claims about who may speak to a member, over real sockets.

use std::path::Path;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::tls::{Calls, ClientAuth, Store, TlsSettings, Versions};

const AUTHORITY: &[u8] = include_bytes!("tests/authority.pem");
/// Names 127.0.0.1 and localhost.
const HERE: &[u8] = include_bytes!("tests/here.pem");
/// Names a host that nobody calls; its common name does not count.
const ELSEWHERE: &[u8] = include_bytes!("tests/elsewhere.pem");
/// Names localhost by its common name alone, in X.509 version 3 and in version 1.
const NAMELESS: [&[u8]; 2] = [
    include_bytes!("tests/nameless.pem"),
    include_bytes!("tests/old.pem"),
];
/// Names what it should; an authority that nobody knows says so.
const STRANGER: &[u8] = include_bytes!("tests/stranger.pem");

fn store(folder: &Path, name: &str, content: &[u8]) -> Store {
    let file = folder.join(name);
    std::fs::write(&file, content).expect("a file");
    Store {
        file,
        password: String::new(),
    }
}

fn settings(own: &[u8]) -> (TlsSettings, TempDir) {
    let folder = TempDir::new().expect("a folder");
    let trusted = store(folder.path(), "authority.pem", AUTHORITY);
    let settings = TlsSettings {
        key_store: store(folder.path(), "own.pem", own),
        client_auth: ClientAuth::Need(trusted.clone()),
        versions: Versions {
            v1_2: true,
            v1_3: true,
        },
        cipher_suites: None,
        super_user: None,
        is_unified: false,
        calls: Some(Calls {
            trusted,
            by_name: true,
        }),
    };
    (settings, folder)
}

/// The network as a member with this key sees it, which speaks TLS.
fn of(own: &[u8]) -> Tcp {
    with(own, |_| (), true)
}

fn with(own: &[u8], set: impl FnOnce(&mut TlsSettings), is_spoken: bool) -> Tcp {
    let (mut settings, _folder) = settings(own);
    set(&mut settings);
    Tcp::guarded(Tls::load(settings).expect("right files"), is_spoken, |_| ())
}

/// A member that listens, and calls others at `host`; and where it listens.
async fn listening(network: &Tcp, host: &str) -> (TcpDoor, String) {
    // Nobody is there; it is a member's host all the same.
    let nobody = network.connect(&format!("{host}:1")).await;
    nobody.expect_err("nothing listens there");
    let door = network.listen("127.0.0.1:0").await.expect("it listens");
    let port = door.listener.local_addr().expect("bound").port();
    (door, format!("{host}:{port}"))
}

/// Whether a word goes from one to the other and back, and whether by TLS.
async fn speaks(caller: &Tcp, callee: &Tcp, host: &str) -> Option<bool> {
    let (mut door, address) = listening(callee, host).await;
    let calling = async {
        let mut near = caller.connect(&address).await.ok()?;
        near.write_all(b"word").await.ok()?;
        near.flush().await.ok()?;
        let mut word = [0; 4];
        near.read_exact(&mut word).await.ok()?;
        // Who is turned away may hear why.
        (word == *b"word").then_some(matches!(near, TcpConnection::Guarded(_)))
    };
    let called = async {
        let mut far = door.accept().await.ok()?.await.ok()?;
        let mut word = [0; 4];
        far.read_exact(&mut word).await.ok()?;
        far.write_all(&word).await.ok()?;
        far.flush().await.ok()
    };
    tokio::join!(calling, called).0
}

#[tokio::test]
async fn members_whose_certificates_name_their_hosts_speak_by_tls() {
    assert_eq!(speaks(&of(HERE), &of(HERE), "127.0.0.1").await, Some(true));
    assert_eq!(speaks(&of(HERE), &of(HERE), "localhost").await, Some(true));
    for nameless in NAMELESS {
        let one = of(nameless);
        assert_eq!(speaks(&one, &one, "localhost").await, Some(true));
        assert_eq!(speaks(&one, &one, "127.0.0.1").await, None);
    }
}

#[tokio::test]
async fn who_is_not_of_the_ensemble_is_turned_away_whoever_calls() {
    for wrong in [ELSEWHERE, STRANGER] {
        assert_eq!(speaks(&of(wrong), &of(HERE), "localhost").await, None);
        assert_eq!(speaks(&of(HERE), &of(wrong), "localhost").await, None);
    }
    assert_eq!(speaks(&Tcp::default(), &of(HERE), "localhost").await, None);
    let open = Tcp::default();
    assert_eq!(speaks(&of(HERE), &open, "localhost").await, None);
}

#[tokio::test]
async fn who_need_not_name_a_host_is_believed_by_its_authority_alone() {
    let any = |settings: &mut TlsSettings| {
        settings.calls.as_mut().expect("they do").by_name = false;
    };
    let (one, other) = (with(ELSEWHERE, any, true), with(ELSEWHERE, any, true));
    assert_eq!(speaks(&one, &other, "localhost").await, Some(true));
    let stranger = with(STRANGER, any, true);
    assert_eq!(speaks(&one, &stranger, "localhost").await, None);
}

#[tokio::test]
async fn an_ensemble_comes_to_tls_in_steps_in_which_all_understand_each_other() {
    let both = |settings: &mut TlsSettings| settings.is_unified = true;
    let open = Tcp::default();
    let understands = with(HERE, both, false);
    let speaks_too = with(HERE, both, true);
    let only = of(HERE);
    for (caller, callee, by_tls) in [
        (&open, &understands, false),
        (&understands, &open, false),
        (&understands, &speaks_too, false),
        (&speaks_too, &understands, true),
        (&speaks_too, &only, true),
        (&only, &speaks_too, true),
    ] {
        assert_eq!(speaks(caller, callee, "localhost").await, Some(by_tls));
    }
}

#[tokio::test]
async fn a_handshake_that_hangs_keeps_nobody_else_waiting() {
    let network = of(HERE);
    let (mut door, address) = listening(&network, "localhost").await;
    let hanging = TcpStream::connect(&address).await.expect("it listens");
    let _its_handshake = door.accept().await.expect("accepted");
    let (near, far) = tokio::join!(network.connect(&address), async {
        door.accept().await.expect("accepted").await
    });
    assert!(near.is_ok() && far.is_ok());
    drop(hanging);
}

#[tokio::test]
async fn whoever_is_turned_away_is_told_of_with_where_it_came_from_and_why() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let ears = Arc::clone(&told);
    let tell = move |why: &dyn fmt::Display| ears.lock().expect("open").push(why.to_string());
    let (settings, _folder) = settings(HERE);
    let callee = Tcp::guarded(Tls::load(settings).expect("right files"), true, tell);
    assert_eq!(speaks(&of(ELSEWHERE), &callee, "localhost").await, None);
    assert_eq!(speaks(&of(STRANGER), &callee, "localhost").await, None);
    assert_eq!(speaks(&callee, &of(STRANGER), "localhost").await, None);
    let told = told.lock().expect("open").join("\n");
    for what in [
        "from 127.0.0.1:",
        "its certificate names no host of the ensemble",
        "the member at localhost:",
        "UnknownIssuer",
    ] {
        assert!(told.contains(what), "{what} is not in {told}");
    }
}
