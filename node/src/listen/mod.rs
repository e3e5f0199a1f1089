//! Client sockets: from a TCP connection to `http` requests and back.
//!
//! One current-thread runtime per core, each with its own `SO_REUSEPORT` sockets, so that a connection lives and dies
//! on one core and no lock is shared on the way of a request. What a [`Handle`](crate::exchange::Handle) sees is
//! always the same shape, whichever protocol it came by:
//!
//! - the URI is in origin-form (or `*`), bytes as the client sent them;
//! - `Host` is there once (an HTTP/1.0 request may lack it). For HTTP/2 it is `:authority`; an absolute-form target
//!   replaces it (RFC 9112 §3.2.2);
//! - the framing is settled: a message that could be read in two ways never gets here;
//! - the body is cut at `limits.body_bytes` and when the client stops sending for `limits.progress_timeout`.
//!
//! A client is cut by progress, never by total time: see `pulse`. What leaves HTTP (WebSocket) goes on in `tunnel`.

mod address;
mod antechamber;
mod body;
mod census;
mod certificates;
mod connection;
mod express;
mod guard;
mod head;
mod interim;
mod introduction;
mod metrics;
mod pulse;
mod scan;
mod serve;
mod service;
mod sockets;
mod streams;
mod tunnel;
mod watch;

pub use antechamber::Antechamber;
pub use certificates::{CertificateError, Certificates};
pub use metrics::ListenMetrics;
pub use serve::{ServeError, Serving, Setup, serve};
pub use sockets::{BindError, Sockets};

#[cfg(test)]
mod tests;
