//! What is in a key store, whatever its format, and why one cannot be read.

use std::fmt;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::der::NotDer;

/// The content of a key store.
#[derive(Debug, Default)]
pub(super) struct KeyStore {
    /// Private keys, in the order of the file.
    pub(super) keys: Vec<Key>,
    /// Certificates that are trusted.
    pub(super) trusted: Vec<CertificateDer<'static>>,
}

/// A private key.
#[derive(Debug)]
pub(super) struct Key {
    /// What it is called in the file, if it is.
    pub(super) alias: Option<String>,
    /// In PKCS #8, unless it comes from PEM.
    pub(super) private: PrivateKeyDer<'static>,
    /// The certificates that belong to it, its own first.
    pub(super) chain: Vec<CertificateDer<'static>>,
}

/// Why a file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It ends too early, or is of a version that nobody has written, or is something else.
    Malformed,
    /// The hash over all of it is another one.
    WrongPassword,
    /// A key is protected by something else, or by another password.
    WrongKeyPassword,
    /// A part is protected in a way of which nothing is known here.
    UnknownProtection,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => {
                "the file is damaged, or neither JKS nor PKCS #12 nor PEM; put a whole one there"
            },
            Self::WrongPassword => {
                "the password is wrong, or the file was changed; check the password that belongs \
                 to it"
            },
            Self::WrongKeyPassword => {
                "the private key has another password than the store; give it the same, by \
                 keytool -keypasswd"
            },
            Self::UnknownProtection => {
                "it is protected in a way that is not known here; write it anew, by keytool \
                 -importkeystore"
            },
        })
    }
}

impl From<NotDer> for Unreadable {
    fn from(_: NotDer) -> Self {
        Self::Malformed
    }
}
