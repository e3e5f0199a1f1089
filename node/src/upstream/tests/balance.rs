use std::collections::HashMap;

use http::HeaderValue;
use tokio::sync::Semaphore;

use super::*;
use crate::config::site::{Balance, HashBy, OriginLimits};
use crate::exchange::ForThisClient;

/// Three origins that answer at once, and a site that shares requests among them as told.
async fn three(change: impl Fn(&mut Site)) -> ([Scripted; 3], Arc<Site>) {
    let scripted = [
        Scripted::new(|_, _| OK).await,
        Scripted::new(|_, _| OK).await,
        Scripted::new(|_, _| OK).await,
    ];
    let names = ["one", "two", "three"];
    let all = names.iter().zip(&scripted);
    let all = all.map(|(name, scripted)| origin(name, scripted.address));
    let mut site = Arc::try_unwrap(site(all.collect())).unwrap();
    change(&mut site);
    (scripted, Arc::new(site))
}

/// Who answers a request with these fields, and the cookie it brings.
async fn who(
    origins: &Origins,
    site: &Arc<Site>,
    fields: &[(&'static str, &str)],
) -> (Box<str>, Option<String>) {
    let mut request = request(Method::GET, "/x", Body::Empty);
    for (name, value) in fields {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().append(*name, value);
    }
    let answer = origins.fetch(site, request, Replay::Safe).await.unwrap();
    let cookie = answer.response.extensions().get::<ForThisClient>();
    let cookie = cookie.map(|cookie| cookie.0.to_str().unwrap().to_owned());
    answer.response.into_body().collect().await.unwrap();
    (answer.origin, cookie)
}

#[tokio::test]
async fn one_value_leads_to_one_origin_on_every_node() {
    let (_scripted, site) = three(|site| site.balance = Balance::Hash(HashBy::Client)).await;
    let (origins, another) = (origins(), origins());
    let mut shares: HashMap<Box<str>, u32> = HashMap::new();
    for client in 0..60 {
        let way = format!("192.0.2.{client}, 10.0.0.1");
        let (first, cookie) = who(&origins, &site, &[("x-forwarded-for", &way)]).await;
        assert_eq!(cookie, None);
        let way = format!("192.0.2.{client}");
        assert_eq!(
            who(&another, &site, &[("x-forwarded-for", &way)]).await.0,
            first
        );
        *shares.entry(first).or_default() += 1;
    }
    assert_eq!(shares.len(), 3, "{shares:?}");
}

#[tokio::test]
async fn a_cookie_binds_a_client_to_the_origin_that_answered_it() {
    let (scripted, site) = three(|site| site.sticky_cookie = Some("lb".into())).await;
    let (origins, another) = (origins(), origins());
    let (home, cookie) = who(&origins, &site, &[]).await;
    let cookie = cookie.unwrap();
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    let pair = cookie.split(';').next().unwrap();
    assert!(!pair.contains(&*home), "{pair}");
    let line = format!("a=1; {pair}; b=2");
    for _ in 0..20 {
        // Another node knows the same key; a client that belongs somewhere is told nothing.
        for node in [&origins, &another] {
            let got = who(node, &site, &[("cookie", &line)]).await;
            assert_eq!(got, (home.clone(), None));
        }
    }
    let at = site
        .origins
        .iter()
        .position(|origin| origin.name == home)
        .unwrap();
    let seen = scripted[at].last();
    assert!(seen.contains("cookie: a=1; b=2\r\n"), "{seen}");
    // A value that we did not make binds nobody, and is replaced.
    assert!(
        who(&origins, &site, &[("cookie", "lb=00112233")])
            .await
            .1
            .is_some()
    );
    // Over TLS the cookie stays there.
    let (_, cookie) = who(&origins, &site, &[("x-forwarded-proto", "https")]).await;
    assert!(cookie.unwrap().ends_with("; Secure"));
}

#[tokio::test]
async fn a_client_whose_origin_is_gone_gets_another() {
    let dead = nobody().await;
    let alive = Scripted::new(|_, _| OK).await;
    let mut both = Arc::try_unwrap(site(vec![
        origin("dead", dead),
        origin("alive", alive.address),
    ]))
    .unwrap();
    both.sticky_cookie = Some("lb".into());
    let both = Arc::new(both);
    let origins = origins();
    let state = origins.table.of(&both);
    let line = format!("lb={}", state.origins[0].mark);
    let (who, cookie) = who(&origins, &both, &[("cookie", &line)]).await;
    assert_eq!(&*who, "alive");
    assert!(cookie.unwrap().contains(&*state.origins[1].mark));
}

/// An origin that answers when it is let, and counts how many requests it has at once.
async fn gated() -> (SocketAddr, Arc<Semaphore>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (gate, now) = (Arc::new(Semaphore::new(0)), Arc::<AtomicUsize>::default());
    let (opens, counts) = (Arc::clone(&gate), Arc::clone(&now));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (gate, now) = (Arc::clone(&opens), Arc::clone(&counts));
            tokio::spawn(async move {
                let mut received = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    received.push(byte);
                    if received.ends_with(b"\r\n\r\n") {
                        received.clear();
                        now.fetch_add(1, Ordering::SeqCst);
                        gate.acquire().await.unwrap().forget();
                        now.fetch_sub(1, Ordering::SeqCst);
                        let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                        stream.write_all(ok).await.ok();
                    }
                }
            });
        }
    });
    (address, gate, now)
}

fn limited(address: SocketAddr, limits: OriginLimits) -> Origin {
    let mut origin = origin("one", address);
    origin.limits = limits;
    origin.response_timeout = Duration::from_secs(20);
    origin
}

#[tokio::test]
async fn requests_beyond_the_limit_wait_and_those_beyond_the_queue_are_turned_away() {
    let (address, gate, now) = gated().await;
    let limits = OriginLimits {
        requests_max: Some(2),
        queue_max: 3,
        queue_timeout: Duration::from_secs(20),
        ..OriginLimits::default()
    };
    let (origins, site) = (origins(), site(vec![limited(address, limits)]));
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let (origins, site) = (Arc::clone(&origins), Arc::clone(&site));
        tasks.push(tokio::spawn(async move {
            ask(&origins, &site, Method::POST).await
        }));
    }
    let load = Arc::clone(&origins.table.of(&site).origins[0].load);
    eventually("two are at it and three wait", async || {
        now.load(Ordering::SeqCst) == 2 && load.waiting() == 3
    })
    .await;
    let sixth = ask(&origins, &site, Method::GET).await;
    assert_eq!(sixth, "one: it has as many requests as it may have");
    assert!(origins.status(&site)[0].healthy);
    gate.add_permits(5);
    for task in tasks {
        assert_eq!(task.await.unwrap(), "200 ok from one");
    }
    assert_eq!((load.open(), load.waiting()), (0, 0));
}

#[tokio::test]
async fn a_wait_that_is_too_long_ends_and_another_origin_with_room_is_asked() {
    let (address, gate, now) = gated().await;
    let limits = OriginLimits {
        requests_max: Some(1),
        queue_timeout: Duration::from_millis(100),
        ..OriginLimits::default()
    };
    let (origins, alone) = (origins(), site(vec![limited(address, limits)]));
    let (there, its_site) = (Arc::clone(&origins), Arc::clone(&alone));
    let first = tokio::spawn(async move { ask(&there, &its_site, Method::GET).await });
    eventually("it is busy", async || now.load(Ordering::SeqCst) == 1).await;
    let got = ask(&origins, &alone, Method::POST).await;
    assert_eq!(got, "one: it has as many requests as it may have");
    gate.add_permits(1);
    assert_eq!(first.await.unwrap(), "200 ok from one");
    // With another one beside it nobody waits.
    let other = Scripted::new(|_, _| OK).await;
    let mut backup = origin("two", other.address);
    backup.backup = true;
    let both = site(vec![limited(address, limits), backup]);
    let (there, its_site) = (Arc::clone(&origins), Arc::clone(&both));
    let first = tokio::spawn(async move { ask(&there, &its_site, Method::GET).await });
    eventually("it is busy", async || now.load(Ordering::SeqCst) == 1).await;
    assert_eq!(ask(&origins, &both, Method::POST).await, "200 ok from two");
    gate.add_permits(1);
    assert_eq!(first.await.unwrap(), "200 ok from one");
}

#[tokio::test]
async fn connections_have_a_limit_across_runtimes() {
    let scripted = Scripted::new(|_, _| OK).await;
    let limits = OriginLimits {
        connections_max: Some(1),
        queue_timeout: Duration::from_secs(20),
        ..OriginLimits::default()
    };
    let (origins, site) = (origins(), site(vec![limited(scripted.address, limits)]));
    let asks = (0..20).map(|_| ask(&origins, &site, Method::GET));
    for got in futures_util::future::join_all(asks).await {
        assert_eq!(got, "200 ok from one");
    }
}

#[tokio::test]
async fn the_one_with_the_fewest_open_requests_is_asked() {
    let (busy, gate, now) = gated().await;
    let quick = Scripted::new(|_, _| OK).await;
    let slow = limited(busy, OriginLimits::default());
    let mut both = Arc::try_unwrap(site(vec![slow, origin("two", quick.address)])).unwrap();
    both.balance = Balance::LeastConnections;
    let (origins, both) = (origins(), Arc::new(both));
    let mut hanging = Vec::new();
    while now.load(Ordering::SeqCst) < 1 {
        let (there, its_site) = (Arc::clone(&origins), Arc::clone(&both));
        hanging.push(tokio::spawn(async move {
            ask(&there, &its_site, Method::GET).await
        }));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..20 {
        assert_eq!(ask(&origins, &both, Method::GET).await, "200 ok from two");
    }
    gate.add_permits(10);
    for task in hanging {
        assert!(task.await.unwrap().starts_with("200 ok"));
    }
}
