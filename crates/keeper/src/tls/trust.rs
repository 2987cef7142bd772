//! What a trust store vouches for besides chains that end in it.
//!
//! Prevents somebody whom Apache ZooKeeper believes from being turned away, and nothing more than
//! that: chains are checked by webpki, which knows version 3 alone. What it does not know, and
//! Java does, is a certificate of version 1 that an authority of the trust store signed itself,
//! and one that lies in the trust store as it is.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};

use super::certificate::Certificate;

const BAD_ENCODING: Error = Error::InvalidCertificate(CertificateError::BadEncoding);

/// The certificates of a trust store.
#[derive(Debug)]
pub(super) struct Trust {
    trusted: Vec<CertificateDer<'static>>,
    /// Whom they name.
    pub(super) names: Vec<DistinguishedName>,
    /// Those that chains may end in.
    pub(super) roots: Arc<RootCertStore>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// Reads a certificate that the other end showed.
pub(super) fn shown<'a>(der: &'a CertificateDer<'_>) -> Result<Certificate<'a>, Error> {
    Certificate::read(der).map_err(|_| BAD_ENCODING)
}

impl Trust {
    /// An error when a certificate of the trust store is none.
    pub(super) fn new(
        trusted: Vec<CertificateDer<'static>>,
        provider: &CryptoProvider,
    ) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        let mut names = Vec::new();
        for certificate in &trusted {
            let known = shown(certificate)?;
            names.push(DistinguishedName::from(known.subject.to_vec()));
            if known.version == 3 {
                roots.add(certificate.clone())?;
            }
        }
        Ok(Self {
            trusted,
            names,
            roots: roots.into(),
            algorithms: provider.signature_verification_algorithms,
        })
    }

    /// Whether it vouches for a certificate without a chain; an error when it does, and the
    /// certificate is not valid at this time.
    pub(super) fn knows(
        &self,
        der: &CertificateDer<'_>,
        certificate: &Certificate<'_>,
        now: UnixTime,
    ) -> Result<bool, Error> {
        let is_known = self.trusted.iter().any(|trusted| {
            trusted == der
                || certificate.version == 1
                    && Certificate::read(trusted)
                        .is_ok_and(|issuer| self.is_signed_by(certificate, &issuer))
        });
        if is_known && !certificate.is_valid_at(now) {
            return Err(CertificateError::Expired.into());
        }
        Ok(is_known)
    }

    fn is_signed_by(&self, certificate: &Certificate<'_>, issuer: &Certificate<'_>) -> bool {
        certificate.issuer == issuer.subject
            && self.algorithms.all.iter().any(|algorithm| {
                algorithm.signature_alg_id().as_ref() == certificate.signature_algorithm
                    && algorithm.public_key_alg_id().as_ref() == issuer.key_algorithm
                    && algorithm
                        .verify_signature(issuer.key, certificate.signed, certificate.signature)
                        .is_ok()
            })
    }

    /// Whether a handshake of version 1.2 was signed with the certificate's key.
    pub(super) fn tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = shown(certificate)?;
        let mut known = self.algorithms.mapping.iter();
        let (_, algorithms) = known
            .find(|(scheme, _)| *scheme == signed.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let is_right = algorithms.iter().any(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == certificate.key_algorithm
                && algorithm
                    .verify_signature(certificate.key, message, signed.signature())
                    .is_ok()
        });
        if is_right {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    /// Whether a handshake of version 1.3 was signed with the certificate's key.
    pub(super) fn tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = shown(certificate)?;
        let key = SubjectPublicKeyInfoDer::from(certificate.key_info);
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }

    pub(super) fn schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
