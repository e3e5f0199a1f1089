//! The tags of a stored response: names under which its origin wants it purged together with others.

use http::HeaderName;

/// A field and the tags that it said.
pub(crate) type SaidTags = (HeaderName, Box<[Box<str>]>);

/// The tags of one response, by the field that said them.
///
/// They are kept by field as a 304 updates fields, not lists of tags (RFC 9111 §3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagSet {
    /// Fields of the site's list that the response had, with their tags; no field twice.
    pub fields: Box<[SaidTags]>,
    /// It had more than is kept, or some that cannot be read: then a purge of any tag is one of it, as no purge may
    /// miss what it was made for.
    pub every: bool,
}

impl TagSet {
    /// Each tag.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let tags = self.fields.iter().flat_map(|(_, tags)| tags);
        tags.map(|tag| &**tag)
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn weigh(&self) -> usize {
        /// A pointer and a length, and what the allocator adds.
        const TAG_BYTES: usize = 32;
        let of_tags =
            |tags: &[Box<str>]| -> usize { tags.iter().map(|tag| tag.len() + TAG_BYTES).sum() };
        self.fields
            .iter()
            .map(|(name, tags)| name.as_str().len() + 2 * TAG_BYTES + of_tags(tags))
            .sum()
    }
}
