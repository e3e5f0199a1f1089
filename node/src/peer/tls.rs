//! TLS between nodes: one root, the cluster's CA; one crypto provider, aws-lc-rs; TLS 1.3 only.
//!
//! The server's certificate and root follow the node's identity, which it gets when it makes or joins a cluster, and
//! again at each renewal. Until then it shows a throw-away certificate, so that others can ask it whether it is a
//! member.

use std::sync::Arc;

use nearside_cluster::Identity;
use nearside_cluster::identity::hash_of;
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio::sync::watch;

/// This node's certificate as it changes.
pub(super) type Identities = watch::Receiver<Option<Arc<Identity>>>;

/// What nodes speak inside TLS (ALPN, RFC 9113 section 3.2).
const HTTP2: &[u8] = b"h2";

/// Why TLS between nodes cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up TLS between nodes: {0}")]
pub struct TlsError(String);

fn failed(error: impl std::fmt::Display) -> TlsError {
    TlsError(error.to_string())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(ca: &CertificateDer<'static>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone())?;
    Ok(roots)
}

/// The CA goes along, so that a joiner can compare its hash with its token's.
fn chain(identity: &Identity) -> Vec<CertificateDer<'static>> {
    vec![
        identity.certificate.clone(),
        identity.ca_certificate.clone(),
    ]
}

fn key(identity: &Identity) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key_pkcs8.clone()))
}

/// The server's side; follows the identity by itself.
pub(super) fn server_config(identities: Identities) -> Result<ServerConfig, TlsError> {
    let verifier = MemberVerifier {
        current: Following::new(identities.clone()),
        provider: provider(),
    };
    let resolver = OwnCertificate {
        current: Following::new(identities),
        stranger: throw_away().map_err(failed)?,
    };
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(failed)
        .map(|builder| {
            builder
                .with_client_cert_verifier(Arc::new(verifier))
                .with_cert_resolver(Arc::new(resolver))
        })
}

/// Asks members: shows this node's certificate, trusts the cluster's CA alone.
pub(super) fn member_config(identity: &Identity) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(failed)?
        .with_root_certificates(roots(&identity.ca_certificate).map_err(failed)?)
        .with_client_auth_cert(chain(identity), key(identity))
        .map_err(failed)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(config)
}

/// Asks as a stranger: shows nothing, trusts the CA with this hash; without one, trusts nobody and talks to anybody.
pub(super) fn stranger_config(ca_hash: Option<[u8; 32]>) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = PinnedCa {
        ca_hash,
        provider: Arc::clone(&provider),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(config)
}

/// Something built from the identity, built again when it changes.
#[derive(Debug)]
struct Following<T> {
    identities: Identities,
    built: Mutex<Option<(Arc<Identity>, Arc<T>)>>,
}

impl<T> Following<T> {
    fn new(identities: Identities) -> Self {
        Self {
            identities,
            built: Mutex::new(None),
        }
    }

    fn get(&self, build: impl FnOnce(&Identity) -> Result<T, Error>) -> Result<Arc<T>, Error> {
        let Some(identity) = self.identities.borrow().clone() else {
            return Err(Error::General("this node belongs to no cluster yet".into()));
        };
        let mut built = self.built.lock();
        if let Some((of, built)) = &*built
            && Arc::ptr_eq(of, &identity)
        {
            return Ok(Arc::clone(built));
        }
        let new = Arc::new(build(&identity)?);
        *built = Some((identity, Arc::clone(&new)));
        Ok(new)
    }
}

fn certified(identity: &Identity) -> Result<CertifiedKey, Error> {
    let key = aws_lc_rs::sign::any_supported_type(&key(identity))?;
    Ok(CertifiedKey::new(chain(identity), key))
}

fn throw_away() -> Result<Arc<CertifiedKey>, TlsError> {
    let made =
        rcgen::generate_simple_self_signed(vec!["outside.nearside".into()]).map_err(failed)?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let key = aws_lc_rs::sign::any_supported_type(&key).map_err(failed)?;
    Ok(Arc::new(CertifiedKey::new(
        vec![made.cert.der().clone()],
        key,
    )))
}

#[derive(Debug)]
struct OwnCertificate {
    current: Following<CertifiedKey>,
    stranger: Arc<CertifiedKey>,
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let own = self.current.get(certified);
        Some(own.unwrap_or_else(|_| Arc::clone(&self.stranger)))
    }
}

/// Takes callers without a certificate for strangers, and refuses certificates that are not the cluster's.
#[derive(Debug)]
struct MemberVerifier {
    current: Following<Arc<dyn ClientCertVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for MemberVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verifier = self.current.get(|identity| {
            let roots = Arc::new(roots(&identity.ca_certificate)?);
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
                .build()
                .map_err(|error| Error::General(error.to_string()))
        })?;
        verifier.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Accepts a server whose chain ends in the CA that a join token names. Its own name is unknown before joining, and
/// of no matter: whoever the CA signed may let nodes in.
#[derive(Debug)]
struct PinnedCa {
    ca_hash: Option<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(ca_hash) = self.ca_hash else {
            return Ok(ServerCertVerified::assertion());
        };
        let ca = intermediates
            .iter()
            .find(|certificate| hash_of(certificate) == ca_hash)
            .ok_or_else(|| Error::General("it is not of the token's cluster".into()))?;
        let roots = roots(&ca.clone().into_owned())?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let end_entity = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &end_entity,
            &roots,
            intermediates,
            now,
            algorithms,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
