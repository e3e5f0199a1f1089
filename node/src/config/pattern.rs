//! Patterns in which `*` stands for any run of characters, prepared once so that matching is next to nothing.

use std::fmt;

/// A pattern, prepared.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    shape: Shape,
}

/// Most patterns need no search.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `*`
    Any,
    /// No `*`.
    Exact,
    /// `*` at the end only.
    Prefix,
    /// `*` at the begin only.
    Suffix,
    /// `*` elsewhere, or several.
    Glob,
}

impl Pattern {
    /// Prepares a pattern.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let stars = text.bytes().filter(|byte| *byte == b'*').count();
        let shape = match stars {
            0 => Shape::Exact,
            1 if text == "*" => Shape::Any,
            1 if text.ends_with('*') => Shape::Prefix,
            1 if text.starts_with('*') => Shape::Suffix,
            _ => Shape::Glob,
        };
        Self {
            text: text.into(),
            shape,
        }
    }

    /// Does it cover all of `text`?
    #[must_use]
    pub fn covers(&self, text: &str) -> bool {
        self.covers_bytes(text.as_bytes())
    }

    /// The same for bytes.
    #[must_use]
    pub fn covers_bytes(&self, text: &[u8]) -> bool {
        let pattern = self.text.as_bytes();
        match self.shape {
            Shape::Any => true,
            Shape::Exact => text == pattern,
            Shape::Prefix => text.starts_with(&pattern[..pattern.len() - 1]),
            Shape::Suffix => text.ends_with(&pattern[1..]),
            Shape::Glob => glob(pattern, text),
        }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

/// Greedy with one step back: linear for the patterns people write, quadratic at worst.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star, mut retry) = (0, 0, None, 0);
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some(p);
            retry = t;
            p += 1;
        } else if p < pattern.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some(at) = star {
            p = at + 1;
            retry += 1;
            t = retry;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_any_run() {
        for (pattern, text, covers) in [
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/a/*", "/a/", true),
            ("/a/*", "/a", false),
            ("*.css", "/x/y.css", true),
            ("*.css", "/x/y.csst", false),
            ("*", "", true),
            ("/a/*/c", "/a/b/b/c", true),
            ("/a/*/c", "/a/c", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("**", "x", true),
        ] {
            assert_eq!(
                Pattern::new(pattern).covers(text),
                covers,
                "{pattern} {text}"
            );
        }
    }

    proptest! {
        /// What is prepared says what the search says.
        #[test]
        fn the_short_ways_agree_with_the_search(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            let searched = glob(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(Pattern::new(&pattern).covers(&text), searched);
        }
    }
}
