//! Who a connection is: its address, and what its client proved.
//!
//! Prevents an identity that is believed without proof: a password is hashed here and goes no
//! further; what reaches the log is who was recognized. Source: ZooKeeper's
//! `DigestAuthenticationProvider` and `IPAuthenticationProvider`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstay_zk_proto::Code;
use mainstay_zk_proto::acl::Id;
use mainstay_zk_proto::request::Auth;
use sha1::{Digest as _, Sha1};

/// Most identities of one connection: each is in every operation that it asks for.
const IDENTITIES_MAX: usize = 64;

/// The identities of a connection, each once. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identities(Arc<[Identity]>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    scheme: Box<str>,
    id: Box<str>,
}

impl Identity {
    fn id(&self) -> Id<'_> {
        Id {
            scheme: &self.scheme,
            id: &self.id,
        }
    }
}

impl Identities {
    /// Somebody of whom only the address is known.
    pub(super) fn at(address: IpAddr) -> Self {
        let id = address.to_canonical().to_string().into();
        let scheme = "ip".into();
        Self([Identity { scheme, id }].into())
    }

    /// Whether one of them is of a scheme among `schemes`.
    pub(super) fn include(&self, schemes: &BTreeSet<String>) -> bool {
        let mut all = self.0.iter();
        all.any(|identity| schemes.contains(&*identity.scheme))
    }

    /// Adds one that was proved.
    ///
    /// # Errors
    ///
    /// [`Code::AuthFailed`] when there are too many.
    pub(super) fn add(&mut self, scheme: &str, id: &str) -> Result<(), Code> {
        let is_known = |known: &Identity| *known.scheme == *scheme && *known.id == *id;
        if self.0.iter().any(is_known) {
            return Ok(());
        }
        if self.0.len() == IDENTITIES_MAX {
            return Err(Code::AuthFailed);
        }
        let (scheme, id) = (scheme.into(), id.into());
        let all = self.0.iter().cloned().chain([Identity { scheme, id }]);
        self.0 = all.collect();
        Ok(())
    }

    /// Checks a proof; who it names is added.
    ///
    /// # Errors
    ///
    /// [`Code::AuthFailed`]: the scheme is unknown, or the proof is none.
    pub(super) fn prove(
        &mut self,
        auth: &Auth<'_>,
        super_digest: Option<&str>,
    ) -> Result<(), Code> {
        match auth.scheme {
            "digest" => {
                let proof = std::str::from_utf8(auth.proof).map_err(|_| Code::AuthFailed)?;
                let id = digest(proof);
                if super_digest == Some(&*id) {
                    self.add("super", "")?;
                }
                self.add("digest", &id)
            },
            // The address is known already.
            "ip" => Ok(()),
            _ => Err(Code::AuthFailed),
        }
    }

    /// As operations carry them.
    pub(super) fn ids(&self) -> Vec<Id<'_>> {
        self.0.iter().map(Identity::id).collect()
    }

    /// As their owner may see them: names without digests.
    pub(super) fn names(&self) -> Vec<Id<'_>> {
        let mut names = self.ids();
        for id in &mut names {
            if id.scheme == "digest" {
                id.id = id.id.split(':').next().unwrap_or_default();
            }
        }
        names
    }
}

/// `user:password` as access lists hold it.
pub fn digest(proof: &str) -> String {
    let user = proof.split(':').next().unwrap_or_default();
    let hash = STANDARD.encode(Sha1::digest(proof.as_bytes()));
    format!("{user}:{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth<'a>(scheme: &'a str, proof: &'a str) -> Auth<'a> {
        Auth {
            kind: 0,
            scheme,
            proof: proof.as_bytes(),
        }
    }

    #[test]
    fn a_password_is_hashed_as_zookeeper_hashes_it() {
        // From ZooKeeper's administrator guide and kazoo's test cluster.
        assert_eq!(digest("super:test"), "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
    }

    #[test]
    fn who_knows_the_super_password_is_super_and_nobody_else() {
        let sought = digest("super:test");
        let local = IpAddr::from([127, 0, 0, 1]);
        let mut right = Identities::at(local);
        right
            .prove(&auth("digest", "super:test"), Some(&sought))
            .expect("a proof");
        assert!(right.ids().iter().any(|id| id.scheme == "super"));
        let mut wrong = Identities::at(local);
        wrong
            .prove(&auth("digest", "super:guess"), Some(&sought))
            .expect("somebody");
        assert!(wrong.ids().iter().all(|id| id.scheme != "super"));
        let mut off = Identities::at(local);
        off.prove(&auth("digest", "super:test"), None)
            .expect("somebody");
        assert!(off.ids().iter().all(|id| id.scheme != "super"));
    }

    #[test]
    fn an_unknown_scheme_proves_nothing() {
        let mut who = Identities::at(IpAddr::from([127, 0, 0, 1]));
        for scheme in ["world", "super", "sasl", "x509", ""] {
            assert_eq!(who.prove(&auth(scheme, "me"), None), Err(Code::AuthFailed));
        }
        assert_eq!(who.names().len(), 1);
    }

    #[test]
    fn an_identity_is_held_once_and_their_number_is_bounded() {
        let mut who = Identities::at(IpAddr::from([127, 0, 0, 1]));
        for _ in 0..2 {
            who.add("digest", "a:b").expect("room");
        }
        assert_eq!(who.ids().len(), 2);
        let refused = (0..IDENTITIES_MAX).find(|n| who.add("digest", &n.to_string()).is_err());
        assert_eq!(refused, Some(IDENTITIES_MAX - 2));
    }
}
