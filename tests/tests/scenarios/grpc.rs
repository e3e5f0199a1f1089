//! gRPC, as the network sees it: HTTP/2 from the client to the origin, both ways at once, with its status in trailers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nearside_tests::{Authority, Lab, Origin, Plan, Request as Ask, places, run};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

const HOST: &str = "rpc.example";

type Words = mpsc::Receiver<Result<Frame<Bytes>, Infallible>>;
type Content = http_body_util::combinators::BoxBody<Bytes, Infallible>;

fn content(words: Words) -> Content {
    let frames = futures_util::stream::unfold(words, |mut words| async move {
        let word = words.recv().await?;
        Some((word, words))
    });
    BodyExt::boxed(StreamBody::new(frames))
}

/// Sends every piece of the request back at once, and at the end the trailers that gRPC has.
async fn echo(request: Request<Incoming>) -> Result<Response<Content>, Infallible> {
    let (say, words) = mpsc::channel(4);
    let mut response = Response::new(content(words));
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    let te = request.headers().get("te").cloned();
    headers.insert("x-te", te.unwrap_or(HeaderValue::from_static("none")));
    tokio::spawn(async move {
        let mut body = request.into_body();
        let mut heard = 0;
        let mut trailers = HeaderMap::new();
        while let Some(Ok(frame)) = body.frame().await {
            match frame.into_data() {
                Ok(piece) => {
                    heard += usize::from(!piece.is_empty());
                    if say.send(Ok(Frame::data(piece))).await.is_err() {
                        return;
                    }
                }
                // What the client says at its end comes back at ours.
                Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("grpc-message", HeaderValue::from(heard));
        say.send(Ok(Frame::trailers(trailers))).await.ok();
    });
    Ok(response)
}

/// An origin of HTTP/2 without TLS. Counts its connections.
async fn origin() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let service = hyper::service::service_fn(echo);
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, connections)
}

/// A node with a certificate, in front of that origin.
async fn behind(origin: SocketAddr) -> Lab {
    let plan = Plan::new(&[("lon1", places::LONDON)]).certificate("rpc", &[HOST]);
    let lab = Lab::start(plan).await;
    let text = format!(
        "name = \"rpc\"\nhosts = [\"{HOST}\"]\n[[origin]]\nurl = \"http://{origin}\"\nprotocol = \"h2\"\n"
    );
    lab.apply("site", "rpc", &text).await;
    lab
}

/// A client's connection over TLS and HTTP/2.
async fn connect(lab: &Lab) -> SendRequest<Content> {
    let stream = TcpStream::connect(lab.node("lon1").https()).await.unwrap();
    let connector = TlsConnector::from(Arc::new(lab.authority.client_config(true)));
    let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
    let stream = connector.connect(name, stream).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    sender
}

fn call(path: &str, content: Content) -> Request<Content> {
    Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("https://{HOST}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(content)
        .unwrap()
}

#[test]
fn unary_calls_share_a_connection_and_end_with_their_status() {
    run(async {
        let (origin, connections) = origin().await;
        let lab = behind(origin).await;
        let sender = connect(&lab).await;
        let calls = (0..30).map(|number: u32| {
            let mut sender = sender.clone();
            async move {
                let (say, words) = mpsc::channel(1);
                let message = Bytes::from(format!("message {number}"));
                say.send(Ok(Frame::data(message.clone()))).await.unwrap();
                drop(say);
                let response = sender
                    .send_request(call("/Echo/Once", content(words)))
                    .await;
                let response = response.unwrap();
                assert_eq!(response.status(), 200);
                assert_eq!(response.headers()["x-te"], "trailers");
                let body = response.into_body().collect().await.unwrap();
                let trailers = body.trailers().cloned().unwrap();
                assert_eq!(trailers["grpc-status"], "0");
                assert_eq!(trailers["grpc-message"], "1");
                assert_eq!(body.to_bytes(), message);
            }
        });
        futures_util::future::join_all(calls).await;
        let connections = connections.load(Ordering::SeqCst);
        assert!(connections <= 2, "{connections} connections for 30 calls");
    });
}

#[test]
fn both_sides_of_a_stream_talk_at_once() {
    run(async {
        let (origin, _) = origin().await;
        let lab = behind(origin).await;
        let mut sender = connect(&lab).await;
        let (say, words) = mpsc::channel(1);
        let response = sender
            .send_request(call("/Echo/Talk", content(words)))
            .await;
        // The answer's head is here before a word was said.
        let mut body = response.unwrap().into_body();
        for number in 0..20 {
            let word = Bytes::from(format!("word {number}"));
            say.send(Ok(Frame::data(word.clone()))).await.unwrap();
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), word);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", HeaderValue::from_static("42"));
        say.send(Ok(Frame::trailers(trailers))).await.unwrap();
        drop(say);
        let trailers = body.frame().await.unwrap().unwrap();
        let trailers = trailers.into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["grpc-message"], "20");
        assert_eq!(trailers["x-checksum"], "42");
    });
}

/// An origin that speaks HTTP/2 over TLS where that is agreed on, else nothing.
async fn secure_origin(authority: &Authority) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = authority.server_config(&[HOST]);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let service = hyper::service::service_fn(echo);
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[test]
fn over_tls_the_protocol_is_what_both_sides_agree_on() {
    run(async {
        let authority = Authority::new();
        let new = secure_origin(&authority).await;
        let old = Origin::start_tls(&authority, &[HOST]).await;
        let lab = Lab::start(Plan::new(&[("lon1", places::LONDON)])).await;
        let cases = [
            (format!("https://{new}"), "auto", 200),
            (format!("https://{new}"), "h2", 200),
            (format!("https://{new}"), "http1", 502),
            (old.url(), "auto", 404),
            (old.url(), "h2", 502),
        ];
        for (url, protocol, status) in cases {
            let text = format!(
                "name = \"rpc\"\nhosts = [\"{HOST}\"]\n[[origin]]\nurl = \"{url}\"\n\
                 protocol = \"{protocol}\"\ntls = {{ ca = \"\"\"{}\"\"\" }}\n",
                authority.pem()
            );
            lab.apply("site", "rpc", &text).await;
            for _ in 0..2 {
                let asked = Ask::new(Method::POST, HOST, "/x").body("words");
                let got = asked.to(lab.node("lon1").http()).send().await;
                assert_eq!(got.status, status, "{protocol} {url}: {got:?}");
                if status == 200 {
                    assert_eq!(got.body, "words");
                }
            }
        }
    });
}
