//! What `zoo.cfg` says about TLS, in the words of Apache ZooKeeper.
//!
//! Prevents a server that is less strict than its configuration: a switch that would make it
//! refuse more clients than it can here is a mistake, not a line that means nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// A file of keys or certificates.
#[derive(Clone, PartialEq, Eq)]
pub struct Store {
    /// Where it lies.
    pub file: PathBuf,
    /// What it is locked with, if it is.
    pub password: String,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.file.display())
    }
}

/// Whether clients show a certificate, and whose are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Who has none is turned away.
    Need(Store),
    /// Who has one is known by it.
    Want(Store),
    /// Nobody is asked.
    None,
}

/// How clients come by TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The keeper's own key and certificate.
    pub key_store: Store,
    /// Whether clients show theirs.
    pub client_auth: ClientAuth,
    /// Versions that are spoken: 1.2 and 1.3, unless there are fewer.
    pub versions: Versions,
    /// Cipher suites that are spoken, by name; `None` for all that are known here.
    pub cipher_suites: Option<Vec<String>>,
    /// The client whose certificate has this name may do anything.
    pub super_user: Option<String>,
    /// Whether the plain port speaks TLS too, with those who begin so.
    pub is_unified: bool,
}

/// Versions of TLS that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Version 1.2.
    pub v1_2: bool,
    /// Version 1.3.
    pub v1_3: bool,
}

/// A key whose value cannot be, and why.
pub type Wrong = (String, String);

const KEY_STORE: &str = "ssl.keyStore";
const TRUST_STORE: &str = "ssl.trustStore";
const CLIENT_AUTH: &str = "ssl.clientAuth";

impl TlsSettings {
    /// Whether a key of `zoo.cfg`, without `zookeeper.`, is about this.
    pub fn is_key(key: &str) -> bool {
        key.starts_with("ssl.")
            || matches!(
                key,
                "client.portUnification" | "X509AuthenticationProvider.superUser"
            )
    }

    /// From keys without `zookeeper.`; `None` when they name no key store.
    ///
    /// # Errors
    ///
    /// The first key that is wrong.
    pub fn read(keys: &BTreeMap<String, String>) -> Result<Option<Self>, Wrong> {
        let get = |key: &str| keys.get(key).map(String::as_str);
        let Some(key_store) = store(keys, KEY_STORE)? else {
            return Ok(None);
        };
        let trust_store = || {
            store(keys, TRUST_STORE)?.ok_or_else(|| {
                wrong(
                    TRUST_STORE,
                    "is missing: nobody's certificate would be believed; set \
                     ssl.trustStore.location, or ssl.clientAuth=none",
                )
            })
        };
        let client_auth = match get(CLIENT_AUTH).unwrap_or("need") {
            "need" => ClientAuth::Need(trust_store()?),
            "want" => ClientAuth::Want(trust_store()?),
            "none" => ClientAuth::None,
            other => {
                let what = format!("{other:?} is not need, want or none");
                return Err(wrong(CLIENT_AUTH, what));
            },
        };
        for key in ["ssl.crl", "ssl.ocsp"] {
            if get(key).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
                return Err(wrong(
                    key,
                    "is not known here, so that revoked certificates would pass",
                ));
            }
        }
        let cipher_suites = get("ssl.ciphersuites").map(|value| list(value).collect());
        Ok(Some(Self {
            key_store,
            client_auth,
            versions: versions(get("ssl.enabledProtocols").or_else(|| get("ssl.protocol")))?,
            cipher_suites,
            super_user: get("X509AuthenticationProvider.superUser").map(str::to_owned),
            is_unified: get("client.portUnification")
                .is_some_and(|value| value.eq_ignore_ascii_case("true")),
        }))
    }
}

fn wrong(key: &str, what: impl Into<String>) -> Wrong {
    (key.to_owned(), what.into())
}

fn list(value: &str) -> impl Iterator<Item = String> {
    let words = value.split(',').map(str::trim);
    words.filter(|word| !word.is_empty()).map(str::to_owned)
}

fn store(keys: &BTreeMap<String, String>, name: &str) -> Result<Option<Store>, Wrong> {
    let get = |part: &str| keys.get(&format!("{name}.{part}"));
    let Some(file) = get("location") else {
        return Ok(None);
    };
    // What a file is shows in its first bytes; the word is checked for those that are not read.
    if let Some(kind) = get("type")
        && !["JKS", "PEM", "PKCS12"].contains(&&*kind.to_ascii_uppercase())
    {
        return Err(wrong(
            &format!("{name}.type"),
            format!(
                "{kind:?} is not JKS, PKCS12 or PEM; write the file anew as one of them, by \
                 keytool -importkeystore"
            ),
        ));
    }
    let password = match get("passwordPath") {
        Some(path) => std::fs::read_to_string(path)
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| wrong(&format!("{name}.passwordPath"), format!("{path}: {error}")))?,
        None => get("password").cloned().unwrap_or_default(),
    };
    Ok(Some(Store {
        file: file.into(),
        password,
    }))
}

fn versions(said: Option<&str>) -> Result<Versions, Wrong> {
    let Some(said) = said else {
        return Ok(Versions {
            v1_2: true,
            v1_3: true,
        });
    };
    let named: Vec<String> = list(said).collect();
    let has = |word: &str| named.iter().any(|named| named == word);
    // Java's word for all of them.
    let all = has("TLS");
    let versions = Versions {
        v1_2: all || has("TLSv1.2"),
        v1_3: all || has("TLSv1.3"),
    };
    if versions.v1_2 || versions.v1_3 {
        Ok(versions)
    } else {
        Err(wrong(
            "ssl.enabledProtocols",
            format!("{said:?} has neither TLSv1.2 nor TLSv1.3, and older ones are not safe"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<TlsSettings>, String> {
        let keys = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        TlsSettings::read(&keys.collect()).map_err(|(key, _)| key)
    }

    const KEYS: (&str, &str) = ("ssl.keyStore.location", "/k.jks");
    const TRUST: (&str, &str) = ("ssl.trustStore.location", "/t.jks");

    #[test]
    fn clients_need_a_certificate_unless_something_else_is_said() {
        let settings = read(&[KEYS, TRUST]).expect("right").expect("some");
        assert!(matches!(settings.client_auth, ClientAuth::Need(_)));
        assert!(settings.versions.v1_2 && settings.versions.v1_3 && !settings.is_unified);
        let settings = read(&[KEYS, ("ssl.clientAuth", "none")]).expect("right");
        assert_eq!(settings.expect("some").client_auth, ClientAuth::None);
        assert_eq!(read(&[TRUST]), Ok(None));
    }

    #[test]
    fn what_would_be_less_strict_than_it_says_is_a_mistake() {
        for (wrong, named) in [
            (("ssl.clientAuth", "perhaps"), "ssl.clientAuth"),
            (("ssl.crl", "true"), "ssl.crl"),
            (("ssl.ocsp", "TRUE"), "ssl.ocsp"),
            (("ssl.enabledProtocols", "TLSv1.1"), "ssl.enabledProtocols"),
            (("ssl.keyStore.type", "BCFKS"), "ssl.keyStore.type"),
            (
                ("ssl.keyStore.passwordPath", "/no/such"),
                "ssl.keyStore.passwordPath",
            ),
        ] {
            assert_eq!(read(&[KEYS, TRUST, wrong]), Err(named.to_owned()));
        }
        assert_eq!(read(&[KEYS]), Err("ssl.trustStore".to_owned()));
    }

    #[test]
    fn a_version_that_is_not_named_is_not_spoken() {
        let only = |said| versions(Some(said)).map(|versions| (versions.v1_2, versions.v1_3));
        assert_eq!(only("TLSv1.3"), Ok((false, true)));
        assert_eq!(only("TLSv1.1, TLSv1.2"), Ok((true, false)));
        assert_eq!(only("TLS"), Ok((true, true)));
    }

    #[test]
    fn a_password_is_not_shown() {
        let settings = read(&[KEYS, TRUST, ("ssl.keyStore.password", "secret")]);
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
