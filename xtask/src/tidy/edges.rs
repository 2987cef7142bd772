//! Which crate may depend on which.
//!
//! Prevents a workspace in which everything depends on everything: crates stand in rows, arrows
//! point down only, and an arrow that is not in the table below is a finding. A new edge needs a
//! decision record; one that the first design did not have names it here.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Finding, TextFile};
use crate::workspace::{DependencyKind, Metadata};

/// A crate's place: its row, and the crates that it may depend on.
#[derive(Debug)]
pub(super) struct Place {
    /// Its folder below `crates`.
    pub name: &'static str,
    /// 0 is the bottom.
    pub row: u8,
    uses: &'static [&'static str],
}

const fn place(name: &'static str, row: u8, uses: &'static [&'static str]) -> Place {
    Place { name, row, uses }
}

/// All crates that the design knows, top row first, in the order of the picture.
pub(super) const PLACES: &[Place] = &[
    place("cli", 4, &["node", "drill", "observe"]),
    place(
        "node",
        3,
        &[
            "gateway",
            "keeper",
            "supervisor",
            "failover",
            "admin",
            "observe",
            "core",
        ],
    ),
    place("drill", 3, &["check", "observe", "core"]),
    place("sim", 3, &["keeper", "check", "core", "zk-proto"]),
    place("gateway", 2, &["mainstay", "observe", "core"]),
    place("keeper", 2, &["observe", "core", "zk-proto"]),
    place("supervisor", 2, &["observe", "core"]),
    place("failover", 2, &["supervisor", "observe", "core"]),
    place("admin", 2, &["observe", "core"]),
    place("payment", 2, &[]),
    place("mainstay", 1, &["core"]),
    place("observe", 1, &["core"]),
    place("check", 1, &["core"]),
    place("recipe", 1, &[]),
    place("core", 0, &[]),
    place("zk-proto", 0, &[]),
];

/// Edges that came later, each with the title of its record, `docs/adr/NNNN-<title>.md`.
const DECIDED: &[(&str, &str, &str)] = &[
    ("cli", "payment", "example-service-in-the-binary"),
    ("drill", "zk-proto", "drill-speaks-the-protocol"),
];

/// The tool stands beside the rows; it takes the list of events from `core`, and the messages that
/// its oracle sends to two servers from `zk-proto`.
const TOOL: &str = "xtask";
const TOOL_USES: &[&str] = &["core", "zk-proto"];

/// A crate of the workspace with its edges to the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Crate {
    /// Its folder's name.
    pub name: String,
    /// Its `Cargo.toml`, from the workspace's root.
    pub manifest: String,
    /// Folders of the crates that it or its build script needs.
    pub uses: BTreeSet<String>,
    /// Folders of the crates that only its tests, examples and benchmarks need.
    pub tests_use: BTreeSet<String>,
}

/// The workspace's crates, by name.
pub(super) fn crates(metadata: &Metadata, root: &Path) -> Result<Vec<Crate>> {
    let folder = |package: &str| {
        let found = metadata
            .packages
            .iter()
            .find(|found| found.name == package)?;
        let folder = found.manifest_path.parent()?.file_name()?;
        Some(folder.to_string_lossy().into_owned())
    };
    let mut crates = Vec::new();
    for package in &metadata.packages {
        let manifest = package.manifest_path.strip_prefix(root);
        let edges = |tests: bool| {
            let kind = move |kind| (kind == Some(DependencyKind::Dev)) == tests;
            let wanted = package
                .dependencies
                .iter()
                .filter(move |used| kind(used.kind));
            wanted.filter_map(|used| folder(&used.name)).collect()
        };
        crates.push(Crate {
            name: folder(&package.name).context("a package lies in a folder")?,
            manifest: manifest
                .context("a package lies in the workspace")?
                .display()
                .to_string(),
            uses: edges(false),
            tests_use: edges(true),
        });
    }
    crates.sort();
    Ok(crates)
}

/// Finds edges that are not allowed, and crates without a place.
pub(super) fn check(crates: &[Crate], files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for from in crates {
        let manifest = files.iter().find(|file| file.path == from.manifest);
        let line = |to: &str| manifest.map_or(1, |file| line_of_dependency(file, to));
        if from.name != TOOL && place_of(&from.name).is_none() {
            let text = format!(
                "crate `{}` has no place in xtask/src/tidy/edges.rs",
                from.name
            );
            findings.push(Finding::new(&from.manifest, 1, text));
            continue;
        }
        for to in from.uses.iter().filter(|to| !allowed(&from.name, to)) {
            let text = format!("`{}` must not depend on `{to}`", from.name);
            findings.push(Finding::new(&from.manifest, line(to), text));
        }
        for to in from
            .tests_use
            .iter()
            .filter(|to| !allowed_in_tests(&from.name, to))
        {
            let text = format!(
                "tests of `{}` must not depend on `{to}`: not below it",
                from.name
            );
            findings.push(Finding::new(&from.manifest, line(to), text));
        }
    }
    findings.extend(missing_records(crates, files));
    findings
}

fn place_of(name: &str) -> Option<&'static Place> {
    PLACES.iter().find(|place| place.name == name)
}

fn allowed(from: &str, to: &str) -> bool {
    let uses = if from == TOOL {
        TOOL_USES
    } else {
        place_of(from).map_or(&[][..], |at| at.uses)
    };
    uses.contains(&to)
        || DECIDED
            .iter()
            .any(|&(left, right, _)| (left, right) == (from, to))
}

/// Tests may look further than the code, but only downwards.
fn allowed_in_tests(from: &str, to: &str) -> bool {
    let rows = place_of(from).zip(place_of(to));
    allowed(from, to) || rows.is_some_and(|(from, to)| to.row < from.row)
}

/// An edge in use whose decision nobody wrote down.
fn missing_records(crates: &[Crate], files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for &(from, to, title) in DECIDED {
        let user = crates
            .iter()
            .find(|user| user.name == from && user.uses.contains(to));
        let record = format!("-{title}.md");
        let written =
            |file: &TextFile| file.path.starts_with("docs/adr/") && file.path.ends_with(&record);
        if let Some(user) = user.filter(|_| !files.iter().any(written)) {
            let text = format!("the edge to `{to}` needs its record, docs/adr/NNNN{record}");
            findings.push(Finding::new(&user.manifest, 1, text));
        }
    }
    findings
}

/// The line of a manifest that names a crate's package.
fn line_of_dependency(manifest: &TextFile, folder: &str) -> usize {
    let package = format!("mainstay-{folder}");
    let named = |line: &str| {
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        name == package || name == folder
    };
    let found = manifest
        .lines()
        .skip_while(|(_, line)| !line.contains("dependencies]"));
    let mut found = found.filter(|(_, line)| named(line));
    found.next().map_or(1, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crate_named(name: &str, uses: &[&str], tests_use: &[&str]) -> Crate {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Crate {
            name: name.into(),
            manifest: format!("crates/{name}/Cargo.toml"),
            uses: set(uses),
            tests_use: set(tests_use),
        }
    }

    fn findings(user: Crate) -> Vec<String> {
        let manifest = TextFile {
            path: user.manifest.clone(),
            text: "[package]\n[dependencies]\nmainstay-gateway.workspace = true\n".into(),
        };
        let found = check(&[user], &[manifest]);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_allowed_edges_point_down_or_to_a_stated_neighbour() {
        for from in PLACES {
            for to in from.uses {
                let to = place_of(to).expect("the table names places only");
                let neighbour = (from.name, to.name) == ("failover", "supervisor");
                assert!(
                    to.row < from.row || neighbour,
                    "{} to {}",
                    from.name,
                    to.name
                );
            }
        }
    }

    #[test]
    fn an_edge_of_the_table_is_fine() {
        assert_eq!(
            findings(crate_named("gateway", &["mainstay", "core"], &[])),
            [""; 0]
        );
    }

    #[test]
    fn an_edge_that_the_table_lacks_is_found_at_its_line() {
        assert_eq!(
            findings(crate_named("drill", &["gateway"], &[])),
            ["crates/drill/Cargo.toml:3: `drill` must not depend on `gateway`"],
        );
    }

    #[test]
    fn tests_may_look_down_but_not_sideways_or_up() {
        assert_eq!(
            findings(crate_named("drill", &[], &["gateway", "payment"])),
            [""; 0]
        );
        assert_eq!(
            findings(crate_named("admin", &[], &["gateway"])),
            [
                "crates/admin/Cargo.toml:3: tests of `admin` must not depend on `gateway`: not below it"
            ],
        );
        assert_eq!(findings(crate_named("core", &[], &["observe"])).len(), 1);
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        let found = findings(crate_named("extra", &["core"], &[]));
        assert_eq!(
            found,
            ["crates/extra/Cargo.toml:1: crate `extra` has no place in xtask/src/tidy/edges.rs"],
        );
    }

    #[test]
    fn a_later_edge_needs_its_record() {
        let found = findings(crate_named("cli", &["payment"], &[]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("needs its record, docs/adr/"),
            "{found:?}"
        );
    }

    #[test]
    fn edges_come_from_cargo_by_folder_and_kind() {
        let metadata = r#"{"target_directory": "/w/target", "packages": [
            {"name": "mainstay-core", "manifest_path": "/w/crates/core/Cargo.toml",
             "dependencies": [{"name": "serde", "kind": null}]},
            {"name": "mainstay", "manifest_path": "/w/crates/mainstay/Cargo.toml",
             "dependencies": [{"name": "mainstay-core", "kind": null}]},
            {"name": "mainstay-drill", "manifest_path": "/w/crates/drill/Cargo.toml",
             "dependencies": [{"name": "mainstay-core", "kind": "build"},
                              {"name": "mainstay", "kind": "dev"}]}]}"#;
        let metadata = serde_json::from_str(metadata).expect("the form of cargo metadata");
        let found = crates(&metadata, Path::new("/w")).expect("packages below the root");
        let expected = [
            crate_named("core", &[], &[]),
            crate_named("drill", &["core"], &["mainstay"]),
            crate_named("mainstay", &["core"], &[]),
        ];
        assert_eq!(found, expected);
    }
}
