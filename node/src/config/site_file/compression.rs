//! `[compression]`, and `compression` in rules.

use super::super::compression::{Coding, Codings, Compression};
use super::super::error::ConfigError;
use super::super::pattern::Pattern;
use super::super::policy::Policy;
use super::super::raw;
use super::super::text::Text;

const TYPES_MAX: usize = 200;

/// The section, and the part of it that is the site's policy.
pub(super) fn compression(
    raw: raw::Compression,
    base: &mut Policy,
    source: &Text<'_>,
) -> Result<Compression, ConfigError> {
    base.compression = Some(match raw.codings {
        Some(written) => codings("compression.codings", written, source)?,
        None => Codings::all(),
    });
    let usual = Compression::default();
    let types = match raw.types {
        Some(written) => types(&written.0, source)?,
        None => usual.types,
    };
    let level = |name: &str, written: Option<i64>, (least, most), usual: u8| match written {
        None => Ok(usual),
        Some(level) => u8::try_from(level)
            .ok()
            .filter(|level| (least..=most).contains(level))
            .ok_or_else(|| {
                let what =
                    format!("the level of {name} cannot be {level}; write {least} to {most}");
                source.wrong(&format!("compression.levels.{name}"), what)
            }),
    };
    Ok(Compression {
        min_bytes: raw.min_size.map_or(usual.min_bytes, |size| size.0),
        types,
        zstd_level: level("zstd", raw.levels.zstd, (1, 19), usual.zstd_level)?,
        br_level: level("br", raw.levels.br, (0, 11), usual.br_level)?,
        gzip_level: level("gzip", raw.levels.gzip, (1, 9), usual.gzip_level)?,
    })
}

/// What is offered, the best first.
pub(super) fn codings(
    at: &str,
    written: raw::Codings,
    source: &Text<'_>,
) -> Result<Codings, ConfigError> {
    let names = match written {
        raw::Codings::Usual(true) => return Ok(Codings::all()),
        raw::Codings::Usual(false) => return Ok(Codings::NONE),
        raw::Codings::These(names) => names.0,
    };
    let known = names.iter().enumerate().map(|(index, name)| {
        Coding::named(name).ok_or_else(|| {
            source
                .wrong(
                    &format!("{at}.{index}"),
                    format!("\"{name}\" is not a content coding that can be made"),
                )
                .hint("write \"zstd\", \"br\" or \"gzip\"")
        })
    });
    known.collect()
}

fn types(written: &[String], source: &Text<'_>) -> Result<Vec<Pattern>, ConfigError> {
    if written.len() > TYPES_MAX {
        let what = format!("more than {TYPES_MAX} types");
        return Err(source.wrong("compression.types", what));
    }
    let patterns = written.iter().enumerate().map(|(index, text)| {
        let at = format!("compression.types.{index}");
        if text.contains(';') {
            let what = format!("\"{text}\" has parameters; types are matched without them");
            return Err(source.wrong(&at, what));
        }
        if !text.contains(['/', '*']) {
            let what = format!("\"{text}\" is not a media type");
            return Err(source
                .wrong(&at, what)
                .hint("write it like \"text/*\", \"application/json\" or \"*+xml\""));
        }
        Ok(Pattern::new(&text.to_ascii_lowercase()))
    });
    patterns.collect()
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use crate::config::compression::{Coding, Codings};

    const SMALL: &str = "name = \"shop\"\nhosts = [\"shop.example\"]\n[[origin]]\nurl = \"http://127.0.0.1:9000\"\n";

    #[test]
    fn the_section_and_rules_say_what_is_offered() {
        let plain = parse(SMALL, "s.toml").unwrap();
        assert_eq!(plain.rules.base().compression, Some(Codings::all()));
        let text = format!(
            "{SMALL}[compression]\ncodings = [\"gzip\", \"br\"]\nmin_size = \"1 KiB\"\ntypes = \"Text/*\"\n\
             levels = {{ gzip = 9 }}\n[[rule]]\ncompression = false\n[[rule]]\ncompression = true\n"
        );
        let site = parse(&text, "s.toml").unwrap();
        let offered: Codings = [Coding::Gzip, Coding::Br].into_iter().collect();
        assert_eq!(site.rules.base().compression, Some(offered));
        let rules = site.rules.all();
        assert_eq!(rules[0].then.compression, Some(Codings::NONE));
        assert_eq!(rules[1].then.compression, Some(Codings::all()));
        assert_eq!(site.compression.min_bytes, 1024);
        assert!(
            site.compression.covers("text/plain") && !site.compression.covers("application/json")
        );
        let levels = Coding::ALL.map(|coding| site.compression.level(coding));
        assert_eq!(levels, [6, 5, 9]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (settings, message) in [
            (
                "[compression]\ncodings = [\"gzip\", \"deflate\"]\n",
                "s.toml:6: \"deflate\" is not a content coding that can be made; write \"zstd\", \"br\" or \"gzip\"",
            ),
            (
                "[compression]\ncodings = 3\n",
                "s.toml:6: `compression.codings`: write true, false or a list such as [\"zstd\", \"br\", \"gzip\"]",
            ),
            (
                "[compression]\nlevels = { zstd = 22 }\n",
                "s.toml:6: the level of zstd cannot be 22; write 1 to 19",
            ),
            (
                "[compression]\ntypes = [\"html\"]\n",
                "s.toml:6: \"html\" is not a media type; write it like \"text/*\", \"application/json\" or \"*+xml\"",
            ),
            (
                "[[rule]]\ncompression = \"lzma\"\n",
                "s.toml:6: \"lzma\" is not a content coding that can be made; write \"zstd\", \"br\" or \"gzip\"",
            ),
        ] {
            let text = format!("{SMALL}{settings}");
            let error = parse(&text, "s.toml").unwrap_err().to_string();
            assert_eq!(error, message, "{settings}");
        }
    }
}
