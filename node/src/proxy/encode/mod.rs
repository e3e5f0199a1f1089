//! Content codings (RFC 9110 §8.4): made here, once for each stored body, and on the way for what is not stored.
//!
//! What the origin gave unencoded is stored as it came. The first client that takes a coding has it made, while it
//! reads: the encoded bytes are an entry of their own beside the stored one, under its key and the coding's name
//! ([`stored`]). That entry holds no more than bytes and a head kept ready: whether they may be used is asked of the
//! stored response alone, whose body they name. So a purge, a validation or a newer body reaches every encoding by
//! reaching the one response, and a lookup that finds an encoding of another body has found nothing.
//!
//! * [`accepts`]: what a client takes. [`form`]: what may be encoded, and what that does to its fields.
//! * [`encoder`]: the libraries. [`run`]: bytes through them, on the fills' runtime, a bounded number at a time.
//! * [`stored`]: encodings of what is stored or being filled. [`pass`]: of what is passed on.

mod accepts;
mod encoder;
mod form;
mod pass;
mod run;
mod stored;

pub(super) use accepts::Accepts;
#[cfg(test)]
pub(super) use encoder::tests::decoded;
pub use form::Form;
pub(super) use form::{encodable, mark, unmark};
pub(super) use run::Encoders;
