//! PKCS #12: what `keytool` writes unless it is told otherwise, and `openssl pkcs12 -export`.
//!
//! Prevents a migration that ends at a file that is called `.jks` and is none: since Java 9 most
//! are not. What belongs together is decided here, as the JDK's `PKCS12KeyStore` does; the format
//! and its ciphers are `p12-keystore`'s.

use p12_keystore::error::Error;
use p12_keystore::{CertificateBag, Pkcs12Archive, PrivateKeyBag};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::content::{Key, KeyStore, Unreadable};
use super::der::SEQUENCE;

/// What a file of this format begins with.
pub(super) const FIRST: u8 = SEQUENCE;

/// Reads a file.
pub(super) fn read(file: &[u8], password: &str) -> Result<KeyStore, Unreadable> {
    let archive = Pkcs12Archive::from_pkcs12(file, password).map_err(unreadable)?;
    let trusted = archive.certs.iter().filter(|bag| bag.trusted).map(der);
    let trusted = trusted.collect();
    let keys = archive.keys.into_iter().map(|bag| Key {
        chain: chain(&bag, &archive.certs),
        private: PrivatePkcs8KeyDer::from(bag.key.as_der().to_vec()).into(),
        alias: bag.friendly_name,
    });
    Ok(KeyStore {
        keys: keys.collect(),
        trusted,
    })
}

/// The key's own certificate, the one of who signed that, and so on.
///
/// A key says by an identifier which is its own; where it has none, it is the first.
fn chain(key: &PrivateKeyBag, certificates: &[CertificateBag]) -> Vec<CertificateDer<'static>> {
    let id = key.local_key_id.as_ref().map(AsRef::as_ref);
    let is_own = |bag: &&CertificateBag| id.is_none() || bag.local_key_id.as_deref() == id;
    let mut chain: Vec<&CertificateBag> = certificates.iter().find(is_own).into_iter().collect();
    while let Some(last) = chain.last() {
        let is_next = |bag: &&CertificateBag| {
            bag.cert.subject() == last.cert.issuer()
                && chain.iter().all(|other| other.cert != bag.cert)
        };
        let is_end = last.cert.subject() == last.cert.issuer();
        match certificates.iter().find(is_next) {
            Some(next) if !is_end => chain.push(next),
            Some(_) | None => break,
        }
    }
    chain.into_iter().map(der).collect()
}

fn der(bag: &CertificateBag) -> CertificateDer<'static> {
    bag.cert.as_der().to_vec().into()
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what a result's error is mapped by"
)]
fn unreadable(error: Error) -> Unreadable {
    match error {
        // Without a sum over all of it, a wrong password shows where it unlocks nothing.
        Error::MacError(_) | Error::UnpadError | Error::Pkcs5Error(_) => Unreadable::WrongPassword,
        Error::UnsupportedEncryptionScheme
        | Error::UnsupportedMacAlgorithm
        | Error::UnsupportedContentType
        | Error::InvalidParameters => Unreadable::UnknownProtection,
        Error::IoError(_)
        | Error::DerError(_)
        | Error::InvalidVersion
        | Error::UnsupportedCertificateType
        | Error::X509Error(_)
        | Error::InvalidLength
        | Error::InvalidData
        | Error::InvalidPrivateKey => Unreadable::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEYTOOL: &[u8] = include_bytes!("../serve/tests/tls/keytool.p12");
    const LEGACY: &[u8] = include_bytes!("../serve/tests/tls/legacy.p12");
    const OPENSSL: &[u8] = include_bytes!("../serve/tests/tls/openssl.p12");
    const OPEN: &[u8] = include_bytes!("../serve/tests/tls/open.p12");
    const TRUST: &[u8] = include_bytes!("../serve/tests/tls/trust.p12");
    const TWO: &[u8] = include_bytes!("../serve/tests/tls/two.p12");
    const JKS: &[u8] = include_bytes!("../serve/tests/tls/server.jks");

    fn right(file: &[u8]) -> KeyStore {
        read(file, "apassword").expect("keytool or openssl wrote it")
    }

    #[test]
    fn old_and_new_ciphers_hide_the_same_key_with_its_whole_chain() {
        let jks = super::super::jks::read(JKS, "apassword").expect("keytool wrote it");
        for (name, file) in [
            ("keytool", KEYTOOL),
            ("legacy", LEGACY),
            ("openssl", OPENSSL),
        ] {
            let store = right(file);
            assert_eq!(store.keys.len(), 1, "{name}");
            assert_eq!(
                store.keys[0].private.secret_der(),
                jks.keys[0].private.secret_der(),
                "{name}"
            );
            assert_eq!(store.keys[0].chain, jks.keys[0].chain, "{name}");
        }
        let open = right(OPEN);
        assert_eq!(open.keys[0].chain, jks.keys[0].chain[..1]);
    }

    #[test]
    fn only_what_is_marked_as_trusted_is() {
        for (file, trusted) in [(KEYTOOL, 1), (TRUST, 1), (OPENSSL, 0), (TWO, 0)] {
            assert_eq!(right(file).trusted.len(), trusted);
        }
        assert!(right(TRUST).keys.is_empty());
    }

    #[test]
    fn each_of_several_keys_has_its_own_certificate_and_its_name() {
        let keys = right(TWO).keys;
        let names: Vec<_> = keys.iter().map(|key| key.alias.as_deref()).collect();
        assert_eq!(names, [Some("first"), Some("second")]);
        assert_ne!(keys[0].chain, keys[1].chain);
    }

    #[test]
    fn another_password_is_told_from_a_damaged_file() {
        for file in [KEYTOOL, LEGACY, OPENSSL] {
            let wrong = read(file, "another").map(drop);
            assert_eq!(wrong, Err(Unreadable::WrongPassword));
            let torn = read(&file[..file.len() - 1], "apassword").map(drop);
            assert_eq!(torn, Err(Unreadable::Malformed));
        }
    }

    proptest! {
        // Each case derives keys, and that is slow on purpose.
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, at in 0..TRUST.len(), flip in 1_u8..) {
            drop(read(&bytes, ""));
            drop(read(&[&[0x30, 0x82, 0x01, 0x00, 2, 1, 3][..], &bytes].concat(), ""));
            let mut changed = TRUST.to_vec();
            changed[at] ^= flip;
            drop(read(&changed, "apassword"));
        }
    }
}
