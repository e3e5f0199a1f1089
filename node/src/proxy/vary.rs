//! `Vary` (RFC 9111 §4.1): which request fields choose between the stored responses of one URL.
//!
//! A URL's first variant lives under the primary key itself, and says in its metadata which fields it was chosen by
//! and what they held. Further variants live under keys of their own, made of the primary key and the values that a
//! request has ([`super::variants`] says which live where). The *directory* under the primary key lists the sets of fields that were seen, newest first, and the
//! variants of each, so that a lookup computes at most a handful of keys and the number of variants stays bounded.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, HeaderName, VARY};
use serde::{Deserialize, Serialize};

use super::cache_control::{Quotes, element_end};
use super::parts::Held;

/// Sets of fields that one URL may have at a time.
const SETS_MAX: usize = 4;
/// Variants that one URL may have at a time, all sets together.
const VARIANTS_MAX: usize = 64;
/// Fields that one `Vary` may name; with more the response is not stored.
const FIELDS_MAX: usize = 16;

/// What the `Vary` field lines of a response say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Vary {
    /// Nothing.
    Nothing,
    /// These fields: lower case, sorted, each once.
    Fields(Vec<HeaderName>),
    /// `*`, or something that cannot be read: no later request can be known to match.
    Anything,
}

impl Vary {
    /// Reads all `Vary` lines.
    #[must_use]
    pub(super) fn of_response(headers: &HeaderMap) -> Self {
        let mut fields = Vec::new();
        for line in headers.get_all(VARY) {
            for name in line
                .as_bytes()
                .split(|byte| *byte == b',')
                .map(<[u8]>::trim_ascii)
            {
                if name.is_empty() {
                    continue;
                }
                match HeaderName::from_bytes(name) {
                    Ok(name) if name.as_str() != "*" => fields.push(name),
                    _ => return Self::Anything,
                }
            }
        }
        fields.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        fields.dedup();
        match fields.len() {
            0 => Self::Nothing,
            1..=FIELDS_MAX => Self::Fields(fields),
            _ => Self::Anything,
        }
    }
}

/// The value a request has for a field, in the form in which two values that mean the same are equal.
///
/// Lines are joined and white space around commas goes, for every field (§4.1), but inside quotes. For the `Accept`
/// family, whose members' names are case-insensitive and whose order carries no meaning (RFC 9110 §12.5), members are
/// also sorted, and lower-cased up to their parameters. A missing field is not an empty one.
#[must_use]
pub(super) fn selected(request: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = request.get_all(name).iter().peekable();
    lines.peek()?;
    let unordered = [ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name);
    let mut members: Vec<Vec<u8>> = Vec::new();
    for line in lines {
        let mut rest = Some(line.as_bytes());
        while let Some(list) = rest {
            let end = element_end(list);
            rest = list.get(end + 1..);
            let member = list[..end].trim_ascii();
            if unordered && member.is_empty() {
                continue;
            }
            let mut member = member.to_vec();
            if unordered {
                let name = member.iter().position(|byte| *byte == b';');
                let name = name.unwrap_or(member.len());
                member[..name].make_ascii_lowercase();
                let mut quotes = Quotes::default();
                member.retain(|byte| quotes.hold(*byte) || !matches!(byte, b' ' | b'\t'));
            }
            members.push(member);
        }
    }
    if unordered {
        members.sort_unstable();
        members.dedup();
    }
    Some(members.join(&b","[..]))
}

/// The values a request has for several fields, as an entry keeps them.
#[must_use]
pub(super) fn selection(
    request: &HeaderMap,
    fields: &[HeaderName],
) -> Vec<(HeaderName, Option<Vec<u8>>)> {
    fields
        .iter()
        .map(|name| (name.clone(), selected(request, name)))
        .collect()
}

/// Was an entry chosen by the values that this request has? Holds for every request when nothing was chosen by.
#[must_use]
pub(super) fn matches(stored: &[(HeaderName, Option<Vec<u8>>)], request: &HeaderMap) -> bool {
    stored
        .iter()
        .all(|(name, value)| selected(request, name) == *value)
}

/// The whole key of a variant: the primary key, then fields and values, each with its length in front so that no two
/// selections read the same.
#[must_use]
pub(super) fn variant_key(primary: &[u8], fields: &[HeaderName], request: &HeaderMap) -> Vec<u8> {
    key_of(primary, &selection(request, fields))
}

/// The same from a selection.
#[must_use]
pub(super) fn key_of(primary: &[u8], selection: &[(HeaderName, Option<Vec<u8>>)]) -> Vec<u8> {
    let mut key = Vec::with_capacity(primary.len() + 64);
    key.extend_from_slice(primary);
    key.extend_from_slice(b"\0vary");
    for (name, value) in selection {
        part(&mut key, name.as_str().as_bytes());
        match value {
            Some(value) => part(&mut key, value),
            None => key.push(0xff),
        }
    }
    key
}

fn part(key: &mut Vec<u8>, bytes: &[u8]) {
    key.push(0);
    key.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    key.extend_from_slice(bytes);
}

/// The directory under a primary key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Directory {
    /// Newest first.
    sets: Vec<Set>,
    /// Parts of the URL's objects, oldest first. Records of old lack the list.
    #[serde(default)]
    pub(super) parts: Vec<Held>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Set {
    /// Lower case, sorted.
    fields: Vec<String>,
    /// Whole keys of the variants, oldest first.
    variants: Vec<bytes::Bytes>,
}

/// First byte of an encoded directory.
const VERSION: u8 = 1;

impl Directory {
    /// Reads what [`Directory::encode`] wrote; what cannot be read is an empty directory, whose only cost is misses.
    #[must_use]
    pub(super) fn decode(bytes: &[u8]) -> Self {
        match bytes.split_first() {
            Some((&VERSION, rest)) => rmp_serde::from_slice(rest).unwrap_or_default(),
            _ => Self::default(),
        }
    }

    /// A version byte, then MessagePack.
    #[must_use]
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        if let Ok(body) = rmp_serde::to_vec(self) {
            bytes.extend_from_slice(&body);
        }
        bytes
    }

    /// True when no variant is known.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Forgets all variants, and gives their keys.
    pub(super) fn take_variants(&mut self) -> Vec<bytes::Bytes> {
        let sets = std::mem::take(&mut self.sets);
        sets.into_iter().flat_map(|set| set.variants).collect()
    }

    /// The keys under which a request's variant may be, newest set of fields first.
    pub(super) fn keys<'a>(
        &'a self,
        primary: &'a [u8],
        request: &'a HeaderMap,
    ) -> impl Iterator<Item = Vec<u8>> + 'a {
        self.sets.iter().map(move |set| {
            let names: Vec<HeaderName> = set
                .fields
                .iter()
                .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
                .collect();
            variant_key(primary, &names, request)
        })
    }

    /// Is all that is chosen by anything chosen by these fields?
    #[must_use]
    pub(super) fn is_chosen_by(&self, fields: &[HeaderName]) -> bool {
        let names = || fields.iter().map(HeaderName::as_str);
        self.sets
            .iter()
            .filter(|set| !set.fields.is_empty() && !set.variants.is_empty())
            .all(|set| set.fields.iter().map(String::as_str).eq(names()))
    }

    /// A variant has another key now.
    pub(super) fn rename(&mut self, old: &[u8], new: &[u8]) {
        for variant in self.sets.iter_mut().flat_map(|set| &mut set.variants) {
            if variant == old {
                *variant = bytes::Bytes::copy_from_slice(new);
            }
        }
    }

    /// Every variant's key: what goes when the resource is invalidated.
    pub(super) fn variants(&self) -> impl Iterator<Item = &bytes::Bytes> {
        self.sets.iter().flat_map(|set| &set.variants)
    }

    /// Notes a variant chosen by `fields`, as the newest of the newest set, and returns the keys of those that had to
    /// go for it.
    pub(super) fn add(&mut self, fields: &[HeaderName], key: &[u8]) -> Vec<bytes::Bytes> {
        let names: Vec<String> = fields.iter().map(|name| name.as_str().to_owned()).collect();
        let mut set = match self.sets.iter().position(|set| set.fields == names) {
            Some(at) => self.sets.remove(at),
            None => Set {
                fields: names,
                variants: Vec::new(),
            },
        };
        set.variants.retain(|known| known != key);
        set.variants.push(bytes::Bytes::copy_from_slice(key));
        self.sets.insert(0, set);
        let mut gone = Vec::new();
        while self.sets.len() > SETS_MAX {
            gone.extend(self.sets.pop().into_iter().flat_map(|set| set.variants));
        }
        while self.variants().count() > VARIANTS_MAX {
            let Some(oldest) = self
                .sets
                .iter_mut()
                .rev()
                .find(|set| !set.variants.is_empty())
            else {
                break;
            };
            gone.push(oldest.variants.remove(0));
        }
        gone
    }

    /// True when [`Directory::add`] with the same arguments would change nothing but an order.
    #[must_use]
    pub(super) fn holds(&self, fields: &[HeaderName], key: &[u8]) -> bool {
        self.sets.first().is_some_and(|set| {
            set.fields
                .iter()
                .map(String::as_str)
                .eq(fields.iter().map(HeaderName::as_str))
                && set.variants.iter().any(|known| known == key)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn vary_lines_are_one_sorted_list() {
        let vary = |lines: &[(&'static str, &'static str)]| Vary::of_response(&headers(lines));
        let both = Vary::Fields(vec![ACCEPT_ENCODING, HeaderName::from_static("x-b")]);
        assert_eq!(vary(&[]), Vary::Nothing);
        assert_eq!(vary(&[("vary", " , ")]), Vary::Nothing);
        assert_eq!(vary(&[("vary", "X-B, accept-encoding,X-b")]), both);
        assert_eq!(vary(&[("vary", "X-B"), ("vary", "Accept-Encoding")]), both);
        assert_eq!(vary(&[("vary", "X-B, *")]), Vary::Anything);
        assert_eq!(vary(&[("vary", "not a name")]), Vary::Anything);
    }

    #[test]
    fn values_that_mean_the_same_are_equal() {
        let value = |name: &'static str, lines: &[&'static str]| {
            let fields: Vec<_> = lines.iter().map(|line| (name, *line)).collect();
            selected(&headers(&fields), &HeaderName::from_static(name))
        };
        assert_eq!(
            value("accept-encoding", &["gzip,  BR"]),
            value("accept-encoding", &["br", "gzip"])
        );
        assert_eq!(
            value("accept-language", &["de ; q=0.5, en"]),
            value("accept-language", &["en,de;q=0.5"])
        );
        assert_eq!(
            value("accept", &["Text/HTML ;Q=\"a ,b\""]),
            value("accept", &["text/html;Q=\"a ,b\""])
        );
        assert_ne!(value("accept", &["a/b;c=D"]), value("accept", &["a/b;c=d"]));
        assert_ne!(value("x-a", &["\"1,2\""]), value("x-a", &["\"1, 2\""]));
        assert_eq!(value("x-a", &["1 ,2"]), value("x-a", &["1", "2"]));
        assert_ne!(value("x-a", &["a"]), value("x-a", &["A"]));
        assert_ne!(value("x-a", &["1,2"]), value("x-a", &["2,1"]));
        assert_ne!(value("x-a", &[""]), value("x-a", &[]));
    }

    #[test]
    fn an_entry_matches_requests_with_its_values() {
        let fields = [ACCEPT_ENCODING];
        let gzip = headers(&[("accept-encoding", "gzip")]);
        let stored = selection(&gzip, &fields);
        assert!(matches(&stored, &gzip));
        assert!(!matches(&stored, &headers(&[])));
        assert!(matches(&[], &headers(&[])));
        assert_ne!(
            variant_key(b"k", &fields, &gzip),
            variant_key(b"k", &fields, &headers(&[]))
        );
    }

    #[test]
    fn a_directory_is_bounded_and_survives_encoding() {
        let mut directory = Directory::default();
        let name = HeaderName::from_static("x-a");
        let mut gone = 0;
        for number in 0..100_u32 {
            gone += directory
                .add(std::slice::from_ref(&name), &number.to_be_bytes())
                .len();
        }
        assert_eq!(gone, 100 - VARIANTS_MAX);
        assert_eq!(directory.variants().count(), VARIANTS_MAX);
        assert!(directory.holds(&[name], &99_u32.to_be_bytes()));
        directory.rename(&99_u32.to_be_bytes(), b"moved");
        assert!(directory.holds(&[HeaderName::from_static("x-a")], b"moved"));
        assert!(directory.is_chosen_by(&[HeaderName::from_static("x-a")]));
        directory.add(&[], b"for all");
        assert!(directory.is_chosen_by(&[HeaderName::from_static("x-a")]));
        assert!(!directory.is_chosen_by(&[HeaderName::from_static("x-b")]));
        for other in ["x-b", "x-c", "x-d", "x-e"] {
            directory.add(&[HeaderName::from_static(other)], other.as_bytes());
        }
        assert_eq!(directory.sets.len(), SETS_MAX);
        assert_eq!(Directory::decode(&directory.encode()), directory);
        assert!(Directory::decode(b"\x07nonsense").is_empty());
    }
}
