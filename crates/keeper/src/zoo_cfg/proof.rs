//! How clients prove who they are, as `zoo.cfg` says it.
//!
//! Prevents a server that is less strict than its file: what has to be proved is asked for.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Line, Mistake};

/// How clients prove who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Who may do anything, as `user:digest`.
    pub super_digest: Option<String>,
    /// Where the users of SASL are named.
    pub jaas_file: Option<PathBuf>,
    /// Whether clients have to prove themselves before anything else.
    pub is_required: bool,
    /// By one of these.
    pub schemes: BTreeSet<String>,
}

impl Proof {
    /// Takes a line; `false` when it is about something else.
    pub(super) fn set(&mut self, line: &Line<'_>, key: &str) -> Result<bool, Mistake> {
        match key {
            "DigestAuthenticationProvider.superDigest" => {
                self.super_digest = Some(line.value.to_owned());
            },
            "java.security.auth.login.config" => self.jaas_file = Some(line.value.into()),
            "sessionRequireClientSASLAuth" => {
                if line.switch()? {
                    self.is_required = true;
                    self.schemes.insert("sasl".to_owned());
                }
            },
            "enforce.auth.enabled" => self.is_required |= line.switch()?,
            "enforce.auth.schemes" => {
                let schemes = line.value.split(',').map(str::trim);
                let schemes = schemes.filter(|scheme| !scheme.is_empty());
                self.schemes.extend(schemes.map(str::to_owned));
            },
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What clients have to prove themselves by; empty when they need not.
    pub(super) fn schemes_required(&self) -> BTreeSet<String> {
        if self.is_required {
            self.schemes.clone()
        } else {
            BTreeSet::new()
        }
    }
}
