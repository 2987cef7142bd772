//! Changes of members that clients ask for.
//!
//! Prevents a client that waits for what can never be: what this server does not allow at all is
//! refused here, all the rest where the ensemble is led, with the reasons that ZooKeeper gives.

use mainstay_zk_proto::request::Reconfig;
use mainstay_zk_proto::{Code, Reply};

use super::desk::read;
use super::identity::Identities;
use super::settings::Settings;
use crate::ensemble::Change;
use crate::replica::Replica;
use crate::state::State;
use crate::tree::CONFIG;

/// The change that is asked for, if it may be made anywhere.
///
/// # Errors
///
/// [`Code::ReconfigDisabled`]; [`Code::Unimplemented`] where there is no ensemble.
pub(super) fn change<R: Replica>(
    request: &Reconfig<'_>,
    settings: &Settings,
    replica: &R,
    identities: &Identities,
) -> Result<Change, Code> {
    if !settings.reconfig_enabled {
        return Err(Code::ReconfigDisabled);
    }
    if settings.standalone {
        return Err(Code::Unimplemented);
    }
    let may = |state: &State| state.tree().may_change_members(&identities.ids());
    let is_allowed = read(replica.state(), may);
    Ok(Change::of(request, settings.voters_min, is_allowed))
}

/// What the client gets after its change: the list as it is now.
pub(super) fn answer(state: &State) -> Result<Reply<'_>, Code> {
    let stat = state.tree().stat(CONFIG).ok_or(Code::NoNode)?;
    let data = Some(state.tree().config().as_bytes());
    Ok(Reply::Data { data, stat })
}
