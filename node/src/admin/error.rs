//! What can go wrong with a request, and the status that says so. The one file of this room that knows statuses.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use nearside_cluster::{InitError, ProposeError, Refusal};

use super::api::{PROBLEM_JSON, Problem};
use crate::config::ConfigError;

/// Why a request was not done. The text says what is wrong, where, and what to do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AdminError {
    /// The request makes no sense.
    #[error("{0}")]
    Malformed(String),
    /// No token.
    #[error(
        "a request over TCP carries the token of [admin] token_file: `Authorization: Bearer …`; see --token-file"
    )]
    Unauthorized,
    /// A token, and not ours.
    #[error("the token is not the one in this node's [admin] token_file")]
    WrongToken,
    /// It comes from where it may not.
    #[error("{0}")]
    Forbidden(String),
    /// There is nothing of that name.
    #[error("{0}")]
    Unknown(String),
    /// It does not fit what is.
    #[error("{0}")]
    Conflict(String),
    /// Somebody changed the document in between.
    #[error("{0}; read it again, and apply your change to that")]
    Changed(String),
    /// The body is not JSON.
    #[error("bodies are JSON: send `Content-Type: application/json`")]
    NotJson,
    /// A document is wrong.
    #[error("{0}")]
    Document(String),
    /// This node went wrong.
    #[error("{0}")]
    Broken(String),
    /// It cannot be done now.
    #[error("{0}")]
    Unavailable(String),
    /// It may or may not have been done.
    #[error("{0}")]
    Undecided(String),
}

impl ResponseError for AdminError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Changed(_) => StatusCode::PRECONDITION_FAILED,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Document(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Undecided(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        if status == StatusCode::UNAUTHORIZED {
            response.insert_header(("WWW-Authenticate", "Bearer"));
        }
        response.content_type(PROBLEM_JSON).json(Problem {
            r#type: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: self.to_string(),
        })
    }
}

impl From<ConfigError> for AdminError {
    fn from(error: ConfigError) -> Self {
        Self::Document(error.to_string())
    }
}

impl From<ProposeError> for AdminError {
    fn from(error: ProposeError) -> Self {
        let text = error.to_string();
        match error {
            ProposeError::Refused(refusal) => match refusal {
                Refusal::Unknown { .. } => Self::Unknown(text),
                Refusal::RevisionMismatch { .. } => Self::Changed(text),
                Refusal::Invalid(_) => Self::Document(text),
                Refusal::HostTaken { .. }
                | Refusal::NameTaken { .. }
                | Refusal::TokenRefused { .. }
                | Refusal::TooMany { .. } => Self::Conflict(text),
            },
            ProposeError::Outside => Self::Conflict(format!(
                "{text}; make one with `nearside cluster init`, or start this node with a join token"
            )),
            ProposeError::NoLeader { .. } => Self::Unavailable(format!(
                "{text}; see `nearside status` on each node, and try again"
            )),
            ProposeError::Unknown { .. } => Self::Undecided(text),
        }
    }
}

impl From<InitError> for AdminError {
    fn from(error: InitError) -> Self {
        let text = error.to_string();
        match error {
            InitError::AlreadyMember { .. } | InitError::JoinAddressAnswers { .. } => {
                Self::Conflict(text)
            }
            InitError::Failed(_) | InitError::Start(_) => Self::Broken(text),
        }
    }
}
