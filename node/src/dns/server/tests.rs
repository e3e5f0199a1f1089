//! Real sockets on loopback.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use prometheus_client::registry::Registry;

use super::super::testing::{Ask, atlas, ids, nodes, view_of};
use super::*;
use crate::view::{Healthy, Views};

const PATIENCE: Duration = Duration::from_secs(5);

struct Running {
    address: SocketAddr,
    healthy: Arc<Healthy>,
    views: Arc<Views>,
    registry: Registry,
    stop: CancellationToken,
    serving: Serving,
}

fn start(limits: &TcpLimits) -> Running {
    let views = Arc::new(Views::new(view_of(nodes())));
    let healthy = Arc::new(Healthy::default());
    healthy.store((1..=5).collect());
    let world = World::new(Arc::clone(&views), Arc::clone(&healthy), atlas());
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let bound = bind(&["127.0.0.1:0".parse().expect("an address")], 2).expect("bound");
    let address = bound.addresses()[0];
    let stop = CancellationToken::new();
    let serving = serve(bound, &Arc::new(world), &metrics, limits, &stop).expect("serving");
    Running {
        address,
        healthy,
        views,
        registry,
        stop,
        serving,
    }
}

impl Running {
    fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("text");
        text
    }

    fn stop(self) {
        let waiting = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        self.stop.cancel();
        waiting.block_on(async {
            tokio::time::timeout(PATIENCE, self.serving.join())
                .await
                .expect("it ends in time");
        });
    }
}

fn udp(address: SocketAddr, packet: &[u8]) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    socket.connect(address).expect("connected");
    socket.send(packet).expect("sent");
    let mut reply = [0; 2048];
    let length = socket.recv(&mut reply).expect("a reply");
    Message::from_vec(&reply[..length]).expect("a message")
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

fn framed(packet: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(packet.len())
        .expect("short")
        .to_be_bytes()
        .to_vec();
    bytes.extend_from_slice(packet);
    bytes
}

fn receive(stream: &mut TcpStream) -> Message {
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("a length");
    let mut reply = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut reply).expect("a reply");
    Message::from_vec(&reply).expect("a message")
}

fn pool() -> Ask {
    Ask::new("pool.edge.example.net.", RecordType::A).subnet("81.2.69.0", 24)
}

#[test]
fn udp_and_tcp_answer_and_a_dead_node_is_out_of_the_very_next_answer() {
    let running = start(&TcpLimits::default());
    let address = running.address;
    assert_eq!(ids(&udp(address, &pool().bytes())), [1, 2]);

    // Pipelined, one of them in two pieces.
    let mut stream = connect(address);
    let mut three = [framed(&pool().bytes()), framed(&pool().bytes())].concat();
    let third = framed(&pool().bytes());
    three.extend_from_slice(&third[..7]);
    stream.write_all(&three).expect("sent");
    assert_eq!(ids(&receive(&mut stream)), [1, 2]);
    assert_eq!(ids(&receive(&mut stream)), [1, 2]);
    running.healthy.store([2, 3, 4, 5].into());
    stream.write_all(&third[7..]).expect("sent");
    assert_eq!(ids(&receive(&mut stream)), [2]);
    assert_eq!(ids(&udp(address, &pool().bytes())), [2]);

    // A new view is in force for the next packet.
    let fewer: Vec<_> = nodes().into_iter().filter(|node| node.id != 2).collect();
    running.views.store(Arc::new(view_of(fewer)));
    assert_eq!(ids(&udp(address, &pool().bytes())), [3, 4]);

    let text = running.metrics();
    assert!(
        text.contains(r#"nearside_dns_queries_total{type="A",outcome="answer"} 6"#),
        "{text}"
    );
    assert!(
        text.contains(r#"nearside_dns_packets_total{transport="tcp"} 3"#),
        "{text}"
    );
    running.stop();
}

#[test]
fn an_answer_comes_from_the_address_that_was_asked() {
    let stop = CancellationToken::new();
    let bound = bind(&["0.0.0.0:0".parse().expect("an address")], 1).expect("bound");
    let port = bound.addresses()[0].port();
    let (views, healthy) = (Arc::new(Views::new(view_of(nodes()))), Arc::default());
    let world = Arc::new(World::new(views, healthy, atlas()));
    let metrics = Metrics::register(&mut Registry::default());
    let serving = serve(bound, &world, &metrics, &TcpLimits::default(), &stop).expect("serving");
    for asked in ["127.0.0.1", "127.0.0.2", "127.9.8.7"] {
        // A connected socket takes datagrams from there alone.
        let reply = udp(
            format!("{asked}:{port}").parse().expect("an address"),
            &pool().bytes(),
        );
        assert!(!reply.answers.is_empty());
    }
    stop.cancel();
    drop(serving);
}

#[test]
fn noise_does_not_end_a_listener() {
    let running = start(&TcpLimits::default());
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    for length in [0, 1, 11, 12, 40, 5000] {
        socket
            .send_to(&vec![0x55; length], running.address)
            .expect("sent");
    }
    // Its answers come back to a port that is closed by then.
    drop(socket);
    let mut long = connect(running.address);
    long.write_all(&[0xff, 0xff, 1, 2, 3]).expect("sent");
    assert_eq!(long.read(&mut [0; 9]).unwrap_or(0), 0, "closed");
    for _ in 0..8 {
        assert_eq!(ids(&udp(running.address, &pool().bytes())), [1, 2]);
    }
    running.stop();
}

#[test]
fn connections_have_a_cap_and_an_end() {
    let limits = TcpLimits {
        connections: 2,
        idle_timeout: Duration::from_millis(300),
        ..TcpLimits::default()
    };
    let running = start(&limits);
    let mut held: Vec<_> = (0..2).map(|_| connect(running.address)).collect();
    for stream in &mut held {
        stream.write_all(&framed(&pool().bytes())).expect("sent");
        assert_eq!(ids(&receive(stream)), [1, 2]);
    }
    let mut third = connect(running.address);
    assert_eq!(third.read(&mut [0; 9]).unwrap_or(0), 0, "one too many");
    // The idle ones are let go, and there is room again.
    let deadline = Instant::now() + PATIENCE;
    for stream in &mut held {
        assert_eq!(stream.read(&mut [0; 9]).unwrap_or(0), 0, "closed when idle");
    }
    loop {
        let mut again = connect(running.address);
        let sent = again.write_all(&framed(&pool().bytes()));
        if sent.is_ok() && again.read(&mut [0; 2]).unwrap_or(0) > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "room again");
    }
    running.stop();
}

#[test]
fn a_port_that_is_taken_is_said_so() {
    let running = start(&TcpLimits::default());
    let error = bind(&[running.address], 1).expect_err("taken");
    assert!(error.to_string().contains(&running.address.to_string()));
    running.stop();
}
