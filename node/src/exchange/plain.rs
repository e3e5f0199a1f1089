//! Requests so plain that they can be answered as they lie in their connection's buffer.

/// A field of a request as it came: the name in the client's letters.
pub use httparse::Header as RawField;

/// A head of the plainest kind: `GET`, HTTP/1.1, a target in origin-form, one valid Host, no content, and no field that
/// speaks of the connection or of how the message is framed (`Connection: keep-alive` says nothing, and is left out).
#[derive(Clone, Copy, Debug)]
pub struct PlainHead<'a> {
    /// The target, which begins with `/`; not normalised.
    pub target: &'a str,
    /// What the Host field says.
    pub host: &'a str,
    /// All other fields.
    pub fields: &'a [RawField<'a>],
}
