//! Which certificates are believed of those who are called: members call each other.
//!
//! Prevents a member that speaks to whoever sits at an address: the certificate has to be vouched
//! for by the trust store, and, unless the operator says otherwise, to name the host that was
//! called (RFC 6125), in its common name if it has no names of hosts, as Java reads it.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::certificate::Certificate;
use super::name;
use super::trust::{Trust, shown};

/// Checks those who are called.
#[derive(Debug)]
pub(super) struct Called {
    trust: Trust,
    /// Whether a certificate has to name the host.
    by_name: bool,
}

impl Called {
    pub(super) const fn new(trust: Trust, by_name: bool) -> Self {
        Self { trust, by_name }
    }
}

/// Whether a certificate names a host.
pub(super) fn names(der: &CertificateDer<'_>, host: &ServerName<'_>) -> Result<(), Error> {
    // A certificate of version 1 cannot be parsed there, and has nothing but its common name.
    let checked = ParsedCertificate::try_from(der).map(|parsed| verify_server_name(&parsed, host));
    let refused = match checked {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(refused)) if !is_without_names(&refused) => return Err(refused),
        Ok(Err(refused)) | Err(refused) => refused,
    };
    let common = common_name(&shown(der)?);
    if common.is_some_and(|common| common.eq_ignore_ascii_case(&host.to_str())) {
        Ok(())
    } else {
        Err(refused)
    }
}

fn is_without_names(refused: &Error) -> bool {
    matches!(
        refused,
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })
            if presented.is_empty()
    )
}

fn common_name(certificate: &Certificate<'_>) -> Option<String> {
    name::common(certificate.subject).ok().flatten()
}

impl ServerCertVerifier for Called {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.trust.knows(end_entity, &shown(end_entity)?, now)? {
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(end_entity)?,
                &self.trust.roots,
                intermediates,
                now,
                self.trust.algorithms.all,
            )?;
        }
        if self.by_name {
            names(end_entity, host)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.schemes()
    }
}
