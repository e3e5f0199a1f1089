use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::mpsc;

use super::*;
use crate::config::site::OriginProtocol;

type Asked = Request<h2::RecvStream>;
type Script = dyn Fn(usize, Asked, SendResponse<Bytes>) + Send + Sync;

/// An origin of HTTP/2 without TLS, that does with every request as it is told.
struct Http2 {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Http2 {
    async fn new(
        streams_max: u32,
        script: impl Fn(usize, Asked, SendResponse<Bytes>) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
        };
        let connections = Arc::clone(&origin.connections);
        let script: Arc<Script> = Arc::new(script);
        tokio::spawn(async move {
            let number = Arc::new(AtomicUsize::new(0));
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (script, number) = (Arc::clone(&script), Arc::clone(&number));
                tokio::spawn(async move {
                    let mut builder = h2::server::Builder::new();
                    builder.max_concurrent_streams(streams_max);
                    let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        let at = number.fetch_add(1, Ordering::SeqCst);
                        if request.uri().path() == "/goaway" {
                            connection.graceful_shutdown();
                        }
                        script(at, request, respond);
                    }
                });
            }
        });
        origin
    }

    fn site(&self) -> Arc<Site> {
        site(vec![Origin {
            protocol: OriginProtocol::Http2,
            ..origin("one", self.address)
        }])
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// 200, `ok`, and a trailer.
fn answer_ok(mut respond: SendResponse<Bytes>) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(b"ok"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("content-length", HeaderValue::from_static("2"));
    stream.send_trailers(trailers).unwrap();
}

#[tokio::test]
async fn a_request_is_whole_and_so_are_the_trailers() {
    let (tell, mut heard) = mpsc::unbounded_channel();
    let scripted = Http2::new(100, move |_, asked, respond| {
        tell.send((asked.uri().to_string(), asked.headers().clone()))
            .unwrap();
        answer_ok(respond);
    })
    .await;
    let (origins, site) = (origins(), scripted.site());
    let mut request = request(Method::GET, "/a/../b//c?x=%2F", Body::Empty);
    request
        .headers_mut()
        .insert("te", HeaderValue::from_static("trailers"));
    let answer = origins.fetch(&site, request, Replay::Safe).await.unwrap();
    let body = answer.response.into_body().collect().await.unwrap();
    let trailers = body.trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert!(!trailers.contains_key("content-length"), "{trailers:?}");
    assert_eq!(body.to_bytes(), "ok");
    let (uri, headers) = heard.recv().await.unwrap();
    assert_eq!(uri, "http://shop.example/a/../b//c?x=%2F");
    assert_eq!(headers["te"], "trailers");
    assert!(!headers.contains_key("host") && !headers.contains_key("connection"));
}

#[tokio::test]
async fn many_requests_share_one_connection() {
    let scripted = Http2::new(100, |_, _, respond| answer_ok(respond)).await;
    let (origins, site) = (origins(), scripted.site());
    let asks = (0..60).map(|_| ask(&origins, &site, Method::GET));
    for got in futures_util::future::join_all(asks).await {
        assert_eq!(got, "200 ok from one");
    }
    assert_eq!(scripted.connections(), 1);
    assert_eq!(origins.idle_connections(), 1);
}

#[tokio::test]
async fn requests_beyond_what_an_origin_takes_at_once_wait_for_others() {
    let scripted = Http2::new(2, |_, _, respond| {
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            answer_ok(respond);
        });
    })
    .await;
    let (origins, site) = (origins(), scripted.site());
    ask(&origins, &site, Method::GET).await;
    let asks = (0..50).map(|_| ask(&origins, &site, Method::GET));
    for got in futures_util::future::join_all(asks).await {
        assert_eq!(got, "200 ok from one");
    }
    let connections = scripted.connections();
    assert!((1..=8).contains(&connections), "{connections}");
}

#[tokio::test]
async fn what_the_origin_refuses_to_look_at_is_asked_again() {
    let scripted = Http2::new(100, |number, _, mut respond| match number {
        0 | 2 => respond.send_reset(Reason::REFUSED_STREAM),
        _ => answer_ok(respond),
    })
    .await;
    let (origins, site) = (origins(), scripted.site());
    for method in [Method::POST, Method::GET] {
        assert_eq!(ask(&origins, &site, method).await, "200 ok from one");
    }
    assert!(origins.status(&site)[0].healthy);
    // Another reset is none that allows it.
    let scripted = Http2::new(100, |_, _, mut respond| {
        respond.send_reset(Reason::INTERNAL_ERROR);
    })
    .await;
    let site = scripted.site();
    let got = ask(&origins, &site, Method::POST).await;
    assert!(got.contains("closed the connection"), "{got}");
}

#[tokio::test]
async fn a_connection_that_says_goodbye_is_replaced() {
    let scripted = Http2::new(100, |_, _, respond| answer_ok(respond)).await;
    let (origins, site) = (origins(), scripted.site());
    for _ in 0..5 {
        let last = request(Method::GET, "/goaway", Body::Empty);
        let answer = origins.fetch(&site, last, Replay::Safe).await.unwrap();
        answer.response.into_body().collect().await.unwrap();
        assert_eq!(ask(&origins, &site, Method::POST).await, "200 ok from one");
    }
    assert!(scripted.connections() >= 2);
    assert!(origins.status(&site)[0].healthy);
}

#[tokio::test]
async fn both_ways_flow_at_once_and_a_slow_reader_stops_only_itself() {
    let scripted = Http2::new(100, |_, asked, mut respond| {
        tokio::spawn(async move {
            let mut out = respond.send_response(Response::new(()), false).unwrap();
            if asked.uri().path() == "/flood" {
                for _ in 0..10_000 {
                    out.reserve_capacity(16_384);
                    if std::future::poll_fn(|cx| out.poll_capacity(cx))
                        .await
                        .is_none()
                    {
                        return;
                    }
                    let room = out.capacity().min(16_384);
                    if out.send_data(Bytes::from(vec![0; room]), false).is_err() {
                        return;
                    }
                }
                return;
            }
            let mut content = asked.into_body();
            while let Some(Ok(piece)) = content.data().await {
                content
                    .flow_control()
                    .release_capacity(piece.len())
                    .unwrap();
                out.send_data(piece, false).unwrap();
            }
            let trailers = content.trailers().await.unwrap().unwrap();
            out.send_trailers(trailers).unwrap();
        });
    })
    .await;
    let (origins, site) = (origins(), scripted.site());
    // Readers that take nothing.
    let mut floods = Vec::new();
    for _ in 0..20 {
        let flood = request(Method::GET, "/flood", Body::Empty);
        floods.push(origins.fetch(&site, flood, Replay::Safe).await.unwrap());
    }
    let (say, pieces) = mpsc::channel::<Result<Frame<Bytes>, BodyError>>(1);
    let body = Body::stream(StreamBody::new(
        tokio_stream::wrappers::ReceiverStream::new(pieces),
    ));
    let asked = request(Method::POST, "/talk", body);
    // The head comes before anything was said, and every word is answered before the next.
    let answer = origins.fetch(&site, asked, Replay::Unsent).await.unwrap();
    let mut words = answer.response.into_body();
    for word in ["one", "two", "three"] {
        say.send(Ok(Frame::data(Bytes::from(word)))).await.unwrap();
        let frame = words.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), word);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("7"));
    say.send(Ok(Frame::trailers(trailers))).await.unwrap();
    drop(say);
    let frame = words.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap()["x-checksum"], "7");
    assert_eq!(scripted.connections(), 1);
}
