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
