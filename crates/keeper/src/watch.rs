//! Who watches what at this member.
//!
//! Prevents an event that is lost, told twice, or told to somebody who did not ask: a one-shot
//! watch fires once; somebody who watches a node in two ways hears of its end once; and all of a
//! connection's watches go with it.
//!
//! Always holds: a watch is in the table of its paths and in the list of its watcher, or in
//! neither. Source of what fires when: `DataTree`, `WatchManager` and `PathParentIterator` of
//! ZooKeeper 3.8.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use mainstay_zk_proto::Stat;
use mainstay_zk_proto::watch::{AddWatchMode, EventKind, SetWatches2, WatcherKind};

use crate::planted::{self, Bug};

/// A connection, by number.
pub type Watcher = u64;

/// How a node is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Its data and existence, once.
    Data,
    /// Its children, once.
    Children,
    /// Itself and its children, until told otherwise.
    Persistent,
    /// Itself and all below it, until told otherwise.
    Recursive,
}

impl Kind {
    const ALL: [Self; 4] = [
        Self::Data,
        Self::Children,
        Self::Persistent,
        Self::Recursive,
    ];
}

impl From<AddWatchMode> for Kind {
    fn from(mode: AddWatchMode) -> Self {
        match mode {
            AddWatchMode::Persistent => Self::Persistent,
            AddWatchMode::PersistentRecursive => Self::Recursive,
        }
    }
}

/// All watches at this member.
#[derive(Debug, Default)]
pub struct Watches {
    tables: [HashMap<Box<str>, BTreeSet<Watcher>>; 4],
    of: BTreeMap<Watcher, BTreeSet<(Kind, Box<str>)>>,
}

impl Watches {
    /// `watcher` watches the node at `path`; doing so twice is doing so once.
    pub fn add(&mut self, watcher: Watcher, kind: Kind, path: &str) {
        let of = self.of.entry(watcher).or_default();
        if of.insert((kind, path.into())) {
            let table = &mut self.tables[kind as usize];
            table.entry(path.into()).or_default().insert(watcher);
        }
    }

    /// Who hears of an event, each once. One-shot watches are gone with it.
    pub fn fire(&mut self, event: EventKind, path: &str) -> BTreeSet<Watcher> {
        let mut hear = BTreeSet::new();
        if self.of.is_empty() {
            return hear;
        }
        for &kind in kinds(event) {
            match kind {
                Kind::Data | Kind::Children => hear.extend(self.fire_once(kind, path)),
                Kind::Persistent => hear.extend(self.at(kind, path)),
                Kind::Recursive if self.tables[kind as usize].is_empty() => {},
                Kind::Recursive => {
                    let up = std::iter::successors(Some(path), |path| parent(path));
                    hear.extend(up.flat_map(|path| self.at(kind, path)));
                },
            }
        }
        hear
    }

    fn fire_once(&mut self, kind: Kind, path: &str) -> BTreeSet<Watcher> {
        if planted::is(Bug::WatchFiresTwice) {
            return self.at(kind, path).collect();
        }
        let fired = self.tables[kind as usize].remove(path).unwrap_or_default();
        for &watcher in &fired {
            self.forget(watcher, kind, path);
        }
        fired
    }

    /// A connection is gone, and its watches with it.
    pub fn close(&mut self, watcher: Watcher) {
        for (kind, path) in self.of.remove(&watcher).unwrap_or_default() {
            self.unlink(watcher, kind, &path);
        }
    }

    /// Whether `watcher` watches the node so.
    pub fn has(&self, watcher: Watcher, kinds: WatcherKind, path: &str) -> bool {
        self.of.get(&watcher).is_some_and(|of| {
            selected(kinds)
                .iter()
                .any(|&kind| of.contains(&(kind, path.into())))
        })
    }

    /// `watcher` stops watching; `false` when it did not.
    pub fn remove(&mut self, watcher: Watcher, kinds: WatcherKind, path: &str) -> bool {
        let mut removed = false;
        for &kind in selected(kinds) {
            if self.forget(watcher, kind, path) {
                self.unlink(watcher, kind, path);
                removed = true;
            }
        }
        removed
    }

    /// `watcher` sets its watches again after a reconnection. What changed meanwhile is told at
    /// once, in the order of the request, and not watched any more; `stat` says how the nodes are.
    pub fn set_again<'a>(
        &mut self,
        watcher: Watcher,
        again: &SetWatches2<'a>,
        stat: impl Fn(&str) -> Option<Stat>,
    ) -> Vec<(EventKind, &'a str)> {
        let since = again.relative_zxid;
        let mut missed = Vec::new();
        for &path in &again.data {
            match stat(path) {
                None => missed.push((EventKind::Deleted, path)),
                Some(stat) if stat.mzxid > since => missed.push((EventKind::DataChanged, path)),
                Some(_) => self.add(watcher, Kind::Data, path),
            }
        }
        for &path in &again.exist {
            match stat(path) {
                Some(_) => missed.push((EventKind::Created, path)),
                None => self.add(watcher, Kind::Data, path),
            }
        }
        for &path in &again.children {
            match stat(path) {
                None => missed.push((EventKind::Deleted, path)),
                Some(stat) if stat.pzxid > since => missed.push((EventKind::ChildrenChanged, path)),
                Some(_) => self.add(watcher, Kind::Children, path),
            }
        }
        for &path in &again.persistent {
            self.add(watcher, Kind::Persistent, path);
        }
        for &path in &again.persistent_recursive {
            self.add(watcher, Kind::Recursive, path);
        }
        missed
    }

    /// How many connections watch, how many paths, and how many watches there are.
    pub fn counts(&self) -> Counts {
        let mut paths = BTreeSet::new();
        for table in &self.tables {
            paths.extend(table.keys());
        }
        Counts {
            watchers: self.of.len(),
            paths: paths.len(),
            watches: self.of.values().map(BTreeSet::len).sum(),
        }
    }

    /// All watches by path, sorted: for operators.
    pub fn by_path(&self) -> BTreeMap<&str, BTreeSet<Watcher>> {
        let mut all: BTreeMap<&str, BTreeSet<Watcher>> = BTreeMap::new();
        for (path, watchers) in self.tables.iter().flatten() {
            all.entry(path).or_default().extend(watchers);
        }
        all
    }

    fn at(&self, kind: Kind, path: &str) -> impl Iterator<Item = Watcher> {
        self.tables[kind as usize]
            .get(path)
            .into_iter()
            .flatten()
            .copied()
    }

    /// Takes a watch from its watcher's list.
    fn forget(&mut self, watcher: Watcher, kind: Kind, path: &str) -> bool {
        let Some(of) = self.of.get_mut(&watcher) else {
            return false;
        };
        let was_there = of.remove(&(kind, path.into()));
        if of.is_empty() {
            self.of.remove(&watcher);
        }
        was_there
    }

    /// Takes a watch from the table of its paths.
    fn unlink(&mut self, watcher: Watcher, kind: Kind, path: &str) {
        let table = &mut self.tables[kind as usize];
        let Some(watchers) = table.get_mut(path) else {
            return;
        };
        watchers.remove(&watcher);
        if watchers.is_empty() {
            table.remove(path);
        }
    }
}

/// What operators are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Connections that watch something.
    pub watchers: usize,
    /// Nodes that are watched.
    pub paths: usize,
    /// Watches.
    pub watches: usize,
}

/// Watches that an event concerns.
const fn kinds(event: EventKind) -> &'static [Kind] {
    match event {
        EventKind::Created | EventKind::DataChanged => {
            &[Kind::Data, Kind::Persistent, Kind::Recursive]
        },
        EventKind::Deleted => &Kind::ALL,
        EventKind::ChildrenChanged => &[Kind::Children, Kind::Persistent],
        EventKind::None
        | EventKind::DataWatchRemoved
        | EventKind::ChildWatchRemoved
        | EventKind::PersistentWatchRemoved => &[],
    }
}

const fn selected(kinds: WatcherKind) -> &'static [Kind] {
    match kinds {
        WatcherKind::Children => &[Kind::Children],
        WatcherKind::Data => &[Kind::Data],
        WatcherKind::Any => &Kind::ALL,
        WatcherKind::Persistent => &[Kind::Persistent],
        WatcherKind::PersistentRecursive => &[Kind::Recursive],
    }
}

fn parent(path: &str) -> Option<&str> {
    if path == "/" {
        return None;
    }
    let (above, _) = path.rsplit_once('/')?;
    Some(if above.is_empty() { "/" } else { above })
}

#[cfg(test)]
mod tests;
