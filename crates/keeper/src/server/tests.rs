//! Claims about a server's start, its folder and its stop.

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;

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
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run((), async move { drop(stopped.await) }));
        assert_eq!(word(address, "ruok").await, "imok");
        let second = Server::start(config(&folder)).await;
        assert!(
            matches!(second, Err(ServerError::Locked(_))),
            "{second:?} shares the folder"
        );
        stop.send(()).expect("it runs");
        running.await.expect("no panic").expect("a clean stop");
    }
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
