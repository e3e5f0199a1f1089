//! `[auth]`, and `auth` in rules.

use http::HeaderValue;

use super::super::auth::{AuthSettings, Basic, Demand, Signed};
use super::super::error::ConfigError;
use super::super::policy::Policy;
use super::super::raw;
use super::super::text::Text;

const KEYS_MAX: usize = 20;

/// The section, and what it demands of the whole site.
pub(super) fn auth(
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
    }
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
