//! Values with units, as operators write them: sizes, lengths of time, rates, lists.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// Bytes: `"2 GiB"`, `"500 MB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// Units by their names in lower case. `k` alone is not among them: it means 1000 to some and 1024 to others.
const SIZES: [(&str, u64); 9] = [
    ("b", 1),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

impl Size {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("\"{text}\" is not a size; write it like \"512 MiB\", \"2 GiB\" or \"1 TB\"")
        };
        let text = text.trim();
        let split = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let (number, unit) = text.split_at(split);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let unit = unit.trim().to_lowercase();
        let (_, factor) = SIZES
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        let bytes = number * *factor as f64;
        if bytes > (1_u64 << 53) as f64 {
            return Err(wrong());
        }
        // In range by the line above, and never negative: a sign is no digit.
        Ok(Self(bytes as u64))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = Written("a size with its unit, such as \"2 GiB\"", Self::parse);
        deserializer.deserialize_str(visitor)
    }
}

/// A length of time: `"5s"`, `"250ms"`, `"1h 30m"`, `"30d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl Span {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text.trim()).map(Self).map_err(|_| {
            format!(
                "\"{text}\" is not a length of time; write it like \"250ms\", \"5s\", \"1h 30m\" or \"30d\""
            )
        })
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = Written(
            "a length of time with its unit, such as \"5s\"",
            Self::parse,
        );
        deserializer.deserialize_str(visitor)
    }
}

/// Requests per second: `"50/s"`, `"600/m"`, `"1000/h"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PerSecond(pub(super) f64);

impl PerSecond {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not a rate; write it like \"50/s\" or \"600/m\"");
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let count: f64 = count.trim().parse().map_err(|_| wrong())?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        if !count.is_finite() || count <= 0.0 {
            return Err(wrong());
        }
        Ok(Self(count / seconds))
    }
}

impl<'de> Deserialize<'de> for PerSecond {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = Written("a rate such as \"50/s\"", Self::parse);
        deserializer.deserialize_str(visitor)
    }
}

/// A list in the node file. One string stands for a list too, with commas between: that is how the environment
/// writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = deserializer.deserialize_any(Words { commas: true })?;
        Ok(Self(words))
    }
}

/// A list in a site's or zone's file. One string stands for a list of one; commas in it mean nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OneOrMore(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = deserializer.deserialize_any(Words { commas: false })?;
        Ok(Self(words))
    }
}

struct Words {
    commas: bool,
}

impl<'de> Visitor<'de> for Words {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
        if !self.commas {
            return Ok(vec![text.to_owned()]);
        }
        let words = text.split(',').map(str::trim);
        let words = words.filter(|word| !word.is_empty());
        Ok(words.map(str::to_owned).collect())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = list.next_element()? {
            words.push(word);
        }
        Ok(words)
    }
}

/// A string that has to be parsed: what is expected in words, and the parser.
struct Written<T>(&'static str, fn(&str) -> Result<T, String>);

impl<T> Visitor<'_> for Written<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{PerSecond, Size, Span};

    #[test]
    fn sizes_need_a_unit_that_means_one_thing() {
        for (text, bytes) in [
            ("2 GiB", 2 << 30),
            ("1.5KiB", 1536),
            ("500 MB", 500_000_000),
            (" 7 b ", 7),
        ] {
            assert_eq!(Size::parse(text), Ok(Size(bytes)), "{text}");
        }
        for text in ["2", "2 G", "-1 MB", "GiB", "1.2.3 KB", "9999999 TiB"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_and_rates_need_a_unit() {
        assert_eq!(Span::parse("1h 30m").map(|span| span.0.as_secs()), Ok(5400));
        assert!(Span::parse("5").is_err());
        assert_eq!(PerSecond::parse("600/m"), Ok(PerSecond(10.0)));
        for text in ["50", "50/d", "0/s", "-1/s", "NaN/s", "inf/s"] {
            assert!(PerSecond::parse(text).is_err(), "{text}");
        }
    }
}
