//! Fields that pass for others at an origin that reads them by CGI's names.

use http::header::{CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, Method};

use super::headers::{METHOD_OVERRIDES, Written, written};
use super::query::is_query;

/// Takes out fields that are another one's name with `_` for `-`: an origin that reads fields by CGI's names
/// (RFC 3875 §4.1.18) cannot tell the two apart, so a client could write what we write. Called when all is in place.
pub(super) fn remove(headers: &mut HeaderMap, method: &Method) {
    if !headers.keys().any(|name| name.as_str().contains('_')) {
        return;
    }
    let safe = method == Method::GET || method == Method::HEAD || is_query(method);
    let lookalikes: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().contains('_'))
        .filter(|name| {
            let meant = name.as_str().replace('_', "-");
            let ours = HeaderName::from_bytes(meant.as_bytes())
                .is_ok_and(|meant| meant == CONTENT_LENGTH || written(&meant) != Written::ByClient);
            let overrides = METHOD_OVERRIDES.contains(&meant.as_str());
            headers.contains_key(&meant) || (ours && (safe || !overrides))
        })
        .cloned()
        .collect();
    for name in lookalikes {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields.iter();
        let fields = fields.map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        fields.collect()
    }

    #[test]
    fn no_field_passes_for_another_by_its_underscores() {
        let all = [
            ("accept", "*/*"),
            ("x-edge", "ours"),
            ("x_edge", "forged"),
            ("x_forwarded-for", "1"),
            ("content_length", "3"),
            ("transfer_encoding", "chunked"),
            ("x_real_ip", "1"),
            ("x_http_method_override", "DELETE"),
            ("api_key", "1"),
        ];
        let mut fields = headers(&all);
        remove(&mut fields, &Method::GET);
        let kept = [("accept", "*/*"), ("x-edge", "ours"), ("api_key", "1")];
        assert_eq!(fields, headers(&kept));
        let mut fields = headers(&all);
        remove(&mut fields, &Method::POST);
        assert!(fields.contains_key("x_http_method_override"));
    }
}
