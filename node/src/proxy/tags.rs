//! Tags that an origin gives its answers, so that they can be purged together. Pure.
//!
//! By default the fields that carry them end here, as they are said to caches. What is more than is kept is not
//! forgotten: such an answer counts as carrying every tag.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::config::site::{TagField, TagSettings};
use crate::view::TagSet;

/// Tags of one answer at most, bytes of one, and of all.
const TAGS_MAX: usize = 1000;
const TAG_BYTES_MAX: usize = 1024;
const TAGS_BYTES_MAX: usize = 16 << 10;

/// Reads the tags of an answer, and takes their fields out of it unless they are sent on.
pub(super) fn take(answer: &mut HeaderMap, settings: &TagSettings) -> TagSet {
    let mut taken = Vec::new();
    let mut room = Room::default();
    for field in &settings.fields {
        if !answer.contains_key(&field.name) {
            continue;
        }
        let mut tags: Vec<Box<str>> = Vec::new();
        for line in answer.get_all(&field.name) {
            room.read(line, field, &mut tags);
        }
        if !settings.send {
            answer.remove(&field.name);
        }
        taken.push((field.name.clone(), tags.into()));
    }
    TagSet {
        fields: taken.into(),
        every: room.short,
    }
}

/// What is left to keep.
#[derive(Default)]
struct Room {
    tags: usize,
    bytes: usize,
    short: bool,
}

impl Room {
    fn read(&mut self, line: &HeaderValue, field: &TagField, tags: &mut Vec<Box<str>>) {
        let Ok(line) = std::str::from_utf8(line.as_bytes()) else {
            self.short = true;
            return;
        };
        for tag in split(line, field.by_commas) {
            if tags.iter().any(|known| **known == *tag) {
                continue;
            }
            let fits = tag.len() <= TAG_BYTES_MAX
                && self.tags < TAGS_MAX
                && self.bytes + tag.len() <= TAGS_BYTES_MAX;
            if !fits {
                self.short = true;
                return;
            }
            self.tags += 1;
            self.bytes += tag.len();
            tags.push(tag.into());
        }
    }
}

/// The tags of one field value, also of a purging request's.
pub(super) fn split(line: &str, by_commas: bool) -> impl Iterator<Item = &str> {
    line.split(move |c: char| {
        if by_commas {
            c == ','
        } else {
            c.is_ascii_whitespace()
        }
    })
    .map(str::trim)
    .filter(|tag| !tag.is_empty())
}

/// The tags of a stored response after a 304: of each field that it has, its own (RFC 9111 §3.2).
pub(super) fn updated(old: &TagSet, word: &TagSet) -> TagSet {
    if word.fields.is_empty() && !word.every {
        return old.clone();
    }
    let said = |name: &HeaderName| word.fields.iter().any(|(field, _)| field == name);
    let kept = old.fields.iter().filter(|(name, _)| !said(name));
    TagSet {
        fields: kept.chain(&*word.fields).cloned().collect(),
        every: old.every || word.every,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn read(fields: &[(&'static str, &str)]) -> (Vec<String>, bool) {
        let tags = take(&mut headers(fields), &TagSettings::default());
        (tags.iter().map(str::to_owned).collect(), tags.every)
    }

    #[test]
    fn each_field_has_its_separator() {
        for (fields, tags) in [
            (vec![], vec![]),
            (vec![("cache-tag", "a, b c,,a")], vec!["a", "b c"]),
            (
                vec![("surrogate-key", " a  b,c\td ")],
                vec!["a", "b,c", "d"],
            ),
            (vec![("xkey", "a"), ("xkey", "b a")], vec!["a", "b"]),
            (
                vec![("xkey", "a"), ("cache-tag", "A"), ("cache-tag", "é")],
                vec!["A", "é", "a"],
            ),
            (vec![("cache-tag", "")], vec![]),
        ] {
            let tags: Vec<String> = tags.into_iter().map(str::to_owned).collect();
            assert_eq!(read(&fields), (tags, false), "{fields:?}");
        }
    }

    #[test]
    fn what_is_too_much_counts_as_every_tag() {
        let many: Vec<String> = (0..1001).map(|number| number.to_string()).collect();
        let (tags, every) = read(&[("cache-tag", &many.join(","))]);
        assert!(tags.len() == 1000 && every);
        let (tags, every) = read(&[("cache-tag", &"x".repeat(1025))]);
        assert!(tags.is_empty() && every);
        let long: Vec<String> = (0..20).map(|n| format!("{n:01000}")).collect();
        let (tags, every) = read(&[("xkey", &long.join(" "))]);
        assert!(tags.len() == 16 && every);
        let mut broken = headers(&[("cache-tag", "a")]);
        broken.append("cache-tag", HeaderValue::from_bytes(b"\xff").unwrap());
        let tags = take(&mut broken, &TagSettings::default());
        assert!(tags.every && tags.iter().eq(["a"]));
    }

    #[test]
    fn the_fields_end_here_unless_the_site_sends_them() {
        let fields = [("cache-tag", "a"), ("x-other", "b")];
        let mut answer = headers(&fields);
        take(&mut answer, &TagSettings::default());
        assert!(!answer.contains_key("cache-tag") && answer.contains_key("x-other"));
        let mut answer = headers(&fields);
        let send = TagSettings {
            send: true,
            ..TagSettings::default()
        };
        assert!(take(&mut answer, &send).iter().eq(["a"]));
        assert!(answer.contains_key("cache-tag"));
    }

    #[test]
    fn a_304_updates_the_fields_that_it_has() {
        let set =
            |fields: &[(&'static str, &str)]| take(&mut headers(fields), &TagSettings::default());
        let old = set(&[("cache-tag", "a, b"), ("xkey", "c")]);
        assert_eq!(updated(&old, &set(&[])), old);
        let now = updated(&old, &set(&[("cache-tag", "d")]));
        assert!(now.iter().eq(["c", "d"]));
        let now = updated(&old, &set(&[("cache-tag", ""), ("surrogate-key", "e")]));
        assert!(now.iter().eq(["c", "e"]));
    }
}
