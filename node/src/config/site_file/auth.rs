//! `[auth]`, and `auth` in rules.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::{AUTHORIZATION, COOKIE};

use super::super::auth::{AuthSettings, Basic, Demand, Forward, Signed};
use super::super::error::ConfigError;
use super::super::policy::Policy;
use super::super::raw;
use super::super::site::{HostHeader, Origin, OriginLimits, OriginProtocol, Site};
use super::super::text::Text;
use super::super::units::OneOrMore;
use super::{headers, origin};

const KEYS_MAX: usize = 20;
/// Fields that a server is sent, and that are copied from its answer.
const FIELDS_MAX: usize = 20;
const FORWARD_TIMEOUT: Duration = Duration::from_secs(2);
const FORWARD_TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// Questions to one server at once, on each node; more wait in the origin's own queue.
const FORWARD_AT_ONCE_MAX: usize = 256;

/// The section, and what it demands of the whole site.
pub(super) fn auth(
    site: &str,
    raw: raw::Auth,
    base: &mut Policy,
    source: &Text<'_>,
) -> Result<AuthSettings, ConfigError> {
    let mut settings = AuthSettings::default();
    if let Some(raw) = raw.signed {
        if raw.keys.is_empty() || raw.keys.len() > KEYS_MAX {
            let what = format!("1 to {KEYS_MAX} keys are needed");
            return Err(source.wrong("auth.signed.keys", what).hint(
                "write `keys = { 2026a = \"shop-url-2026a\" }`: a name in URLs, and its file",
            ));
        }
        let keys = raw.keys.into_iter().map(|(id, file)| {
            let at = format!("auth.signed.keys.{id}");
            word(&id).map_err(|what| source.wrong(&at, what))?;
            file_name(&file, &at, source)?;
            Ok((id.into(), file.into()))
        });
        settings.signed = Some(Signed {
            keys: keys.collect::<Result<_, _>>()?,
        });
    }
    if let Some(raw) = raw.basic {
        file_name(&raw.users, "auth.basic.users", source)?;
        let realm = raw.realm.unwrap_or_else(|| "restricted".to_owned());
        let good = realm.len() <= 100
            && realm
                .chars()
                .all(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\'));
        let challenge =
            HeaderValue::from_str(&format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))
                .ok()
                .filter(|_| good)
                .ok_or_else(|| {
                    let what = "a realm is up to 100 printable ASCII characters without quotes";
                    source.wrong("auth.basic.realm", what)
                })?;
        settings.basic = Some(Basic {
            challenge,
            users: raw.users.into(),
            forwards: raw.forward,
        });
    }
    if let Some(raw) = raw.forward {
        settings.forward = Some(forward(site, raw, source)?);
    }
    if let Some(written) = raw.require {
        base.auth = Some(demand(written));
    }
    Ok(settings)
}

pub(super) const fn demand(written: raw::Demand) -> Demand {
    match written {
        raw::Demand::None => Demand::Nothing,
        raw::Demand::Signed => Demand::Signed,
        raw::Demand::Basic => Demand::Basic,
        raw::Demand::Forward => Demand::Forward,
    }
}

/// A server that is asked. It is an origin like any, but that its answers are no content.
fn forward(site: &str, raw: raw::Forward, source: &Text<'_>) -> Result<Forward, ConfigError> {
    let at = "auth.forward.url";
    let (base, target) = match raw.url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            (format!("{scheme}://{authority}"), path)
        }
        None => (raw.url.clone(), ""),
    };
    let (tls, host, port) = origin::origin_url(&base).map_err(|what| source.wrong(at, what))?;
    let target = match target {
        "" => "/",
        path => path,
    };
    let target = target.parse().map_err(|_| {
        source.wrong(
            at,
            format!("the path of \"{}\" cannot be asked for", raw.url),
        )
    })?;
    let timeout = raw.timeout.map_or(FORWARD_TIMEOUT, |span| span.0);
    if timeout.is_zero() || timeout > FORWARD_TIMEOUT_MAX {
        let what =
            "`timeout` must be more than nothing and at most 30s: every request waits for it";
        return Err(source.wrong("auth.forward.timeout", what));
    }
    let list = |key: &str, written: Option<OneOrMore>| {
        let written = written.map(|list| list.0);
        let names = written.unwrap_or_default();
        if names.len() > FIELDS_MAX {
            let what = format!("more than {FIELDS_MAX} fields");
            return Err(source.wrong(&format!("auth.forward.{key}"), what));
        }
        let names = names.iter().enumerate().map(|(index, name)| {
            headers::origin_field(name)
                .map_err(|what| source.wrong(&format!("auth.forward.{key}.{index}"), what))
        });
        names.collect::<Result<Vec<_>, _>>()
    };
    let send = match raw.send {
        None => vec![AUTHORIZATION, COOKIE],
        given => list("send", given)?,
    };
    let origin = Origin {
        name: "auth".into(),
        tls,
        host: host.into(),
        port,
        region: None,
        point: None,
        weight: 1,
        backup: false,
        protocol: OriginProtocol::Http1,
        limits: OriginLimits {
            requests_max: Some(FORWARD_AT_ONCE_MAX),
            queue_timeout: timeout,
            ..OriginLimits::default()
        },
        host_header: HostHeader::Origin,
        health: None,
        tls_ca: None,
        connect_timeout: timeout,
        response_timeout: timeout,
    };
    Ok(Forward {
        server: Arc::new(Site {
            // No site can be called so.
            name: format!("{site}/auth").into(),
            origins: vec![origin],
            ..Site::default()
        }),
        target,
        timeout,
        send,
        copy: list("copy", raw.copy)?,
    })
}

/// Is there a section for what is demanded?
pub(super) fn is_met(
    demand: Demand,
    settings: &AuthSettings,
    at: &str,
    source: &Text<'_>,
) -> Result<(), ConfigError> {
    let (missing, section) = match demand {
        Demand::Nothing => return Ok(()),
        Demand::Signed => (settings.signed.is_none(), "signed"),
        Demand::Basic => (settings.basic.is_none(), "basic"),
        Demand::Forward => (settings.forward.is_none(), "forward"),
    };
    if !missing {
        return Ok(());
    }
    let what =
        format!("\"{section}\" is demanded, and there is no [auth.{section}] to check it by");
    Err(source.wrong(at, what))
}

/// A name that can stand in a URL.
fn word(name: &str) -> Result<(), String> {
    let good = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    match good && !name.starts_with('.') {
        true => Ok(()),
        false => Err(format!(
            "\"{name}\" must be 1 to 64 letters, digits, `-`, `_` and `.`"
        )),
    }
}

/// The name of a file among the node's secrets, and not the secret itself.
fn file_name(name: &str, at: &str, source: &Text<'_>) -> Result<(), ConfigError> {
    word(name).map_err(|what| {
        source
            .wrong(at, what)
            .hint("name a file in the node's secrets folder; a secret itself would lie in every node's log")
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const SMALL: &str = "name = \"shop\"\nhosts = [\"shop.example\"]\n[[origin]]\nurl = \"http://127.0.0.1:9000\"\n";

    #[test]
    fn demands_are_checked_against_sections() {
        let text = format!(
            "{SMALL}[auth]\nrequire = \"basic\"\n[auth.basic]\nrealm = \"staging\"\nusers = \"staging.htpasswd\"\n\
             [auth.signed]\nkeys = {{ a = \"key-a\", b = \"key-b\" }}\n\
             [[rule]]\nmatch = {{ path = \"/video/*\" }}\nauth = \"signed\"\n[[rule]]\nmatch = {{ path = \"/open\" }}\nauth = \"none\"\n"
        );
        let site = parse(&text, "s.toml").unwrap();
        assert_eq!(site.rules.base().auth, Some(Demand::Basic));
        assert_eq!(site.rules.all()[0].then.auth, Some(Demand::Signed));
        assert_eq!(site.rules.all()[1].then.auth, Some(Demand::Nothing));
        assert_eq!(site.auth.signed.unwrap().keys.len(), 2);
        assert_eq!(
            site.auth.basic.unwrap().challenge,
            "Basic realm=\"staging\", charset=\"UTF-8\""
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (settings, message) in [
            (
                "[[rule]]\nauth = \"signed\"\n",
                "s.toml:6: \"signed\" is demanded, and there is no [auth.signed] to check it by",
            ),
            (
                "[auth]\nrequire = \"basic\"\n",
                "s.toml:6: \"basic\" is demanded, and there is no [auth.basic] to check it by",
            ),
            (
                "[auth.signed]\nkeys = { a = \"../key\" }\n",
                "s.toml:6: \"../key\" must be 1 to 64 letters, digits, `-`, `_` and `.`; name a file in the node's secrets folder; a secret itself would lie in every node's log",
            ),
            (
                "[auth.signed]\nkeys = {}\n",
                "s.toml:6: 1 to 20 keys are needed; write `keys = { 2026a = \"shop-url-2026a\" }`: a name in URLs, and its file",
            ),
            (
                "[auth.forward]\nurl = \"localhost/check\"\n",
                "s.toml:6: \"localhost/check\" is not a URL (relative URL without a base); write it like \"https://o1.shop.example\"",
            ),
            (
                "[auth.forward]\nurl = \"http://127.0.0.1:1/\"\ncopy = [\"Via\"]\n",
                "s.toml:7: the field via is set by the proxy itself",
            ),
            (
                "[auth.forward]\nurl = \"http://127.0.0.1:1/\"\ntimeout = \"1m\"\n",
                "s.toml:7: `timeout` must be more than nothing and at most 30s: every request waits for it",
            ),
            (
                "[auth.basic]\nusers = \"u\"\nrealm = \"a\\\"b\"\n",
                "s.toml:7: a realm is up to 100 printable ASCII characters without quotes",
            ),
        ] {
            let text = format!("{SMALL}{settings}");
            let error = parse(&text, "s.toml").unwrap_err().to_string();
            assert_eq!(error, message, "{settings}");
        }
    }
}
