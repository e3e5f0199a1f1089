use super::*;

/// A primary in our region and one elsewhere.
fn pair(near: SocketAddr, far: SocketAddr) -> Arc<Site> {
    let (mut near, mut far) = (origin("near", near), origin("far", far));
    near.region = Some("eu".into());
    far.region = Some("us".into());
    site(vec![far, near])
}

#[tokio::test]
async fn the_nearest_answers_and_the_next_when_it_cannot() {
    let far = Scripted::new(|_, _| OK).await;
    let cases = [
        ("it answers", OK, true, true),
        ("it is busy", BUSY, false, true),
        ("it closes the connection", CLOSE, false, false),
        ("it never answers", STALL, false, false),
        (
            "it talks nonsense",
            Act::Send("\x01\x02\x03\r\n\r\n"),
            false,
            false,
        ),
    ];
    for (what, act, near_answers, post_is_answered) in cases {
        let near = Scripted::new(move |_, _| act).await;
        let (origins, site) = (origins(), pair(near.address, far.address));
        let expected = if near_answers {
            "200 ok from near"
        } else {
            "200 ok from far"
        };
        assert_eq!(ask(&origins, &site, Method::GET).await, expected, "{what}");
        assert_eq!(near.asked(), 1, "{what}");
        // What may have been acted on is not sent twice; a status is an answer.
        let asked = far.asked();
        let answer = ask(&origins, &site, Method::POST).await;
        assert_eq!(
            answer.contains(" from near"),
            post_is_answered,
            "{what}: {answer}"
        );
        assert_eq!(far.asked(), asked, "{what}");
    }
}

#[tokio::test]
async fn what_was_never_sent_goes_to_the_next_whatever_the_method() {
    let far = Scripted::new(|_, _| OK).await;
    let (origins, site) = (origins(), pair(nobody().await, far.address));
    for method in [Method::GET, Method::POST] {
        assert_eq!(ask(&origins, &site, method).await, "200 ok from far");
    }
    let request = request(Method::POST, "/x", Body::from("content"));
    let answer = origins.fetch(&site, request, Replay::Unsent).await.unwrap();
    assert_eq!(answer.attempts, 2);
    assert!(far.last().ends_with("content"));
}

#[tokio::test]
async fn an_error_says_whose_side_and_no_address() {
    let address = nobody().await;
    let (origins, site) = (origins(), site(vec![origin("one", address)]));
    let request = request(Method::GET, "/x", Body::Empty);
    let error = origins
        .fetch(&site, request, Replay::Safe)
        .await
        .unwrap_err();
    assert_eq!(
        (error.side, error.retry_safe, error.attempts),
        (Side::Origin, true, 1)
    );
    let text = format!("{error} {:?}", error.kind);
    assert_eq!(
        error.to_string(),
        "one: it refuses connections or cannot be reached"
    );
    assert!(
        !text.contains("127.0.0.1") && !text.contains(&address.port().to_string()),
        "{text}"
    );
}

#[tokio::test]
async fn when_all_are_busy_their_answer_is_the_answer() {
    let (one, two) = (
        Scripted::new(|_, _| BUSY).await,
        Scripted::new(|_, _| BUSY).await,
    );
    let (origins, site) = (origins(), pair(one.address, two.address));
    assert_eq!(ask(&origins, &site, Method::GET).await, "503 busy from far");
    assert_eq!((one.asked(), two.asked()), (1, 1));
}

#[tokio::test]
async fn attempts_are_bounded() {
    let mut all = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        all.push(origin(name, nobody().await));
    }
    let (origins, site) = (origins(), site(all));
    let request = request(Method::GET, "/x", Body::Empty);
    let error = origins
        .fetch(&site, request, Replay::Safe)
        .await
        .unwrap_err();
    assert_eq!(error.attempts, 3);
}

#[tokio::test]
async fn weights_share_and_a_backup_waits() {
    let mut all = Vec::new();
    for (name, weight, backup) in [("light", 1, false), ("heavy", 4, false), ("spare", 9, true)] {
        let scripted = Scripted::new(|_, _| OK).await;
        let mut origin = origin(name, scripted.address);
        (origin.weight, origin.backup) = (weight, backup);
        all.push((origin, scripted));
    }
    let origins = origins();
    let (listed, scripted): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    let site = site(listed);
    for _ in 0..500 {
        ask(&origins, &site, Method::GET).await;
    }
    let asked: Vec<usize> = scripted.iter().map(Scripted::asked).collect();
    // 100 expected, standard deviation 9.
    assert!((50..150).contains(&asked[0]), "{asked:?}");
    assert_eq!(asked[0] + asked[1], 500);
    assert_eq!(asked[2], 0);
}

#[tokio::test]
async fn a_backup_answers_when_the_primaries_are_gone() {
    let spare = Scripted::new(|_, _| OK).await;
    let mut backup = origin("spare", spare.address);
    backup.backup = true;
    let site = site(vec![origin("one", nobody().await), backup]);
    let origins = origins();
    for _ in 0..5 {
        assert_eq!(ask(&origins, &site, Method::GET).await, "200 ok from spare");
    }
}

#[tokio::test]
async fn our_own_listener_and_link_local_are_no_origins() {
    let own = Scripted::new(|_, _| OK).await;
    let origins = origins_beside(&[own.address]);
    let itself = site(vec![origin("one", own.address)]);
    let metadata = site(vec![origin("one", "169.254.169.254:80".parse().unwrap())]);
    for site in [itself, metadata] {
        let request = request(Method::GET, "/x", Body::Empty);
        let error = origins
            .fetch(&site, request, Replay::Safe)
            .await
            .unwrap_err();
        assert!(
            matches!(error.kind, UpstreamErrorKind::Forbidden),
            "{error}"
        );
        assert_eq!(error.side, Side::Us);
    }
    assert_eq!(own.connections.load(Ordering::SeqCst), 0);
}
