//! What `zoo.cfg` says about TLS, in the words of Apache ZooKeeper: of clients, and of members.
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

/// Whose certificates are believed of those whom this end calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Who vouches for them.
    pub trusted: Store,
    /// Whether a certificate has to name the host that is called.
    pub by_name: bool,
}

/// How one end of a connection is protected: of those who come, and of those whom it calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The keeper's own key and certificate.
    pub key_store: Store,
    /// Whether those who come show theirs.
    pub client_auth: ClientAuth,
    /// Versions that are spoken: 1.2 and 1.3, unless there are fewer.
    pub versions: Versions,
    /// Cipher suites that are spoken, by name; `None` for all that are known here.
    pub cipher_suites: Option<Vec<String>>,
    /// The client whose certificate has this name may do anything.
    pub super_user: Option<String>,
    /// Whether the plain port speaks TLS too, with those who begin so.
    pub is_unified: bool,
    /// Set where this end calls others too, as members do.
    pub calls: Option<Calls>,
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

/// What keys about clients begin with, and keys about members.
const CLIENTS: &str = "ssl.";
const MEMBERS: &str = "ssl.quorum.";

/// The keys of `zoo.cfg` about one kind of connection.
#[derive(Clone, Copy)]
struct Keys<'a> {
    all: &'a BTreeMap<String, String>,
    prefix: &'static str,
}

impl<'a> Keys<'a> {
    fn name(self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn get(self, key: &str) -> Option<&'a str> {
        self.all.get(&self.name(key)).map(String::as_str)
    }

    fn is_on(self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    fn wrong(self, key: &str, what: impl Into<String>) -> Wrong {
        (self.name(key), what.into())
    }

    fn key_store(self) -> Result<Option<Store>, Wrong> {
        self.store("keyStore")
    }

    fn trust_store(self) -> Result<Store, Wrong> {
        self.store("trustStore")?.ok_or_else(|| {
            let what = format!(
                "is missing: nobody's certificate would be believed; set {}, or {}=none",
                self.name("trustStore.location"),
                self.name("clientAuth"),
            );
            self.wrong("trustStore", what)
        })
    }

    fn store(self, name: &str) -> Result<Option<Store>, Wrong> {
        let get = |part: &str| self.get(&format!("{name}.{part}"));
        let Some(file) = get("location") else {
            return Ok(None);
        };
        // What a file is shows in its first bytes; the word is checked for those that are not read.
        if let Some(kind) = get("type")
            && !["JKS", "PEM", "PKCS12"].contains(&&*kind.to_ascii_uppercase())
        {
            let what = format!(
                "{kind:?} is not JKS, PKCS12 or PEM; write the file anew as one of them, by \
                 keytool -importkeystore"
            );
            return Err(self.wrong(&format!("{name}.type"), what));
        }
        let password = match get("passwordPath") {
            Some(path) => std::fs::read_to_string(path)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| {
                    self.wrong(&format!("{name}.passwordPath"), format!("{path}: {error}"))
                })?,
            None => get("password").unwrap_or_default().to_owned(),
        };
        Ok(Some(Store {
            file: file.into(),
            password,
        }))
    }

    fn client_auth(self) -> Result<ClientAuth, Wrong> {
        match self.get("clientAuth").unwrap_or("need") {
            "need" => Ok(ClientAuth::Need(self.trust_store()?)),
            "want" => Ok(ClientAuth::Want(self.trust_store()?)),
            "none" => Ok(ClientAuth::None),
            other => {
                let what = format!("{other:?} is not need, want or none");
                Err(self.wrong("clientAuth", what))
            },
        }
    }

    /// What is the same for clients and members.
    fn settings(self) -> Result<Option<TlsSettings>, Wrong> {
        let Some(key_store) = self.key_store()? else {
            return Ok(None);
        };
        let client_auth = self.client_auth()?;
        for key in ["crl", "ocsp"] {
            if self.is_on(key) {
                let what = "is not known here, so that revoked certificates would pass";
                return Err(self.wrong(key, what));
            }
        }
        let cipher_suites = self.get("ciphersuites");
        Ok(Some(TlsSettings {
            key_store,
            client_auth,
            versions: self.versions()?,
            cipher_suites: cipher_suites.map(|value| list(value).collect()),
            super_user: None,
            is_unified: false,
            calls: None,
        }))
    }

    fn versions(self) -> Result<Versions, Wrong> {
        let said = self
            .get("enabledProtocols")
            .or_else(|| self.get("protocol"));
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
            return Ok(versions);
        }
        let what = format!("{said:?} has neither TLSv1.2 nor TLSv1.3, and older ones are not safe");
        Err(self.wrong("enabledProtocols", what))
    }
}

impl TlsSettings {
    /// Whether a key of `zoo.cfg`, without `zookeeper.`, is about this.
    pub fn is_key(key: &str) -> bool {
        key.starts_with(CLIENTS)
            || matches!(
                key,
                "client.portUnification"
                    | "portUnification"
                    | "sslQuorum"
                    | "X509AuthenticationProvider.superUser"
            )
    }

    /// How clients come by TLS, from keys without `zookeeper.`; `None` when they name no key store.
    ///
    /// # Errors
    ///
    /// The first key that is wrong.
    pub fn read(keys: &BTreeMap<String, String>) -> Result<Option<Self>, Wrong> {
        let of_clients = Keys {
            all: keys,
            prefix: CLIENTS,
        };
        let get = |key: &str| keys.get(key).map(String::as_str);
        Ok(of_clients.settings()?.map(|settings| Self {
            super_user: get("X509AuthenticationProvider.superUser").map(str::to_owned),
            is_unified: is_on(keys, "client.portUnification"),
            ..settings
        }))
    }
}

/// How members come to each other by TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembersTls {
    /// What both ends go by.
    pub settings: TlsSettings,
    /// Whether this member calls the others by TLS. One that does not, and is
    /// [unified](TlsSettings::is_unified), understands those that do: the first step of a change
    /// under load.
    pub is_spoken: bool,
}

impl MembersTls {
    /// From keys without `zookeeper.`; `None` when members speak in the open only.
    ///
    /// # Errors
    ///
    /// The first key that is wrong, or missing.
    pub fn read(keys: &BTreeMap<String, String>) -> Result<Option<Self>, Wrong> {
        for key in ["sslQuorum", "portUnification"] {
            let value = keys.get(key).map_or("false", String::as_str);
            if !["true", "false"].contains(&&*value.to_ascii_lowercase()) {
                return Err((
                    key.to_owned(),
                    format!("{value:?} is neither true nor false"),
                ));
            }
        }
        let is_spoken = is_on(keys, "sslQuorum");
        let is_unified = is_on(keys, "portUnification");
        if !is_spoken && !is_unified {
            return Ok(None);
        }
        let of_members = Keys {
            all: keys,
            prefix: MEMBERS,
        };
        let Some(settings) = of_members.settings()? else {
            let needs = if is_spoken {
                "sslQuorum"
            } else {
                "portUnification"
            };
            return Err(of_members.wrong(
                "keyStore.location",
                format!("is missing, and {needs}=true needs it"),
            ));
        };
        let by_name = of_members.get("hostnameVerification");
        let calls = Calls {
            trusted: of_members.trust_store()?,
            by_name: by_name.is_none_or(|value| !value.eq_ignore_ascii_case("false")),
        };
        Ok(Some(Self {
            settings: TlsSettings {
                is_unified,
                calls: Some(calls),
                ..settings
            },
            is_spoken,
        }))
    }
}

fn is_on(keys: &BTreeMap<String, String>, key: &str) -> bool {
    keys.get(key)
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn list(value: &str) -> impl Iterator<Item = String> {
    let words = value.split(',').map(str::trim);
    words.filter(|word| !word.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn keys(pairs: Pairs<'_>) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn read(pairs: Pairs<'_>) -> Result<Option<TlsSettings>, String> {
        TlsSettings::read(&keys(pairs)).map_err(|(key, _)| key)
    }

    fn members(pairs: Pairs<'_>) -> Result<Option<MembersTls>, String> {
        MembersTls::read(&keys(pairs)).map_err(|(key, _)| key)
    }

    const KEYS: (&str, &str) = ("ssl.keyStore.location", "/k.jks");
    const TRUST: (&str, &str) = ("ssl.trustStore.location", "/t.jks");
    const KEYS_OF_MEMBERS: (&str, &str) = ("ssl.quorum.keyStore.location", "/k.jks");
    const TRUST_OF_MEMBERS: (&str, &str) = ("ssl.quorum.trustStore.location", "/t.jks");
    const ON: (&str, &str) = ("sslQuorum", "true");

    #[test]
    fn clients_need_a_certificate_unless_something_else_is_said() {
        let settings = read(&[KEYS, TRUST]).expect("right").expect("some");
        assert!(matches!(settings.client_auth, ClientAuth::Need(_)));
        assert!(settings.versions.v1_2 && settings.versions.v1_3 && !settings.is_unified);
        assert_eq!(settings.calls, None);
        let settings = read(&[KEYS, ("ssl.clientAuth", "none")]).expect("right");
        assert_eq!(settings.expect("some").client_auth, ClientAuth::None);
        assert_eq!(read(&[TRUST, KEYS_OF_MEMBERS, ON]), Ok(None));
    }

    #[test]
    fn members_speak_tls_to_those_who_are_named_when_the_file_says_so() {
        assert_eq!(members(&[KEYS_OF_MEMBERS, TRUST_OF_MEMBERS]), Ok(None));
        let both = [ON, KEYS_OF_MEMBERS, TRUST_OF_MEMBERS];
        let on = members(&both).expect("right").expect("some");
        assert!(on.is_spoken && !on.settings.is_unified);
        assert!(matches!(on.settings.client_auth, ClientAuth::Need(_)));
        assert!(on.settings.calls.expect("they do").by_name);
        let any = ("ssl.quorum.hostnameVerification", "false");
        let step = ("portUnification", "true");
        let step = members(&[step, any, both[1], both[2]])
            .expect("right")
            .expect("some");
        assert!(!step.is_spoken && step.settings.is_unified);
        assert!(!step.settings.calls.expect("they do").by_name);
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
        let members = |pair| members(&[ON, TRUST_OF_MEMBERS, pair]);
        for (wrong, named) in [
            (KEYS, "ssl.quorum.keyStore.location"),
            (("sslQuorum", "perhaps"), "sslQuorum"),
        ] {
            assert_eq!(members(wrong), Err(named.to_owned()));
        }
        let unknown = MembersTls::read(&keys(&[ON, KEYS_OF_MEMBERS]));
        assert_eq!(
            unknown.expect_err("whom to believe").0,
            "ssl.quorum.trustStore"
        );
    }

    #[test]
    fn a_version_that_is_not_named_is_not_spoken() {
        let only = |said| {
            let settings = read(&[KEYS, TRUST, ("ssl.enabledProtocols", said)]);
            settings.map(|settings| {
                let versions = settings.expect("some").versions;
                (versions.v1_2, versions.v1_3)
            })
        };
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
