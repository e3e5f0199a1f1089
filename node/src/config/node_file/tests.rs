use super::*;

fn of(text: &str) -> Result<Settings, ConfigError> {
    parse(text, "n.toml", [])
}

fn with(text: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let variables = variables
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    parse(text, "n.toml", variables)
}

const NAME: &str = "[node]\nname = \"lon1\"\n";

#[test]
fn the_reference_file_says_what_the_defaults_are() {
    let reference = with(DEFAULT, &[("NEARSIDE__NODE__NAME", "lon1")]).unwrap();
    let built_in = of(NAME).unwrap();
    assert_eq!(format!("{reference:#?}"), format!("{built_in:#?}"));
}

#[test]
fn the_reference_file_is_right_with_its_examples_too() {
    let uncommented: String = DEFAULT
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(example) if example.contains(" = ") || example.starts_with('[') => example,
            _ if line.starts_with("name = \"\"") => "name = \"lon1\"",
            _ => line,
        })
        .fold(String::new(), |text, line| text + line + "\n");
    let settings = of(&uncommented).unwrap();
    assert_eq!(settings.name, "lon1");
    assert_eq!(
        settings.advertise.peer.as_deref(),
        Some("lon1.example.net:7443")
    );
    assert_eq!(settings.peer_route["fra1"], "10.0.0.7:7443");
    assert!(settings.certificates.contains_key("shop"));
    assert!(settings.admin_token_file.is_some());
    // Every key there is: a new one must be written into the reference.
    let written = format!(
        "{:#?}",
        toml::from_str::<raw::NodeFile>(&uncommented).unwrap()
    );
    assert!(!written.contains("None"), "{written}");
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_the_right_name() {
    for (text, message) in [
        (
            "[node]\nname = \"lon1\"\n[lisen]\n",
            "n.toml:3: unknown key `lisen`; did you mean `listen`?",
        ),
        (
            "[node]\nname = \"lon1\"\n\n[cache]\nmemory_maximum = \"2 GiB\"\n",
            "n.toml:5: unknown key `memory_maximum` in `cache`; did you mean `memory_max`?",
        ),
        (
            "[node]\nname = \"lon1\"\n[data]\nfolder = \"/x\"\n",
            "n.toml:4: unknown key `folder` in `data`; known here: dir, secrets",
        ),
        (
            "[node]\nname = \"lon1\"\n[cache]\nmemory_max = \"2 flops\"\n",
            "n.toml:4: `cache.memory_max`: \"2 flops\" is not a size; write it like \"512 MiB\", \"2 GiB\" or \"1 TB\"",
        ),
        (
            "[node]\nname = \"lon1\"\n[cache]\nmemory_max = 5\n",
            "n.toml:4: `cache.memory_max`: invalid type: integer `5`, expected a size with its unit, such as \"2 GiB\"",
        ),
        (
            "[node]\nname = \"lon1\"\n[limits]\nhead_timeout = \"5\"\n",
            "n.toml:4: `limits.head_timeout`: \"5\" is not a length of time; write it like \"250ms\", \"5s\", \"1h 30m\" or \"30d\"",
        ),
        (
            "[node]\nname = \"lon1\"\n[cluster]\ntiming = \"globl\"\n",
            "n.toml:4: `cluster.timing` cannot be \"globl\"; did you mean \"global\"?",
        ),
        (
            "[node]\nname = \"lon1\"\nlatitude = 91\nlongitude = 0\n",
            "n.toml:3: 91, 0 is not on the globe: latitude is -90 to 90, longitude -180 to 180",
        ),
        (
            "[node]\nname = \"lon1\"\nlatitude = 51.5\n",
            "n.toml:3: `latitude` stands without `longitude`",
        ),
        (
            "[listen]\nhttp = []\n",
            "n.toml:1: `node.name` is missing; set it in [node], or by NEARSIDE__NODE__NAME",
        ),
        (
            "[node]\nname = \"Lon 1\"\n",
            "n.toml:2: the name \"Lon 1\" must be 1 to 63 lower-case letters, digits and hyphens, such as \"lon1\"",
        ),
        (
            "[node]\nname = \"lon1\"\n[listen]\nhttp = [\n  \"0.0.0.0:80\",\n  \"8081\",\n]\n",
            "n.toml:6: \"8081\" is not an address with a port; write it like \"0.0.0.0:8080\" or \"[::]:8080\"",
        ),
        (
            "[node]\nname = \"lon1\"\n[listen]\nhttp = [\"0.0.0.0:80\"]\nmetrics = [\"0.0.0.0:80\"]\n",
            "n.toml:5: `listen.metrics` and `listen.http` both want 0.0.0.0:80",
        ),
        (
            "[node]\nname = \"lon1\"\n[listen]\nproxy_protocol = true\n",
            "n.toml:4: `proxy_protocol` says what connections from `trusted_proxies` begin with, and there are none; name the proxies, as trusted_proxies = [\"10.0.0.0/8\"]",
        ),
        (
            "[node]\nname = \"lon1\"\n[listen]\nadmin = [\"127.0.0.1:9000\"]\n",
            "n.toml:4: the admin API at 127.0.0.1:9000 needs a token, also on loopback; set `token_file` in [admin]",
        ),
        (
            "[node]\nname = \"lon1\"\n[cluster]\njoin = [\"fra1.example.net\"]\n",
            "n.toml:4: \"fra1.example.net\" is not a host with a port; write it like \"lon1.example.net:7443\"",
        ),
        (
            "[node]\nname = \"lon1\"\n[limits]\nconnections = 0\n",
            "n.toml:4: `limits.connections` must be at least 1",
        ),
        (
            "[node]\nname = \"lon1\"\n[certificates.shop]\nchain = \"a.pem\"\n",
            "n.toml:3: `key` is missing in `certificates.shop`",
        ),
        (
            "[node]\nname = \"lon1\"\n[log]\nlevel = \"inof\"\n",
            "n.toml:4: `log.level` cannot be \"inof\"; did you mean \"info\"?",
        ),
    ] {
        assert_eq!(of(text).unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn broken_toml_is_pointed_at() {
    let error = of("[node]\nname = lon1\n").unwrap_err();
    assert_eq!((error.line, error.file.as_str()), (Some(2), "n.toml"));
}

#[test]
fn the_environment_has_the_last_word() {
    let settings = with(
        "[node]\nname = \"lon1\"\n[peer.route]\nfra-1 = \"10.0.0.1:1\"\n",
        &[
            ("NEARSIDE__NODE__NAME", "nyc1"),
            ("NEARSIDE__NODE__LATITUDE", "40.7"),
            ("NEARSIDE__NODE__LONGITUDE", "-74"),
            ("NEARSIDE__LISTEN__HTTP", "127.0.0.1:1, 127.0.0.1:2"),
            ("NEARSIDE__CACHE__MEMORY_MAX", "1 GiB"),
            ("NEARSIDE__LIMITS__CONNECTIONS", "7"),
            ("NEARSIDE__PEER__ROUTE__LON2", "10.0.0.2:2"),
            ("NEARSIDE_ADMIN", "not ours"),
        ],
    )
    .unwrap();
    assert_eq!(settings.name, "nyc1");
    assert_eq!(settings.point, Point::new(40.7, -74.0));
    assert_eq!(settings.listen.http.len(), 2);
    assert_eq!(settings.cache.memory_max_bytes, 1 << 30);
    assert_eq!(settings.limits.connections, 7);
    assert_eq!(settings.peer_route.len(), 2);
}

#[test]
fn a_wrong_variable_is_named() {
    for (key, value, message) in [
        (
            "NEARSIDE__LISEN__HTTP",
            "x",
            "NEARSIDE__LISEN__HTTP: unknown key `lisen`; did you mean `listen`?",
        ),
        (
            "NEARSIDE__CACHE__MEMORY_MAX",
            "much",
            "NEARSIDE__CACHE__MEMORY_MAX: \"much\" is not a size; write it like \"512 MiB\", \"2 GiB\" or \"1 TB\"",
        ),
        (
            "NEARSIDE__NODE__NAME",
            "Lon 1",
            "NEARSIDE__NODE__NAME: the name \"Lon 1\" must be 1 to 63 lower-case letters, digits and hyphens, such as \"lon1\"",
        ),
    ] {
        let error = with(NAME, &[(key, value)]).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn the_peer_address_follows_from_the_others() {
    let settings = of("[node]\nname = \"a\"\n[listen]\npeer = [\"127.0.0.3:9\"]\n").unwrap();
    assert_eq!(settings.advertise.peer.as_deref(), Some("127.0.0.3:9"));
    let settings = of("[node]\nname = \"a\"\n[advertise]\nipv4 = \"203.0.113.1\"\n").unwrap();
    assert_eq!(settings.advertise.peer.as_deref(), Some("203.0.113.1:7443"));
    assert_eq!(of(NAME).unwrap().advertise.peer, None);
}
