//! `[headers]`.

use http::{HeaderName, HeaderValue};

use super::super::error::ConfigError;
use super::super::raw;
use super::super::text::Text;

pub(super) fn origin_headers(
    raw: &raw::Headers,
    source: &Text<'_>,
) -> Result<Vec<(HeaderName, HeaderValue)>, ConfigError> {
    let fields = raw.origin.set.iter().map(|(written, value)| {
        let at = format!("headers.origin.set.{written}");
        let name: HeaderName = written
            .parse()
            .map_err(|_| source.wrong(&at, format!("\"{written}\" is not a field name")))?;
        if OURS.contains(&name.as_str()) {
            let what = format!("the field {name} is set by the proxy itself");
            return Err(source.wrong(&at, what));
        }
        let value = match value {
            toml::Value::String(text) => HeaderValue::from_str(text)
                .map_err(|_| source.wrong(&at, format!("the value of {name} cannot be sent")))?,
            toml::Value::Table(table) if table.contains_key("secret") => {
                let what = format!("{name}: `{{ secret = … }}` is not supported yet");
                return Err(source.wrong(&at, what).hint("write the value as a string"));
            }
            _ => return Err(source.wrong(&at, format!("the value of {name} must be a string"))),
        };
        Ok((name, value))
    });
    fields.collect()
}

/// Fields towards origins that only the proxy can fill in rightly.
const OURS: [&str; 13] = [
    "host",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "via",
    "cdn-loop",
    "forwarded",
    "x-forwarded-for",
    "proxy-connection",
];
