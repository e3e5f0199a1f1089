use std::collections::BTreeMap;
use std::path::Path;

use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::config::settings::CertificateFiles;
use crate::view::Views;

/// A throw-away authority and the folder its certificates are written to.
pub(super) struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    roots: RootCertStore,
    pub(super) folder: tempfile::TempDir,
    pub(super) files: BTreeMap<String, CertificateFiles>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        Self {
            issuer: rcgen::Issuer::new(parameters, key),
            roots,
            folder: tempfile::tempdir().unwrap(),
            files: BTreeMap::new(),
        }
    }

    pub(super) fn sign(&mut self, name: &str, hosts: &[&str]) {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(hosts).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let path = |end: &str| self.folder.path().join(format!("{name}.{end}"));
        let files = CertificateFiles {
            chain: path("pem"),
            key: path("key"),
        };
        std::fs::write(&files.chain, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        self.files.insert(name.to_owned(), files);
    }

    pub(super) fn certificates(&self) -> Arc<Certificates> {
        Arc::new(Certificates::load(&self.files, Arc::new(Views::default())).unwrap())
    }

    pub(super) async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
        alpn: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.over(TcpStream::connect(address).await?, name, alpn)
            .await
    }

    pub(super) async fn over(
        &self,
        stream: TcpStream,
        name: &str,
        alpn: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// What `/host` says over HTTP/2.
    async fn ask(&self, address: SocketAddr, name: &str) -> std::io::Result<String> {
        let stream = self.connect(address, name, "h2").await?;
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        let driving = tokio::spawn(connection);
        let request = Request::get(format!("https://{name}/host"))
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        driving.abort();
        Ok(String::from_utf8(body.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn certificates_are_chosen_by_name_and_reloaded() {
    let mut authority = Authority::new();
    authority.sign("shop", &["shop.example", "www.shop.example"]);
    authority.sign("blog", &["blog.example", "*.blog.example"]);
    let certificates = authority.certificates();
    let rig = Rig::start(Limits::default(), &[], Some(Arc::clone(&certificates)));
    let https = rig.https.unwrap();
    for name in [
        "shop.example",
        "WWW.Shop.example",
        "blog.example",
        "a.blog.example",
    ] {
        let answer = authority.ask(https, name).await.unwrap();
        assert_eq!(
            answer.to_lowercase(),
            format!("{} /host", name.to_lowercase())
        );
    }
    // Neither a name of nobody, nor a deeper one than the wildcard's, gets another's certificate.
    for name in ["other.example", "a.b.blog.example"] {
        assert!(authority.ask(https, name).await.is_err(), "{name}");
    }
    eventually("failed handshakes are counted", || {
        rig.metrics.handshake_failed.get() == 2
    })
    .await;
    authority.sign("other", &["other.example"]);
    certificates.reload(&authority.files).unwrap();
    assert!(authority.ask(https, "other.example").await.is_ok());
    rig.stop().await;
}

#[tokio::test]
async fn http1_over_tls_is_served_too() {
    let mut authority = Authority::new();
    authority.sign("shop", &["shop.example"]);
    let rig = Rig::start(quick(), &[], Some(authority.certificates()));
    let https = rig.https.unwrap();
    let mut stream = authority
        .connect(https, "shop.example", "http/1.1")
        .await
        .unwrap();
    let get = b"GET /big HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
    stream.write_all(get).await.unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    assert!(text.len() > BIG_PIECES * 16 * 1024);
    // A stalled reader is noticed through TLS.
    let mut stream = authority
        .connect(https, "shop.example", "http/1.1")
        .await
        .unwrap();
    stream.write_all(get).await.unwrap();
    eventually("the stalled reader is cut", || rig.metrics.cuts().1 == 1).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_handshake_has_its_time() {
    let mut authority = Authority::new();
    authority.sign("shop", &["shop.example"]);
    let rig = Rig::start(quick(), &[], Some(authority.certificates()));
    let mut wire = Wire(TcpStream::connect(rig.https.unwrap()).await.unwrap());
    wire.0.write_all(&[0x16, 0x03]).await.unwrap();
    assert_eq!(wire.ended(Duration::from_secs(3)).await, 0);
    // Counted after the stream is gone.
    eventually("the cut is counted", || {
        rig.metrics.handshake_slow.get() == 1
    })
    .await;
    rig.stop().await;
}

#[test]
fn bad_files_are_named() {
    let mut authority = Authority::new();
    authority.sign("a", &["a.example"]);
    authority.sign("b", &["b.example"]);
    let (a, b) = (authority.files["a"].clone(), authority.files["b"].clone());
    let junk = authority.folder.path().join("junk.pem");
    std::fs::write(&junk, "no pem here").unwrap();
    let load = |chain: &Path, key: &Path| {
        let files = CertificateFiles {
            chain: chain.to_owned(),
            key: key.to_owned(),
        };
        let files = BTreeMap::from([("shop".to_owned(), files)]);
        Certificates::load(&files, Arc::new(Views::default()))
            .unwrap_err()
            .to_string()
    };
    let mismatch = load(&a.chain, &b.key);
    assert!(
        mismatch.contains("does not belong") && mismatch.contains("b.key"),
        "{mismatch}"
    );
    let missing = load(Path::new("/nonexistent/x.pem"), &a.key);
    assert!(
        missing.contains("cannot read /nonexistent/x.pem"),
        "{missing}"
    );
    assert!(load(&junk, &a.key).contains("junk.pem: no certificate"));
    assert!(load(&a.chain, &junk).contains("junk.pem: no private key"));
    assert!(load(&a.chain, &a.chain).contains("no private key"));
}
