use std::sync::atomic::AtomicBool;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::site::HealthCheck;

#[tokio::test]
async fn an_origin_that_fails_in_a_row_is_left_alone_and_tried_again() {
    let works = Arc::new(AtomicBool::new(false));
    let script = Arc::clone(&works);
    let near = Scripted::new(move |_, _| {
        if script.load(Ordering::SeqCst) {
            OK
        } else {
            CLOSE
        }
    });
    let (near, far) = (near.await, Scripted::new(|_, _| OK).await);
    let (mut first, mut second) = (origin("near", near.address), origin("far", far.address));
    first.region = Some("eu".into());
    second.region = Some("us".into());
    let (origins, site) = (origins(), site(vec![first, second]));
    for _ in 0..20 {
        assert_eq!(ask(&origins, &site, Method::GET).await, "200 ok from far");
    }
    assert_eq!(near.asked(), 3);
    assert!(!origins.status(&site)[0].healthy);
    works.store(true, Ordering::SeqCst);
    eventually("it is asked again", async || {
        ask(&origins, &site, Method::GET).await == "200 ok from near"
    })
    .await;
    assert!(origins.status(&site)[0].healthy);
}

#[tokio::test]
async fn the_last_origin_is_asked_however_often_it_failed() {
    let works = Arc::new(AtomicBool::new(false));
    let script = Arc::clone(&works);
    let only = Scripted::new(move |_, _| {
        if script.load(Ordering::SeqCst) {
            OK
        } else {
            CLOSE
        }
    });
    let only = only.await;
    let (origins, site) = (origins(), site(vec![origin("only", only.address)]));
    for _ in 0..10 {
        assert!(!ask(&origins, &site, Method::GET).await.starts_with("200"));
    }
    works.store(true, Ordering::SeqCst);
    assert_eq!(ask(&origins, &site, Method::GET).await, "200 ok from only");
}

#[tokio::test]
async fn checks_take_an_origin_out_and_bring_it_back() {
    let well = Arc::new(AtomicBool::new(true));
    let script = Arc::clone(&well);
    let near = Scripted::new(move |_, text| {
        if text.starts_with("GET /healthz ") && !script.load(Ordering::SeqCst) {
            BUSY
        } else {
            OK
        }
    });
    let (near, far) = (near.await, Scripted::new(|_, _| OK).await);
    let (mut first, mut second) = (origin("near", near.address), origin("far", far.address));
    first.region = Some("eu".into());
    second.region = Some("us".into());
    first.health = Some(HealthCheck {
        path: "/healthz".into(),
        interval: Duration::from_millis(20),
        timeout: Duration::from_millis(500),
        fall: 2,
        rise: 2,
    });
    let site = site(vec![first, second]);
    let origins = origins();
    let view = View::new(1, vec![Arc::clone(&site)], Vec::new(), Vec::new());
    origins.views.store(Arc::new(view));
    let stop = CancellationToken::new();
    let checking = tokio::spawn(HealthChecker::new(Arc::clone(&origins)).run(stop.clone()));
    eventually("it is checked", async || near.asked() > 0).await;
    let check = near.last().to_lowercase();
    assert!(
        check.starts_with("get /healthz http/1.1\r\nhost: shop.example\r\n"),
        "{check}"
    );
    assert_eq!(ask(&origins, &site, Method::GET).await, "200 ok from near");
    well.store(false, Ordering::SeqCst);
    eventually("it is out", async || !origins.status(&site)[0].healthy).await;
    // Nobody pays for it: no request of a client is tried there.
    assert_eq!(ask(&origins, &site, Method::GET).await, "200 ok from far");
    assert_eq!(ask(&origins, &site, Method::POST).await, "200 ok from far");
    well.store(true, Ordering::SeqCst);
    eventually("it is back", async || origins.status(&site)[0].healthy).await;
    assert_eq!(ask(&origins, &site, Method::GET).await, "200 ok from near");
    // A site that is gone is no longer checked.
    origins.views.store(Arc::new(View::default()));
    eventually("checks end", async || {
        let asked = near.asked();
        tokio::time::sleep(Duration::from_millis(200)).await;
        near.asked() == asked
    })
    .await;
    stop.cancel();
    checking.await.unwrap();
}
