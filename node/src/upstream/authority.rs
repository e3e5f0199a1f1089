//! By which name an origin is asked: in `Host`, and in its certificate.

use http::header::HOST;
use http::{HeaderValue, Request};
use rustls_pki_types::ServerName;

use super::error::UpstreamErrorKind;
use crate::config::site::{HostHeader, Origin};
use crate::exchange::Body;

/// The name in the request's Host, without port: what TLS asks for where the site says `host = "client"`.
pub(super) fn host_name(request: &Request<Body>) -> String {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.unwrap_or_default();
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name.to_owned(),
        _ => host.to_owned(),
    }
}

/// What Host says towards an origin. `client` is the field as the client sent it.
pub(super) fn host_field(origin: &Origin, client: Option<&HeaderValue>) -> Option<HeaderValue> {
    let name = match &origin.host_header {
        HostHeader::Client => return client.cloned(),
        HostHeader::Origin => own_host(origin),
        HostHeader::Name(name) => name.to_string(),
    };
    HeaderValue::try_from(name).ok()
}

/// An origin's own name, with the port where it is not the usual one.
pub(super) fn own_host(origin: &Origin) -> String {
    let usual = if origin.tls { 443 } else { 80 };
    if origin.port == usual {
        origin.host.to_string()
    } else {
        format!("{}:{}", origin.host, origin.port)
    }
}

/// The name an origin's certificate must be for.
pub(super) fn server_name(
    origin: &Origin,
    client_host: &str,
) -> Result<ServerName<'static>, UpstreamErrorKind> {
    let name = match &origin.host_header {
        HostHeader::Client => client_host,
        HostHeader::Origin => &origin.host,
        HostHeader::Name(name) => name,
    };
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    ServerName::try_from(name.to_owned())
        .map_err(|_| UpstreamErrorKind::Tls("the host is no name for a certificate".to_owned()))
}
