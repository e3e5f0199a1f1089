//! What an operator sees of a running node: metrics, the system log, and (owned by the proxy) the access log.

pub mod access;
mod metrics;
pub mod system_log;

pub use metrics::{EXPOSITION, Metrics, Sample, Value};
