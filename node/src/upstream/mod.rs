//! Where a miss is answered: the origins of a site.
//!
//! [`Origins::fetch`] picks the nearest healthy origin, takes a kept-alive connection or makes one, sends the request
//! and gives back the response's head with its body to come. A safe request goes on to the next origin when one fails;
//! any request does when nothing of it was sent. What the origin sees of fields is the caller's business; here only
//! the target's form and the framing are set.
//!
//! Everything learnt on the way (health, routes, TLS) is shared by all runtimes; connections are not, see `pool`.

mod affinity;
mod attempt;
mod authority;
mod checks;
mod dial;
mod error;
mod fetch;
mod health;
mod incoming;
mod load;
mod metrics;
mod names;
mod outgoing;
mod outlook;
mod pool;
mod progress;
mod select;
mod shared;
mod steering;
mod table;
mod trailers;

pub use checks::HealthChecker;
pub use error::{Side, UpstreamError, UpstreamErrorKind};
pub use fetch::{Answer, OriginStatus, Origins, Replay, Setup, SetupError};
pub use metrics::UpstreamMetrics;

#[cfg(test)]
mod tests;
