use std::net::Ipv4Addr;
use std::sync::atomic::AtomicU32;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::net::UdpSocket;

use super::super::names::Names;
use super::*;
use crate::upstream::table::Table;

/// A name server that answers every A question with one address, TTL 1 s, or not at all while that is 0.
async fn name_server(address: Arc<AtomicU32>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let local = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut packet = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
            let question = Message::from_vec(&packet[..length]).unwrap();
            let bits = address.load(Ordering::SeqCst);
            if bits == 0 {
                continue;
            }
            let mut answer =
                Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
            answer.metadata.response_code = ResponseCode::NoError;
            let query = question.queries[0].clone();
            if query.query_type() == RecordType::A {
                let data = RData::A(A(Ipv4Addr::from_bits(bits)));
                answer.add_answer(Record::from_rdata(query.name().clone(), 1, data));
            }
            answer.add_query(query);
            socket
                .send_to(&answer.to_vec().unwrap(), peer)
                .await
                .unwrap();
        }
    });
    local
}

fn origins_resolving_at(server: SocketAddr, listeners: &[SocketAddr]) -> Arc<Origins> {
    let mut udp = ConnectionConfig::udp();
    udp.port = server.port();
    let server = NameServerConfig::new(server.ip(), true, vec![udp]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let names = Names::with(builder, Handle::current(), listeners.to_vec()).unwrap();
    let metrics = UpstreamMetrics::default();
    Origins::with_names(
        names,
        "eu".to_owned(),
        None,
        Table::new(metrics, &[7; 32]),
        Arc::new(Views::default()),
    )
}

fn named(scripted: &Scripted) -> Arc<Site> {
    let mut origin = origin("one", scripted.address);
    origin.host = "origin.test".into();
    site(vec![origin])
}

#[tokio::test]
async fn a_name_is_followed_when_its_time_is_over() {
    let first = Scripted::at("127.0.0.1:0", |_, _| OK).await;
    let second = Scripted::at(&format!("127.0.0.2:{}", first.address.port()), |_, _| OK).await;
    let address = Arc::new(AtomicU32::new(Ipv4Addr::LOCALHOST.to_bits()));
    let server = name_server(Arc::clone(&address)).await;
    let (origins, site) = (origins_resolving_at(server, &[]), named(&first));
    assert_eq!(ask(&origins, &site, Method::GET).await, "200 ok from one");
    assert_eq!(first.asked(), 1);
    address.store(Ipv4Addr::new(127, 0, 0, 2).to_bits(), Ordering::SeqCst);
    // A connection is kept to the old address; it is left when the name leads elsewhere.
    eventually("the new address is asked", async || {
        assert_eq!(ask(&origins, &site, Method::GET).await, "200 ok from one");
        second.asked() > 0
    })
    .await;
    // DNS that stays silent leaves us with what it said last.
    address.store(0, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(ask(&origins, &site, Method::GET).await, "200 ok from one");
}

#[tokio::test]
async fn a_name_that_leads_to_a_forbidden_address_is_refused() {
    let own = Scripted::new(|_, _| OK).await;
    let address = Arc::new(AtomicU32::new(Ipv4Addr::LOCALHOST.to_bits()));
    let server = name_server(Arc::clone(&address)).await;
    let site = named(&own);
    for bits in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(169, 254, 1, 1)] {
        let origins = origins_resolving_at(server, &[own.address]);
        address.store(bits.to_bits(), Ordering::SeqCst);
        let request = request(Method::GET, "/x", Body::Empty);
        let error = origins
            .fetch(&site, request, Replay::Safe)
            .await
            .unwrap_err();
        assert!(
            matches!(error.kind, UpstreamErrorKind::Forbidden),
            "{error}"
        );
    }
    assert_eq!(own.connections.load(Ordering::SeqCst), 0);
}
