//! Who may ask. The Unix socket is guarded by its mode; TCP by a token, and both against a web page that an
//! operator's browser has open: such a page can send simple requests to loopback, and can point a name of its own at
//! it, but cannot send JSON or our token, nor hide its Origin.

use std::net::IpAddr;
use std::path::Path;

use actix_web::HttpMessage as _;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::web;

use super::api::JSON;
use super::error::AdminError;

/// What a listener asks of a request.
#[derive(Clone, Debug)]
pub(super) enum Guard {
    /// A Unix socket: whoever may open it may ask.
    Socket,
    /// TCP: with this token.
    Token(Token),
}

/// A secret that is compared in constant time and never printed.
#[derive(Clone)]
pub(super) struct Token(Vec<u8>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// Shortest token that is taken for one: 128 bits in hexadecimal.
const TOKEN_MIN: usize = 32;

impl Token {
    /// Reads a token from its file; white space around it does not count.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let shown = file.display();
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("the admin token {shown} cannot be read: {error}"))?;
        let token = text.trim().as_bytes();
        if token.len() < TOKEN_MIN {
            return Err(format!(
                "the admin token in {shown} is shorter than {TOKEN_MIN} characters; make one with `openssl rand -hex 32`"
            ));
        }
        Ok(Self(token.to_vec()))
    }

    /// The time this takes tells the length of the token, and nothing of its content.
    fn is(&self, said: &[u8]) -> bool {
        let differs = self
            .0
            .iter()
            .zip(said)
            .fold(0_u8, |differs, (ours, theirs)| differs | (ours ^ theirs));
        self.0.len() == said.len() && differs == 0
    }
}

/// What is wrong with an admin token's file, if anything.
///
/// # Errors
/// One line: it cannot be read, or is no token to rely on.
pub(crate) fn check_token(file: &Path) -> Result<(), String> {
    Token::read(file).map(drop)
}

/// Asks the guard before anything else looks at the request.
pub(super) async fn check(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if !matches!(request.path(), "/healthz" | "/readyz") {
        let guard = request.app_data::<web::Data<Guard>>();
        let guard = guard.map_or(&Guard::Socket, |guard| guard.get_ref());
        verdict(guard, &request)?;
    }
    next.call(request).await
}

fn verdict(guard: &Guard, request: &ServiceRequest) -> Result<(), AdminError> {
    let field = |name: header::HeaderName| {
        let value = request.headers().get(name)?;
        value.to_str().ok()
    };
    let host = field(header::HOST).unwrap_or_default();
    if let Some(origin) = request.headers().get(header::ORIGIN) {
        let own = ["http://", "https://"].map(|scheme| format!("{scheme}{host}"));
        let same = origin
            .to_str()
            .is_ok_and(|origin| own.iter().any(|own| own == origin));
        if !same {
            return Err(AdminError::Forbidden(
                "this Origin may not use the admin API".to_owned(),
            ));
        }
    }
    if let Guard::Token(token) = guard {
        if !is_this_machine(host) {
            return Err(AdminError::Forbidden(
                "the Host of a request over TCP is an address or localhost".to_owned(),
            ));
        }
        let said = field(header::AUTHORIZATION).and_then(|said| said.strip_prefix("Bearer "));
        match said {
            None => return Err(AdminError::Unauthorized),
            Some(said) if !token.is(said.trim().as_bytes()) => return Err(AdminError::WrongToken),
            Some(_) => {}
        }
    }
    let writes = matches!(
        *request.method(),
        Method::POST | Method::PUT | Method::PATCH
    );
    if writes && !request.content_type().eq_ignore_ascii_case(JSON) {
        return Err(AdminError::NotJson);
    }
    Ok(())
}

/// A Host that no foreign name can be made to look like.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_this_machine() {
        for (host, ours) in [
            ("127.0.0.1:9000", true),
            ("[::1]:9000", true),
            ("localhost", true),
            ("LOCALHOST:1", true),
            ("127.0.0.1.evil.example", false),
            ("evil.example:9000", false),
            ("", false),
        ] {
            assert_eq!(is_this_machine(host), ours, "{host}");
        }
    }

    #[test]
    fn a_token_is_itself_and_nothing_else() {
        let token = Token(b"0123456789abcdef".to_vec());
        assert!(token.is(b"0123456789abcdef"));
        for said in [
            &b"0123456789abcdeF"[..],
            b"0123456789abcde",
            b"",
            b"0123456789abcdef0",
        ] {
            assert!(!token.is(said));
        }
    }
}
