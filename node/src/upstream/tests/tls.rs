use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A TLS origin for `host`, the names clients asked for, and its authority's certificate.
async fn tls_origin(host: &str) -> (Scripted, Arc<Mutex<Vec<String>>>, String) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scripted = Scripted::idle(listener.local_addr().unwrap(), |_, _| OK);
    let (serving, names) = (scripted.clone(), Arc::<Mutex<Vec<String>>>::default());
    let seen = Arc::clone(&names);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                let name = stream
                    .get_ref()
                    .1
                    .server_name()
                    .unwrap_or("none")
                    .to_owned();
                seen.lock().push(name);
                tokio::spawn(serving.clone().converse(stream));
            }
        }
    });
    (scripted, names, authority.pem())
}

fn secure(scripted: &Scripted, ca: &str, host: HostHeader) -> Arc<Site> {
    let mut origin = origin("one", scripted.address);
    origin.tls = true;
    origin.tls_ca = Some(ca.into());
    origin.host_header = host;
    site(vec![origin])
}

#[tokio::test]
async fn a_certificate_is_verified_for_the_host_the_site_says() {
    let (scripted, names, ca) = tls_origin("shop.example").await;
    let (_, _, other_ca) = tls_origin("shop.example").await;
    let origins = origins();
    let good = [HostHeader::Client, HostHeader::Name("shop.example".into())];
    for host in good {
        let site = secure(&scripted, &ca, host);
        assert_eq!(ask(&origins, &site, Method::GET).await, "200 ok from one");
        assert_eq!(ask(&origins, &site, Method::GET).await, "200 ok from one");
    }
    assert_eq!(*names.lock(), ["shop.example"]);
    let bad = [
        secure(&scripted, &ca, HostHeader::Name("blog.example".into())),
        secure(&scripted, &ca, HostHeader::Origin),
        secure(&scripted, &other_ca, HostHeader::Client),
    ];
    for site in bad {
        let request = request(Method::GET, "/x", Body::Empty);
        let error = origins
            .fetch(&site, request, Replay::Safe)
            .await
            .unwrap_err();
        assert!(matches!(error.kind, UpstreamErrorKind::Tls(_)), "{error}");
        assert!(error.retry_safe);
    }
    assert_eq!(scripted.asked(), 4);
}

#[tokio::test]
async fn an_origin_without_tls_is_no_https_origin() {
    let plain = Scripted::new(|_, _| OK).await;
    let (_, _, ca) = tls_origin("shop.example").await;
    let site = secure(&plain, &ca, HostHeader::Client);
    let request = request(Method::GET, "/x", Body::Empty);
    let error = origins()
        .fetch(&site, request, Replay::Safe)
        .await
        .unwrap_err();
    assert!(error.retry_safe, "{error}");
}
