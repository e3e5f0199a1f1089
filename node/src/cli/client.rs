//! The admin API from its user's side.

use std::time::Duration;

use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::arguments::Global;
use super::failure::Failure;
use crate::admin::api::Problem;

/// How long a node may take for an answer that waits for nobody.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Tokens are short; whatever is longer is no token file.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

/// A connection to one node's admin API.
pub(super) struct Client {
    http: reqwest::Client,
    /// What a path is appended to.
    base: String,
    /// How the operator calls it.
    address: String,
    token: Option<String>,
}

impl Client {
    pub(super) fn new(global: &Global) -> anyhow::Result<Self> {
        let address = global.admin.clone();
        let builder = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        let (builder, base) = match address.strip_prefix("unix:") {
            Some(path) => (
                builder.unix_socket(std::path::PathBuf::from(path)),
                "http://localhost".to_owned(),
            ),
            None => {
                let host = address.strip_prefix("http://").unwrap_or(&address);
                let host = host.trim_end_matches('/');
                if host.contains("://") || host.contains('/') || !host.contains(':') {
                    return Err(Failure::usage(format!(
                        "--admin {address}: write unix:PATH or ADDRESS:PORT"
                    )));
                }
                (builder, format!("http://{host}"))
            }
        };
        let token = match &global.token_file {
            Some(file) => Some(token(file)?),
            None => None,
        };
        let http = builder
            .build()
            .map_err(|error| Failure::failed(format!("cannot start an HTTP client: {error}")))?;
        Ok(Self {
            http,
            base,
            address,
            token,
        })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.call(Method::GET, path, None::<&Value>, ANSWER_TIMEOUT)
            .await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        waits: Duration,
    ) -> anyhow::Result<T> {
        self.call(Method::POST, path, Some(body), ANSWER_TIMEOUT + waits)
            .await
    }

    pub(super) async fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        waits: Duration,
    ) -> anyhow::Result<T> {
        self.call(Method::DELETE, path, None::<&Value>, ANSWER_TIMEOUT + waits)
            .await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        timeout: Duration,
    ) -> anyhow::Result<T> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .timeout(timeout);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let bytes = response
            .bytes()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| {
                Failure::failed(format!(
                    "the node at {} answers what this program does not understand ({error}); is it of another version?",
                    self.address
                ))
            });
        }
        Err(match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Failure::failed(problem.detail),
            Err(_) => Failure::failed(format!("{} answers {status}", self.address)),
        })
    }

    /// What the connection said, without the layers that libraries put around it.
    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let address = &self.address;
        if error.is_timeout() {
            return Failure::failed(format!("the node at {address} did not answer in time"));
        }
        let mut root: &dyn std::error::Error = error;
        while let Some(source) = root.source() {
            root = source;
        }
        let denied = root
            .downcast_ref::<std::io::Error>()
            .is_some_and(|root| root.kind() == std::io::ErrorKind::PermissionDenied);
        let advice = if denied {
            "ask as the user that the node runs as, or as root"
        } else {
            "is the node running? --admin or NEARSIDE_ADMIN names another address"
        };
        let text = format!("cannot reach the admin API at {address}: {root}; {advice}");
        if error.is_connect() {
            Failure::Unreachable(text).into()
        } else {
            Failure::failed(text)
        }
    }
}

/// A path segment, whatever the name holds.
pub(super) fn segment(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Reads a token from a file; white space around it does not count.
pub(super) fn token(file: &std::path::Path) -> anyhow::Result<String> {
    use std::io::Read as _;

    let shown = file.display();
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(TOKEN_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| {
            Failure::failed(format!("the token file {shown} cannot be read: {error}"))
        })?;
    let token = text.trim();
    if token.is_empty() {
        return Err(Failure::failed(format!("the token file {shown} is empty")));
    }
    Ok(token.to_owned())
}
