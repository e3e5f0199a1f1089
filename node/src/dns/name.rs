//! Names as they are compared: on the wire's form, lower case.
//!
//! A name is the sequence of its labels, each with its length in front, and a zero at the end. Its parent is then a
//! suffix of the same bytes, so that walking up a name allocates nothing, and a dot inside a label confuses nobody.

/// Longest name, bytes on the wire (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 255;

/// Longest label, bytes.
const LABEL_BYTES_MAX: usize = 63;

/// A lower-case name in the wire's form, uncompressed.
#[derive(Clone, Copy)]
pub(super) struct WireName {
    bytes: [u8; NAME_BYTES_MAX],
    length: usize,
}

impl WireName {
    /// Reads the name that starts at `at`, and says where it ends. A compression pointer is refused: nothing stands
    /// before a question that it could point to.
    pub(super) fn read(packet: &[u8], at: usize) -> Option<(Self, usize)> {
        let mut name = Self::empty();
        let mut at = at;
        loop {
            let length = usize::from(*packet.get(at)?);
            let label = packet.get(at + 1..at + 1 + length)?;
            if length == 0 {
                name.finish()?;
                return Some((name, at + 1));
            }
            name.push(label)?;
            at += 1 + length;
        }
    }

    /// A name as people write it, dots between the labels; the final one may be left out. `""` is the root.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut name = Self::empty();
        let text = text.strip_suffix('.').unwrap_or(text);
        if !text.is_empty() {
            for label in text.split('.') {
                name.push(label.as_bytes())?;
            }
        }
        name.finish()?;
        Some(name)
    }

    /// `text` under `apex`; `@` is the apex itself.
    pub(super) fn under(text: &str, apex: &str) -> Option<Self> {
        match text {
            "@" | "" => Self::parse(apex),
            text => Self::parse(&format!("{text}.{apex}")),
        }
    }

    /// The star under `parent` (RFC 4592), if it fits.
    pub(super) fn star(parent: &[u8]) -> Option<Self> {
        let mut name = Self::empty();
        name.push(b"*")?;
        let end = name.length + parent.len();
        name.bytes
            .get_mut(name.length..end)?
            .copy_from_slice(parent);
        name.length = end;
        Some(name)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn empty() -> Self {
        Self {
            bytes: [0; NAME_BYTES_MAX],
            length: 0,
        }
    }

    fn push(&mut self, label: &[u8]) -> Option<()> {
        let length = u8::try_from(label.len()).ok()?;
        if label.is_empty() || label.len() > LABEL_BYTES_MAX {
            return None;
        }
        let end = self.length + 1 + label.len();
        let room = self.bytes.get_mut(self.length..end)?;
        room[0] = length;
        room[1..].copy_from_slice(label);
        room[1..].make_ascii_lowercase();
        self.length = end;
        Some(())
    }

    fn finish(&mut self) -> Option<()> {
        // The array is zero already; what counts is that the final zero has room.
        self.length += 1;
        (self.length <= NAME_BYTES_MAX).then_some(())
    }
}

/// The name without its first label; the root has no parent.
pub(super) fn parent(name: &[u8]) -> Option<&[u8]> {
    match name.first() {
        None | Some(0) => None,
        Some(&length) => name.get(1 + usize::from(length)..),
    }
}

/// The name itself, its parent, and so on up to the root.
pub(super) fn ancestors(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name), |name| parent(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_compared_in_lower() {
        let (name, end) = WireName::read(b"\x03WwW\x02eX\0rest", 0).expect("a name");
        assert_eq!(name.as_bytes(), b"\x03www\x02ex\0");
        assert_eq!(end, 8);
        assert_eq!(
            WireName::parse("www.ex.").expect("a name").as_bytes(),
            name.as_bytes()
        );
        let up: Vec<_> = ancestors(name.as_bytes()).collect();
        assert_eq!(up, [&b"\x03www\x02ex\0"[..], b"\x02ex\0", b"\0"]);
    }

    #[test]
    fn limits_hold() {
        assert!(WireName::read(b"\xc0\x0c", 0).is_none(), "a pointer");
        assert!(WireName::read(b"\x03ab", 0).is_none(), "cut short");
        assert!(WireName::read(b"\x03abc", 0).is_none(), "no end");
        assert!(WireName::parse("a..b").is_none());
        assert!(WireName::parse(&"x".repeat(64)).is_none());
        let longest = [
            "x".repeat(63),
            "x".repeat(63),
            "x".repeat(63),
            "x".repeat(61),
        ]
        .join(".");
        let name = WireName::parse(&longest).expect("255 bytes");
        assert_eq!(name.as_bytes().len(), 255);
        assert!(WireName::star(name.as_bytes()).is_none());
        assert!(WireName::parse(&format!("{longest}x")).is_none());
    }
}
