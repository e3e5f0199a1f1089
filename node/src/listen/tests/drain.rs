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
    let started = Instant::now();
    let http = rig.http;
    let stopped = tokio::spawn(rig.stop());
    assert_eq!(idle.ended(WAIT / 2).await, 0);
    assert!(TcpStream::connect(http).await.is_err());
    let response = busy.response().await;
    assert!(response.ends_with("waited"), "{response}");
    assert!(response.contains("connection: close"), "{response}");
    assert_eq!(busy.ended(WAIT).await, 0);
    stopped.await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(1500));
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
    assert!(
        took > Duration::from_millis(1900) && took < Duration::from_secs(4),
        "{took:?}"
    );
    endless.ended(Duration::from_secs(1)).await;
}
