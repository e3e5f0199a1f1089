//! The list of the parts that are held of one URL, and what of a range they make up. Pure.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Parts that one URL may have at a time, of all its variants together. The oldest goes.
pub(in crate::proxy) const PARTS_MAX: usize = 64;

/// Requests that an object is completed with, at most; with more pieces missing, some bytes are asked for again.
const HOLES_MAX: usize = 4;

/// Stands between the key of the object and the offset of the part's first byte in the key of a part.
const MARK: &[u8] = b"\0part";

/// A stored part, as the directory of its URL knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::proxy) struct Held {
    /// The whole key of the complete object.
    pub(in crate::proxy) object: Bytes,
    /// Offsets of the first byte, and behind the last.
    pub(in crate::proxy) first: u64,
    pub(in crate::proxy) end: u64,
    /// Length of the object.
    pub(in crate::proxy) total: u64,
    /// Its strong tag.
    pub(in crate::proxy) tag: Bytes,
}

impl Held {
    /// The whole key of the part.
    #[must_use]
    pub(in crate::proxy) fn key(&self) -> Vec<u8> {
        part_key(&self.object, self.first)
    }

    fn is_of(&self, other: &Self) -> bool {
        self.object == other.object && self.tag == other.tag && self.total == other.total
    }
}

/// The whole key of the part that begins at `first`.
#[must_use]
pub(in crate::proxy) fn part_key(object: &[u8], first: u64) -> Vec<u8> {
    [object, MARK, &first.to_be_bytes()].concat()
}

/// The key of the object that a part's key belongs to.
#[must_use]
pub(in crate::proxy) fn object_of(part_key: &Bytes) -> Bytes {
    let length = part_key.len().saturating_sub(MARK.len() + size_of::<u64>());
    part_key.slice(..length)
}

/// Puts a part on the list, as the newest, and gives back those that are off it now: of another version of the object,
/// held by the new one, or too many.
pub(in crate::proxy) fn add(list: &mut Vec<Held>, new: Held) -> Vec<Held> {
    let stays = |old: &Held| {
        old.object != new.object
            || old.is_of(&new) && !(new.first <= old.first && old.end <= new.end)
                // It would have the same key.
                && old.first != new.first
    };
    let mut gone: Vec<Held> = list.extract_if(.., |old| !stays(old)).collect();
    list.push(new);
    while list.len() > PARTS_MAX {
        gone.push(list.remove(0));
    }
    gone
}

/// A piece of a range, and which part holds it; none where it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Piece {
    pub(in crate::proxy) range: Range<u64>,
    pub(in crate::proxy) part: Option<usize>,
}

/// Divides a range into what parts hold and what is missing, in order.
#[must_use]
pub(in crate::proxy) fn divide(parts: &[Range<u64>], wanted: &Range<u64>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let (mut at, mut holes) = (wanted.start, 0);
    while at < wanted.end {
        let reaching = |part: &Range<u64>| part.start <= at && at < part.end;
        let longest = (0..parts.len())
            .filter(|part| reaching(&parts[*part]))
            .max_by_key(|part| parts[*part].end);
        let end = match longest {
            Some(part) => parts[part].end,
            None if holes + 1 == HOLES_MAX => wanted.end,
            None => {
                let behind = parts.iter().map(|part| part.start);
                behind.filter(|start| *start > at).min().unwrap_or(u64::MAX)
            }
        };
        holes += usize::from(longest.is_none());
        let range = at..end.min(wanted.end);
        at = range.end;
        pieces.push(Piece {
            range,
            part: longest,
        });
    }
    pieces
}

/// Do parts hold all of a range?
#[must_use]
pub(in crate::proxy) fn hold(parts: &[Range<u64>], wanted: &Range<u64>) -> bool {
    divide(parts, wanted)
        .iter()
        .all(|piece| piece.part.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(first: u64, end: u64, tag: &'static str) -> Held {
        Held {
            object: Bytes::from_static(b"k"),
            first,
            end,
            total: 100,
            tag: Bytes::from_static(tag.as_bytes()),
        }
    }

    #[test]
    fn a_new_part_takes_the_place_of_what_it_holds_and_of_other_versions() {
        let mut list = Vec::new();
        assert!(add(&mut list, held(0, 10, "a")).is_empty());
        assert!(add(&mut list, held(20, 30, "a")).is_empty());
        assert!(add(&mut list, held(5, 15, "a")).is_empty());
        assert_eq!(add(&mut list, held(0, 12, "a")), vec![held(0, 10, "a")]);
        assert_eq!(list.len(), 3);
        assert_eq!(add(&mut list, held(0, 4, "a")), vec![held(0, 12, "a")]);
        let other = Held {
            object: Bytes::from_static(b"other"),
            ..held(0, 9, "a")
        };
        assert!(add(&mut list, other.clone()).is_empty());
        assert_eq!(add(&mut list, held(50, 60, "b")).len(), 3);
        assert_eq!(list, vec![other, held(50, 60, "b")]);
        for first in 0..100 {
            add(
                &mut list,
                Held {
                    total: 1000,
                    ..held(first * 2, first * 2 + 1, "c")
                },
            );
        }
        assert_eq!(list.len(), PARTS_MAX);
        assert_eq!(list[PARTS_MAX - 1].first, 198);
    }

    #[test]
    fn a_range_is_divided_into_what_is_held_and_what_is_missing() {
        let piece = |range, part| Piece { range, part };
        assert_eq!(
            divide(&[4..6, 0..2, 5..9], &(1..12)),
            vec![
                piece(1..2, Some(1)),
                piece(2..4, None),
                piece(4..6, Some(0)),
                piece(6..9, Some(2)),
                piece(9..12, None)
            ]
        );
        assert!(hold(&[0..5, 5..9], &(2..9)));
        assert!(!hold(&[0..5, 6..9], &(2..9)));
        assert!(hold(&[], &(3..3)));
    }

    #[test]
    fn a_key_tells_its_object() {
        let key = Bytes::from(part_key(b"site\0http\0h\0/a", 7));
        assert_eq!(object_of(&key), Bytes::from_static(b"site\0http\0h\0/a"));
        assert!(object_of(&Bytes::from_static(b"x")).is_empty());
    }

    proptest! {
        #[test]
        fn pieces_are_the_range_without_gap_or_overlap(
            parts in proptest::collection::vec((0_u64..200, 1_u64..50), 0..20),
            wanted in (0_u64..200, 1_u64..100),
        ) {
            let parts: Vec<_> = parts.into_iter().map(|(at, length)| at..at + length).collect();
            let wanted = wanted.0..wanted.0 + wanted.1;
            let pieces = divide(&parts, &wanted);
            let mut at = wanted.start;
            for piece in &pieces {
                prop_assert_eq!(piece.range.start, at);
                prop_assert!(!piece.range.is_empty());
                at = piece.range.end;
                if let Some(part) = piece.part {
                    prop_assert!(parts[part].start <= piece.range.start);
                    prop_assert!(piece.range.end <= parts[part].end);
                }
            }
            prop_assert_eq!(at, wanted.end);
            prop_assert!(pieces.iter().filter(|piece| piece.part.is_none()).count() <= HOLES_MAX);
        }
    }
}
