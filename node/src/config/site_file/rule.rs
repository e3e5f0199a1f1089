//! `[[rule]]`: what is matched, what is said, and whether the one can act where the other holds.

use http::{HeaderName, Method};

use super::super::error::ConfigError;
use super::super::pattern::Pattern;
use super::super::policy::{Acts, Caching, Policy, Ttl};
use super::super::raw;
use super::super::rule::{FieldTest, Rule, Rules, When};
use super::super::text::Text;
use super::super::units::{OneOrMore, Span};
use super::{address, auth, cache, compression, headers, page, route};

const RULES_MAX: usize = 1000;
/// Of one list in `match`.
const MATCH_MAX: usize = 100;

pub(super) fn rules(
    base: Policy,
    written: Vec<raw::Rule>,
    source: &Text<'_>,
) -> Result<Rules, ConfigError> {
    if written.len() > RULES_MAX {
        return Err(source.wrong("rule", format!("more than {RULES_MAX} rules")));
    }
    let rules = written
        .into_iter()
        .enumerate()
        .map(|(index, raw)| rule(&format!("rule.{index}"), raw, source))
        .collect::<Result<_, _>>()?;
    Ok(Rules::new(base, rules))
}

fn rule(at: &str, mut raw: raw::Rule, source: &Text<'_>) -> Result<Rule, ConfigError> {
    let when = when(
        &format!("{at}.match"),
        std::mem::take(&mut raw.matches),
        source,
    )?;
    let then = then(at, raw, &when, source)?;
    if then.is_empty() {
        return Err(source
            .wrong(at, "the rule changes nothing")
            .hint("give it `ttl = \"…\"` or `cache = \"bypass\"`"));
    }
    for said in then.said() {
        if when.asks_for_answer() && said.acts != Acts::WithAnswer {
            let asked = if when.statuses.is_empty() {
                "content_type"
            } else {
                "status"
            };
            let what = format!(
                "`{}` acts before there is an answer, so it cannot depend on the answer's {asked}",
                said.key
            );
            return Err(source
                .wrong(&format!("{at}.{}", said.key), what)
                .hint(format!(
                    "match by `path`, `method` or `header`, or take `{asked}` out"
                )));
        }
        if when.asks_for_more_than_url() && said.key.starts_with("key.query_") {
            let what = format!(
                "`{}` makes the URL that purges know, so it can depend on the path only",
                said.key
            );
            return Err(source
                .wrong(&format!("{at}.{}", said.key), what)
                .hint("match by `path` alone"));
        }
    }
    Ok(Rule {
        line: source.line_of(at),
        when,
        then,
    })
}

/// What a rule says.
fn then(at: &str, raw: raw::Rule, when: &When, source: &Text<'_>) -> Result<Policy, ConfigError> {
    let ttl = |span: Span| Ttl {
        lifetime: span.0,
        names_status: !when.statuses.is_empty(),
    };
    cache::bounds(at, raw.ttl_min, raw.ttl_max, source)?;
    let mut then = Policy {
        ttl: raw.ttl.map(ttl),
        ttl_min: raw.ttl_min.map(ttl),
        ttl_max: raw.ttl_max.map(|span| span.0),
        negative_ttl: raw.negative_ttl.map(|span| span.0),
        client_directives: raw.client_directives.map(cache::client_directives),
        cache: raw.cache.map(|cache| match cache {
            raw::RuleCache::Bypass => Caching::Bypass,
            raw::RuleCache::Standard => Caching::Standard,
        }),
        stale_while_revalidate: raw.stale_while_revalidate.map(|span| span.0),
        stale_if_error: raw.stale_if_error.map(|span| span.0),
        slice: cache::slice(at, raw.slice, source)?,
        query_content: cache::query_content(at, raw.query_content, source)?,
        compression: match raw.compression {
            Some(codings) => {
                let at = format!("{at}.compression");
                Some(compression::codings(&at, codings, source)?)
            }
            None => None,
        },
        ..Policy::default()
    };
    cache::key(&format!("{at}.key"), raw.key, &mut then, source)?;
    headers::headers(&format!("{at}.headers"), raw.headers, &mut then, source)?;
    then.auth = raw.auth.map(auth::demand);
    if let Some(raw) = raw.redirect {
        then.redirect = Some(route::redirect(&format!("{at}.redirect"), raw, source)?);
    }
    if let Some(raw) = raw.rewrite {
        then.rewrite = Some(route::rewrite(&format!("{at}.rewrite"), raw, source)?);
    }
    if let Some(name) = raw.host {
        let name =
            address::host_name(&name).map_err(|what| source.wrong(&format!("{at}.host"), what))?;
        then.host = Some(name.into());
    }
    if let Some(raw) = raw.error_page {
        then.error_page = Some(page::page(&format!("{at}.error_page"), raw, source)?);
    }
    Ok(then)
}

fn when(at: &str, raw: raw::Match, source: &Text<'_>) -> Result<When, ConfigError> {
    let list = |key: &str, written: Option<OneOrMore>| {
        let at = format!("{at}.{key}");
        match written.map(|list| list.0) {
            Some(list) if list.is_empty() => {
                Err(source.wrong(&at, format!("`{key}` is empty: nothing could match")))
            }
            Some(list) if list.len() > MATCH_MAX => {
                Err(source.wrong(&at, format!("more than {MATCH_MAX} entries in `{key}`")))
            }
            list => Ok(list.unwrap_or_default()),
        }
    };
    let paths = list("path", raw.path)?;
    for (index, path) in paths.iter().enumerate() {
        let at = format!("{at}.path.{index}");
        if !path.starts_with(['/', '*']) {
            let what = format!("the path \"{path}\" must begin with \"/\" or \"*\"");
            return Err(source.wrong(&at, what));
        }
        if path.contains(['?', '#']) {
            let what = format!("the path \"{path}\" has a query; only the path is matched");
            return Err(source.wrong(&at, what));
        }
    }
    let methods = list("method", raw.method)?;
    let methods = methods.iter().enumerate().map(|(index, method)| {
        let good = method.bytes().all(|byte| !byte.is_ascii_lowercase());
        match Method::from_bytes(method.as_bytes()) {
            Ok(method) if good => Ok(method),
            _ => {
                let what = format!("\"{method}\" is not a method");
                Err(source
                    .wrong(&format!("{at}.method.{index}"), what)
                    .hint(format!("did you mean \"{}\"?", method.to_uppercase())))
            }
        }
    });
    let mut fields = Vec::with_capacity(raw.header.len());
    if raw.header.len() > MATCH_MAX {
        let what = format!("more than {MATCH_MAX} fields in `header`");
        return Err(source.wrong(&format!("{at}.header"), what));
    }
    for (written, test) in raw.header {
        let at = format!("{at}.header.{written}");
        let name = field_name(&written).map_err(|what| source.wrong(&at, what))?;
        let test = match test {
            raw::FieldTest::Present(true) => FieldTest::Present,
            raw::FieldTest::Present(false) => FieldTest::Absent,
            raw::FieldTest::Like(patterns) => {
                let patterns = list(&format!("header.{written}"), Some(patterns))?;
                FieldTest::Like(patterns.iter().map(|text| Pattern::new(text)).collect())
            }
        };
        fields.push((name, test));
    }
    let types = list("content_type", raw.content_type)?;
    for (index, kind) in types.iter().enumerate() {
        if kind.contains(';') {
            let what = format!("\"{kind}\" has parameters; types are matched without them");
            return Err(source.wrong(&format!("{at}.content_type.{index}"), what));
        }
    }
    let statuses = raw.status.map(|statuses| statuses.0);
    if statuses.as_ref().is_some_and(Vec::is_empty) {
        let what = "`status` is empty: nothing could match";
        return Err(source.wrong(&format!("{at}.status"), what));
    }
    Ok(When {
        paths: paths.iter().map(|path| Pattern::new(path)).collect(),
        methods: methods.collect::<Result<_, _>>()?,
        fields,
        statuses: statuses.unwrap_or_default(),
        types: types
            .iter()
            .map(|kind| Pattern::new(&kind.to_ascii_lowercase()))
            .collect(),
    })
}

/// A request field that a client can be told by. What ends at this hop, or frames the message, says nothing of what is
/// asked for.
pub(super) fn field_name(written: &str) -> Result<HeaderName, String> {
    const ENDS_HERE: [&str; 11] = [
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "proxy-connection",
        "proxy-authorization",
        "http2-settings",
        "expect",
    ];
    let name: HeaderName = written
        .parse()
        .map_err(|_| format!("\"{written}\" is not a field name"))?;
    if name == http::header::HOST {
        return Err("the host is what sites are found by; list it in `hosts`".to_owned());
    }
    if ENDS_HERE.contains(&name.as_str()) {
        return Err(format!(
            "the field {name} ends at this hop, it cannot be matched"
        ));
    }
    Ok(name)
}
