//! A copy of the project's files, to be broken.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::Planted;
use crate::workspace;

/// The copy, and where it is built.
#[derive(Debug)]
pub(super) struct Tree {
    files: PathBuf,
    build: PathBuf,
    /// Two runs at once would plant two bugs.
    _lock: File,
}

/// A bug that is there until this is dropped.
#[derive(Debug)]
#[must_use = "the bug goes with it"]
pub(super) struct Bug {
    file: PathBuf,
    whole: String,
}

impl Tree {
    /// Copies all files as they are now. What did not change since the last copy keeps its time,
    /// and is not built again.
    pub(super) fn copy() -> Result<Self> {
        let root = workspace::root();
        let folder = workspace::metadata()?.target_directory.join("pitfalls");
        let tree = Self {
            files: folder.join("tree"),
            build: folder.join("build"),
            _lock: lock(&folder)?,
        };
        let mut copied = BTreeSet::new();
        for path in workspace::files(&root)? {
            let (from, to) = (root.join(&path), tree.files.join(&path));
            // Removed but not yet committed.
            if from.is_file() {
                copy(&from, &to).with_context(|| path.clone())?;
                copied.insert(to);
            }
        }
        remove_others(&tree.files, &copied)?;
        Ok(tree)
    }

    /// The copy of the workspace's root.
    pub(super) fn root(&self) -> &Path {
        &self.files
    }

    /// Where Cargo builds it.
    pub(super) fn build(&self) -> &Path {
        &self.build
    }

    /// Puts a bug into the copy.
    pub(super) fn plant(&self, bug: &Planted) -> Result<Bug> {
        let file = self.files.join(&bug.file);
        let whole = fs::read_to_string(&file).with_context(|| bug.file.clone())?;
        let places = whole.matches(&bug.find).count();
        ensure!(
            places == 1,
            "{} has `{}` {places} times",
            bug.file,
            bug.find
        );
        fs::write(&file, whole.replacen(&bug.find, &bug.replace, 1))?;
        Ok(Bug { file, whole })
    }
}

impl Drop for Bug {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.file, &self.whole) {
            eprintln!("warning: {} stays broken: {error}", self.file.display());
        }
    }
}

fn lock(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder)?;
    let lock = File::create(folder.join("lock"))?;
    lock.try_lock().context("another run is at work")?;
    Ok(lock)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from)?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(to, new)?;
    Ok(())
}

/// Removes what is not the project's any more, and what tests left behind.
fn remove_others(folder: &Path, copied: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, copied)?;
        } else if !copied.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::process::Scratch;

    fn bug(find: &str) -> Planted {
        Planted {
            pitfall: 1,
            broken: "It is.".into(),
            file: "a.rs".into(),
            find: find.into(),
            replace: "2".into(),
            tests: BTreeMap::new(),
            hangs: false,
        }
    }

    #[test]
    fn a_bug_is_there_until_it_is_dropped_and_only_where_its_place_is_one() {
        let scratch = Scratch::new("plant").expect("a scratch folder");
        let file = scratch.path().join("a.rs");
        fs::write(&file, "1 + 3 + 3").expect("a file");
        let tree = Tree {
            files: scratch.path().to_owned(),
            build: scratch.path().to_owned(),
            _lock: lock(scratch.path()).expect("nobody else is there"),
        };
        assert!(lock(scratch.path()).is_err(), "one run at a time");
        let text = || fs::read_to_string(&file).expect("the file is there");

        let planted = tree.plant(&bug("1")).expect("it has one place");
        assert_eq!(text(), "2 + 3 + 3");
        drop(planted);
        assert_eq!(text(), "1 + 3 + 3");
        for (find, places) in [("3", "2 times"), ("4", "0 times")] {
            let error = tree.plant(&bug(find)).expect_err("no place, or two");
            assert!(error.to_string().contains(places), "{error}");
        }
    }

    #[test]
    fn what_did_not_change_keeps_its_time_and_what_is_gone_goes() {
        let scratch = Scratch::new("copy").expect("a scratch folder");
        let [from, tree] = ["from", "tree"].map(|name| scratch.path().join(name));
        fs::write(&from, "one").expect("a file");
        let to = tree.join("src/file");
        let time = || fs::metadata(&to).and_then(|file| file.modified());

        copy(&from, &to).expect("a writable folder");
        let first = time().expect("it was copied");
        copy(&from, &to).expect("a writable folder");
        assert_eq!(time().expect("it is there"), first);
        fs::write(tree.join("src/left"), "behind").expect("a file");
        remove_others(&tree, &[to.clone()].into()).expect("a writable folder");
        assert_eq!(
            fs::read_dir(tree.join("src")).expect("it is there").count(),
            1
        );
    }
}
