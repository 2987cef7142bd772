//! A history: who asked what and when, and what came back.
//!
//! Prevents verdicts about runs that cannot have happened: a reply before its question, a client
//! with two open operations, or a client that goes on after its operation crashed are refused
//! where they are recorded, with a sentence.
//!
//! What always holds in a [`History`]: an operation returns no earlier than it was invoked, the
//! operations of one client do not overlap, and a crashed operation is its client's last.

pub mod etcd;
pub mod key_value;

use std::collections::BTreeMap;
use std::fmt;

/// So many operations fit in one history; their numbers have 32 bits in the checkers.
pub const OPERATIONS_MAX: usize = 8_000_000;

/// Who asked. A client waits for its reply before it asks again.
pub type Client = u64;

/// When. Any clock that only grows: nanoseconds, or the number of the event. Two events at the
/// same time are taken as concurrent, which can excuse a store but never accuse it.
pub type Time = u64;

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<O> {
    /// The client has its reply.
    Returned {
        /// When it came.
        at: Time,
        /// What it said.
        output: O,
    },
    /// Nobody knows (Jepsen's `info`): the operation happened at some time after its invocation,
    /// perhaps long after, or never.
    Crashed,
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<I, O> {
    /// Who asked.
    pub client: Client,
    /// When.
    pub invoked: Time,
    /// What.
    pub input: I,
    /// How it ended.
    pub reply: Reply<O>,
}

impl<I, O> Operation<I, O> {
    /// The reply's content, if there was one.
    pub const fn output(&self) -> Option<&O> {
        match &self.reply {
            Reply::Returned { output, .. } => Some(output),
            Reply::Crashed => None,
        }
    }

    /// When the reply came, if one came.
    pub const fn returned(&self) -> Option<Time> {
        match self.reply {
            Reply::Returned { at, .. } => Some(at),
            Reply::Crashed => None,
        }
    }
}

/// Operations that can have happened, in the order of their invocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History<I, O> {
    operations: Vec<Operation<I, O>>,
}

impl<I, O> History<I, O> {
    /// The history that consists of `operations`, in whatever order they are given.
    ///
    /// # Errors
    ///
    /// When they cannot have happened; the error names the client.
    pub fn of(mut operations: Vec<Operation<I, O>>) -> Result<Self, Impossible> {
        if operations.len() > OPERATIONS_MAX {
            return Err(Impossible::TooMany);
        }
        // Stable: operations of one client that were invoked at the same time keep their order.
        operations.sort_by_key(|operation| operation.invoked);
        let mut free_from = BTreeMap::new();
        for operation in &operations {
            let (client, invoked) = (operation.client, operation.invoked);
            match free_from.get(&client) {
                Some(&None) => return Err(Impossible::Retired { client }),
                Some(&Some(free)) if invoked < free => return Err(Impossible::Open { client }),
                Some(_) | None => {},
            }
            let returned = operation.returned();
            if let Some(returned) = returned.filter(|returned| *returned < invoked) {
                return Err(Impossible::BackInTime {
                    client,
                    from: invoked,
                    to: returned,
                });
            }
            free_from.insert(client, returned);
        }
        Ok(Self { operations })
    }

    /// All operations; a checker names one by its place in this slice.
    pub fn operations(&self) -> &[Operation<I, O>] {
        &self.operations
    }

    /// How many operations there are.
    pub const fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether nothing was asked.
    pub const fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

/// Why a history cannot have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impossible {
    /// A client invokes while its last operation is open.
    Open {
        /// The client.
        client: Client,
    },
    /// A client goes on after an operation of unknown end. It must come back under a new number,
    /// because the old operation may still happen beside the new ones.
    Retired {
        /// The client.
        client: Client,
    },
    /// A client's time runs backwards.
    BackInTime {
        /// The client.
        client: Client,
        /// Its last time.
        from: Time,
        /// The earlier time that was given.
        to: Time,
    },
    /// A reply without a question.
    NothingOpen {
        /// The client.
        client: Client,
    },
    /// More than [`OPERATIONS_MAX`].
    TooMany,
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { client } => write!(
                f,
                "client {client} invokes a second operation while its first is open"
            ),
            Self::Retired { client } => write!(
                f,
                "client {client} goes on after an operation of unknown end; it needs a new number"
            ),
            Self::BackInTime { client, from, to } => {
                write!(
                    f,
                    "the time of client {client} goes back from {from} to {to}"
                )
            },
            Self::NothingOpen { client } => {
                write!(f, "client {client} has a reply but no open operation")
            },
            Self::TooMany => write!(f, "a history holds {OPERATIONS_MAX} operations at most"),
        }
    }
}

impl std::error::Error for Impossible {}

/// Where a client stands.
#[derive(Clone, Copy, Debug)]
enum Standing {
    Open(usize),
    Idle { since: Time },
    Retired,
}

/// Takes events as they happen and makes a [`History`] of them.
#[derive(Clone, Debug)]
pub struct Recorder<I, O> {
    /// `None` is an operation that failed for certain: it never happened.
    operations: Vec<Option<Operation<I, O>>>,
    clients: BTreeMap<Client, Standing>,
}

impl<I, O> Default for Recorder<I, O> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I, O> Recorder<I, O> {
    /// Nothing has happened yet.
    pub const fn new() -> Self {
        Self {
            operations: Vec::new(),
            clients: BTreeMap::new(),
        }
    }

    /// A client asks.
    ///
    /// # Errors
    ///
    /// When the client has an open operation, is retired, or its time goes back.
    pub fn invoke(&mut self, client: Client, at: Time, input: I) -> Result<(), Impossible> {
        match self.clients.get(&client) {
            Some(Standing::Open(_)) => return Err(Impossible::Open { client }),
            Some(Standing::Retired) => return Err(Impossible::Retired { client }),
            Some(&Standing::Idle { since }) if at < since => {
                return Err(Impossible::BackInTime {
                    client,
                    from: since,
                    to: at,
                });
            },
            Some(Standing::Idle { .. }) | None => {},
        }
        if self.operations.len() >= OPERATIONS_MAX {
            return Err(Impossible::TooMany);
        }
        self.clients
            .insert(client, Standing::Open(self.operations.len()));
        self.operations.push(Some(Operation {
            client,
            invoked: at,
            input,
            reply: Reply::Crashed,
        }));
        Ok(())
    }

    /// A client has its reply.
    ///
    /// # Errors
    ///
    /// When it has no open operation, or the reply would come before the invocation.
    pub fn returned(&mut self, client: Client, at: Time, output: O) -> Result<(), Impossible> {
        let place = self.close(client, at)?;
        if let Some(Some(operation)) = self.operations.get_mut(place) {
            operation.reply = Reply::Returned { at, output };
        }
        Ok(())
    }

    /// A client knows for certain that its operation did not happen and never will.
    ///
    /// # Errors
    ///
    /// As [`returned`](Self::returned).
    pub fn failed(&mut self, client: Client, at: Time) -> Result<(), Impossible> {
        let place = self.close(client, at)?;
        if let Some(operation) = self.operations.get_mut(place) {
            *operation = None;
        }
        Ok(())
    }

    /// A client will never know how its operation ended; the client is retired with it.
    ///
    /// # Errors
    ///
    /// When it has no open operation.
    pub fn crashed(&mut self, client: Client) -> Result<(), Impossible> {
        match self.clients.get_mut(&client) {
            Some(standing @ Standing::Open(_)) => {
                *standing = Standing::Retired;
                Ok(())
            },
            Some(Standing::Idle { .. } | Standing::Retired) | None => {
                Err(Impossible::NothingOpen { client })
            },
        }
    }

    /// What the client asked last and has no reply to, if anything.
    pub fn open(&self, client: Client) -> Option<&I> {
        let Some(&Standing::Open(place)) = self.clients.get(&client) else {
            return None;
        };
        self.operations
            .get(place)
            .and_then(Option::as_ref)
            .map(|operation| &operation.input)
    }

    /// The history so far. What is open counts as crashed.
    pub fn finish(self) -> History<I, O> {
        let mut operations: Vec<_> = self.operations.into_iter().flatten().collect();
        operations.sort_by_key(|operation| operation.invoked);
        History { operations }
    }

    fn close(&mut self, client: Client, at: Time) -> Result<usize, Impossible> {
        let Some(&Standing::Open(place)) = self.clients.get(&client) else {
            return Err(Impossible::NothingOpen { client });
        };
        let invoked = self
            .operations
            .get(place)
            .and_then(Option::as_ref)
            .map_or(0, |operation| operation.invoked);
        if at < invoked {
            return Err(Impossible::BackInTime {
                client,
                from: invoked,
                to: at,
            });
        }
        self.clients.insert(client, Standing::Idle { since: at });
        Ok(place)
    }
}

/// Why a text is not a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it, as a sentence.
    pub what: String,
}

impl ParseError {
    fn new(line: usize, what: impl fmt::Display) -> Self {
        Self {
            line,
            what: what.to_string(),
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for ParseError {}

#[cfg(test)]
mod tests;
