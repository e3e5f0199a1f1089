//! The zone file → [`Zone`].

use std::time::Duration;

use super::address;
use super::error::ConfigError;
use super::nearest::nearest;
use super::raw;
use super::text::Text;
use super::zone::{Zone, ZoneData, ZoneRecord};

/// Most records of one zone.
const RECORDS_MAX: usize = 10_000;

/// The longest lifetime that makes sense (RFC 8767 section 4 caps at seven days).
const TTL_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Kinds of records that are answered as written.
const KINDS: [&str; 5] = ["A", "AAAA", "CNAME", "TXT", "MX"];

/// Checks a zone's file. `name` is what the operator calls the text.
///
/// The zone's revision is 0; whoever takes it from the cluster sets it.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn parse(text: &str, name: &str) -> Result<Zone, ConfigError> {
    let source = Text::new(name, text);
    let raw: raw::ZoneFile = source.parse()?;
    let apex = address::host_name(&raw.name).map_err(|what| source.wrong("name", what))?;
    if !apex.contains('.') {
        let what = format!(
            "the zone \"{apex}\" is a top-level domain; write it like \"edge.example.net\""
        );
        return Err(source.wrong("name", what));
    }
    if raw.nameservers.is_empty() {
        return Err(source
            .wrong("nameservers", "the zone has no name server")
            .hint("write them like nameservers = { ns1 = \"lon1\" }"));
    }
    let mut nameservers = Vec::with_capacity(raw.nameservers.len());
    for (label, node) in raw.nameservers {
        let at = format!("nameservers.{label}");
        let label = address::host_name(&label).map_err(|what| source.wrong(&at, what))?;
        if label.contains('.') {
            let what = format!(
                "the name server \"{label}\" must be one label under the zone, such as \"ns1\""
            );
            return Err(source.wrong(&at, what));
        }
        if node.is_empty() {
            return Err(source.wrong(&at, format!("{label} names no node")));
        }
        nameservers.push((label.into(), node.into()));
    }
    let ttl_min = raw.ttl.min.map_or(Duration::from_secs(20), |span| span.0);
    let ttl_max = raw
        .ttl
        .max
        .map_or(ttl_min.max(Duration::from_secs(60)), |span| span.0);
    ttl("ttl.min", ttl_min, &source)?;
    ttl("ttl.max", ttl_max, &source)?;
    if ttl_min > ttl_max {
        return Err(source.wrong("ttl.min", "`ttl.min` is longer than `ttl.max`"));
    }
    if raw.record.len() > RECORDS_MAX {
        return Err(source.wrong("record", format!("more than {RECORDS_MAX} records")));
    }
    let mut records = Vec::with_capacity(raw.record.len());
    for (index, record) in raw.record.iter().enumerate() {
        records.push(one_record(record, index, &source)?);
    }
    no_alias_beside_others(&records, &nameservers, &source)?;
    Ok(Zone {
        name: apex.into(),
        nameservers,
        ttl_min,
        ttl_max,
        records,
        revision: 0,
    })
}

fn ttl(key: &str, time: Duration, source: &Text<'_>) -> Result<(), ConfigError> {
    if time.subsec_nanos() != 0 || time > TTL_MAX {
        let what = format!("`{key}` must be whole seconds, at most 7d");
        return Err(source.wrong(key, what));
    }
    Ok(())
}

fn one_record(
    raw: &raw::Record,
    index: usize,
    source: &Text<'_>,
) -> Result<ZoneRecord, ConfigError> {
    let at = |key: &str| format!("record.{index}.{key}");
    let name = match raw.name.as_str() {
        // The apex, or every name that is not there (RFC 4592).
        "@" | "*" => raw.name.clone(),
        name => {
            let (star, owner) = match name.strip_prefix("*.") {
                Some(owner) => ("*.", owner),
                None => ("", name),
            };
            let owner =
                address::host_name(owner).map_err(|what| source.wrong(&at("name"), what))?;
            format!("{star}{owner}")
        }
    };
    let value = raw.value.as_str();
    let wrong = |what: String| source.wrong(&at("value"), what);
    let data = match raw.kind.to_ascii_uppercase().as_str() {
        "A" => ZoneData::A(
            value
                .parse()
                .map_err(|_| wrong(format!("\"{value}\" is not an IPv4 address")))?,
        ),
        "AAAA" => ZoneData::Aaaa(
            value
                .parse()
                .map_err(|_| wrong(format!("\"{value}\" is not an IPv6 address")))?,
        ),
        "CNAME" => ZoneData::Cname(address::host_name(value).map_err(wrong)?.into()),
        "TXT" if value.len() > 4096 => {
            return Err(wrong("the text is longer than 4096 bytes".to_owned()));
        }
        "TXT" => ZoneData::Txt(value.into()),
        "MX" => {
            let example = || {
                format!("\"{value}\" is not a mail exchange; write it like \"10 mail.example.net\"")
            };
            let (preference, exchange) = value.split_once(' ').ok_or_else(|| wrong(example()))?;
            ZoneData::Mx(
                preference.parse().map_err(|_| wrong(example()))?,
                address::host_name(exchange.trim()).map_err(wrong)?.into(),
            )
        }
        other => {
            let error = source.wrong(
                &at("type"),
                format!("records of type \"{other}\" are not supported"),
            );
            return Err(match nearest(other, KINDS) {
                Some(meant) => error.hint(format!("did you mean \"{meant}\"?")),
                None => error.hint(format!("known are {}", KINDS.join(", "))),
            });
        }
    };
    let lifetime = raw.ttl.map(|span| span.0);
    if let Some(lifetime) = lifetime {
        ttl("ttl", lifetime, source).map_err(|error| source.wrong(&at("ttl"), error.what))?;
    }
    Ok(ZoneRecord {
        name: name.into(),
        data,
        ttl: lifetime,
    })
}

/// RFC 1034 section 3.6.2: where a CNAME stands, nothing else does. The apex always has SOA and NS.
fn no_alias_beside_others(
    records: &[ZoneRecord],
    nameservers: &[(Box<str>, Box<str>)],
    source: &Text<'_>,
) -> Result<(), ConfigError> {
    for (index, record) in records.iter().enumerate() {
        if !matches!(record.data, ZoneData::Cname(_)) {
            continue;
        }
        let beside = records
            .iter()
            .enumerate()
            .any(|(other, it)| other != index && it.name == record.name);
        let taken =
            &*record.name == "@" || nameservers.iter().any(|(label, _)| *label == record.name);
        if beside || taken {
            let what = format!(
                "a CNAME cannot stand beside other records of \"{}\"",
                record.name
            );
            return Err(source.wrong(&format!("record.{index}"), what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
