//! Which certificates of clients are believed.
//!
//! Prevents a client that Apache ZooKeeper lets in from being turned away, and nothing more than
//! that: chains are checked by webpki, which knows version 3 alone. What it does not know, and
//! Java does, is a certificate of version 1 that an authority of the trust store signed itself,
//! and one that lies in the trust store as it is.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};

use super::certificate::Certificate;

const BAD_ENCODING: Error = Error::InvalidCertificate(CertificateError::BadEncoding);

/// Checks clients.
pub(super) struct Clients {
    trusted: Vec<CertificateDer<'static>>,
    /// For chains of version 3; `None` when nothing in the trust store can be the end of one.
    chains: Option<Arc<dyn ClientCertVerifier>>,
    names: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
    is_needed: bool,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients")
            .field("names", &self.names)
            .field("is_needed", &self.is_needed)
            .finish_non_exhaustive()
    }
}

impl Clients {
    /// An error when a certificate of the trust store is none.
    pub(super) fn new(
        trusted: Vec<CertificateDer<'static>>,
        is_needed: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        let mut names = Vec::new();
        for certificate in &trusted {
            let known = Certificate::read(certificate).map_err(|_| BAD_ENCODING)?;
            names.push(DistinguishedName::from(known.subject.to_vec()));
            if known.version == 3 {
                roots.add(certificate.clone())?;
            }
        }
        let chains =
            WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
        Ok(Self {
            trusted,
            chains: chains.build().ok(),
            names,
            algorithms: provider.signature_verification_algorithms,
            is_needed,
        })
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

    /// Whether Java would believe a certificate without a chain.
    fn is_known(&self, der: &CertificateDer<'_>, certificate: &Certificate<'_>) -> bool {
        self.trusted.iter().any(|trusted| {
            trusted == der
                || certificate.version == 1
                    && Certificate::read(trusted)
                        .is_ok_and(|issuer| self.is_signed_by(certificate, &issuer))
        })
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.is_needed
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let certificate = Certificate::read(end_entity).map_err(|_| BAD_ENCODING)?;
        if self.is_known(end_entity, &certificate) {
            return if certificate.is_valid_at(now) {
                Ok(ClientCertVerified::assertion())
            } else {
                Err(CertificateError::Expired.into())
            };
        }
        match &self.chains {
            Some(chains) => chains.verify_client_cert(end_entity, intermediates, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = Certificate::read(certificate).map_err(|_| BAD_ENCODING)?;
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

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = Certificate::read(certificate).map_err(|_| BAD_ENCODING)?;
        let key = SubjectPublicKeyInfoDer::from(certificate.key_info);
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
