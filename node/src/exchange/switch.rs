//! Connections that leave HTTP (101, RFC 9110 §7.8): after the answer only bytes go, both ways.
//!
//! `listen` marks a request whose connection could switch ([`MaySwitch`]), `upstream` asks the origin and, when that
//! answers 101, hands its connection back with the response ([`Switched`]); `listen` takes it out again and joins the
//! two. Whoever stands between passes the response on and may wrap the connection.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes both ways.
pub trait TwoWays: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> TwoWays for T {}

/// The origin's side of a connection that has left HTTP.
pub type Tunnel = Pin<Box<dyn TwoWays>>;

/// In a request's extensions: it asks for WebSocket, and its connection can be handed over.
#[derive(Clone, Copy, Debug)]
pub struct MaySwitch;

/// In the extensions of a response with status 101: the origin's side, for the first who takes it.
#[derive(Clone)]
pub struct Switched(Arc<Mutex<Option<Tunnel>>>);

impl Switched {
    /// Holds the origin's side.
    #[must_use]
    pub fn new(tunnel: Tunnel) -> Self {
        Self(Arc::new(Mutex::new(Some(tunnel))))
    }

    /// Takes it out; none when somebody has.
    #[must_use]
    pub fn take(&self) -> Option<Tunnel> {
        self.0.lock().take()
    }
}

impl fmt::Debug for Switched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Switched")
    }
}
