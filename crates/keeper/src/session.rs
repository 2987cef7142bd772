//! The sessions of clients, as every member knows them.
//!
//! Prevents a session that is lost with the member it was at, and one that anybody can take over:
//! sessions and their passwords are replicated, a password is random, and a session is at one
//! member at a time.

use std::collections::BTreeMap;

use mainstay_zk_proto::Code;

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
}

/// All sessions, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions(BTreeMap<i64, Session>);

impl Sessions {
    /// A session begins.
    ///
    /// # Errors
    ///
    /// [`Code::System`] when the number is taken; members choose numbers that are their own.
    pub fn open(&mut self, id: i64, session: Session) -> Result<(), Code> {
        match self.0.entry(id) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(session);
                Ok(())
            },
            std::collections::btree_map::Entry::Occupied(_) => Err(Code::System),
        }
    }

    /// A session goes on at `member`; the answer is its timeout.
    ///
    /// # Errors
    ///
    /// [`Code::SessionExpired`] when there is no such session, or the password is another's: who
    /// guesses learns nothing.
    pub fn attach(&mut self, id: i64, password: &Password, member: i64) -> Result<i32, Code> {
        let session = self.0.get_mut(&id).ok_or(Code::SessionExpired)?;
        if session.password != *password {
            return Err(Code::SessionExpired);
        }
        session.member = member;
        Ok(session.timeout_ms)
    }

    /// Checks that the session is there and at `member`.
    ///
    /// # Errors
    ///
    /// [`Code::SessionExpired`], [`Code::SessionMoved`].
    pub fn check(&self, id: i64, member: i64) -> Result<(), Code> {
        match self.0.get(&id) {
            None => Err(Code::SessionExpired),
            Some(session) if session.member != member => Err(Code::SessionMoved),
            Some(_) => Ok(()),
        }
    }

    /// A session ends; `false` when there is none.
    pub fn close(&mut self, id: i64) -> bool {
        self.0.remove(&id).is_some()
    }

    /// The session.
    pub fn get(&self, id: i64) -> Option<&Session> {
        self.0.get(&id)
    }

    /// All sessions, by number.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (i64, &Session)> {
        self.0.iter().map(|(&id, session)| (id, session))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
