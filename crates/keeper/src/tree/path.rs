//! Paths of nodes: which are valid, where they split.
//!
//! Prevents two spellings of one node: no empty names, no dots, no slash at the end. The rules are
//! those of ZooKeeper's `PathUtils`.

use mainstay_zk_proto::Code;

/// The node of the ensemble's members.
pub const CONFIG: &str = "/zookeeper/config";
/// Above the quotas.
const QUOTA: &str = "/zookeeper/quota";
/// Above what belongs to the keeper itself.
const PROC: &str = "/zookeeper";

/// Checks a path.
///
/// # Errors
///
/// [`Code::BadArguments`].
pub(super) fn validate(path: &str) -> Result<(), Code> {
    if path == "/" {
        return Ok(());
    }
    let names = path.strip_prefix('/').ok_or(Code::BadArguments)?;
    let valid = |name: &str| !matches!(name, "" | "." | "..") && !name.chars().any(is_forbidden);
    if names.split('/').all(valid) {
        Ok(())
    } else {
        Err(Code::BadArguments)
    }
}

/// Characters that cannot be shown, and those that no character set has. The last of them are
/// those that Java writes as two.
const fn is_forbidden(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{e000}'..='\u{f8ff}'
            | '\u{fff0}'..='\u{ffff}'
            | '\u{10000}'..
    )
}

/// The parent's path and the node's name. The path need not be valid as a whole: the name of a
/// sequential node may be empty until its number is appended.
///
/// # Errors
///
/// [`Code::BadArguments`].
pub(super) fn split(path: &str) -> Result<(&str, &str), Code> {
    if path.contains('\0') {
        return Err(Code::BadArguments);
    }
    path.rsplit_once('/').ok_or(Code::BadArguments)
}

/// Whether a node is the keeper's own and cannot be removed.
pub(super) fn is_special(path: &str) -> bool {
    matches!(path, "/" | PROC | QUOTA | CONFIG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_valid_as_zookeeper_sees_it() {
        for valid in ["/", "/a", "/a/b", "/a.b", "/...", "/ä/日本", "/a b"] {
            assert_eq!(validate(valid), Ok(()), "{valid:?}");
        }
        for wrong in [
            "",
            "a",
            "/a/",
            "//",
            "/a//b",
            "/.",
            "/a/..",
            "/a\0",
            "/a\u{1f}",
            "/\u{7f}",
            "/\u{e000}",
            "/\u{1f600}",
        ] {
            assert_eq!(validate(wrong), Err(Code::BadArguments), "{wrong:?}");
        }
    }
}
