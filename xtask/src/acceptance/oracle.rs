//! `cargo xtask acceptance oracle`: one random stream of requests to the keeper and to Debian's
//! ZooKeeper 3.8, and every answer and event compared.
//!
//! Prevents a server that is right in all that somebody thought of. What clients do is drawn from
//! a seed; zxids and sessions are compared by what they belong to, times are left out, children are
//! compared as sets. A finding is shortened until nothing can be left out, and printed.

mod ask;
mod difference;
mod play;
mod shrink;
mod sight;
mod story;
mod world;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::server::{self, Choice, Subject};
use crate::process::{Owned, Scratch};
use crate::wait;
use play::{Addresses, Chapter, Finding};
use story::{Step, Story};

/// Requests in one chapter; then everything that is left is compared.
const CHAPTER_REQUESTS: usize = 5_000;
/// How long a server may take until it serves.
const START_MAX: Duration = Duration::from_mins(1);
/// Chapters between two words of progress.
const TELL_EVERY: u64 = 10;
/// `super:test`, as ZooKeeper's documentation has it.
const SUPER: &str = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=";

/// What the oracle is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Requests in all.
    #[arg(long, default_value_t = 1_000_000)]
    operations: u64,
    /// Where the stream begins; a chapter's own seed plays that chapter first.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Findings after which it ends.
    #[arg(long, default_value_t = 1)]
    findings: usize,
    #[command(flatten)]
    choice: Choice,
}

/// Plays until all is asked or too much was found, and says whether nothing was.
pub(super) fn run(args: &Args) -> Result<bool> {
    let folder = Scratch::new("oracle")?;
    let (theirs, theirs_at) = start(Subject::Zookeeper, &args.choice, &folder)?;
    let (ours, ours_at) = start(Subject::Mainstay, &args.choice, &folder)?;
    let addresses = Addresses {
        ours: ours_at,
        theirs: theirs_at,
    };
    let (told, seconds) = wait::timed(|| play(args, addresses));
    let told = told.with_context(|| {
        format!(
            "ZooKeeper:\n{}\nours:\n{}",
            theirs.log_end(),
            ours.log_end()
        )
    });
    drop((ours, theirs));
    let told = told?;
    println!(
        "oracle: {} requests in {} chapters from seed {}, {seconds:.0} s: {} findings",
        told.requests, told.chapters, args.seed, told.findings
    );
    for (name, count) in &told.meant {
        println!("  {count:>8}  {name}: meant, see docs/guides/zookeeper-differences.md");
    }
    Ok(told.findings == 0)
}

#[derive(Debug, Default)]
struct Told {
    requests: u64,
    chapters: u64,
    findings: usize,
    meant: BTreeMap<&'static str, u64>,
}

fn play(args: &Args, addresses: Addresses) -> Result<Told> {
    let mut told = Told::default();
    let mut roots = (0..).map(|number| format!("/o{number}"));
    let mut root = move || roots.next().unwrap_or_default();
    while told.requests < args.operations && told.findings < args.findings {
        let seed = args.seed.wrapping_add(told.chapters);
        let mut chapter = Chapter::begin(addresses, &root())?;
        let (steps, found) = tell(&mut chapter, seed)?;
        told.chapters += 1;
        told.requests += chapter.requests() as u64;
        for (name, count) in &chapter.meant {
            *told.meant.entry(name).or_default() += count;
        }
        if let Some(found) = found {
            told.findings += 1;
            report(addresses, &mut root, seed, (steps, found))?;
        }
        if told.chapters % TELL_EVERY == 0 {
            eprintln!("oracle: {} of {} requests", told.requests, args.operations);
        }
    }
    Ok(told)
}

/// Plays one chapter; what was played, and what was found.
fn tell(chapter: &mut Chapter, seed: u64) -> Result<(Vec<Step>, Option<Finding>)> {
    let mut story = Story::new(seed);
    let mut played = Vec::new();
    while chapter.requests() < CHAPTER_REQUESTS {
        let steps = story.next(chapter.connected());
        let found = chapter.play(&steps)?;
        played.extend(steps);
        if found.is_some() {
            return Ok((played, found));
        }
        for path in chapter.made.drain(..) {
            story.learn(path);
        }
    }
    let found = chapter.end()?;
    Ok((played, found))
}

/// Plays steps on fresh nodes; whether they still show a difference.
fn again(addresses: Addresses, root: &str, steps: &[Step]) -> Result<Option<Finding>> {
    let mut chapter = Chapter::begin(addresses, root)?;
    match chapter.play(steps)? {
        Some(found) => Ok(Some(found)),
        None => chapter.end(),
    }
}

fn report(
    addresses: Addresses,
    root: &mut impl FnMut() -> String,
    seed: u64,
    (steps, found): (Vec<Step>, Finding),
) -> Result<()> {
    println!(
        "finding in the chapter of seed {seed}, after {} steps:",
        steps.len()
    );
    tell_of(&found);
    let steps = shrink::shrink(steps, |steps| {
        Ok(again(addresses, &root(), steps)?.is_some())
    })?;
    println!("shortest story, {} steps:", steps.len());
    for step in &steps {
        println!("  client {} {:?}", step.client, step.deed);
    }
    match again(addresses, &root(), &steps)? {
        Some(found) => tell_of(&found),
        None => println!("  it does not show again"),
    }
    Ok(())
}

fn tell_of(found: &Finding) {
    if let Some(ask) = &found.ask {
        println!("  asked   {ask:?}");
    }
    println!("  ours    {}", found.ours);
    println!("  theirs  {}", found.theirs);
}

fn start(subject: Subject, choice: &Choice, scratch: &Scratch) -> Result<(Owned, SocketAddr)> {
    let installed = choice.servers(subject, scratch)?;
    let name = subject.name();
    let folder = scratch.path().join(format!("{name}-data"));
    fs::create_dir_all(folder.join("data"))?;
    let address = free()?;
    let file = folder.join("zoo.cfg");
    fs::write(&file, configuration(&folder, address))?;
    let program = program(&installed, &file);
    let program: Vec<&OsStr> = program.iter().map(OsStr::new).collect();
    let core = usize::from(subject == Subject::Mainstay);
    let mut server = Owned::start(&format!("{name}-server"), core, &folder, &program)?;
    let listening = wait::until("a server to serve", START_MAX, || {
        server.runs()?;
        serves(address)
    });
    listening.with_context(|| server.log_end())?;
    Ok((server, address))
}

/// Whether a server says that it serves: ZooKeeper listens before it does, and hangs up until then.
fn serves(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(START_MAX))?;
    stream.write_all(b"srvr")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.contains("Mode: "), "it answers {answer:?}");
    Ok(())
}

/// Nothing may happen by time alone: nobody looks for empty containers, and sessions last.
fn configuration(folder: &Path, address: SocketAddr) -> String {
    format!(
        "dataDir={}\nclientPort={}\nclientPortAddress={}\ntickTime=50000\n\
         minSessionTimeout=1000000\nmaxSessionTimeout=2000000\nmaxClientCnxns=0\n\
         admin.enableServer=false\n4lw.commands.whitelist=*\n",
        folder.join("data").display(),
        address.port(),
        address.ip(),
    )
}

const PROPERTIES: &[(&str, &str)] = &[
    ("zookeeper.DigestAuthenticationProvider.superDigest", SUPER),
    ("zookeeper.extendedTypesEnabled", "true"),
    ("znode.container.checkIntervalMs", "1000000000"),
];

fn program(installed: &server::Installed, file: &Path) -> Vec<String> {
    let properties = PROPERTIES.iter();
    let file = file.display().to_string();
    if let Some(keeper) = &installed.keeper {
        let head = [&keeper.display().to_string(), "keeper", "--zoo-cfg", &file];
        let properties = properties
            .flat_map(|(key, value)| ["--java-prop".to_owned(), format!("{key}={value}")]);
        return head
            .into_iter()
            .map(str::to_owned)
            .chain(properties)
            .collect();
    }
    let java = installed.java.iter();
    let head = java.flat_map(|java| {
        let program = java.program.display().to_string();
        [
            program,
            "-Xmx1g".to_owned(),
            "-cp".to_owned(),
            java.class_path.clone(),
        ]
    });
    let properties = properties.map(|(key, value)| format!("-D{key}={value}"));
    // What is on its disk is not what is compared.
    let fast = ["-Dzookeeper.forceSync=no", "-Dfile.encoding=UTF-8"];
    let tail = ["org.apache.zookeeper.server.quorum.QuorumPeerMain", &file];
    let head = head.chain(properties);
    head.chain(fast.into_iter().chain(tail).map(str::to_owned))
        .collect()
}

/// An address that nobody uses.
fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
