//! The identity's files: two secrets of mode 0600 and two certificates. The node's certificate is written last, so
//! a node has an identity when, and only when, that file is there.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::{ClusterKey, Identity, IdentityError, NodeKey};
use crate::raft::{decode, encode};

const NODE_KEY: &str = "node.key";
const CLUSTER_KEY: &str = "cluster.key";
const CA_CERTIFICATE: &str = "ca.crt";
const CERTIFICATE: &str = "node.crt";
const JOINING: &str = "joining";
const MAKING: &str = "making";
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// What `init` decided before its first write to the log, so that a kill in between is finished by the next start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MakingFile {
    pub(crate) command: [u8; 16],
    pub(crate) cluster: [u8; 16],
    pub(crate) ca_certificate: Vec<u8>,
    pub(crate) ca_key_sealed: Vec<u8>,
}

/// The folder of the identity.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    dir: PathBuf,
}

impl Files {
    /// Makes the folder if it is not there, and what is above it, for this user alone: the log beside the keys holds
    /// what sites send to their origins.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, IdentityError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(|source| file_error(&dir, source))?;
        Ok(Self { dir })
    }

    /// This node's identity and its key to the CA, if it has one. The cluster is in the certificate of the CA's
    /// common name no less than in the node's name, so no other file is needed.
    pub(crate) fn load(&self) -> Result<Option<(Identity, ClusterKey)>, IdentityError> {
        let Some(certificate) = self.read(CERTIFICATE)? else {
            return Ok(None);
        };
        let need = |name: &str| {
            self.read(name)?
                .ok_or_else(|| self.content(name, "it is missing"))
        };
        let cluster_key = ClusterKey::from_bytes(&need(CLUSTER_KEY)?)
            .ok_or_else(|| self.content(CLUSTER_KEY, "it is not a key"))?;
        let (cluster, id) = name_in(&certificate)
            .ok_or_else(|| self.content(CERTIFICATE, "it is not a node's certificate"))?;
        let identity = Identity {
            id,
            cluster,
            certificate: CertificateDer::from(certificate),
            ca_certificate: CertificateDer::from(need(CA_CERTIFICATE)?),
            key_pkcs8: need(NODE_KEY)?,
        };
        Ok(Some((identity, cluster_key)))
    }

    /// This node's key; made at first use, and kept through failed attempts to join.
    pub(crate) fn node_key(&self) -> Result<NodeKey, IdentityError> {
        if let Some(der) = self.read(NODE_KEY)? {
            return NodeKey::from_pkcs8(&der);
        }
        let key = NodeKey::generate()?;
        self.write(NODE_KEY, &key.pkcs8(), SECRET)?;
        Ok(key)
    }

    /// The id of the join command; the same until the cluster has answered, so that a repeated attempt gets the same
    /// node id.
    pub(crate) fn join_command(&self) -> Result<[u8; 16], IdentityError> {
        if let Some(Ok(command)) = self.read(JOINING)?.map(<[u8; 16]>::try_from) {
            return Ok(command);
        }
        let command: [u8; 16] = rand::random();
        self.write(JOINING, &command, PUBLIC)?;
        Ok(command)
    }

    /// The cluster has answered: the next attempt is another one.
    pub(crate) fn forget_join_command(&self) -> Result<(), IdentityError> {
        self.remove(JOINING)
    }

    pub(crate) fn making(&self) -> Result<Option<MakingFile>, IdentityError> {
        match self.read(MAKING)? {
            Some(bytes) => decode(&bytes)
                .map(Some)
                .map_err(|error| self.content(MAKING, &error.to_string())),
            None => Ok(None),
        }
    }

    pub(crate) fn set_making(&self, making: &MakingFile) -> Result<(), IdentityError> {
        let bytes = encode(making).map_err(|error| self.content(MAKING, &error.to_string()))?;
        self.write(MAKING, &bytes, PUBLIC)
    }

    pub(crate) fn forget_making(&self) -> Result<(), IdentityError> {
        self.remove(MAKING)
    }

    /// Writes everything but the node's key, its certificate last.
    pub(crate) fn save(
        &self,
        certificate: &[u8],
        ca_certificate: &[u8],
        cluster_key: &ClusterKey,
    ) -> Result<(), IdentityError> {
        self.write(CLUSTER_KEY, cluster_key.bytes(), SECRET)?;
        self.write(CA_CERTIFICATE, ca_certificate, PUBLIC)?;
        self.save_certificate(certificate)
    }

    /// Replaces the node's certificate.
    pub(crate) fn save_certificate(&self, certificate: &[u8]) -> Result<(), IdentityError> {
        self.write(CERTIFICATE, certificate, PUBLIC)
    }

    fn content(&self, name: &str, why: &str) -> IdentityError {
        IdentityError::Content {
            path: self.dir.join(name).display().to_string(),
            why: why.to_owned(),
        }
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, IdentityError> {
        let path = self.dir.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(file_error(&path, source)),
        }
    }

    /// Whole or not at all: a synced temporary file is renamed over the old one.
    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), IdentityError> {
        let path = self.dir.join(name);
        let temporary = self.dir.join(format!("{name}.new"));
        let attempt = || -> io::Result<()> {
            remove_if_there(&temporary)?;
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            fs::File::open(&self.dir)?.sync_all()
        };
        attempt().map_err(|source| file_error(&path, source))
    }

    fn remove(&self, name: &str) -> Result<(), IdentityError> {
        let path = self.dir.join(name);
        remove_if_there(&path).map_err(|source| file_error(&path, source))
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn file_error(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::File {
        path: path.display().to_string(),
        source,
    }
}

/// The cluster and id in a node's own certificate.
fn name_in(certificate: &[u8]) -> Option<([u8; 16], crate::state::NodeId)> {
    use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let cluster = names.value.general_names.iter().find_map(|name| {
        let GeneralName::DNSName(name) = name else {
            return None;
        };
        let cluster = name.strip_suffix(".nearside")?.split_once('.')?.1;
        hex::decode(cluster).ok()?.try_into().ok()
    })?;
    Some((cluster, Identity::id_in(&cluster, certificate)?))
}
