//! Claims about `mainstay keeper` as an operator meets it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::node::{mainstay, signal, wait_for};

/// Ended by its own pid whatever the test does.
struct Keeper(Child);

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}

fn start(dir: &Path) -> Keeper {
    let file = dir.join("zoo.cfg");
    let data = dir.join("data");
    let text = format!(
        "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\n4lw.commands.whitelist=*\n\
         admin.serverPort=0\n",
        data.display()
    );
    std::fs::write(&file, text).expect("a file");
    let log = std::fs::File::create(dir.join("log")).expect("a log file");
    let child = mainstay()
        .arg("keeper")
        .arg("--zoo-cfg")
        .arg(&file)
        .stderr(log)
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary starts");
    Keeper(child)
}

/// Where it listens, by its log.
fn address(dir: &Path) -> String {
    wait_for("it listens", || {
        let log = std::fs::read_to_string(dir.join("log")).ok()?;
        let line = log.lines().find(|line| line.contains("keeper_started"))?;
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(event["listen"].as_str()?.to_owned())
    })
}

#[test]
fn a_member_serves_and_ends_with_0_when_it_is_told_to() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut keeper = start(dir.path());
    let mut stream = TcpStream::connect(address(dir.path())).expect("it listens");
    stream.write_all(b"ruok").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert_eq!(answer, "imok");

    signal(keeper.0.id(), "TERM");

    let ended = keeper.0.wait().expect("it ends");
    let log = std::fs::read_to_string(dir.path().join("log")).expect("a log");
    assert_eq!(ended.code(), Some(0), "{log}");
    assert!(log.contains("keeper_stopped"), "{log}");
}

#[test]
fn every_mistake_of_the_file_is_told_with_its_line() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("zoo.cfg");
    std::fs::write(&file, "tickTime=soon\nserver.1=nowhere\n").expect("a file");
    let output = mainstay()
        .arg("keeper")
        .arg("--zoo-cfg")
        .arg(&file)
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in [
        "line 1: tickTime",
        "line 2: server.1",
        "dataDir",
        "clientPort",
    ] {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
}

#[test]
fn a_property_without_a_value_is_empty_as_java_has_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("zoo.cfg");
    std::fs::write(&file, "dataDir=/no\nclientPort=1\n").expect("a file");
    let told = |property: &str| {
        let mut command = mainstay();
        command.args(["keeper", "--java-prop", "com.sun.management.jmxremote"]);
        command.args(["--java-prop", property, "--zoo-cfg"]);
        let output = command.arg(&file).output().expect("the binary starts");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    // One that means nothing here is passed over, and one that does has to have a value.
    let said = told("zookeeper.tickTime");
    assert!(said.contains("tickTime") && !said.contains("jmx"), "{said}");
}
