//! A chapter, played on two servers at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use mainstay_zk_proto::Opcode;

use super::ask::{AS_IT_STANDS, Ask};
use super::difference;
use super::sight::Seen;
use super::story::{CLIENTS, Deed, Step};
use super::world::{KEEPER, World};

/// The two servers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) ours: SocketAddr,
    pub(super) theirs: SocketAddr,
}

/// What is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The step at which it showed.
    pub(super) at: usize,
    /// What was asked, if it is an answer.
    pub(super) ask: Option<Ask>,
    pub(super) ours: String,
    pub(super) theirs: String,
}

/// A chapter under way.
#[derive(Debug)]
pub(super) struct Chapter {
    ours: World,
    theirs: World,
    /// The node above the story's own root.
    above: String,
    /// How many requests there were.
    requests: usize,
    /// How many steps there were.
    steps: usize,
    /// How often each difference showed that is meant.
    pub(super) meant: BTreeMap<&'static str, u64>,
    /// Nodes that were made since somebody asked.
    pub(super) made: Vec<String>,
    /// Names of the children that were listed last.
    children: Vec<String>,
}

/// What a comparison gives: nothing, or a finding.
type Compared = Result<Option<Finding>>;

impl Chapter {
    /// Begins below the node `above`, which both servers make: what is made beside the story's own
    /// root is still below that.
    pub(super) fn begin(addresses: Addresses, above: &str) -> Result<Self> {
        let root = format!("{above}/r");
        let mut chapter = Self {
            ours: World::new(addresses.ours, root.clone()),
            theirs: World::new(addresses.theirs, root),
            above: format!("{AS_IT_STANDS}{above}"),
            requests: 0,
            steps: 0,
            meant: BTreeMap::new(),
            made: Vec::new(),
            children: Vec::new(),
        };
        let connect = Deed::Connect {
            timeout_ms: 500_000,
        };
        for client in 0..=KEEPER {
            let deed = connect.clone();
            let found = chapter.step(&Step { client, deed })?;
            ensure!(found.is_none(), "sessions begin differently: {found:?}");
        }
        let mut auth = Ask::new(Opcode::Auth, "digest", 0);
        auth.data = Some(b"super:test".to_vec());
        let mut above = Ask::new(Opcode::Create, &chapter.above, 0);
        above.acl = vec![(31, "world", "anyone")];
        let mut root = Ask::new(Opcode::Create, "/", 0);
        root.acl.clone_from(&above.acl);
        let found = chapter.ask(KEEPER, &[&auth, &above, &root])?;
        ensure!(found.is_none(), "a chapter begins differently: {found:?}");
        Ok(chapter)
    }

    pub(super) fn connected(&self) -> [bool; CLIENTS] {
        self.theirs.connected()
    }

    pub(super) const fn requests(&self) -> usize {
        self.requests
    }

    /// Plays steps, those of one client together: sent at once, without waiting for answers. Three
    /// requests go alone: ZooKeeper answers a proof of identity out of order, and looks at the old
    /// access list until a new one is on its disk; what goes with a session goes in any order.
    pub(super) fn play(&mut self, steps: &[Step]) -> Compared {
        let same = |one: &Step, other: &Step| {
            let asks = |step: &Step| {
                matches!(&step.deed, Deed::Ask(ask)
                    if !matches!(ask.opcode, Opcode::Auth | Opcode::SetAcl | Opcode::CloseSession))
            };
            one.client == other.client && asks(one) && asks(other)
        };
        for run in steps.chunk_by(same) {
            let asks = run.iter().filter_map(|step| match &step.deed {
                Deed::Ask(ask) => Some(ask),
                Deed::Connect { .. } | Deed::Cut | Deed::Return(_) | Deed::Guess => None,
            });
            let asks: Vec<&Ask> = asks.collect();
            let Some(first) = run.first() else { continue };
            let found = if asks.is_empty() {
                self.step(first)?
            } else {
                self.ask(first.client, &asks)?
            };
            if found.is_some() {
                return Ok(found);
            }
            self.steps += run.len();
        }
        Ok(None)
    }

    fn ask(&mut self, client: usize, asks: &[&Ask]) -> Compared {
        let first = self.requests;
        self.requests += asks.len();
        self.ours.send(client, first, asks)?;
        self.theirs.send(client, first, asks)?;
        let mut ours = self.ours.hear(client).context("ours")?;
        let mut theirs = self.theirs.hear(client).context("theirs")?;
        let is_end = asks.iter().any(|ask| ask.opcode == Opcode::CloseSession);
        if is_end {
            in_any_order(&mut ours);
            in_any_order(&mut theirs);
        }
        self.made
            .extend(theirs.iter().filter_map(|seen| seen.made.clone()));
        if let Some(last) = theirs.last() {
            self.children.clone_from(&last.children);
        }
        let asked = |seen: &Seen| {
            let index = seen.request?.checked_sub(first)?;
            asks.get(index).copied()
        };
        let found = self.compare(client, &ours, &theirs, asked);
        if found.is_some() {
            return Ok(found);
        }
        self.overhear(client, is_end)
    }

    fn step(&mut self, step: &Step) -> Compared {
        let ours = self.ours.deed(step).context("ours")?;
        let theirs = self.theirs.deed(step).context("theirs")?;
        let found = self.compare(step.client, &ours, &theirs, |_| None);
        if found.is_some() {
            return Ok(found);
        }
        self.overhear(step.client, false)
    }

    fn overhear(&mut self, asker: usize, is_end: bool) -> Compared {
        let ours = self.ours.overhear(asker).context("ours")?;
        let theirs = self.theirs.overhear(asker).context("theirs")?;
        let (mut ours, mut theirs) = (who_heard(ours), who_heard(theirs));
        if is_end {
            in_any_order(&mut ours);
            in_any_order(&mut theirs);
        }
        Ok(self.compare(asker, &ours, &theirs, |_| None))
    }

    fn compare<'a>(
        &mut self,
        client: usize,
        ours: &[Seen],
        theirs: &[Seen],
        asked: impl Fn(&Seen) -> Option<&'a Ask>,
    ) -> Option<Finding> {
        const NOTHING: &str = "nothing";
        for at in 0..ours.len().max(theirs.len()) {
            let (ours, theirs) = (ours.get(at), theirs.get(at));
            if ours == theirs {
                continue;
            }
            let ask = theirs.and_then(&asked).or_else(|| ours.and_then(&asked));
            let text = |seen: Option<&Seen>| seen.map_or(NOTHING, |seen| &seen.text).to_owned();
            let (ours, theirs) = (text(ours), text(theirs));
            if let Some(name) = difference::meant(ask, &ours, &theirs) {
                *self.meant.entry(name).or_default() += 1;
                continue;
            }
            return Some(Finding {
                at: self.steps,
                ask: ask.cloned(),
                ours: format!("client {client}: {ours}"),
                theirs: format!("client {client}: {theirs}"),
            });
        }
        None
    }

    /// Ends all sessions and looks at every node that is left.
    pub(super) fn end(&mut self) -> Compared {
        self.ours.close_all().context("ours")?;
        self.theirs.close_all().context("theirs")?;
        let mut paths = vec![self.above.clone()];
        while let Some(path) = paths.pop() {
            let looks = [Opcode::GetData, Opcode::GetAcl, Opcode::GetChildren2];
            let looks = looks.map(|opcode| Ask::new(opcode, path.clone(), 0));
            let found = self.ask(KEEPER, &looks.each_ref())?;
            if found.is_some() {
                return Ok(found);
            }
            let names = std::mem::take(&mut self.children);
            paths.extend(names.iter().map(|name| format!("{path}/{name}")));
        }
        Ok(None)
    }
}

fn in_any_order(seen: &mut [Seen]) {
    seen.sort_by(|one, other| one.text.cmp(&other.text));
}

/// What several clients heard, each with its number.
fn who_heard(all: Vec<(usize, Vec<Seen>)>) -> Vec<Seen> {
    let mut flat = Vec::new();
    for (client, heard) in all {
        for mut seen in heard {
            seen.text = format!("client {client} hears {}", seen.text);
            flat.push(seen);
        }
    }
    flat
}
