//! Changes of members that clients ask for: refused, each with the reason that it would have.
//!
//! Prevents a client that takes a wrong request for a server that cannot: what makes no sense, and
//! who may not, hears so as from ZooKeeper. Members cannot be changed by clients yet.

use mainstay_zk_proto::Code;
use mainstay_zk_proto::acl::Id;
use mainstay_zk_proto::request::Reconfig;

use crate::zoo_cfg;

/// Why a change is refused.
pub(super) fn refuse(change: &Reconfig<'_>, identities: &[Id<'_>], is_enabled: bool) -> Code {
    if !is_enabled {
        return Code::ReconfigDisabled;
    }
    if !is_sound(change) {
        return Code::BadArguments;
    }
    // The node of the members can be read by all and changed by nobody else.
    if !identities.iter().any(|id| id.scheme == "super") {
        return Code::NoAuth;
    }
    Code::Unimplemented
}

fn is_sound(change: &Reconfig<'_>) -> bool {
    let all = |list: Option<&str>, is_sound: fn(&str) -> bool| {
        let list = list.unwrap_or_default();
        list.is_empty() || list.split([',', '\n']).all(is_sound)
    };
    let some = [change.joining, change.leaving, change.members];
    let is_number = |text: &str| text.trim().parse::<i64>().is_ok();
    some.iter()
        .any(|list| list.is_some_and(|list| !list.is_empty()))
        && all(change.joining, zoo_cfg::is_member)
        && all(change.leaving, is_number)
        && all(change.members, |text| {
            text.trim().is_empty() || zoo_cfg::is_member(text)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_refused_for_the_reason_that_comes_first() {
        let change = |joining| Reconfig {
            joining: Some(joining),
            leaving: None,
            members: None,
            version: -1,
        };
        let root = [Id {
            scheme: "super",
            id: "",
        }];
        let right = change("server.999=0.0.0.0:1234:2345:observer;3456");
        let wrong = change("some thing");
        assert_eq!(refuse(&right, &root, false), Code::ReconfigDisabled);
        assert_eq!(refuse(&wrong, &[], true), Code::BadArguments);
        assert_eq!(refuse(&right, &[], true), Code::NoAuth);
        assert_eq!(refuse(&right, &root, true), Code::Unimplemented);
    }
}
