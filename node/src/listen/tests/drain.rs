use super::*;

#[tokio::test]
async fn a_drain_lets_open_requests_end_and_closes_the_rest() {
    let rig = Rig::new(Limits::default());
    let mut idle = rig.connect().await;
    idle.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    idle.response().await;
    let mut busy = rig.connect().await;
    busy.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    tokio::time::sleep(WAIT / 5).await;
    let http = rig.http;
    let stopped = tokio::spawn(rig.stop());
    assert_eq!(idle.ended(WAIT / 2).await, 0);
    // Each worker closes its own socket, one perhaps a moment after the connection that another had.
    refused(http).await;
    let response = busy.response().await;
    assert!(response.ends_with("waited"), "{response}");
    assert!(response.contains("connection: close"), "{response}");
    assert_eq!(busy.ended(WAIT).await, 0);
    stopped.await.unwrap();
}

/// Waits until nobody listens any more.
async fn refused(address: SocketAddr) {
    let wait = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let patience = Duration::from_secs(5);
    assert!(tokio::time::timeout(patience, wait).await.is_ok());
}

#[tokio::test]
async fn a_drain_ends_with_its_grace_period() {
    let rig = Rig::new(Limits::default());
    let mut endless = rig.connect().await;
    endless.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    rig.stop().await;
    let took = started.elapsed();
    assert!(took > Duration::from_millis(1900), "{took:?}");
    endless.ended(Duration::from_secs(1)).await;
}
