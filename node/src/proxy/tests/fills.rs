use super::*;
use futures_util::future::join_all;

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

async fn first_piece(body: &mut Body) -> Bytes {
    let frame = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap();
    frame.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_misses_make_one_fetch_and_all_read_before_it_ends() {
    let (script, mut hands) = answers_by_hand(FRESH);
    let bed = Bed::start(script).await;
    let everyone = join_all((0..50).map(|_| bed.open(get("/big", &[]))));
    let origin = async {
        let pieces = hands.recv().await.unwrap();
        pieces.send(Ok("first ".into())).unwrap();
        pieces
    };
    let (mut responses, pieces) = tokio::join!(everyone, origin);
    for response in &mut responses {
        assert_eq!(first_piece(response.body_mut()).await, "first ");
    }
    pieces.send(Ok("second".into())).unwrap();
    drop(pieces);
    let mut collapsed = 0;
    for got in join_all(responses.into_iter().map(collect)).await {
        assert_eq!(got.text(), "second");
        collapsed += usize::from(got.cache_status().ends_with("; collapsed"));
    }
    assert_eq!((bed.origin.count(), collapsed), (1, 49));
    assert_eq!(bed.get("/big").await.text(), "first second");
    assert_eq!(bed.origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_an_answer_for_one_each_get_their_own() {
    let number = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let answer = script(move |_| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        reply(
            200,
            &[("cache-control", "private")],
            format!("user {number}"),
        )
    });
    let bed = Bed::start(answer).await;
    let got = join_all((0..20).map(|_| bed.get("/me"))).await;
    let texts: std::collections::BTreeSet<_> =
        got.iter().map(|got| got.text().to_owned()).collect();
    assert_eq!((texts.len(), bed.origin.count()), (20, 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fill_goes_on_when_its_client_has_gone() {
    let (script, mut hands) = answers_by_hand(FRESH);
    let bed = Bed::start(script).await;
    let (response, pieces) = tokio::join!(bed.open(get("/a", &[])), async {
        let pieces = hands.recv().await.unwrap();
        pieces.send(Ok("all".into())).unwrap();
        pieces
    });
    drop(response);
    pieces.send(Ok(" of it".into())).unwrap();
    drop(pieces);
    eventually("the entry", || bed.store.stats().fills_stored == 1).await;
    let got = bed.get("/a").await;
    assert!(got.cache_status().contains("hit"));
    assert_eq!((got.text(), bed.origin.count()), ("all of it", 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_off_is_seen_to_break_and_never_stored() {
    for declared in [true, false] {
        let (hand, mut hands) = mpsc::unbounded_channel();
        let answer = script(move |_| {
            let (pieces, body) = by_hand();
            hand.send(pieces).unwrap();
            let mut response = reply(200, FRESH, body);
            if declared {
                response
                    .headers_mut()
                    .insert("content-length", HeaderValue::from_static("10"));
            }
            response
        });
        let bed = Bed::start(answer).await;
        for round in 1..=2 {
            let (response, pieces) = tokio::join!(bed.open(get("/a", &[])), async {
                let pieces = hands.recv().await.unwrap();
                pieces.send(Ok("half".into())).unwrap();
                pieces
            });
            pieces
                .send(Err(BodyError::Upstream("on purpose".to_owned())))
                .unwrap();
            let got = collect(response).await;
            assert!(got.body.is_err(), "{got:?}");
            assert_eq!(bed.origin.count(), round);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_while_filling_keeps_later_readers_out_of_the_old_fill() {
    let (script, mut hands) = answers_by_hand(FRESH);
    let bed = Bed::start(script).await;
    let (old, old_pieces) = tokio::join!(bed.open(get("/a", &[])), async {
        let pieces = hands.recv().await.unwrap();
        pieces.send(Ok("old".into())).unwrap();
        pieces
    });
    bed.purge("/a", false);
    let (new, new_pieces) = tokio::join!(bed.open(get("/a", &[])), async {
        let pieces = hands.recv().await.unwrap();
        pieces.send(Ok("new".into())).unwrap();
        pieces
    });
    drop(new_pieces);
    assert_eq!(collect(new).await.text(), "new");
    // The old one ends last, and must not take the new one's place for good.
    drop(old_pieces);
    assert_eq!(collect(old).await.text(), "old");
    bed.origin.now_does(always(200, FRESH, "new"));
    assert_eq!(bed.get("/a").await.text(), "new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_of_another_variant_fetch_their_own() {
    let (hand, mut hands) = mpsc::unbounded_channel();
    let answer = script(move |seen| {
        let (pieces, body) = by_hand();
        hand.send((seen.headers["accept-language"].clone(), pieces))
            .unwrap();
        reply(
            200,
            &[("cache-control", "max-age=60"), ("vary", "accept-language")],
            body,
        )
    });
    let bed = Bed::start(answer).await;
    let (de, en, ()) = tokio::join!(
        bed.get_with("/a", &[("accept-language", "de")]),
        bed.get_with("/a", &[("accept-language", "en")]),
        async {
            for _ in 0..2 {
                let (language, pieces) = hands.recv().await.unwrap();
                pieces
                    .send(Ok(Bytes::copy_from_slice(language.as_bytes())))
                    .unwrap();
            }
        }
    );
    assert_eq!((de.text(), en.text()), ("de", "en"));
    assert_eq!(bed.origin.count(), 2);
}
