//! Claims about a server's start, its folder and its stop.

use std::sync::atomic::{AtomicU16, Ordering};

use mainstay_zk_proto::Stat;
use mainstay_zk_proto::acl::perms;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;
use crate::state::State;
use crate::tree::Entry;
use crate::zookeeper;

fn config(folder: &TempDir) -> ServerConfig {
    let file = folder.path().join("zoo.cfg");
    let data = folder.path().display();
    let text = format!(
        "dataDir={data}\nclientPort=0\nclientPortAddress=127.0.0.1\n4lw.commands.whitelist=*\n"
    );
    fs::write(&file, text).expect("a file");
    ServerConfig::read(&file, &[]).expect("it is right")
}

async fn word(server: SocketAddr, word: &str) -> String {
    let mut stream = TcpStream::connect(server).await.expect("it listens");
    stream.write_all(word.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers");
    answer
}

#[tokio::test]
async fn a_server_of_one_member_serves_and_frees_its_folder_when_it_stops() {
    let folder = TempDir::new().expect("a folder");
    for _ in 0..2 {
        let server = Server::start(config(&folder)).await.expect("it starts");
        let address = server.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = server.run((), async move { drop(stopped.await) });
        let using = async {
            assert_eq!(word(address, "ruok").await, "imok");
            let second = Server::start(config(&folder)).await;
            assert!(
                matches!(second, Err(ServerError::Locked(_))),
                "{second:?} shares the folder"
            );
            drop(stop);
        };
        let (ended, ()) = tokio::join!(running, using);
        ended.expect("a clean stop");
    }
}

#[tokio::test]
async fn a_member_that_was_alone_does_not_go_on_alone_when_its_file_names_others() {
    let folder = TempDir::new().expect("a folder");
    let server = Server::start(config(&folder)).await.expect("it starts");
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = server.run((), async move { drop(stopped.await) });
    let using = async {
        told(address, "Mode: standalone").await;
        drop(stop);
    };
    let (ended, ()) = tokio::join!(running, using);
    ended.expect("a clean stop");

    let mut several = config(&folder);
    for number in 1..=3 {
        let member = "127.0.0.1:2888:3888".replace("88", &format!("{number}8"));
        let member = crate::zoo_cfg::Member::read(&member).expect("a member");
        several.zoo.members.insert(number, member);
    }
    let error = Server::start(several).await.expect_err("it was alone");
    assert!(
        error.to_string().contains("was alone") && error.to_string().contains("keeper import"),
        "{error}"
    );
}

#[tokio::test]
async fn data_of_apache_zookeeper_are_not_taken_for_nothing() {
    let folder = TempDir::new().expect("a folder");
    fs::create_dir(folder.path().join(FOLDER_OF_ZOOKEEPER)).expect("a folder");
    let error = Server::start(config(&folder))
        .await
        .expect_err("it has data");
    assert!(matches!(error, ServerError::NotImported(_)), "{error}");
    assert!(error.to_string().contains("mainstay keeper import"));
}

#[test]
fn properties_count_more_than_the_file_and_name_the_users() {
    let folder = TempDir::new().expect("a folder");
    let jaas = folder.path().join("jaas.conf");
    fs::write(&jaas, "Server {\n user_a=\"b\";\n};\n").expect("a file");
    let file = folder.path().join("zoo.cfg");
    fs::write(&file, "dataDir=/x\nclientPort=1\ntickTime=7\n").expect("a file");
    let property = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let properties = [
        property("zookeeper.tickTime", "9"),
        property(
            "java.security.auth.login.config",
            &jaas.display().to_string(),
        ),
    ];
    let config = ServerConfig::read(&file, &properties).expect("it is right");
    assert_eq!(config.zoo.tick_ms, 9);
    assert_eq!(config.users["a"], "b");
}

#[test]
fn a_missing_myid_is_named_with_what_to_write_into_it() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("zoo.cfg");
    let data = folder.path().display();
    let text = format!("dataDir={data}\nclientPort=1\nserver.1=localhost:1:2\n");
    fs::write(&file, text).expect("a file");
    let error = ServerConfig::read(&file, &[]).expect_err("there is none");
    let told = error.to_string();
    assert!(told.contains("myid") && told.contains("server.N"), "{told}");
}

/// A port that nobody listens on, and that stays so: the kernel gives none of these to whoever asks
/// for any, and no two tests get the same.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).expect("it fits");
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Three members' files. Their numbers begin with 0, which is one like the others.
fn ensemble(folder: &TempDir) -> Vec<ServerConfig> {
    ensemble_with(folder, "")
}

/// Three members' files that say `more`.
fn ensemble_with(folder: &TempDir, more: &str) -> Vec<ServerConfig> {
    let ports: Vec<u16> = std::iter::repeat_with(port).take(3).collect();
    (0..3)
        .map(|id| {
            let data = folder.path().join(id.to_string());
            fs::create_dir(&data).expect("a folder");
            fs::write(data.join("myid"), id.to_string()).expect("a file");
            let mut text = format!(
                "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\n\
                 4lw.commands.whitelist=*\n{more}",
                data.display()
            );
            for (port, id) in ports.iter().zip(0..) {
                text.extend([format!("server.{id}=127.0.0.1:{port}:1\n")]);
            }
            let file = data.join("zoo.cfg");
            fs::write(&file, text).expect("a file");
            ServerConfig::read(&file, &[]).expect("it is right")
        })
        .collect()
}

/// A state of ZooKeeper's with nodes `/0` to `/<zxid - 1>`.
fn left_by_zookeeper(zxid: i64) -> State {
    let open = Entry {
        perms: perms::ALL,
        scheme: "world".into(),
        id: "anyone".into(),
    };
    let paths = ["", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];
    let nodes = paths.map(str::to_owned).into_iter();
    let nodes = nodes.chain((0..zxid).map(|n| format!("/{n}")));
    let nodes = nodes.map(|path| {
        let stat = Stat::default();
        (path, Some(Vec::new()), vec![open.clone()], stat)
    });
    State::imported(nodes, std::iter::empty(), zxid, 1).expect("parents are there")
}

/// Waits until a server says so.
async fn told(address: SocketAddr, what: &str) {
    while !word(address, "srvr").await.contains(what) {
        sleep(LET_GO_STEP).await;
    }
}

/// Runs servers while `with` uses them, whose addresses it gets; all have to stop cleanly.
async fn while_they_run(configs: &[ServerConfig], with: impl AsyncFnOnce(Vec<SocketAddr>)) {
    let mut servers = Vec::new();
    for config in configs {
        servers.push(Server::start(config.clone()).await.expect("it starts"));
    }
    let addresses = servers.iter().map(Server::address).collect();
    let (stop, _) = tokio::sync::broadcast::channel::<()>(1);
    let running = servers.into_iter().map(|server| {
        let mut stopped = stop.subscribe();
        server.run((), async move { drop(stopped.recv().await) })
    });
    let using = async {
        with(addresses).await;
        stop.send(()).expect("they listen");
    };
    let (ended, ()) = tokio::join!(futures_util::future::join_all(running), using);
    let ended: Result<(), _> = ended.into_iter().collect();
    ended.expect("clean stops");
}

#[tokio::test]
async fn an_ensemble_moves_here_and_begins_with_who_had_most() {
    let folder = TempDir::new().expect("a folder");
    let configs = ensemble(&folder);
    for (config, zxid) in configs.iter().zip([7, 9, 4]) {
        let (name, bytes) = zookeeper::export(&left_by_zookeeper(zxid));
        let data = &config.zoo.data_dir;
        let inner = data.join(FOLDER_OF_ZOOKEEPER);
        fs::create_dir(&inner).expect("a folder");
        fs::write(inner.join(name), bytes).expect("a file");
        let moved = move_in(config, (data, data)).expect("good data");
        assert_eq!(moved.imported.state.zxid(), zxid);
        let members = moved.imported.state.tree().config();
        assert!(members.starts_with("server.0=127.0.0.1:"), "{members}");
        assert!(members.ends_with(&format!("version={zxid:x}")), "{members}");
        let again = move_in(config, (data, data)).expect_err("it has data");
        assert!(matches!(again, ServerError::NotEmpty(_)), "{again}");
    }
    while_they_run(&configs, async |addresses| {
        // Two of the three had less than all of it.
        for address in addresses {
            told(address, "Node count: 13\n").await;
        }
    })
    .await;

    let to = TempDir::new().expect("a folder");
    let out = move_out(&configs[0], to.path()).expect("good data");
    let back = zookeeper::import(to.path(), to.path()).expect("good data");
    assert_eq!(back.state.tree().digest(), out.state.tree().digest());
    assert_eq!(out.state.tree().len(), 13);
}

#[tokio::test]
async fn a_wrong_key_store_is_an_error_of_the_start_that_names_it() {
    let folder = TempDir::new().expect("a folder");
    drop(config(&folder));
    let file = folder.path().join("zoo.cfg");
    let properties = ["zookeeper.ssl.keyStore.location", "ssl.trustStore.location"];
    let properties = properties.map(|key| (key.to_owned(), file.display().to_string()));
    let config = ServerConfig::read(&file, &properties).expect("the files are not looked at yet");
    let error = Server::start(config).await.expect_err("no key store");
    assert!(
        error
            .to_string()
            .contains("zoo.cfg: this is neither JKS nor PKCS #12 nor PEM"),
        "{error}"
    );

    let half = ServerConfig::read(&file, &properties[..1]).expect_err("nobody is believed");
    assert!(
        half.to_string().contains("ssl.trustStore.location"),
        "{half}"
    );
}

#[tokio::test]
async fn members_agree_by_tls_and_one_that_speaks_in_the_open_hears_nothing() {
    let folder = TempDir::new().expect("a folder");
    let pem = |name: &str, content: &[u8]| {
        let file = folder.path().join(name);
        fs::write(&file, content).expect("a file");
        file.display().to_string()
    };
    let own = pem("own.pem", include_bytes!("../network/tcp/tests/here.pem"));
    let authority = include_bytes!("../network/tcp/tests/authority.pem");
    let authority = pem("authority.pem", authority);
    let guarded = format!(
        "sslQuorum=true\nssl.quorum.keyStore.location={own}\n\
         ssl.quorum.trustStore.location={authority}\n"
    );
    let mut configs = ensemble_with(&folder, &guarded);
    configs[2].members_tls = None;
    while_they_run(&configs, async |addresses| {
        // The one that leads commits its first entry with the other's vote.
        for address in &addresses[..2] {
            told(*address, "Zxid: 0x1").await;
        }
        let third = word(addresses[2], "srvr").await;
        assert!(third.contains("Zxid: 0x0\nMode: read-only\n"), "{third}");
    })
    .await;
}

#[test]
fn a_disk_that_is_full_and_one_that_is_back_are_told_and_change_no_lead() {
    let names = |was, is| events(2, was, is).map(|event| event.kind().name).collect();
    let told = |was, is| -> Vec<&str> { names(was, is) };
    let fine = Standing {
        term: 1,
        leader: Some(1),
        ..Standing::default()
    };
    let full = Standing {
        disk: DiskStanding::Full,
        ..fine
    };
    assert_eq!(told(Standing::default(), fine), ["keeper_role_changed"]);
    assert_eq!(told(fine, fine), [""; 0]);
    assert_eq!(told(fine, full), ["keeper_disk_blocked"]);
    let lost = Standing {
        leader: None,
        ..fine
    };
    let both = ["keeper_disk_recovered", "keeper_quorum_lost"];
    assert_eq!(told(full, lost), both);
}
