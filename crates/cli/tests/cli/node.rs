//! A running `mainstay run` for tests: started with a file of its own, found by its node file,
//! and ended by its own pid whatever the test does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a condition may take to come true on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test.
pub(crate) fn mainstay() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mainstay"))
}

/// Waits until `what` gives a value.
pub(crate) fn wait_for<T>(claim: &str, mut what: impl FnMut() -> Option<T>) -> T {
    let until = now() + PATIENCE;
    loop {
        if let Some(value) = what() {
            return value;
        }
        assert!(now() < until, "waited {PATIENCE:?} for: {claim}");
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test of real processes has only real time"
)]
fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "between two looks at another process"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// A node in a directory of its own.
pub(crate) struct Node {
    pub(crate) child: Child,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) admin: String,
    pub(crate) listen: String,
}

impl Node {
    /// Starts a node with `service`, lines for `[service.payment]`, and waits until it serves.
    pub(crate) fn start(service: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = write_config(dir.path(), service);
        let child = mainstay()
            .arg("run")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log")).expect("a log file"))
            .spawn()
            .expect("the binary starts");
        let mut node = Self {
            child,
            dir,
            admin: String::new(),
            listen: String::new(),
        };
        let found = wait_for("the node file", || {
            let text = std::fs::read_to_string(node.dir.path().join("data/node.json")).ok()?;
            serde_json::from_str::<Value>(&text).ok()
        });
        let text = |value: &Value| value.as_str().expect("an address").to_owned();
        node.admin = text(&found["admin"]);
        node.listen = text(&found["services"][0]["listen"]);
        node
    }

    /// The endpoints as the API shows them.
    pub(crate) fn endpoints(&self) -> Vec<Value> {
        let (_, body) = get(&self.admin, "/api/v1/status");
        let status: Value = serde_json::from_str(&body).unwrap_or_default();
        status["services"][0]["endpoints"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// The processes of all replicas, once all of them are healthy.
    pub(crate) fn healthy_pids(&self, count: usize) -> Vec<u32> {
        wait_for("all replicas are healthy", || {
            let endpoints = self.endpoints();
            let healthy: Vec<u32> = endpoints
                .iter()
                .filter(|endpoint| endpoint["health"] == "healthy")
                .filter_map(|endpoint| u32::try_from(endpoint["pid"].as_u64()?).ok())
                .collect();
            (healthy.len() == count).then_some(healthy)
        })
    }

    /// Whether an event with this name has been told.
    pub(crate) fn told(&self, event: &str) -> Option<Value> {
        let (_, body) = get(&self.admin, &format!("/api/v1/events?event={event}"));
        let events: Value = serde_json::from_str(&body).ok()?;
        events["events"].as_array()?.first().cloned()
    }

    /// Sends a signal to the node itself.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits until the node ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait_for("the node ends", || {
            self.child.try_wait().expect("it is our child")
        })
    }

    /// What the node logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of the node:\n{}", self.log());
        }
        if self.child.try_wait().ok().flatten().is_none() {
            self.signal("TERM");
            let _ended = self.ended();
        }
    }
}

/// Writes a configuration with ports chosen by the system.
pub(crate) fn write_config(dir: &Path, service: &str) -> PathBuf {
    let file = dir.join("mainstay.toml");
    let data = dir.join("data");
    let text = format!(
        "version = 1\n[node]\nname = \"n1\"\nadmin = \"127.0.0.1:0\"\ndata_dir = \"{}\"\n\
         [gateway]\nworkers = 1\ndrain = \"5s\"\n[service.payment]\nlisten = \"127.0.0.1:0\"\n{service}\n",
        data.display(),
    );
    std::fs::write(&file, text).expect("the file can be written");
    file
}

/// Sends a signal to a process that a test started.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status();
    assert!(status.is_ok(), "kill is part of every system");
}

/// Whether a process exists and is not a zombie.
pub(crate) fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// All processes whose parent is `pid`.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let tasks = format!("/proc/{pid}/task");
    let tasks = std::fs::read_dir(tasks).into_iter().flatten();
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| {
            list.split(' ')
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// One GET on a connection of its own: the whole head, and the body.
pub(crate) fn get(address: &str, path: &str) -> (String, String) {
    let answer = exchange(
        address,
        &format!("GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"),
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

/// Sends bytes and reads until the other side closes.
pub(crate) fn exchange(address: &str, request: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return String::new();
    };
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout above zero");
    let mut answer = Vec::new();
    if stream.write_all(request.as_bytes()).is_ok() {
        let _partial = stream.read_to_end(&mut answer);
    }
    String::from_utf8_lossy(&answer).into_owned()
}
