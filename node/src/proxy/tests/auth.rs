//! Who may have it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::proxy::signed::{Grant, target};

const FRESH: &[(&str, &str)] = &[
    ("cache-control", "max-age=600"),
    ("content-type", "text/plain"),
];

const SETTINGS: &str = "[auth.signed]\nkeys = { new = \"url-new\", old = \"url-old\" }\n\
    [auth.basic]\nrealm = \"staging\"\nusers = \"users\"\n\
    [[rule]]\nmatch = { path = \"/video/*\" }\nauth = \"signed\"\n\
    [[rule]]\nmatch = { path = \"/staging/*\" }\nauth = \"basic\"\n";

const NEW: &str = "the newer one of two keys";
const OLD: &str = "the older one of two keys";

impl Bed {
    fn secret(&self, name: &str, content: &str) {
        let dir = self.dir.path().join("secrets");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(name), content).unwrap();
    }
}

fn signed(url: &str, key: &str, secret: &str) -> Request<Body> {
    let grant = Grant {
        target: target(&url.parse().unwrap()).unwrap(),
        prefix: None,
        expires: 9_999_999_999,
        client: None,
    };
    let separator = if url.contains('?') { '&' } else { '?' };
    let given = grant.sign(secret.as_bytes(), key, "shop.example");
    get(&format!("{url}{separator}{given}"), &[])
}

fn as_user(target: &str, name: &str, password: &str) -> Request<Body> {
    let mut request = get(target, &[]);
    let text = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    request
        .headers_mut()
        .insert("authorization", text.parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_urls_share_one_stored_response() {
    let bed = Bed::with(SETTINGS, always(200, FRESH, "video")).await;
    bed.secret("url-new", &format!("{NEW}\n"));
    bed.secret("url-old", OLD);
    for (request, hit) in [
        (signed("/video/a?q=1", "new", NEW), false),
        (signed("/video/a?q=1", "old", OLD), true),
    ] {
        let got = bed.send(request).await;
        assert_eq!((got.status.as_u16(), got.text()), (200, "video"));
        assert_eq!(got.cache_status().contains("; hit"), hit, "{got:?}");
    }
    assert_eq!(bed.origin.last().target, "/video/a?q=1");
    for request in [
        get("/video/a?q=1", &[]),
        signed("/video/a?q=1", "new", OLD),
        signed("/video/a?q=1", "gone", NEW),
    ] {
        let got = bed.send(request).await;
        assert_eq!(got.status, StatusCode::FORBIDDEN);
    }
    let head = Request::from_parts(
        {
            let mut parts = signed("/video/a?q=1", "new", NEW).into_parts().0;
            parts.method = Method::HEAD;
            parts
        },
        Body::Empty,
    );
    assert_eq!(bed.send(head).await.status, StatusCode::OK);
    assert_eq!(bed.origin.count(), 1);
    // Elsewhere the parameters are no one's either.
    bed.send(signed("/open", "new", NEW)).await;
    assert_eq!(bed.origin.last().target, "/open");
    assert!(bed.get("/open").await.cache_status().contains("; hit"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_share_what_is_stored_and_their_passwords_stay_here() {
    let bed = Bed::with(SETTINGS, always(200, FRESH, "page")).await;
    let hash = |password| bcrypt::hash(password, 4).unwrap();
    bed.secret(
        "users",
        &format!("ann:{}\nbob:{}\n", hash("pa:ss"), hash("word")),
    );
    let refused = bed.get("/staging/a").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        refused.field("www-authenticate"),
        "Basic realm=\"staging\", charset=\"UTF-8\""
    );
    for (name, password, status) in [
        ("ann", "pa:ss", 200),
        ("bob", "word", 200),
        ("bob", "pa:ss", 401),
        ("cy", "word", 401),
        ("ann", "pa:ss", 200),
    ] {
        let got = bed.send(as_user("/staging/a", name, password)).await;
        assert_eq!(got.status.as_u16(), status, "{name} {password}");
    }
    assert_eq!(bed.origin.count(), 1);
    assert!(!bed.origin.last().headers.contains_key("authorization"));
    // Where nothing is demanded, credentials are the origin's.
    bed.send(as_user("/open", "ann", "x")).await;
    assert!(bed.origin.last().headers.contains_key("authorization"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_the_origin_gets_are_rfc_9111s_concern_again() {
    let settings = "[auth]\nrequire = \"basic\"\n[auth.basic]\nusers = \"users\"\nforward = true\n";
    let bed = Bed::with(settings, always(200, FRESH, "page")).await;
    bed.secret("users", &format!("ann:{}", bcrypt::hash("x", 4).unwrap()));
    for _ in 0..2 {
        let got = bed.send(as_user("/a", "ann", "x")).await;
        assert!(
            got.cache_status().ends_with("detail=authorization"),
            "{got:?}"
        );
    }
    assert_eq!(bed.origin.count(), 2);
    assert!(bed.origin.last().headers.contains_key("authorization"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_secrets_a_node_lets_nobody_in() {
    let bed = Bed::with(SETTINGS, always(200, FRESH, "text")).await;
    for request in [
        signed("/video/a", "new", NEW),
        as_user("/staging/a", "ann", "x"),
    ] {
        let got = bed.send(request).await;
        assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(bed.origin.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_under_a_style_sheets_name_is_not_stored() {
    const PAGE: &[(&str, &str)] = &[
        ("cache-control", "max-age=600"),
        ("content-type", "text/html"),
    ];
    for (settings, stored) in [("", true), ("[protect]\ndeception = \"refuse\"\n", false)] {
        let bed = Bed::with(settings, always(200, PAGE, "ann's account")).await;
        bed.get("/account/x.css").await;
        let got = bed.get("/account/x.css").await;
        assert_eq!(got.cache_status().contains("; hit"), stored);
        assert_eq!(got.cache_status().ends_with("detail=deception"), !stored);
        bed.get("/account").await;
        assert!(bed.get("/account").await.cache_status().contains("; hit"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_asked_about_each_request() {
    // It says who a cookie belongs to, sends strangers to a page, and is asked again unless it says for how long.
    let server = Origin::start(script(|seen| {
        let field = |name: &str| {
            seen.headers
                .get(name)
                .map_or("", |value| value.to_str().unwrap())
        };
        match (field("cookie"), field("x-forwarded-uri")) {
            ("user=ann", _) => reply(200, &[("x-user", "ann")], "ignored"),
            ("user=bob", _) => reply(
                204,
                &[("x-user", "bob"), ("cache-control", "max-age=60")],
                "",
            ),
            ("broken", _) => reply(500, &[], "trace"),
            _ => reply(302, &[("location", "/login")], "please log in"),
        }
    }))
    .await;
    let settings = format!(
        "[auth.forward]\nurl = \"http://{}/check?x=1\"\ncopy = [\"X-User\"]\n[[rule]]\nmatch = {{ path = \"/in/*\" }}\nauth = \"forward\"\n",
        server.address
    );
    let bed = Bed::with(
        &settings,
        script(|seen| {
            let user = seen.headers.get("x-user");
            let user = user.map_or("nobody", |value| value.to_str().unwrap());
            reply(200, FRESH, format!("for {user}"))
        }),
    )
    .await;
    let ask = async |cookie| {
        bed.get_with("/in/a", &[("cookie", cookie), ("x-user", "root")])
            .await
    };
    for (cookie, status, text) in [
        ("user=ann", 200, "for ann"),
        ("user=bob", 200, "for bob"),
        ("user=ann", 200, "for ann"),
        ("user=bob", 200, "for bob"),
        ("", 302, "please log in"),
        ("broken", 503, ""),
    ] {
        let got = ask(cookie).await;
        assert_eq!(got.status.as_u16(), status, "{cookie}");
        if !text.is_empty() {
            assert_eq!(got.text(), text, "{cookie}");
        }
        assert!(!got.text().contains("trace"));
    }
    assert_eq!(ask("").await.field("location"), "/login");
    // Each user's answer is stored once, and only for them.
    assert_eq!(bed.origin.count(), 2);
    let asked = server.seen.lock().clone();
    let of = |cookie: &str| {
        asked
            .iter()
            .filter(|seen| seen.headers["cookie"] == cookie)
            .count()
    };
    assert_eq!((of("user=ann"), of("user=bob")), (2, 1));
    let first = &asked[0];
    assert_eq!(first.target, "/check?x=1");
    assert_eq!(first.headers["x-forwarded-uri"], "/in/a");
    assert_eq!(first.headers["x-forwarded-method"], "GET");
    assert!(!first.headers.contains_key("x-user"));
    assert_eq!(bed.get("/open").await.text(), "for nobody");
    // Without the server nobody comes in, but for whom its word still holds.
    let mut server = server;
    server.die().await;
    assert_eq!(
        ask("user=ann").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(ask("user=bob").await.text(), "for bob");
}
