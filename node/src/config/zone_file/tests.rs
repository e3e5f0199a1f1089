use super::*;

const SMALL: &str =
    "name = \"edge.example.net\"\nnameservers = { ns1 = \"lon1\", ns2 = \"nyc1\" }\n";

#[test]
fn every_key_reaches_the_zone() {
    let text = format!(
        "{SMALL}ttl = {{ min = \"20s\", max = \"60s\" }}\n\
         [[record]]\nname = \"@\"\ntype = \"TXT\"\nvalue = \"v=spf1 -all\"\n\
         [[record]]\nname = \"mail\"\ntype = \"a\"\nvalue = \"192.0.2.1\"\nttl = \"1h\"\n\
         [[record]]\nname = \"@\"\ntype = \"MX\"\nvalue = \"10 mail.edge.example.net.\"\n"
    );
    let zone = parse(&text, "z.toml").unwrap();
    assert_eq!(&*zone.name, "edge.example.net");
    assert_eq!(zone.nameservers[1], ("ns2".into(), "nyc1".into()));
    assert_eq!(zone.ttl_max, Duration::from_secs(60));
    assert_eq!(zone.records[1].ttl, Some(Duration::from_secs(3600)));
    assert_eq!(
        zone.records[2].data,
        ZoneData::Mx(10, "mail.edge.example.net".into())
    );
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let record = |kind: &str, value: &str| {
        format!("{SMALL}[[record]]\nname = \"a\"\ntype = \"{kind}\"\nvalue = \"{value}\"\n")
    };
    for (text, message) in [
        (
            "name = \"edge.example.net\"\n".to_owned(),
            "z.toml:1: `nameservers` is missing",
        ),
        (
            "name = \"net\"\nnameservers = { ns1 = \"a\" }\n".to_owned(),
            "z.toml:1: the zone \"net\" is a top-level domain; write it like \"edge.example.net\"",
        ),
        (
            format!("{SMALL}ttl = {{ min = \"2m\", max = \"60s\" }}\n"),
            "z.toml:3: `ttl.min` is longer than `ttl.max`",
        ),
        (
            record("TEXT", "x"),
            "z.toml:5: records of type \"TEXT\" are not supported; did you mean \"TXT\"?",
        ),
        (
            record("A", "::1"),
            "z.toml:6: \"::1\" is not an IPv4 address",
        ),
        (
            record("MX", "mail"),
            "z.toml:6: \"mail\" is not a mail exchange; write it like \"10 mail.example.net\"",
        ),
        (
            record("CNAME", "b.example")
                + "[[record]]\nname = \"a\"\ntype = \"TXT\"\nvalue = \"x\"\n",
            "z.toml:3: a CNAME cannot stand beside other records of \"a\"",
        ),
    ] {
        assert_eq!(
            parse(&text, "z.toml").unwrap_err().to_string(),
            message,
            "{text}"
        );
    }
}
