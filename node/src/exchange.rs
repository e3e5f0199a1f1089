//! What crosses the borders between rooms: a request and its client coming in, a response going out, a body
//! flowing either way. `listen` turns sockets into these, `proxy` decides, `upstream` answers misses; none of the
//! three names the others' libraries.

mod interim;
mod plain;
mod switch;

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

pub use interim::{HearInterim, Interim, InterimLine, InterimTicket, OnInterim};
pub use plain::{PlainHead, RawField};
pub use switch::{MaySwitch, Switched, Tunnel, TwoWays};

/// Who sent a request, as far as the connection says it.
#[derive(Clone, Debug)]
pub struct Client {
    /// The client's address: the socket's, or what a trusted proxy said (`[listen] trusted_proxies`).
    pub address: IpAddr,
    /// The other end of the socket.
    pub socket: SocketAddr,
    /// Our end of the socket.
    pub local: SocketAddr,
    /// True when the client's request is secured: it came to us over TLS, or a trusted proxy says that it came so to it.
    pub tls: bool,
    /// The name the client asked for in TLS (SNI), lower case.
    pub server_name: Option<Arc<str>>,
    /// Takes interim responses; none where nobody would send them.
    pub interim: Option<Arc<InterimLine>>,
}

/// Why a body ended before its end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BodyError {
    /// The client went away or sent something malformed.
    #[error("the client's body broke off: {0}")]
    Client(String),
    /// The client was slower than the deadlines allow.
    #[error("the client was too slow")]
    TooSlow,
    /// The body is larger than a limit of ours.
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The origin or peer broke off.
    #[error("the upstream's body broke off: {0}")]
    Upstream(String),
    /// The store could not deliver a chunk that it had promised.
    #[error("the store lost the body: {0}")]
    Store(String),
}

/// A body that comes in pieces.
pub type BodyStream = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>;

/// A message body: nothing, one piece that is already in memory, or a stream of pieces.
#[derive(Default)]
pub enum Body {
    /// No content.
    #[default]
    Empty,
    /// All of it, in memory; shared, never copied.
    Full(Bytes),
    /// Pieces in memory, in order; what is left to send.
    Pieces(std::vec::IntoIter<Bytes>, u64),
    /// A stream.
    Stream(BodyStream),
}

impl Body {
    /// Wraps any stream of pieces.
    pub fn stream(
        body: impl http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    ) -> Self {
        Self::Stream(Box::pin(body))
    }

    /// Pieces that are already in memory.
    pub fn pieces(pieces: Vec<Bytes>) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self::Pieces(pieces.into_iter(), left)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::Empty
        } else {
            Self::Full(bytes)
        }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Self::Pieces(_, left) => write!(f, "Pieces({left} bytes)"),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Pieces(pieces, left) => match pieces.next() {
                Some(piece) => {
                    *left -= piece.len() as u64;
                    Poll::Ready(Some(Ok(Frame::data(piece))))
                }
                None => Poll::Ready(None),
            },
            Self::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Pieces(_, left) => *left == 0,
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(_, left) => SizeHint::with_exact(*left),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}

/// In a response's extensions: a cookie for the client who asked, and for nobody else.
#[derive(Clone, Debug)]
pub struct ForThisClient(pub http::HeaderValue);

/// May this byte stand in a registered name? Letters, digits, `-`, `.` and `_` are all that DNS can hold and that can be
/// compared safely.
#[must_use]
pub fn in_host(byte: u8) -> bool {
    static YES: [bool; 256] = {
        let mut yes = [false; 256];
        let mut byte = 0_u8;
        while byte < 128 {
            yes[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            byte += 1;
        }
        yes
    };
    YES[usize::from(byte)]
}

/// What answers requests. One value serves every connection of a listener, on every core.
pub trait Handle: Send + Sync + 'static {
    /// Answers one request. Never fails: an error is a response too. Its shape is settled by the listener: a target in
    /// origin-form, one `Host` (an HTTP/1.0 request may lack it), framing that can be read in one way only.
    ///
    /// The future stays on the core that accepted the connection, so it need not be `Send`.
    fn handle(
        self: Arc<Self>,
        client: Arc<Client>,
        request: http::Request<Body>,
    ) -> impl Future<Output = http::Response<Body>> + 'static;

    /// Answers a plain request at once, where nothing has to be waited for and the answer is what [`Handle::handle`]
    /// would say: writes the whole head of an HTTP/1.1 response, and returns its content, which is in memory. None, with
    /// nothing done and nothing counted, sends the request the usual way.
    fn at_once(&self, _: &Client, _: &PlainHead<'_>, _: &mut Vec<u8>) -> Option<Body> {
        None
    }
}
