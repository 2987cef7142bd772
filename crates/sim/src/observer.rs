//! Hears what a member applies, before its clients do.
//!
//! Prevents a member's story about itself from being the only one: every operation is compared with
//! what other members made of it, at the moment at which it is applied.

use mainstay_keeper::proposal::Action;
use mainstay_keeper::serve::Teller;
use mainstay_keeper::state::{Sink, State, Told};
use mainstay_keeper::tree::Event;

use crate::facts::Facts;
use crate::history::History;
use crate::property::MemberId;

/// Between a member and those who serve its clients.
#[derive(Debug)]
pub struct Observer {
    member: MemberId,
    teller: Teller,
    facts: Facts,
    history: History,
}

impl Observer {
    /// Hears `member` for `teller`.
    pub const fn new(member: MemberId, teller: Teller, facts: Facts, history: History) -> Self {
        Self {
            member,
            teller,
            facts,
            history,
        }
    }
}

impl Sink for Observer {
    fn event(&mut self, event: &Event, zxid: i64) {
        self.facts.met("event");
        self.teller.event(event, zxid);
    }

    fn session_over(&mut self, session: i64) {
        self.teller.session_over(session);
    }

    fn applied(&mut self, state: &State, told: Told<'_>) {
        let member = self.member;
        let (zxid, digest) = (told.zxid, state.tree().digest());
        self.facts
            .trace
            .note(format_args!("applied {member} {zxid} {digest:x}"));
        if told.result.is_ok() && matches!(told.operation.action, Action::Expire { .. }) {
            self.facts.met("session expired");
        }
        self.history.applied(&told);
        self.facts
            .check(|properties, findings| properties.applied(member, (state, &told), findings));
        self.teller.applied(state, told);
    }

    fn replaced(&mut self, state: &State) {
        let member = self.member;
        let zxid = state.zxid();
        self.facts.met("snapshot installed");
        self.facts
            .trace
            .tell(format_args!("member {member} got a snapshot of {zxid}"));
        self.facts
            .check(|properties, findings| properties.state(member, state, findings));
        self.teller.replaced(state);
    }

    fn settled(&mut self) {
        self.teller.settled();
    }
}
