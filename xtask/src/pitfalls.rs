//! `cargo xtask pitfalls`: plants the bugs of docs/pitfalls.md, one after the other, and has the
//! tests find them.
//!
//! Prevents a test that cannot fail: xtask/pitfalls has at least one broken variant for each test
//! of the list, where it can be the bug that libraries of this kind really have. It works in a copy
//! of the project's files, so that nobody's work is touched, and first the tests have to pass there
//! with no bug planted.

mod list;
mod report;
mod suite;
mod tree;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

pub(crate) use self::list::{FOLDER, Planted, parse};
use self::report::{Found, Outcome, Report};
use self::suite::{HANG, Program, Source, TEST_MAX};
use self::tree::Tree;
use crate::wait;

/// What `pitfalls` is asked to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bugs of this pitfall only.
    #[arg(long)]
    only: Option<usize>,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Plants what is asked and says whether all of it was found.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let mut bugs = list::read()?;
    bugs.retain(|bug| args.only.is_none_or(|only| only == bug.pitfall));
    ensure!(!bugs.is_empty(), "no such pitfall");
    in_order_of_builds(&mut bugs);

    let tree = Tree::copy()?;
    pass_without_a_bug(&tree, &bugs)?;
    let mut found = Vec::new();
    for (done, bug) in bugs.into_iter().enumerate() {
        let (outcome, seconds) = wait::timed(|| plant(&tree, &bug));
        let one = Found::new(bug, outcome?, seconds);
        eprintln!("{:>3}: {one}", done + 1);
        found.push(one);
    }
    let report = Report::new(found);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(report.is_good())
}

/// Bugs of one crate one after the other, or the crates below it are built again for each.
fn in_order_of_builds(bugs: &mut [Planted]) {
    bugs.sort_by_cached_key(|bug| (bug.folder().to_owned(), bug.pitfall));
}

/// Every test that is named has to be there, and to pass.
fn pass_without_a_bug(tree: &Tree, bugs: &[Planted]) -> Result<()> {
    let mut tests: BTreeMap<&Source, Vec<&str>> = BTreeMap::new();
    for (source, names) in bugs.iter().flat_map(|bug| &bug.tests) {
        let of_source = tests.entry(source).or_default();
        of_source.extend(names.iter().map(|test| &**test));
    }
    for (source, mut names) in tests {
        names.sort_unstable();
        names.dedup();
        eprintln!("{source}: {} tests with no bug planted", names.len());
        let program = Program::build(tree, source)?;
        let program =
            program.map_err(|text| anyhow::anyhow!("{source} does not build:\n{text}"))?;
        for name in names {
            let verdict = program.run(name, TEST_MAX)?;
            ensure!(verdict.passed(), "{source}: {name} with no bug: {verdict}");
        }
    }
    Ok(())
}

/// Plants a bug, and has each of its tests run.
fn plant(tree: &Tree, bug: &Planted) -> Result<Outcome> {
    let _planted = tree.plant(bug)?;
    let limit = if bug.hangs { HANG } else { TEST_MAX };
    let mut found = BTreeMap::new();
    for (source, tests) in &bug.tests {
        let program = match Program::build(tree, source)? {
            Ok(program) => program,
            Err(text) => return Ok(Outcome::DoesNotCompile(text)),
        };
        for test in tests {
            let verdict = program.run(test, limit)?;
            if !verdict.finds(bug.hangs) {
                return Ok(Outcome::Missed(format!("{test} {verdict}")));
            }
            found.insert(test.clone(), verdict.to_string());
        }
    }
    Ok(Outcome::Found(found))
}
