//! How a site compresses: which content codings it offers, of what, and how hard it tries.

use std::fmt;

use super::pattern::Pattern;
use super::policy::Value;

/// A content coding that this program can make (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Coding {
    /// RFC 8878, in the window that RFC 9659 allows.
    Zstd = 0,
    /// RFC 7932.
    Br = 1,
    /// RFC 1952.
    Gzip = 2,
}

impl Coding {
    /// Every coding, in the order in which a site offers them unless it says otherwise.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Br, Self::Gzip];

    /// The name that `Content-Encoding` and site files know it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The coding of such a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|coding| coding.name() == name)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Codings in order of preference, each at most once. A word of four bytes: rulings are copied around.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Codings {
    order: [u8; 3],
    len: u8,
}

impl Codings {
    /// No coding: nothing is compressed.
    pub const NONE: Self = Self {
        order: [0; 3],
        len: 0,
    };

    /// All of them, in the usual order.
    #[must_use]
    pub fn all() -> Self {
        Coding::ALL.into_iter().collect()
    }

    /// True when there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// In order of preference.
    pub fn iter(self) -> impl Iterator<Item = Coding> {
        let known = self.order.into_iter().take(usize::from(self.len));
        known.filter_map(|number| Coding::ALL.get(usize::from(number)).copied())
    }

    /// One bit for each, without the order.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.iter().fold(0, |bits, coding| bits | coding.bit())
    }

    /// Those of them whose bit is set.
    #[must_use]
    pub fn among(self, bits: u8) -> Self {
        self.iter()
            .filter(|coding| coding.bit() & bits != 0)
            .collect()
    }
}

impl FromIterator<Coding> for Codings {
    fn from_iter<I: IntoIterator<Item = Coding>>(codings: I) -> Self {
        let mut list = Self::NONE;
        for coding in codings {
            if list.iter().all(|known| known != coding)
                && let Some(place) = list.order.get_mut(usize::from(list.len))
            {
                *place = coding as u8;
                list.len += 1;
            }
        }
        list
    }
}

impl fmt::Debug for Codings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(Coding::name))
            .finish()
    }
}

impl Value for Codings {
    fn shown(&self) -> String {
        match self.is_empty() {
            true => "false".to_owned(),
            false => {
                let names: Vec<&str> = self.iter().map(Coding::name).collect();
                format!("[{}]", names.join(", "))
            }
        }
    }
}

/// How a site's responses are compressed, where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Shorter bodies are not worth it, in bytes.
    pub min_bytes: u64,
    /// Media types without parameters, lower case.
    pub types: Vec<Pattern>,
    /// 1 to 19.
    pub zstd_level: u8,
    /// 0 to 11.
    pub br_level: u8,
    /// 1 to 9.
    pub gzip_level: u8,
}

/// Types that get smaller, unless the site says otherwise.
const TYPES: [&str; 19] = [
    "text/*",
    "application/json",
    "application/javascript",
    "application/x-javascript",
    "application/ecmascript",
    "application/xml",
    "application/wasm",
    "application/graphql",
    "application/rtf",
    "application/x-ndjson",
    "application/x-yaml",
    "application/yaml",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/x-icon",
    "*+json",
    "*+xml",
];

impl Default for Compression {
    fn default() -> Self {
        Self {
            min_bytes: 512,
            types: TYPES.iter().map(|text| Pattern::new(text)).collect(),
            // A stored encoding is made once and sent often.
            zstd_level: 6,
            br_level: 5,
            gzip_level: 6,
        }
    }
}

impl Compression {
    /// Is this the media type of something that gets smaller? Parameters and case do not matter. A stream of events is
    /// none whatever the patterns say: it has no end at which an encoder would be done with.
    #[must_use]
    pub fn covers(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("text/event-stream") {
            return false;
        }
        let essence = essence.to_ascii_lowercase();
        self.types.iter().any(|pattern| pattern.covers(&essence))
    }

    /// How hard a coding tries.
    #[must_use]
    pub const fn level(&self, coding: Coding) -> u8 {
        match coding {
            Coding::Zstd => self.zstd_level,
            Coding::Br => self.br_level,
            Coding::Gzip => self.gzip_level,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_keep_their_order_and_are_listed_once() {
        let list: Codings = [Coding::Gzip, Coding::Br, Coding::Gzip]
            .into_iter()
            .collect();
        assert_eq!(format!("{list:?}"), r#"["gzip", "br"]"#);
        assert_eq!(list.bits(), 0b110);
        assert_eq!(
            list.among(0b011).iter().collect::<Vec<_>>(),
            vec![Coding::Br]
        );
        assert!(Codings::NONE.is_empty() && Codings::NONE.bits() == 0);
        assert_eq!(Codings::all().bits(), 0b111);
    }

    #[test]
    fn what_gets_smaller_is_told_by_its_type() {
        let site = Compression::default();
        for (given, covered) in [
            ("text/html", true),
            ("Text/HTML; charset=utf-8", true),
            ("application/json", true),
            ("application/problem+json", true),
            ("image/svg+xml ; x=y", true),
            ("application/wasm", true),
            ("text/event-stream", false),
            ("image/png", false),
            ("video/mp4", false),
            ("application/grpc", false),
            ("application/octet-stream", false),
            ("", false),
        ] {
            assert_eq!(site.covers(given), covered, "{given}");
        }
    }

    #[test]
    fn names_lead_back_to_their_codings() {
        for coding in Coding::ALL {
            assert_eq!(Coding::named(coding.name()), Some(coding));
        }
        assert_eq!(Coding::named("deflate"), None);
    }
}
