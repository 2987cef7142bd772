//! The sessions of clients, as every member knows them.
//!
//! Prevents a session that is lost with the member it was at, and one that anybody can take over:
//! sessions and their passwords are replicated, a password is random, and a session is at one
//! member at a time.

use std::collections::BTreeMap;

use mainstay_zk_proto::Code;
use mainstay_zk_proto::jute::Jute as _;
use xxhash_rust::xxh3::xxh3_64;

use crate::proposal::Password;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What its client proves itself with.
    pub password: Password,
    /// How long it may be silent.
    pub timeout_ms: i32,
    /// The member that it is at.
    pub member: i64,
    /// The transaction by which it came there; zero for one that another program kept.
    pub attached: i64,
}

/// All sessions, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    by_id: BTreeMap<i64, Session>,
    digest: u64,
}

impl Session {
    fn digest(&self, id: i64) -> u64 {
        let mut bytes = Vec::new();
        id.write(&mut bytes);
        (&self.password[..]).write(&mut bytes);
        self.timeout_ms.write(&mut bytes);
        self.member.write(&mut bytes);
        self.attached.write(&mut bytes);
        xxh3_64(&bytes)
    }
}

impl Sessions {
    /// A session begins.
    ///
    /// # Errors
    ///
    /// [`Code::System`] when the number is taken; members choose numbers that are their own.
    pub fn open(&mut self, id: i64, session: Session) -> Result<(), Code> {
        match self.by_id.entry(id) {
            std::collections::btree_map::Entry::Vacant(place) => {
                self.digest = self.digest.wrapping_add(session.digest(id));
                place.insert(session);
                Ok(())
            },
            std::collections::btree_map::Entry::Occupied(_) => Err(Code::System),
        }
    }

    /// A session goes on as `seat` says: at another member perhaps, and with the timeout that its
    /// client wants now. The password must be the one that it began with.
    ///
    /// # Errors
    ///
    /// [`Code::SessionExpired`] when there is no such session, or the password is another's: who
    /// guesses learns nothing.
    pub fn attach(&mut self, id: i64, seat: &Session) -> Result<(), Code> {
        let session = self.by_id.get_mut(&id).ok_or(Code::SessionExpired)?;
        if session.password != seat.password {
            return Err(Code::SessionExpired);
        }
        let before = session.digest(id);
        session.clone_from(seat);
        let after = session.digest(id);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
        Ok(())
    }

    /// Checks that the session is there and at `member`.
    ///
    /// # Errors
    ///
    /// [`Code::SessionExpired`], [`Code::SessionMoved`].
    pub fn check(&self, id: i64, member: i64) -> Result<(), Code> {
        match self.by_id.get(&id) {
            None => Err(Code::SessionExpired),
            Some(session) if session.member != member => Err(Code::SessionMoved),
            Some(_) => Ok(()),
        }
    }

    /// A session ends; `false` when there is none.
    pub fn close(&mut self, id: i64) -> bool {
        let Some(session) = self.by_id.remove(&id) else {
            return false;
        };
        self.digest = self.digest.wrapping_sub(session.digest(id));
        true
    }

    /// The session.
    pub fn get(&self, id: i64) -> Option<&Session> {
        self.by_id.get(&id)
    }

    /// All sessions, by number.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (i64, &Session)> {
        self.by_id.iter().map(|(&id, session)| (id, session))
    }

    /// What all of them amount to, whatever the order in which they came: the same at members that
    /// have the same.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
