//! Key stores and trust stores, as files.
//!
//! Prevents a start that fails with `InvalidKey`: what is wrong with a file is said with its name
//! and with what to do.

use std::fmt;
use std::path::PathBuf;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::content::{Key, KeyStore};
use super::settings::Store;
use super::{jks, pkcs12};

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongStore {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, and what to do.
    pub what: String,
}

impl fmt::Display for WrongStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)
    }
}

impl std::error::Error for WrongStore {}

impl Store {
    pub(super) fn wrong(&self, what: impl fmt::Display) -> WrongStore {
        WrongStore {
            file: self.file.clone(),
            what: what.to_string(),
        }
    }

    /// The private key in it. Of several, Java would take any: here that is a mistake.
    pub(super) fn identity(&self) -> Result<Key, WrongStore> {
        let mut keys = self.content()?.keys;
        match (keys.pop(), keys.is_empty()) {
            (Some(key), true) if key.chain.is_empty() => Err(self.wrong(
                "the private key has no certificate; put its certificate into the same file",
            )),
            (Some(key), true) => Ok(key),
            (None, _) => Err(self.wrong("there is no private key in it; put one in")),
            (Some(last), false) => {
                let keys = keys.iter().chain([&last]);
                let names: Vec<_> = keys.filter_map(|key| key.alias.as_deref()).collect();
                Err(self.wrong(match names.as_slice() {
                    [] => "there are several private keys in it; leave one".to_owned(),
                    names => format!(
                        "there are several private keys in it, {}; leave one, by keytool -delete \
                         -alias NAME",
                        names.join(", ")
                    ),
                }))
            },
        }
    }

    /// The certificates in it that are trusted.
    pub(super) fn trusted(&self) -> Result<Vec<CertificateDer<'static>>, WrongStore> {
        let trusted = self.content()?.trusted;
        if trusted.is_empty() {
            Err(self.wrong(
                "there is no trusted certificate in it; put in the authority's, into a key store \
                 by keytool -importcert, since openssl does not mark what is trusted",
            ))
        } else {
            Ok(trusted)
        }
    }

    /// By what the file is, not by what it is called: so does Java's reader of JKS.
    fn content(&self) -> Result<KeyStore, WrongStore> {
        let file = std::fs::read(&self.file).map_err(|error| self.wrong(error))?;
        let content = if file.starts_with(&jks::MAGIC) {
            jks::read(&file, &self.password)
        } else if file.first() == Some(&pkcs12::FIRST) {
            pkcs12::read(&file, &self.password)
        } else {
            return self.pem(&file);
        };
        content.map_err(|why| self.wrong(why))
    }

    fn pem(&self, file: &[u8]) -> Result<KeyStore, WrongStore> {
        let certificates = CertificateDer::pem_slice_iter(file).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|error| self.wrong(error))?;
        let keys = PrivateKeyDer::pem_slice_iter(file).collect::<Result<Vec<_>, _>>();
        let keys = keys.map_err(|error| self.wrong(error))?;
        let is_locked = b"BEGIN ENCRYPTED PRIVATE KEY".as_slice();
        if keys.is_empty() && file.windows(is_locked.len()).any(|part| part == is_locked) {
            return Err(self.wrong(
                "the private key is locked; unlock it by openssl pkcs8 -in FILE -out KEY, and \
                 keep the file from others",
            ));
        }
        if keys.is_empty() && certificates.is_empty() {
            return Err(
                self.wrong("this is neither JKS nor PKCS #12 nor PEM; put one of them there")
            );
        }
        let keys = keys.into_iter().map(|key| Key {
            alias: None,
            private: key,
            chain: certificates.clone(),
        });
        Ok(KeyStore {
            keys: keys.collect(),
            trusted: certificates,
        })
    }
}
