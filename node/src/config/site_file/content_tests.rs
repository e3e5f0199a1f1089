//! What a site's file says of content: fields, redirects, pages.

use http::{HeaderMap, Method, StatusCode};

use super::parse;

const SMALL: &str =
    "name = \"shop\"\nhosts = [\"shop.example\"]\n[[origin]]\nurl = \"http://127.0.0.1:9000\"\n";

#[test]
fn a_file_with_everything_is_read() {
    let text = format!(
        r#"{SMALL}[headers.origin]
set = {{ X-Edge = "1" }}
remove = "X-Noise"
[headers.client]
add = {{ Link = ["</a>", "</b>"] }}
remove = ["Server", "Via"]
[tls]
hsts = {{ max_age = "365d", include_subdomains = true, preload = true }}
[error_pages]
"502-504" = {{ body = "<h1>soon</h1>" }}
404 = {{ body = "nothing", type = "text/plain", intercept = true }}
[maintenance]
retry_after = "10m"
allow = ["192.0.2.0/24"]
page = {{ body = "back soon" }}
[[rule]]
match = {{ path = "/old/*" }}
redirect = {{ from = "^/old/(.*)$", to = "https://new.example/$1", status = 301 }}
[[rule]]
match = {{ path = "/app/*" }}
rewrite = {{ strip_prefix = "/app", add_prefix = "/v2/" }}
host = "app.internal"
headers = {{ client = {{ set = {{ X-Frame-Options = "DENY" }} }}, origin = {{ set = {{ X-Edge = "2" }} }} }}
"#
    );
    let site = parse(&text, "s.toml").unwrap();
    assert!(site.dresses);
    assert_eq!(
        site.tls.hsts.as_ref().unwrap(),
        "max-age=31536000; includeSubDomains; preload"
    );
    assert_eq!(
        &*site.error_pages.of(StatusCode::BAD_GATEWAY).unwrap().body,
        "<h1>soon</h1>"
    );
    let found = site.error_pages.of(StatusCode::NOT_FOUND).unwrap();
    assert!(found.intercepts && found.content_type == "text/plain");
    let maintenance = site.maintenance.as_ref().unwrap();
    assert_eq!(maintenance.retry_after_s, Some(600));
    assert!(maintenance.lets_in("192.0.2.7".parse().unwrap()));
    assert!(!maintenance.lets_in("192.0.3.7".parse().unwrap()));
    let policy = |path: &str| {
        let ruling = site.rules.at_request(&Method::GET, path, &HeaderMap::new());
        site.rules.policy(&ruling).clone()
    };
    let redirect = policy("/old/a").redirect.unwrap();
    assert_eq!(redirect.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(
        redirect.location("/old/a", None).unwrap(),
        "https://new.example/a"
    );
    let app = policy("/app/x");
    assert_eq!(app.rewrite.unwrap().of("/app/x").unwrap(), "/v2/x");
    assert_eq!(app.host.as_deref(), Some("app.internal"));
    // The rule speaks of one field; what the site says of others stays.
    let mut fields = HeaderMap::new();
    fields.insert("x-noise", "1".parse().unwrap());
    app.origin_headers.unwrap().apply(&mut fields);
    assert_eq!(
        (fields.len(), &fields["x-edge"]),
        (1, &"2".parse().unwrap())
    );
    assert_eq!(app.client_headers.unwrap().0.len(), 4);
    let off = text.replace("retry_after", "enabled = false\nretry_after");
    assert!(parse(&off, "s.toml").unwrap().maintenance.is_none());
    assert!(!parse(SMALL, "s.toml").unwrap().dresses);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let rule = |said: &str| format!("[[rule]]\n{said}\n");
    for (settings, message) in [
        (
            "[headers.origin.set]\nContent-Length = \"1\"\n".to_owned(),
            "s.toml:6: the field content-length frames the message or ends at this hop: it is the proxy's own",
        ),
        (
            "[headers.client]\nremove = [\"Connection\"]\n".to_owned(),
            "s.toml:6: the field connection frames the message or ends at this hop: it is the proxy's own",
        ),
        (
            "[headers.client.set]\nAge = \"1\"\n".to_owned(),
            "s.toml:6: the field age is set by the proxy itself",
        ),
        (
            "[headers.origin.set]\nHost = \"a\"\n".to_owned(),
            "s.toml:6: the field host is set by `host`, in [[origin]] or in a rule",
        ),
        (
            "[headers.client]\nset = { X-A = \"1\" }\nremove = [\"x-a\"]\n".to_owned(),
            "s.toml:7: the field x-a is named twice",
        ),
        (
            rule("redirect = { to = \"new.example\" }"),
            "s.toml:6: a client cannot be sent to \"new.example\"; write a path, or a URL with its scheme, without spaces",
        ),
        (
            rule("redirect = { from = \"^/(.*)$\", to = \"https://$1/\" }"),
            "s.toml:6: \"https://$1/\" lets the client's path choose the host; write the host out, with a `/` behind it",
        ),
        (
            rule("redirect = { to = \"/a\", status = 200 }"),
            "s.toml:6: 200 is not the status of a redirect; write 301, 302, 303, 307 or 308",
        ),
        (
            rule("redirect = { from = \"(\", to = \"/a\" }"),
            "s.toml:6: \"(\" is not a regular expression: unclosed group",
        ),
        (
            rule("match = { status = 404 }\nredirect = { to = \"/a\" }"),
            "s.toml:7: `redirect` acts before there is an answer, so it cannot depend on the answer's status; match by `path`, `method` or `header`, or take `status` out",
        ),
        (
            rule("rewrite = { from = \"^/a\" }"),
            "s.toml:6: `rewrite` is not complete; write `{ from = \"^/a/(.*)$\", to = \"/$1\" }`, or `strip_prefix`, `add_prefix` or both",
        ),
        (
            rule("rewrite = { strip_prefix = \"app\" }"),
            "s.toml:6: \"app\" is not a path; begin it with \"/\", and leave the query out: it stays as it is",
        ),
        (
            "[tls]\nhsts = { max_age = \"1d\", preload = true }\n".to_owned(),
            "s.toml:6: `preload` needs `include_subdomains` and a `max_age` of a year",
        ),
        (
            "[error_pages]\n200 = { body = \"a\" }\n".to_owned(),
            "s.toml:6: \"200\" is not the status of an error; errors are 400 to 599, like \"404\", \"5xx\" or \"502-504\"",
        ),
        (
            "[maintenance]\nallow = [\"me\"]\n".to_owned(),
            "s.toml:6: \"me\" is not a network; write it like \"198.51.100.0/24\" or \"2001:db8::/32\"",
        ),
    ] {
        let text = format!("{SMALL}{settings}");
        let error = parse(&text, "s.toml").unwrap_err().to_string();
        assert_eq!(error, message, "{settings}");
    }
}
