//! Rules for manifests and configuration files of the tools.
//!
//! Prevents a crate that the lints forgot, a second `clippy.toml` that silently drops the first,
//! and a tree that fetches its dependencies from somewhere else than everybody's registry.

use super::source::is_lock;
use super::{Finding, TextFile, extension_of};

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Keys by which a configuration points at a registry of one machine. In two parts, so that this
/// file may be checked as well.
const REGISTRY_KEYS: &[&str] = &[
    concat!("replace", "-with"),
    concat!("[regis", "tries"),
    concat!("[sou", "rce."),
    concat!("sparse", "+http"),
    concat!("index", "-url"),
];

/// Checks every manifest by every rule.
pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let mut findings = clippy_config(files);
    for file in files {
        findings.extend(lints(file));
        findings.extend(registries(file));
        findings.extend(lock(file));
    }
    findings
}

fn lints(file: &TextFile) -> Option<Finding> {
    // What others wrote follows their rules.
    let own = !file.path.starts_with("vendor/");
    let manifest = own && (file.path == "Cargo.toml" || file.path.ends_with("/Cargo.toml"));
    let package = file.text.lines().any(|line| line.trim() == "[package]");
    if !manifest || !package {
        return None;
    }
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    let inherited = lines
        .windows(2)
        .any(|pair| pair == ["[lints]", "workspace = true"]);
    let text = "lacks `[lints]` with `workspace = true`";
    (!inherited).then(|| Finding::new(&file.path, 1, text))
}

fn clippy_config(files: &[TextFile]) -> Vec<Finding> {
    let name = |path: &str| {
        path.rsplit('/')
            .next()
            .map(|name| name.trim_start_matches('.') == "clippy.toml")
    };
    let configs = files.iter().filter(|file| name(&file.path) == Some(true));
    let (root, nested): (Vec<_>, Vec<_>) = configs.partition(|file| file.path == "clippy.toml");
    let text = "a second clippy.toml silently drops the rules of the one at the root";
    let mut findings: Vec<_> = nested
        .iter()
        .map(|file| Finding::new(&file.path, 1, text))
        .collect();
    if root.is_empty() {
        findings.push(Finding::new("clippy.toml", 1, "is missing at the root"));
    }
    findings
}

fn registries(file: &TextFile) -> Vec<Finding> {
    let is_config = matches!(
        extension_of(&file.path),
        "toml" | "sh" | "conf" | "cfg" | "txt" | ""
    );
    let mut findings = Vec::new();
    for (number, line) in file.lines().filter(|_| is_config) {
        let keys = REGISTRY_KEYS.iter().filter(|key| line.contains(*key));
        let text = |key| format!("`{key}` points at a registry of one machine");
        findings.extend(keys.map(|key| Finding::new(&file.path, number, text(key))));
    }
    findings
}

fn lock(file: &TextFile) -> Vec<Finding> {
    let sources = file.lines().filter_map(|(number, line)| {
        let source = line.strip_prefix("source = \"")?.strip_suffix('"')?;
        (source != REGISTRY).then(|| (number, source.to_owned()))
    });
    let text = |source| format!("`{source}` is not the registry that everybody has");
    let findings = sources.map(|(number, source)| Finding::new(&file.path, number, text(source)));
    if is_lock(&file.path) {
        findings.collect()
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTED: &str = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n";

    fn findings(extra: &[(&str, &str)]) -> Vec<String> {
        let root = [("clippy.toml", "")];
        let files = root.iter().chain(extra);
        let file = |&(path, text): &(&str, &str)| TextFile {
            path: path.into(),
            text: text.into(),
        };
        let files: Vec<TextFile> = files.map(file).collect();
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_package_takes_the_lints_of_the_workspace() {
        assert_eq!(findings(&[("crates/a/Cargo.toml", LINTED)]), [""; 0]);
        assert_eq!(findings(&[("Cargo.toml", "[workspace]\n")]), [""; 0]);
        assert_eq!(findings(&[("vendor/a/Cargo.toml", "[package]\n")]), [""; 0]);
        let own = "[package]\n[lints]\nclippy.all = \"allow\"\n";
        assert_eq!(
            findings(&[("crates/a/Cargo.toml", own)]),
            ["crates/a/Cargo.toml:1: lacks `[lints]` with `workspace = true`"],
        );
    }

    #[test]
    fn there_is_exactly_one_clippy_configuration() {
        for second in [
            "crates/a/clippy.toml",
            "crates/a/.clippy.toml",
            ".clippy.toml",
        ] {
            assert!(
                findings(&[(second, "")])[0].contains("silently drops"),
                "{second}"
            );
        }
        assert_eq!(check(&[]).len(), 1);
    }

    #[test]
    fn a_registry_of_one_machine_is_found() {
        for key in REGISTRY_KEYS {
            let found = findings(&[(".cargo/config.toml", &format!("\n{key} x\n"))]);
            assert!(found[0].starts_with(".cargo/config.toml:2: `"), "{found:?}");
        }
    }

    #[test]
    fn the_lock_names_the_registry_of_everybody_only() {
        let lock = |source: &str| format!("[[package]]\nsource = \"{source}\"\n");
        assert_eq!(findings(&[("Cargo.lock", &lock(REGISTRY))]), [""; 0]);
        for source in [
            "git+https://example.com/a",
            "registry+https://mirror.example/index",
        ] {
            let found = findings(&[("Cargo.lock", &lock(source))]);
            assert!(found[0].starts_with("Cargo.lock:2: `"), "{found:?}");
        }
    }
}
