//! ZooKeeper's own command line, as an operator would type it.
//!
//! One session types every command of [`TRANSCRIPT`]; what is printed has to be what ZooKeeper 3.8
//! printed, save for times and numbers that no two servers have in common.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::java;
use super::outcome::{Counts, Report, Run, Verdict};
use super::sandbox::{self, Sandboxed};
use super::server::{Choice, Subject};
use crate::process::Scratch;
use crate::wait;

/// `> ` and a command, then what it printed, as [`masked`] makes it.
const TRANSCRIPT: &str = include_str!("zkcli.transcript");
/// Under this name stands what the watches said, sorted: they are printed by a thread of their own.
const EVENTS: &str = "(events)";
/// Asked for after every command, so that one sees where its output ends.
const MARKER: &str = "/marker-";
const LIMIT: Duration = Duration::from_mins(5);

const CONFIG: &str = "tickTime=1000\nclientPort=2181\nadmin.enableServer=false\n\
    4lw.commands.whitelist=*\ndataDir=";
/// Starts a server, then types; the arguments are the configuration, the input and the output.
const SESSION: &str = r#"
java -Dzookeeper.extendedTypesEnabled=true \
    org.apache.zookeeper.server.quorum.QuorumPeerMain "$1" > "$1.log" 2>&1 &
exec java -Dorg.slf4j.simpleLogger.defaultLogLevel=off \
    org.apache.zookeeper.ZooKeeperMain -server 127.0.0.1:2181 -waitforconnection < "$2"
"#;

/// Types the commands at the chosen servers and prints the report.
pub(super) fn run(choice: &Choice) -> Result<bool> {
    let expected = Counts {
        passed: blocks(TRANSCRIPT).len(),
        failed: 0,
        skipped: 0,
    };
    let runs = choice
        .subjects()
        .iter()
        .map(|subject| against(choice, *subject));
    Report::new("zkcli", expected, runs.collect::<Result<_>>()?).conclude(choice.json)
}

fn against(choice: &Choice, subject: Subject) -> Result<Run> {
    let folder = Scratch::new(&format!("zkcli-{}", subject.name()))?;
    let (installed, _java) = choice.servers_and_tools(subject, &folder)?;
    java::install(folder.path(), &installed)?;
    eprintln!("zkcli on {}: running", subject.name());
    let (printed, seconds) = wait::timed(|| execute(folder.path()));
    let printed = printed?;
    let expected = blocks(TRANSCRIPT);
    let actual = spoken(&expected, &printed)?;
    let tests = expected
        .iter()
        .zip(actual)
        .enumerate()
        .map(|(index, (block, actual))| {
            let name = format!("{index:02} {}", block.command);
            (name, judge(&block.printed, &actual))
        });
    Ok(Run {
        subject,
        seconds,
        tests: tests.collect(),
    })
}

fn judge(expected: &str, actual: &str) -> Verdict {
    if expected == actual {
        return Verdict::Passed;
    }
    let theirs = expected.trim_end().replace('\n', "\n    ");
    let ours = actual.trim_end().replace('\n', "\n    ");
    Verdict::Failed(format!("expected:\n    {theirs}\nprinted:\n    {ours}"))
}

fn execute(folder: &Path) -> Result<String> {
    let temporary = folder.join("tmp");
    let data = folder.join("data");
    fs::create_dir(&temporary)?;
    fs::create_dir(&data)?;
    let config = folder.join("zoo.cfg");
    fs::write(&config, format!("{CONFIG}{}\n", data.display()))?;
    let input = folder.join("input");
    fs::write(&input, typed(&blocks(TRANSCRIPT)))?;
    let mut command = sandbox::command(&temporary)?;
    command
        .args(["sh", "-c", SESSION, "sh"])
        .args([&config, &input])
        .current_dir(folder)
        .env("PATH", java::first_in_path(folder)?);
    let log = folder.join("zkcli.log");
    let ended = Sandboxed::start(command, &log)?.ended("the commands to end", LIMIT, || {});
    let printed = fs::read_to_string(&log)?;
    ended.with_context(|| printed.clone())?;
    Ok(printed)
}

/// A command and what it prints.
#[derive(Debug, PartialEq)]
struct Block {
    command: String,
    printed: String,
}

fn blocks(transcript: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for line in transcript.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            blocks.push(Block {
                command: command.to_owned(),
                printed: String::new(),
            });
        } else if let Some(block) = blocks.last_mut() {
            block.printed.push_str(line);
            block.printed.push('\n');
        }
    }
    blocks
}

/// The commands, each followed by its marker.
fn typed(blocks: &[Block]) -> String {
    let mut input = String::new();
    for (index, block) in blocks
        .iter()
        .enumerate()
        .filter(|(_, block)| block.command != EVENTS)
    {
        let _infallible = writeln!(input, "{}\nget {MARKER}{index}", block.command);
    }
    input.push_str("quit\n");
    input
}

/// What each command printed, and last what the watches said.
fn spoken(blocks: &[Block], printed: &str) -> Result<Vec<String>> {
    let (text, events) = apart(printed);
    let greeting = "JLine support is disabled\n";
    let (_, mut rest) = text
        .split_once(greeting)
        .with_context(|| format!("no session:\n{printed}"))?;
    let mut spoken = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        if block.command == EVENTS {
            spoken.push(events.clone());
            continue;
        }
        let marker = format!("Node does not exist: {MARKER}{index}\n");
        let cut = rest.split_once(&marker);
        let (said, after) =
            cut.with_context(|| format!("{} did not end:\n{rest}", block.command))?;
        spoken.push(masked(said));
        rest = after;
    }
    ensure!(spoken.len() == blocks.len(), "a command was lost");
    Ok(spoken)
}

/// Events stand between others' lines: an empty line, `WATCHER::`, an empty line, the event.
fn apart(printed: &str) -> (String, String) {
    let (mut text, mut events) = (String::new(), Vec::new());
    for line in printed.lines() {
        if line.starts_with("WatchedEvent ") {
            events.push(format!("{line}\n"));
        } else if !line.is_empty() && line != "WATCHER::" {
            text.push_str(line);
            text.push('\n');
        }
    }
    events.sort();
    (text, events.concat())
}

/// Without times, and without numbers that depend on what else the server has done.
fn masked(said: &str) -> String {
    let mut text = String::new();
    for line in said.lines() {
        let masked = match line.split_once(" = ") {
            Some((name @ ("ctime" | "mtime"), _)) => format!("{name} = (time)"),
            Some((name, value)) if value.starts_with("0x") && value != "0x0" => {
                format!("{name} = (number)")
            },
            Some(_) | None => sorted(line),
        };
        text.push_str(&masked);
        text.push('\n');
    }
    text
}

/// A list has no order of its own.
fn sorted(line: &str) -> String {
    let Some(list) = line
        .strip_prefix('[')
        .and_then(|line| line.strip_suffix(']'))
    else {
        return line.to_owned();
    };
    let mut items: Vec<&str> = list.split(", ").collect();
    items.sort_unstable();
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "Connecting\n\nWATCHER::\n\nWatchedEvent b\nJLine support is disabled\n\
        Created /a\nNode does not exist: /marker-0\none\ncZxid = 0x7\nctime = today\n\
        ephemeralOwner = 0x0\n\nWATCHER::\n\nWatchedEvent a\nNode does not exist: /marker-1\n";

    #[test]
    fn what_a_command_printed_ends_at_its_marker_and_events_stand_apart() {
        let blocks = blocks("> create /a one\n> get -s /a\n> (events)\n");
        let spoken = spoken(&blocks, PRINTED).expect("every command ended");
        let get = "one\ncZxid = (number)\nctime = (time)\nephemeralOwner = 0x0\n";
        assert_eq!(
            spoken,
            ["Created /a\n", get, "WatchedEvent a\nWatchedEvent b\n"]
        );
    }

    #[test]
    fn a_session_that_broke_off_is_an_error() {
        let blocks = blocks("> create /a one\n> get -s /a\n> ls /\n> (events)\n");
        assert!(spoken(&blocks, PRINTED).is_err());
    }

    #[test]
    fn another_output_fails_with_both() {
        assert_eq!(judge("a\n", "a\n"), Verdict::Passed);
        let failed = Verdict::Failed("expected:\n    a\nprinted:\n    b".to_owned());
        assert_eq!(judge("a\n", "b\n"), failed);
    }
}
