//! Key stores and trust stores, as files.
//!
//! Prevents a start that fails with `InvalidKey`: what is wrong with a file is said with its name
//! and with what to do.

use std::fmt;
use std::path::PathBuf;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::jks::{self, KeyStore, Unreadable};
use super::settings::Store;

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

/// A private key and the certificates that belong to it, its own first.
pub(super) type Identity = (PrivateKeyDer<'static>, Vec<CertificateDer<'static>>);

impl Store {
    pub(super) fn wrong(&self, what: impl fmt::Display) -> WrongStore {
        WrongStore {
            file: self.file.clone(),
            what: what.to_string(),
        }
    }

    /// The private key in it. Of several, Java would take any: here that is a mistake.
    pub(super) fn identity(&self) -> Result<Identity, WrongStore> {
        let mut keys = self.content()?.keys;
        match (keys.pop(), keys.len()) {
            (Some((_, chain)), 0) if chain.is_empty() => Err(self.wrong(
                "the private key has no certificate; put its certificate into the same file",
            )),
            (Some(identity), 0) => Ok(identity),
            (None, _) => Err(self.wrong("there is no private key in it; put one in")),
            (Some(_), _) => Err(self.wrong("there are several private keys in it; leave one")),
        }
    }

    /// The certificates in it that are trusted.
    pub(super) fn trusted(&self) -> Result<Vec<CertificateDer<'static>>, WrongStore> {
        let trusted = self.content()?.trusted;
        if trusted.is_empty() {
            Err(self.wrong("there is no trusted certificate in it; put in the authority's"))
        } else {
            Ok(trusted)
        }
    }

    fn content(&self) -> Result<KeyStore, WrongStore> {
        let file = std::fs::read(&self.file).map_err(|error| self.wrong(error))?;
        match file.first_chunk() {
            Some(&jks::MAGIC) => KeyStore::read(&file, &self.password).map_err(|why| {
                let hint = match why {
                    Unreadable::WrongPassword => "; check the password that belongs to it",
                    Unreadable::Malformed
                    | Unreadable::WrongKeyPassword
                    | Unreadable::UnknownProtection => "",
                };
                self.wrong(format_args!("{why}{hint}"))
            }),
            Some([0x30, ..]) => Err(self.wrong(
                "this is PKCS #12, which is not read here; turn it into PEM by openssl pkcs12 -in \
                 FILE -nodes -out FILE.pem",
            )),
            _ => self.pem(&file),
        }
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
            return Err(self.wrong("this is neither JKS nor PEM"));
        }
        let keys = keys.into_iter().map(|key| (key, certificates.clone()));
        Ok(KeyStore {
            keys: keys.collect(),
            trusted: certificates,
        })
    }
}
