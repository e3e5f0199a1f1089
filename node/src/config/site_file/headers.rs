//! `[headers]`, and `headers` in rules.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::super::edits::{Edit, Edits};
use super::super::error::ConfigError;
use super::super::policy::Policy;
use super::super::raw;
use super::super::text::Text;

/// Most fields that one table may change.
const FIELDS_MAX: usize = 100;

/// Whose fields are changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Origin,
    Client,
}

/// The section, or the same in a rule.
pub(super) fn headers(
    at: &str,
    raw: raw::Headers,
    policy: &mut Policy,
    source: &Text<'_>,
) -> Result<(), ConfigError> {
    let some = |edits: Edits| (!edits.0.is_empty()).then(|| Arc::new(edits));
    let (origin, client) = (format!("{at}.origin"), format!("{at}.client"));
    policy.origin_headers = some(edits(&origin, raw.origin, Side::Origin, source)?);
    policy.client_headers = some(edits(&client, raw.client, Side::Client, source)?);
    Ok(())
}

fn edits(at: &str, raw: raw::Edits, side: Side, source: &Text<'_>) -> Result<Edits, ConfigError> {
    let mut edits = Edits::default();
    let mut note = |at: &str, name: HeaderName, edit: Edit| {
        if edits.0.iter().any(|(known, _)| *known == name) {
            return Err(source.wrong(at, format!("the field {name} is named twice")));
        }
        if edits.0.len() == FIELDS_MAX {
            return Err(source.wrong(at, format!("more than {FIELDS_MAX} fields")));
        }
        edits.0.push((name, edit));
        Ok(())
    };
    for (written, value) in &raw.set {
        let at = format!("{at}.set.{written}");
        let name = field(written, side, false).map_err(|what| source.wrong(&at, what))?;
        let edit = Edit::Set(text(&at, &name, value, source)?);
        note(&at, name, edit)?;
    }
    for (written, value) in &raw.add {
        let at = format!("{at}.add.{written}");
        let name = field(written, side, false).map_err(|what| source.wrong(&at, what))?;
        let lines = match value {
            toml::Value::Array(lines) => &lines[..],
            one => std::slice::from_ref(one),
        };
        let lines = lines.iter().map(|line| text(&at, &name, line, source));
        let edit = Edit::Add(lines.collect::<Result<_, _>>()?);
        note(&at, name, edit)?;
    }
    for (index, written) in raw.remove.unwrap_or_default().0.iter().enumerate() {
        let at = format!("{at}.remove.{index}");
        let name = field(written, side, true).map_err(|what| source.wrong(&at, what))?;
        note(&at, name, Edit::Remove)?;
    }
    Ok(edits)
}

fn text(
    at: &str,
    name: &HeaderName,
    value: &toml::Value,
    source: &Text<'_>,
) -> Result<HeaderValue, ConfigError> {
    match value {
        toml::Value::String(text) => HeaderValue::from_str(text)
            .map_err(|_| source.wrong(at, format!("the value of {name} cannot be sent"))),
        toml::Value::Table(table) if table.contains_key("secret") => {
            let what = format!("{name}: `{{ secret = … }}` is not supported yet");
            Err(source.wrong(at, what).hint("write the value as a string"))
        }
        _ => Err(source.wrong(at, format!("the value of {name} must be a string"))),
    }
}

/// A field that may be set on requests to origins.
pub(super) fn origin_field(written: &str) -> Result<HeaderName, String> {
    field(written, Side::Origin, false)
}

/// A field that may be changed on that side.
fn field(written: &str, side: Side, removes: bool) -> Result<HeaderName, String> {
    let name: HeaderName = written
        .parse()
        .map_err(|_| format!("\"{written}\" is not a field name"))?;
    let word = name.as_str();
    if FRAMING.contains(&word) {
        return Err(format!(
            "the field {name} frames the message or ends at this hop: it is the proxy's own"
        ));
    }
    let ours = match side {
        Side::Origin if word == "host" => {
            return Err("the field host is set by `host`, in [[origin]] or in a rule".to_owned());
        }
        Side::Origin => ORIGIN.contains(&word),
        Side::Client => CLIENT.contains(&word) && !(removes && HIDDEN.contains(&word)),
    };
    if ours {
        return Err(format!("the field {name} is set by the proxy itself"));
    }
    Ok(name)
}

/// On both sides: what tells where a message ends, and what is about one connection.
const FRAMING: [&str; 11] = [
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "http2-settings",
];

/// Fields towards origins that only the proxy can fill in rightly.
const ORIGIN: [&str; 12] = [
    "via",
    "cdn-loop",
    "forwarded",
    "x-forwarded-for",
    "expect",
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "content-encoding",
];

/// Fields towards clients that only the proxy can fill in rightly.
const CLIENT: [&str; 7] = [
    "via",
    "cache-status",
    "age",
    "date",
    "content-encoding",
    "content-range",
    "accept-ranges",
];

/// Of these, those that may be kept from clients.
const HIDDEN: [&str; 3] = ["via", "cache-status", "accept-ranges"];
