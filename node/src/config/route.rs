//! Where a request goes instead: redirects that the client follows, and paths that only the origin sees.

use http::StatusCode;
use regex::Regex;

use super::policy::Value;

/// A regular expression over the whole normalised path, and a text in which `$1`, `$2`… stand for what its groups hold.
#[derive(Clone, Debug)]
pub struct Substitution {
    from: Regex,
    to: Box<str>,
}

impl PartialEq for Substitution {
    fn eq(&self, other: &Self) -> bool {
        self.from.as_str() == other.from.as_str() && self.to == other.to
    }
}

/// Largest compiled expression; enough for thousands of alternatives.
const EXPRESSION_MAX_BYTES: usize = 1 << 20;

impl Substitution {
    /// Prepares.
    ///
    /// # Errors
    /// An expression that is none, or is too large, or a `$` that stands for no group of it.
    pub fn new(from: &str, to: &str) -> Result<Self, String> {
        let from = regex::RegexBuilder::new(from)
            .size_limit(EXPRESSION_MAX_BYTES)
            .build()
            .map_err(|error| {
                // The library points into the expression over several lines; the last one says what is wrong.
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                format!(
                    "\"{from}\" is not a regular expression: {}",
                    last.trim_start_matches("error: ")
                )
            })?;
        for piece in to.split('$').skip(1) {
            let digits: String = piece.chars().take_while(char::is_ascii_digit).collect();
            match digits.parse::<usize>() {
                Ok(group) if group < from.captures_len() => {}
                Ok(group) => {
                    return Err(format!(
                        "\"{to}\" names group {group}, and `from` has no such"
                    ));
                }
                Err(_) => {
                    return Err(format!(
                        "\"{to}\": behind `$` the number of a group is expected"
                    ));
                }
            }
        }
        Ok(Self {
            from,
            to: to.into(),
        })
    }

    /// What a path becomes; none when the expression does not match.
    #[must_use]
    pub fn of(&self, path: &str) -> Option<String> {
        let groups = self.from.captures(path)?;
        let mut pieces = self.to.split('$');
        let mut out = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let end = piece
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(piece.len());
            let (number, text) = piece.split_at(end);
            let group = number.parse().ok().and_then(|group| groups.get(group));
            out.push_str(group.map_or("", |found| found.as_str()));
            out.push_str(text);
        }
        Some(out)
    }
}

/// `redirect`: the client is sent elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// Where, by the path; none: always to `to`.
    pub by_path: Option<Substitution>,
    /// A path, or a URL.
    pub to: Box<str>,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// The query goes along.
    pub keeps_query: bool,
}

impl Redirect {
    /// What `Location` says; none when the path is not concerned.
    #[must_use]
    pub fn location(&self, path: &str, query: Option<&str>) -> Option<String> {
        let mut location = match &self.by_path {
            Some(substitution) => substitution.of(path)?,
            None => self.to.to_string(),
        };
        // `//host` would be another host's URL, which nobody has written.
        if location.starts_with("//") {
            location = format!("/{}", location.trim_start_matches('/'));
        }
        if let Some(query) = query
            && self.keeps_query
            && !location.contains(['?', '#'])
        {
            location.push('?');
            location.push_str(query);
        }
        Some(location)
    }
}

impl Value for Redirect {
    fn shown(&self) -> String {
        let to = format!("{} {}", self.status.as_str(), self.to);
        match &self.by_path {
            Some(substitution) => format!("{to}, from {}", substitution.from),
            None => to,
        }
    }
}

/// `rewrite`: the origin sees another path.
#[derive(Clone, Debug, PartialEq)]
pub enum Rewrite {
    /// By a regular expression; a path that it does not match stays.
    ByPath(Substitution),
    /// Without one prefix, of whole segments, and with another.
    Prefix {
        /// Without `/` at its end; may be empty.
        strip: Box<str>,
        /// Without `/` at its end; may be empty.
        add: Box<str>,
    },
}

impl Rewrite {
    /// The path that the origin sees; none when it stays as it is.
    #[must_use]
    pub fn of(&self, path: &str) -> Option<String> {
        match self {
            Self::ByPath(substitution) => {
                let path = substitution.of(path)?;
                Some(match path.starts_with('/') {
                    true => path,
                    false => format!("/{path}"),
                })
            }
            Self::Prefix { strip, add } => {
                let rest = path.strip_prefix(&**strip)?;
                match rest.as_bytes().first() {
                    None => Some(format!("{add}/")),
                    Some(b'/') => Some(format!("{add}{rest}")),
                    Some(_) => None,
                }
            }
        }
    }
}

impl Value for Rewrite {
    fn shown(&self) -> String {
        match self {
            Self::ByPath(substitution) => {
                format!("{} to {}", substitution.from, substitution.to)
            }
            Self::Prefix { strip, add } => format!("{strip}/ to {add}/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stand_where_they_are_named() {
        for (from, to, path, becomes) in [
            ("^/old/(.*)$", "/new/$1", "/old/a/b", Some("/new/a/b")),
            ("^/(a+)/(b+)$", "/$2-$1x", "/aa/b", Some("/b-aax")),
            ("^/old", "/new", "/other", None),
            ("^/x(.)?$", "/$1", "/x", Some("/")),
        ] {
            let substitution = Substitution::new(from, to).unwrap();
            assert_eq!(substitution.of(path).as_deref(), becomes, "{from} {path}");
        }
        for (from, to, wrong) in [
            (
                "(",
                "/",
                "\"(\" is not a regular expression: unclosed group",
            ),
            ("a", "/$1", "\"/$1\" names group 1, and `from` has no such"),
            (
                "(a)",
                "/$x",
                "\"/$x\": behind `$` the number of a group is expected",
            ),
        ] {
            assert_eq!(Substitution::new(from, to).unwrap_err(), wrong);
        }
    }

    #[test]
    fn a_redirect_never_leads_to_a_host_that_nobody_has_written() {
        let redirect = |from: Option<&str>, to: &str| Redirect {
            by_path: from.map(|from| Substitution::new(from, to).unwrap()),
            to: to.into(),
            status: StatusCode::FOUND,
            keeps_query: true,
        };
        for (from, to, path, query, location) in [
            (
                None,
                "https://new.example/",
                "/a",
                Some("b=c"),
                Some("https://new.example/?b=c"),
            ),
            (None, "/x?y=1", "/a", Some("b=c"), Some("/x?y=1")),
            (
                Some("^/go/(.*)$"),
                "/$1",
                "/go//evil.example/x",
                None,
                Some("/evil.example/x"),
            ),
            (
                Some("^/go/(.*)$"),
                "https://new.example/$1",
                "/go/x",
                Some("q"),
                Some("https://new.example/x?q"),
            ),
            (Some("^/go/(.*)$"), "/$1", "/stay", None, None),
        ] {
            let told = redirect(from, to).location(path, query);
            assert_eq!(told.as_deref(), location, "{path}");
        }
    }

    #[test]
    fn prefixes_are_of_whole_segments() {
        let prefix = |strip: &str, add: &str| Rewrite::Prefix {
            strip: strip.into(),
            add: add.into(),
        };
        for (strip, add, path, becomes) in [
            ("/app", "", "/app/a", Some("/a")),
            ("/app", "", "/app", Some("/")),
            ("/app", "", "/apple", None),
            ("/app", "/v2", "/app/a", Some("/v2/a")),
            ("", "/v2", "/a", Some("/v2/a")),
            ("/app", "", "/other", None),
        ] {
            assert_eq!(
                prefix(strip, add).of(path).as_deref(),
                becomes,
                "{strip} {path}"
            );
        }
        let by_path = Rewrite::ByPath(Substitution::new("^/(.*)\\.php$", "$1").unwrap());
        assert_eq!(by_path.of("/a.php").as_deref(), Some("/a"));
    }
}
