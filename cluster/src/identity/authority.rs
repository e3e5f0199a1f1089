//! The cluster's certificate authority, and the key that seals its key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Identity, IdentityError, crypto};
use crate::state::NodeId;

/// Certificates begin this long ago, so that a node whose clock is behind accepts them.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);
/// How long the CA lasts.
const CA_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// How long a node's certificate lasts.
const NODE_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// Length of a nonce of AES-GCM, bytes.
const NONCE_BYTES: usize = 12;

/// Seals the CA's key. In the memory of each member and one file of mode 0600; never in the log.
#[derive(Clone)]
pub(crate) struct ClusterKey([u8; 32]);

impl ClusterKey {
    pub(crate) fn generate() -> Result<Self, IdentityError> {
        let mut key = [0; 32];
        SystemRandom::new()
            .fill(&mut key)
            .map_err(crypto("make a cluster key"))?;
        Ok(Self(key))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for another purpose, from which this one cannot be told.
    pub(crate) fn secret_for(&self, purpose: &str) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let tag = hmac::sign(&key, purpose.as_bytes());
        // HMAC-SHA256 has exactly so many bytes.
        tag.as_ref().try_into().unwrap_or_default()
    }

    fn aead(&self) -> Result<RandomizedNonceKey, IdentityError> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.0).map_err(crypto("use the cluster key"))
    }

    /// What is sealed for one cluster opens for no other.
    fn seal(&self, cluster: &[u8; 16], plain: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let mut sealed = plain.to_vec();
        let nonce = self
            .aead()?
            .seal_in_place_append_tag(Aad::from(cluster), &mut sealed)
            .map_err(crypto("seal the CA key"))?;
        let mut out = nonce.as_ref().to_vec();
        out.append(&mut sealed);
        Ok(out)
    }

    fn open(&self, cluster: &[u8; 16], sealed: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let failed = crypto::<&str>("open the CA key");
        let Some((nonce, sealed)) = sealed.split_at_checked(NONCE_BYTES) else {
            return Err(failed("it is too short"));
        };
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(crypto("open the CA key"))?;
        let mut bytes = sealed.to_vec();
        let plain = self
            .aead()?
            .open_in_place(nonce, Aad::from(cluster), &mut bytes)
            .map_err(|_| failed("the cluster key does not fit"))?;
        Ok(plain.to_vec())
    }
}

/// A node's private key.
pub(crate) struct NodeKey(KeyPair);

impl NodeKey {
    pub(crate) fn generate() -> Result<Self, IdentityError> {
        KeyPair::generate().map(Self).map_err(crypto("make a key"))
    }

    pub(crate) fn from_pkcs8(der: &[u8]) -> Result<Self, IdentityError> {
        KeyPair::try_from(&PrivatePkcs8KeyDer::from(der))
            .map(Self)
            .map_err(crypto("read the node's key"))
    }

    pub(crate) fn pkcs8(&self) -> Vec<u8> {
        self.0.serialize_der()
    }

    /// A request for a certificate: proof that its sender has the key. Names in it would be ignored.
    pub(crate) fn signing_request(&self) -> Result<Vec<u8>, IdentityError> {
        let request = CertificateParams::default()
            .serialize_request(&self.0)
            .map_err(crypto("make a certificate request"))?;
        Ok(request.der().to_vec())
    }
}

/// The cluster's CA.
pub(crate) struct Authority {
    cluster: [u8; 16],
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

fn lasting(params: &mut CertificateParams, now: SystemTime, life: Duration) {
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch.saturating_sub(BACKDATED);
    params.not_after = epoch + since_epoch + life;
}

impl Authority {
    /// Makes a CA for a new cluster.
    pub(crate) fn make(cluster: [u8; 16], now: SystemTime) -> Result<Self, IdentityError> {
        let key = KeyPair::generate().map_err(crypto("make the CA key"))?;
        let mut params = CertificateParams::default();
        lasting(&mut params, now, CA_LIFE);
        params.distinguished_name.push(
            DnType::CommonName,
            format!("nearside cluster {}", hex::encode(cluster)),
        );
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params
            .self_signed(&key)
            .map_err(crypto("sign the CA certificate"))?;
        Ok(Self {
            cluster,
            certificate: certificate.der().clone(),
            key,
        })
    }

    /// Opens what the state holds.
    pub(crate) fn open(
        cluster: [u8; 16],
        certificate: &[u8],
        key_sealed: &[u8],
        cluster_key: &ClusterKey,
    ) -> Result<Self, IdentityError> {
        let plain = cluster_key.open(&cluster, key_sealed)?;
        let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(plain.as_slice()))
            .map_err(crypto("read the CA key"))?;
        Ok(Self {
            cluster,
            certificate: CertificateDer::from(certificate.to_vec()),
            key,
        })
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(crate) fn key_sealed(&self, cluster_key: &ClusterKey) -> Result<Vec<u8>, IdentityError> {
        cluster_key.seal(&self.cluster, &self.key.serialize_der())
    }

    /// Signs a certificate for a node's own key.
    pub(crate) fn sign_own(
        &self,
        id: NodeId,
        key: &NodeKey,
        now: SystemTime,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        self.sign(id, &key.0, now)
    }

    /// Signs a certificate for the key in a request, whose own signature is checked. Nothing else of it is used.
    pub(crate) fn sign_request(
        &self,
        id: NodeId,
        request: &[u8],
        now: SystemTime,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        let request =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
                .map_err(crypto("read the certificate request"))?;
        self.sign(id, &request.public_key, now)
    }

    fn sign(
        &self,
        id: NodeId,
        key: &impl PublicKeyData,
        now: SystemTime,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        let name = Identity::server_name(&self.cluster, id);
        let mut params =
            CertificateParams::new(vec![name]).map_err(crypto("name the certificate"))?;
        lasting(&mut params, now, NODE_LIFE);
        params
            .distinguished_name
            .push(DnType::CommonName, format!("node-{id}"));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key)
            .map_err(crypto("read the CA certificate"))?;
        let certificate = params
            .signed_by(key, &issuer)
            .map_err(crypto("sign the certificate"))?;
        Ok(certificate.der().clone())
    }
}

/// True once two thirds of a certificate's life are over, or when it cannot be read.
pub(crate) fn is_due(certificate: &[u8], now: SystemTime) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return true;
    };
    let begins = certificate.validity().not_before.timestamp();
    let ends = certificate.validity().not_after.timestamp();
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    });
    now - begins > (ends - begins) / 3 * 2
}
