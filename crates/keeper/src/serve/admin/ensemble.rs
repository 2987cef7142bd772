//! What operators see of the ensemble: who belongs to it by its newest list, and where it is.
//!
//! Prevents a picture of yesterday: the list is the one that the members agreed on last, not the
//! one that this member began with.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::desk::read;
use crate::replica::Replica;
use crate::state::State;
use crate::zoo_cfg::Member;

/// The members by the newest list; none when this one is alone.
fn members<R: Replica>(replica: &R) -> BTreeMap<u64, Member> {
    read(replica.state(), |state: &State| {
        let lines = state.member_lines().lines();
        let members = lines.filter_map(|line| {
            let (number, member) = line.strip_prefix("server.")?.split_once('=')?;
            Some((number.parse().ok()?, Member::read(member).ok()?))
        });
        members.collect()
    })
}

/// How many vote; nobody, when this member is alone.
pub(in crate::serve) fn quorum_size<R: Replica>(replica: &R) -> usize {
    let members = members(replica);
    members.values().filter(|one| !one.is_observer).count()
}

/// Those who vote.
pub(super) fn voting_view<R: Replica>(replica: &R) -> Value {
    json!({ "current_config": views(replica, false) })
}

/// Those who do not.
pub(super) fn observers<R: Replica>(replica: &R) -> Value {
    let observers: Vec<Value> = views(replica, true)
        .into_iter()
        .map(|(number, mut view)| {
            view["sid"] = json!(number.parse::<u64>().ok());
            view
        })
        .collect();
    json!({ "observers": observers })
}

fn views<R: Replica>(replica: &R, of_observers: bool) -> Map<String, Value> {
    let members = members(replica).into_iter();
    let those = members.filter(|(_, one)| one.is_observer == of_observers);
    those
        .map(|(number, one)| (number.to_string(), view(&one)))
        .collect()
}

/// Who leads, and where that is.
pub(super) fn leader<R: Replica>(replica: &R) -> Value {
    let standing = replica.standing();
    let members = members(replica);
    let leader = standing.leader.and_then(|leader| members.get(&leader));
    json!({
        "is_leader": standing.is_leader,
        "leader_id": standing.leader,
        "leader_ip": leader.map(|leader| &leader.host),
    })
}

/// Where this member is in the ensemble's work.
pub(super) fn zabstate<R: Replica>(replica: &R) -> Value {
    let standing = replica.standing();
    let members = members(replica);
    let number = replica.origin().member.cast_unsigned();
    let own = members.get(&number);
    let zxid = read(replica.state(), State::zxid);
    json!({
        "myid": number,
        "is_leader": standing.is_leader,
        "quorum_address": own.map(|own| address(&own.address(), own, own.quorum_port)),
        "election_address": own.map(|own| {
            address(&own.election_address(), own, own.election_port)
        }),
        "client_address": own.and_then(|own| own.client.as_ref()),
        "voting": !standing.is_observer,
        "last_zxid": format!("{zxid:#x}"),
        "zab_epoch": zxid >> 32,
        "zab_counter": zxid & i64::from(u32::MAX),
        "zabstate": if standing.leader.is_some() { "broadcast" } else { "election" },
    })
}

fn view(member: &Member) -> Value {
    json!({
        "server_addresses": [member.address()],
        "election_addresses": [member.election_address()],
        "client_address": member.client,
        "learner_type": if member.is_observer { "observer" } else { "participant" },
    })
}

/// A member has one address of each kind, where ZooKeeper may have several.
fn address(one: &str, member: &Member, port: u16) -> Value {
    json!({
        "empty": false,
        "one": one,
        "all_addresses": [one],
        "all_ports": [port],
        "all_host_strings": [member.host],
    })
}
