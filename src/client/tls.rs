use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::ConnectError;

/// Whom the client trusts to be the relay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Certificates {
    /// Relays whose certificate the operating system's authorities have signed.
    #[default]
    System,
    /// Relays whose certificate has one of these SHA-256 hashes (of its DER encoding): what `/certificate.sha256` says of
    /// a development certificate. The name in the certificate and its dates are not looked at.
    Sha256(Vec<[u8; 32]>),
}

impl Certificates {
    /// A TLS configuration that speaks `alpn` alone.
    pub(super) fn configuration(&self, alpn: &[u8]) -> Result<ClientConfig, ConnectError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let mut configuration = match self {
            Self::System => builder.with_root_certificates(system_roots()?).with_no_client_auth(),
            Self::Sha256(hashes) => {
                let verifier = HashVerifier::new(hashes.clone(), &provider);
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
            }
        };
        configuration.alpn_protocols = vec![alpn.to_vec()];
        Ok(configuration)
    }
}

fn system_roots() -> Result<RootCertStore, ConnectError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
        return Err(ConnectError::SystemCertificates(why));
    }
    Ok(roots)
}

/// Accepts a certificate by its hash; the handshake's signature still has to be made with that certificate's key.
#[derive(Debug)]
struct HashVerifier {
    hashes: Vec<[u8; 32]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl HashVerifier {
    fn new(hashes: Vec<[u8; 32]>, provider: &CryptoProvider) -> Self {
        Self { hashes, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for HashVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let hash = digest(&SHA256, end_entity);
        if self.hashes.iter().any(|known| known == hash.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_known_by_its_hash_alone() {
        let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert;
        let hash = digest(&SHA256, certificate.der()).as_ref().try_into().unwrap();
        let check = |hashes| {
            let verifier = HashVerifier::new(hashes, &rustls::crypto::ring::default_provider());
            let name = ServerName::try_from("elsewhere").unwrap();
            verifier.verify_server_cert(certificate.der(), &[], &name, &[], UnixTime::now()).is_ok()
        };
        assert!(check(vec![[0; 32], hash]));
        assert!(!check(vec![[0; 32]]));
        assert!(!check(vec![]));
    }
}
