//! JKS: Java's own format of key stores.
//!
//! Prevents a migration that begins with converting files. Source: the JDK's `JavaKeyStore` and
//! `KeyProtector`. The password guards a file against mistakes rather than against thieves: its
//! cipher is a SHA-1 key stream, so the file itself has to be kept from others.

use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use sha1::{Digest as _, Sha1};

use super::content::{Key, KeyStore, Unreadable};
use super::der::{Der, OCTET_STRING, OID, SEQUENCE};

/// What a file of this format begins with.
pub(super) const MAGIC: [u8; 4] = 0xfeed_feed_u32.to_be_bytes();

const HASH_BYTES: usize = 20;
/// What Sun hashes between password and content.
const PHRASE: &[u8] = b"Mighty Aphrodite";
/// `1.3.6.1.4.1.42.2.17.1.1`: keys that are protected as `KeyProtector` does.
const PROTECTED: &[u8] = &[0x2b, 6, 1, 4, 1, 0x2a, 2, 0x11, 1, 1];

/// Reads a file.
pub(super) fn read(file: &[u8], password: &str) -> Result<KeyStore, Unreadable> {
    let password: Vec<u8> = password.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let (content, hash) = file
        .split_last_chunk::<HASH_BYTES>()
        .ok_or(Unreadable::Malformed)?;
    let expected = Sha1::new()
        .chain_update(&password)
        .chain_update(PHRASE)
        .chain_update(content)
        .finalize();
    if expected[..] != hash[..] {
        return Err(Unreadable::WrongPassword);
    }
    let mut rest = Rest(content);
    if rest.chunk()? != MAGIC {
        return Err(Unreadable::Malformed);
    }
    let version = rest.number()?;
    if !matches!(version, 1 | 2) {
        return Err(Unreadable::Malformed);
    }
    let mut store = KeyStore::default();
    for _ in 0..rest.number()? {
        let tag = rest.number()?;
        let alias = String::from_utf8_lossy(rest.short()?).into_owned();
        let _made: [u8; 8] = rest.chunk()?;
        match tag {
            1 => {
                let key = unprotect(rest.long()?, &password)?;
                let chain = (0..rest.number()?).map(|_| rest.certificate(version));
                let chain = chain.collect::<Result<_, _>>()?;
                store.keys.push(Key {
                    alias: Some(alias),
                    private: PrivatePkcs8KeyDer::from(key).into(),
                    chain,
                });
            },
            2 => store.trusted.push(rest.certificate(version)?),
            _ => return Err(Unreadable::Malformed),
        }
    }
    Ok(store)
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(Unreadable::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (chunk, rest) = self.0.split_first_chunk().ok_or(Unreadable::Malformed)?;
        self.0 = rest;
        Ok(*chunk)
    }

    fn number(&mut self) -> Result<u32, Unreadable> {
        self.chunk().map(u32::from_be_bytes)
    }

    /// Something with a length of two bytes.
    fn short(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = u16::from_be_bytes(self.chunk()?);
        self.take(length.into())
    }

    /// Something with a length of four bytes.
    fn long(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = usize::try_from(self.number()?).map_err(|_| Unreadable::Malformed)?;
        self.take(length)
    }

    fn certificate(&mut self, version: u32) -> Result<CertificateDer<'static>, Unreadable> {
        // Since version 2 its kind is said first; there is one kind.
        if version > 1 && self.short()? != b"X.509" {
            return Err(Unreadable::Malformed);
        }
        Ok(CertificateDer::from(self.long()?.to_vec()))
    }
}

/// A private key in PKCS #8, without its protection.
fn unprotect(protected: &[u8], password: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let mut outer = Der::new(protected).inside(SEQUENCE)?;
    let kind = outer.inside(SEQUENCE)?.expect(OID)?.body;
    if kind != PROTECTED {
        return Err(Unreadable::UnknownProtection);
    }
    let sealed = outer.expect(OCTET_STRING)?.body;
    let (salt, sealed) = sealed
        .split_first_chunk::<HASH_BYTES>()
        .ok_or(Unreadable::Malformed)?;
    let (sealed, hash) = sealed
        .split_last_chunk::<HASH_BYTES>()
        .ok_or(Unreadable::Malformed)?;
    let seal = |part: &[u8]| {
        Sha1::new()
            .chain_update(password)
            .chain_update(part)
            .finalize()
    };
    let mut key = sealed.to_vec();
    let mut stream = seal(salt);
    for part in key.chunks_mut(HASH_BYTES) {
        for (byte, pad) in part.iter_mut().zip(&stream) {
            *byte ^= pad;
        }
        stream = seal(&stream);
    }
    if seal(&key)[..] == hash[..] {
        Ok(key)
    } else {
        Err(Unreadable::WrongKeyPassword)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STORE: &[u8] = include_bytes!("../serve/tests/tls/server.jks");

    #[test]
    fn a_file_of_keytool_is_read_with_its_password_and_with_no_other() {
        let store = read(STORE, "apassword").expect("keytool wrote it");
        assert_eq!((store.keys.len(), store.trusted.len()), (1, 1));
        assert_eq!(
            store.keys[0].chain.len(),
            2,
            "its certificate and the authority's"
        );
        let wrong = read(STORE, "another").map(drop);
        assert_eq!(wrong, Err(Unreadable::WrongPassword));
    }

    #[test]
    fn a_file_that_was_changed_anywhere_is_refused() {
        for at in (0..STORE.len()).step_by(97) {
            let mut changed = STORE.to_vec();
            changed[at] ^= 1;
            assert!(read(&changed, "apassword").is_err(), "byte {at}");
        }
    }

    /// The hash that makes it a store, so that what is inside is looked at.
    fn sealed(content: &[u8]) -> Vec<u8> {
        let hash = Sha1::new()
            .chain_update(PHRASE)
            .chain_update(content)
            .finalize();
        [content, &hash[..]].concat()
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, cut in 0..STORE.len()) {
            drop(read(&bytes, ""));
            drop(read(&sealed(&[&MAGIC, &[0, 0, 0, 2][..], &bytes].concat()), ""));
            prop_assert!(read(&sealed(&STORE[..cut]), "").is_err());
        }
    }
}
