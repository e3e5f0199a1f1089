//! cache-store
