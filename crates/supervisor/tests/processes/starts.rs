//! What a replica is given, and what is said of a command that cannot run.

use std::path::PathBuf;
use std::sync::Arc;

use mainstay_core::event::Event;
use mainstay_core::health::Verdict;
use mainstay_observe::{Delivery, Observer};
use mainstay_supervisor::config::Service;
use mainstay_supervisor::{Change, Phase, Supervisor};

use crate::bench::{Bench, leash, script, until};

#[tokio::test]
async fn each_replica_gets_its_port_its_name_and_its_environment() {
    let text = r#"echo "args $1 $2 env $MAINSTAY_SERVICE $MAINSTAY_REPLICA $PORT $EXTRA"; pwd
                  read line || echo "no input"; echo "complaint of $2" >&2; exec sleep 1000"#;
    let mut service = script(text);
    service
        .command
        .extend(["sh", "{port}", "{replica}"].map(str::to_owned));
    service.ports = vec![9_001, 9_002, 9_003];
    service.env.insert("EXTRA".to_owned(), "more".to_owned());
    service.dir = Some(PathBuf::from("/"));
    let bench = Bench::start(vec![service]);

    for (index, port) in [(1, 9_001), (2, 9_002), (3, 9_003)] {
        let name = format!("payment-{index}");
        bench
            .logged(&format!(
                "args {port} {name} env payment {name} {port} more"
            ))
            .await;
        bench.logged(&format!("complaint of {name}")).await;
    }
    bench.logged("no input").await;
    let replicas = bench.handle.replicas();
    let ports: Vec<u16> = replicas.iter().map(|replica| replica.port).collect();
    assert_eq!(ports, [9_001, 9_002, 9_003]);
    assert!(
        replicas
            .iter()
            .all(|r| r.ready && r.phase == Phase::Running && r.restarts == 0)
    );
    assert_eq!(bench.stopped().await.killed, 0);
}

#[tokio::test]
async fn each_replica_leads_a_process_group_of_its_own() {
    let bench = Bench::start(vec![script("exec sleep 1000")]);
    let pid = bench.ready().await;
    let seen = crate::bench::members(pid);
    assert!(seen.iter().any(|seen| seen.pid == pid), "{seen:?}");
    bench.stopped().await;
}

#[tokio::test]
async fn a_torrent_of_output_does_not_stop_the_replica() {
    // No line end in the first ten megabytes, then more short lines than any log keeps.
    let text = "head -c 10000000 /dev/zero | tr '\\0' x; yes | head -n 200000; exec sleep 1000";
    let bench = Bench::start(vec![script(text)]);
    let pid = bench.ready().await;
    let asleep = || {
        crate::bench::members(pid)
            .iter()
            .any(|seen| seen.name == "sleep")
            .then_some(())
    };
    until("all output was taken", asleep).await;
    bench.stopped().await;
}

#[tokio::test]
async fn replicas_have_heartbeats() {
    let bench = Bench::start(vec![script("exec sleep 1000")]);
    bench.ready().await;
    let mut stream = bench.observer.subscribe(None);
    loop {
        let Some(Delivery::Record(record)) = stream.next().await else {
            panic!("the stream ended");
        };
        if let Event::Heartbeat {
            node_id,
            status,
            timestamp,
        } = &record.event
        {
            assert_eq!((&**node_id, *status), ("payment-1", Verdict::Healthy));
            assert!(*timestamp > 1_600_000_000);
            break;
        }
    }
    bench.stopped().await;
}

#[tokio::test]
async fn a_command_that_vanishes_later_is_an_exit_that_says_so() {
    let dir = std::env::temp_dir().join(format!("mainstay-supervisor-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the directory for temporary files is writable");
    let program = dir.join("service");
    std::os::unix::fs::symlink("/bin/sleep", &program).expect("the link is new");
    let mut service = script("");
    service.command = vec![program.display().to_string(), "1000".to_owned()];
    let bench = Bench::start(vec![service]);
    let pid = bench.ready().await;
    until("the leash became the program", || {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        line.starts_with(&program.display().to_string())
            .then_some(())
    })
    .await;

    std::fs::remove_dir_all(&dir).expect("it is ours");
    crate::bench::signal(pid, rustix::process::Signal::KILL);

    let exits = until("the failed start is told", || {
        Some(bench.events(end)).filter(|e| e.len() >= 2)
    })
    .await;
    assert_eq!(exits[0], "signal: 9 (SIGKILL)");
    assert!(
        exits[1].starts_with("could not be started: "),
        "{}",
        exits[1]
    );
    assert!(exits[1].contains("does not exist"), "{}", exits[1]);
    bench.stopped().await;
}

fn end(event: &Event) -> Option<String> {
    if let Event::ReplicaExited { detail, .. } = event {
        Some(detail.clone())
    } else {
        None
    }
}

fn refusal(service: Service) -> String {
    let listener = Arc::new(|_: Change| {});
    Supervisor::start(vec![service], leash(), Observer::new("n1"), listener)
        .expect_err("the service cannot run")
        .to_string()
}

#[test]
fn a_command_that_cannot_run_is_refused_in_a_sentence_that_says_what_to_do() {
    let command = |command: &[&str]| Service {
        command: command.iter().map(|&part| part.to_owned()).collect(),
        ..script("")
    };
    let sentences = [
        (
            &[][..],
            "service payment: the command is empty; name the program to run",
        ),
        (
            &[" "],
            "service payment: the command is empty; name the program to run",
        ),
        (
            &["paymnet", "--port", "{port}"],
            "service payment: command `paymnet` was not found in PATH; install it, or give its path",
        ),
        (
            &["/nowhere/payment"],
            "service payment: command `/nowhere/payment` does not exist; correct its path",
        ),
        (
            &["/etc/passwd"],
            "service payment: command `/etc/passwd` is not an executable file; name a program, or \
             chmod +x it",
        ),
        (
            &["/etc"],
            "service payment: command `/etc` is not an executable file; name a program, or chmod \
             +x it",
        ),
    ];
    for (parts, sentence) in sentences {
        assert_eq!(refusal(command(parts)), sentence);
    }
}

#[test]
fn a_working_directory_that_is_not_there_is_refused() {
    let service = Service {
        dir: Some("/nowhere".into()),
        ..script("exec sleep 1000")
    };
    let sentence = "service payment: `/nowhere` is not a directory; create it, or correct `dir`";
    assert_eq!(refusal(service), sentence);
}

#[test]
fn a_program_is_looked_for_in_the_path_that_the_replica_will_see() {
    let mut service = script("exec sleep 1000");
    service.env.insert("PATH".to_owned(), "/nowhere".to_owned());
    assert!(refusal(service).contains("`sh` was not found in PATH"));
}

#[test]
fn a_relative_program_is_looked_for_in_the_working_directory() {
    let service = Service {
        command: vec!["./sh".to_owned()],
        dir: Some("/etc".into()),
        ..script("")
    };
    assert!(refusal(service).contains("`/etc/./sh` does not exist"));
}

#[test]
fn a_warden_that_cannot_be_started_is_refused() {
    let mut leash = leash();
    leash.warden = vec!["/nowhere/warden".to_owned()];
    let listener = Arc::new(|_: Change| {});
    let services = vec![script("exec sleep 1000")];
    let error = Supervisor::start(services, leash, Observer::new("n1"), listener);
    let sentence = error.expect_err("there is no warden").to_string();
    assert!(
        sentence.starts_with("the warden `/nowhere/warden` could not be started"),
        "{sentence}"
    );
}
