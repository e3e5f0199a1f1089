//! Certificates from files on this node, chosen by the name the client asks for.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::settings::CertificateFiles;
use crate::view::Views;

/// What is wrong with a certificate's files.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file could not be read.
    #[error("certificate {name}: cannot read {}", path.display())]
    Read {
        /// Under `[certificates]`.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file holds something else than it should.
    #[error("certificate {name}: {}: {what}", path.display())]
    Content {
        /// Under `[certificates]`.
        name: String,
        /// The file.
        path: PathBuf,
        /// What was found, and what should be there.
        what: String,
    },
    /// The key is not the one the certificate was made for.
    #[error("certificate {name}: the key in {} does not belong to the certificate in {}", key.display(), chain.display())]
    Mismatch {
        /// Under `[certificates]`.
        name: String,
        /// The chain's file.
        chain: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

/// All certificates of this node, reloaded as a whole.
#[derive(Debug)]
pub struct Certificates {
    table: ArcSwap<Table>,
    views: Arc<Views>,
}

#[derive(Debug, Default)]
struct Table {
    /// By their name in the node file.
    named: BTreeMap<Box<str>, Loaded>,
    /// By exact host.
    exact: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// By the parent of a `*.` name.
    wildcard: HashMap<Box<str>, Arc<CertifiedKey>>,
}

#[derive(Debug)]
struct Loaded {
    key: Arc<CertifiedKey>,
    not_after: SystemTime,
}

impl Certificates {
    /// Loads every certificate of the node file. `views` says which sites name theirs.
    ///
    /// # Errors
    ///
    /// The first certificate that cannot be used, and why.
    pub fn load(
        files: &BTreeMap<String, CertificateFiles>,
        views: Arc<Views>,
    ) -> Result<Self, CertificateError> {
        Ok(Self {
            table: ArcSwap::from_pointee(Table::load(files)?),
            views,
        })
    }

    /// Reads all files again. New handshakes use the new ones; on an error nothing changes.
    ///
    /// # Errors
    ///
    /// The first certificate that cannot be used, and why.
    pub fn reload(
        &self,
        files: &BTreeMap<String, CertificateFiles>,
    ) -> Result<(), CertificateError> {
        self.table.store(Arc::new(Table::load(files)?));
        Ok(())
    }

    /// Names under `[certificates]`, and when each expires.
    #[must_use]
    pub fn expiries(&self) -> Vec<(String, SystemTime)> {
        let table = self.table.load();
        let named = table.named.iter();
        named
            .map(|(name, loaded)| (name.to_string(), loaded.not_after))
            .collect()
    }

    /// TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1, tickets in place of a session table that all cores would lock.
    pub(super) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(config)
    }

    /// The certificate for a name: the one its site names, else an exact one, else a wildcard's. A client that names
    /// nothing (it asks for an address) gets the first; a name that no certificate is for gets none, and the
    /// handshake ends with an alert.
    fn choose(&self, server_name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let table = self.table.load();
        let Some(name) = server_name else {
            let first = table.named.values().next()?;
            return Some(Arc::clone(&first.key));
        };
        let name = name.to_ascii_lowercase();
        let view = self.views.load();
        let by_site = view
            .site(&name)
            .and_then(|site| site.tls.certificate.as_deref())
            .and_then(|certificate| table.named.get(certificate))
            .map(|loaded| &loaded.key);
        by_site
            .or_else(|| table.exact.get(name.as_str()))
            .or_else(|| table.wildcard.get(name.split_once('.')?.1))
            .map(Arc::clone)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name())
    }
}

impl Table {
    fn load(files: &BTreeMap<String, CertificateFiles>) -> Result<Self, CertificateError> {
        let mut table = Self::default();
        for (name, files) in files {
            let (loaded, hosts) = load_one(name, files)?;
            for host in hosts {
                let (by_host, host) = match host.strip_prefix("*.") {
                    Some(parent) => (&mut table.wildcard, parent),
                    None => (&mut table.exact, host.as_str()),
                };
                // The first in the order of names keeps a host that two certificates cover.
                by_host
                    .entry(host.into())
                    .or_insert_with(|| Arc::clone(&loaded.key));
            }
            table.named.insert(name.as_str().into(), loaded);
        }
        Ok(table)
    }
}

/// Loads one pair of files. Returns the host names it is good for too.
fn load_one(
    name: &str,
    files: &CertificateFiles,
) -> Result<(Loaded, Vec<String>), CertificateError> {
    let wrong = |path: &Path, what: String| CertificateError::Content {
        name: name.to_owned(),
        path: path.to_owned(),
        what,
    };
    let chain = read(name, &files.chain)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&files.chain, format!("not PEM: {error}")))?;
    let Some(leaf) = chain.first().cloned() else {
        let what = "no certificate in it (a block BEGIN CERTIFICATE)";
        return Err(wrong(&files.chain, what.to_owned()));
    };
    let key = PrivateKeyDer::from_pem_slice(&read(name, &files.key)?)
        .map_err(|error| wrong(&files.key, format!("no private key in PEM: {error}")))?;
    let key = aws_lc_rs::sign::any_supported_type(&key)
        .map_err(|error| wrong(&files.key, format!("not a key that can be used: {error}")))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(CertificateError::Mismatch {
                name: name.to_owned(),
                chain: files.chain.clone(),
                key: files.key.clone(),
            });
        }
        Err(error) => return Err(wrong(&files.chain, error.to_string())),
    }
    let (_, parsed) = X509Certificate::from_der(&leaf)
        .map_err(|error| wrong(&files.chain, format!("not a certificate: {error}")))?;
    let not_after = parsed
        .validity()
        .not_after
        .timestamp()
        .max(0)
        .unsigned_abs();
    let not_after = SystemTime::UNIX_EPOCH + Duration::from_secs(not_after);
    if not_after <= SystemTime::now() {
        tracing::warn!(certificate = name, "certificate has expired");
    }
    let hosts = parsed
        .subject_alternative_name()
        .map_err(|error| wrong(&files.chain, format!("its names cannot be read: {error}")))?
        .map(|names| {
            let names = names.value.general_names.iter();
            names
                .filter_map(|name| match name {
                    GeneralName::DNSName(host) => Some(host.to_ascii_lowercase()),
                    _ => None,
                })
                .collect()
        })
        .unwrap_or_default();
    let key = Arc::new(certified);
    Ok((Loaded { key, not_after }, hosts))
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(path).map_err(|source| CertificateError::Read {
        name: name.to_owned(),
        path: path.to_owned(),
        source,
    })
}
