//! Claims about wrong input: a sentence that names it, and the exit code.

use std::net::TcpListener;
use std::process::Output;

use crate::node::{mainstay, write_config};

fn run(service: &str) -> (Output, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = write_config(dir.path(), service);
    let output = mainstay()
        .arg("run")
        .arg(file)
        .output()
        .expect("the binary starts");
    (output, dir)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_wrong_file_ends_with_2_and_all_its_mistakes() {
    let (output, _dir) = run("endpoints = [\"nowhere\"]\nretri = { attempts = 2 }");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("endpoint \"nowhere\" is wrong"), "{said}");
    assert!(said.contains("did you mean `retry`?"), "{said}");
    assert!(said.contains("mainstay.toml:11:14"), "{said}");
}

#[test]
fn a_file_that_is_not_there_ends_with_2_and_its_name() {
    let output = mainstay()
        .args(["run", "/nonexistent/m.toml"])
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("/nonexistent/m.toml"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_taken_port_ends_with_3_and_names_the_port() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = write_config(dir.path(), "endpoints = [\"127.0.0.1:1\"]");
    let text = std::fs::read_to_string(&file).expect("just written");
    std::fs::write(
        &file,
        text.replace(
            "listen = \"127.0.0.1:0\"",
            &format!("listen = \"{address}\""),
        ),
    )
    .expect("writable");

    let output = mainstay()
        .arg("run")
        .arg(file)
        .output()
        .expect("the binary starts");

    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&address), "{said}");
}

#[test]
fn a_command_that_does_not_exist_ends_with_3_and_names_it() {
    let (output, _dir) = run("run = { command = [\"no-such-program\"] }");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("no-such-program"), "{said}");
}

#[test]
fn validate_reports_places_as_a_document() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = write_config(dir.path(), "endpoints = []");
    let output = mainstay()
        .args(["config", "validate", "--json"])
        .arg(file)
        .output()
        .expect("it starts");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(document["problems"][0]["line"], 11);
}

#[test]
fn explain_names_the_origin_of_every_value() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = write_config(dir.path(), "endpoints = [\"127.0.0.1:1\"]");
    let output = mainstay()
        .args(["config", "explain"])
        .arg(file)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |key: &str| {
        said.lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(line("node.name").ends_with("mainstay.toml:3"), "{said}");
    assert!(
        line("service.payment.retry.attempts").ends_with("default"),
        "{said}"
    );
}
