//! DIGEST-MD5, the one mechanism of SASL that clients of ZooKeeper use without Kerberos.
//!
//! Prevents a password on the wire. The mechanism is old and weak (RFC 6331 retired it); it is
//! here because clients have it, and says so. Only `qop=auth`: what follows is not encrypted.
//!
//! Source: RFC 2831; realm and answers as those of Java's server within ZooKeeper.

use std::collections::BTreeMap;

use md5::{Digest as _, Md5};

/// The realm that ZooKeeper's server names.
const REALM: &str = "zk-sasl-md5";
/// Bytes of a challenge's random part.
const NONCE_BYTES: usize = 16;
/// Longest token: names, numbers, a digest.
const TOKEN_BYTES_MAX: usize = 4_096;

/// Who may prove what: users and passwords.
pub type Users = BTreeMap<String, String>;

/// One exchange.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// What the client has to answer to; `None` before the beginning.
    nonce: Option<String>,
}

/// What the server says next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A challenge.
    Challenge(String),
    /// The user is who they say; the proof that so are we.
    Proved {
        /// The user.
        user: String,
        /// Our proof.
        token: String,
    },
}

/// The proof is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused;

impl Exchange {
    /// The answer to a client's token.
    pub(super) fn step(
        &mut self,
        token: &[u8],
        users: &Users,
        random: [u8; NONCE_BYTES],
    ) -> Result<Step, Refused> {
        let Some(nonce) = self.nonce.take() else {
            if !token.is_empty() {
                return Err(Refused);
            }
            let nonce = hex(&random);
            let challenge =
                format!("realm=\"{REALM}\",nonce=\"{nonce}\",charset=utf-8,algorithm=md5-sess");
            self.nonce = Some(nonce);
            return Ok(Step::Challenge(challenge));
        };
        verify(&nonce, token, users)
    }
}

fn verify(nonce: &str, token: &[u8], users: &Users) -> Result<Step, Refused> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refused);
    }
    let token = std::str::from_utf8(token).map_err(|_| Refused)?;
    let said = directives(token).ok_or(Refused)?;
    let get = |name: &str| said.get(name).map(String::as_str);
    let user = get("username").ok_or(Refused)?;
    let password = users.get(user).ok_or(Refused)?;
    let qop = get("qop").unwrap_or("auth");
    let realm = get("realm").unwrap_or_default();
    let as_whom = get("authzid").unwrap_or_default();
    let is_ours = get("nonce") == Some(nonce) && realm == REALM && qop == "auth";
    // Nobody acts for somebody else.
    let is_self = as_whom.is_empty() || as_whom == user;
    if !is_ours || !is_self || get("nc") != Some("00000001") {
        return Err(Refused);
    }
    let proof = Proof {
        user,
        realm,
        password,
        nonce,
        cnonce: get("cnonce").ok_or(Refused)?,
        as_whom,
        uri: get("digest-uri").ok_or(Refused)?,
    };
    if get("response") != Some(&*proof.of("AUTHENTICATE")) {
        return Err(Refused);
    }
    let token = format!("rspauth={}", proof.of(""));
    let user = user.to_owned();
    Ok(Step::Proved { user, token })
}

/// What both sides hash.
struct Proof<'a> {
    user: &'a str,
    realm: &'a str,
    password: &'a str,
    nonce: &'a str,
    cnonce: &'a str,
    as_whom: &'a str,
    uri: &'a str,
}

impl Proof<'_> {
    /// The client's proof says what it does, the server's says nothing.
    fn of(&self, method: &str) -> String {
        let secret = Md5::new()
            .chain_update(narrow(self.user))
            .chain_update(":")
            .chain_update(narrow(self.realm))
            .chain_update(":")
            .chain_update(narrow(self.password))
            .finalize();
        let (nonce, cnonce) = (self.nonce, self.cnonce);
        let mut one = Md5::new()
            .chain_update(secret)
            .chain_update(format!(":{nonce}:{cnonce}"));
        if !self.as_whom.is_empty() {
            one.update(format!(":{}", self.as_whom));
        }
        let one = hex(&one.finalize());
        let two = hex(&Md5::digest(format!("{method}:{}", self.uri)));
        hex(&Md5::digest(format!(
            "{one}:{nonce}:00000001:{cnonce}:auth:{two}"
        )))
    }
}

/// Latin-1 where that is enough, as RFC 2831 wants it.
fn narrow(text: &str) -> Vec<u8> {
    let narrow: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    narrow.unwrap_or_else(|| text.as_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from_digit(four.into(), 16).unwrap_or('0');
    let digits = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
    bytes.iter().flat_map(digits).collect()
}

/// `name=value` or `name="value"`, separated by commas; `None` when it is something else.
fn directives(mut rest: &str) -> Option<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t', '\r', '\n']);
        if rest.is_empty() {
            return Some(all);
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = if let Some(quoted) = after.strip_prefix('"') {
            unquote(quoted)?
        } else {
            let end = after.find(',').unwrap_or(after.len());
            (after[..end].trim_end().to_owned(), &after[end..])
        };
        // Said twice is said wrong.
        if all.insert(name.trim_end().to_owned(), value).is_some() {
            return None;
        }
        rest = after;
    }
}

/// The text up to the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn users() -> Users {
        [("jaas\"user".to_owned(), "secret".to_owned())].into()
    }

    fn begin() -> (Exchange, String) {
        let mut exchange = Exchange::default();
        let Ok(Step::Challenge(challenge)) = exchange.step(b"", &users(), [7; 16]) else {
            panic!("the server begins");
        };
        let nonce = directives(&challenge).expect("well-formed")["nonce"].clone();
        (exchange, nonce)
    }

    fn answer(nonce: &str, password: &str, as_whom: &str) -> String {
        let proof = Proof {
            user: "jaas\"user",
            realm: REALM,
            password,
            nonce,
            cnonce: "c",
            as_whom,
            uri: "zookeeper/zk-sasl-md5",
        };
        let response = proof.of("AUTHENTICATE");
        format!(
            "username=\"jaas\\\"user\",realm=\"{REALM}\",nonce=\"{nonce}\",nc=00000001,\
             cnonce=\"c\",digest-uri=\"zookeeper/zk-sasl-md5\",response={response},qop=auth,\
             authzid=\"{as_whom}\""
        )
    }

    #[test]
    fn the_example_of_the_rfc_is_computed_as_the_rfc_computes_it() {
        // RFC 2831, section 4.
        let proof = Proof {
            user: "chris",
            realm: "elwood.innosoft.com",
            password: "secret",
            nonce: "OA6MG9tEQGm2hh",
            cnonce: "OA6MHXh6VqTrRk",
            as_whom: "",
            uri: "imap/elwood.innosoft.com",
        };
        assert_eq!(proof.of("AUTHENTICATE"), "d388dad90d4bbd760a152321f2143af7");
        assert_eq!(proof.of(""), "ea40f60335c427b5527b84dbabcdfffd");
    }

    #[test]
    fn who_knows_the_password_is_recognized() {
        let (mut exchange, nonce) = begin();
        let proved = exchange.step(answer(&nonce, "secret", "").as_bytes(), &users(), [0; 16]);
        assert!(matches!(proved, Ok(Step::Proved { user, .. }) if user == "jaas\"user"));
    }

    #[test]
    fn a_wrong_password_an_old_challenge_and_somebody_elses_name_are_refused() {
        let (mut exchange, nonce) = begin();
        let wrong = answer(&nonce, "guess", "");
        assert_eq!(
            exchange.step(wrong.as_bytes(), &users(), [0; 16]),
            Err(Refused)
        );
        let right = answer(&nonce, "secret", "");
        assert_eq!(
            exchange.step(right.as_bytes(), &users(), [0; 16]),
            Err(Refused),
            "a challenge is answered once"
        );
        let (mut exchange, _) = begin();
        let old = answer("other", "secret", "");
        assert_eq!(
            exchange.step(old.as_bytes(), &users(), [0; 16]),
            Err(Refused)
        );
        let (mut exchange, nonce) = begin();
        let other = answer(&nonce, "secret", "super");
        assert_eq!(
            exchange.step(other.as_bytes(), &users(), [0; 16]),
            Err(Refused)
        );
    }

    proptest! {
        #[test]
        fn no_token_makes_it_panic(token: Vec<u8>, text: String) {
            let (mut exchange, _) = begin();
            prop_assert_eq!(exchange.step(&token, &users(), [0; 16]), Err(Refused));
            let parsed = directives(&text);
            prop_assert!(parsed.is_none_or(|all| all.len() <= text.len()));
        }
    }
}
