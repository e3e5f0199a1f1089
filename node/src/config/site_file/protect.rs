//! `[protect]`.

use super::super::address;
use super::super::error::ConfigError;
use super::super::raw;
use super::super::site::{ProtectSettings, Rate};
use super::super::text::Text;

const DENY_MAX: usize = 10_000;

pub(super) fn protect(
    raw: raw::Protect,
    source: &Text<'_>,
) -> Result<ProtectSettings, ConfigError> {
    let mut protect = ProtectSettings::default();
    let deny = raw.deny.unwrap_or_default().0;
    if deny.len() > DENY_MAX {
        return Err(source.wrong("protect.deny", format!("more than {DENY_MAX} entries")));
    }
    for (index, entry) in deny.iter().enumerate() {
        let at = format!("protect.deny.{index}");
        let number = entry.strip_prefix("AS").or(entry.strip_prefix("as"));
        if number.is_some_and(|number| number.bytes().all(|c| c.is_ascii_digit())) {
            let what = format!("\"{entry}\": networks by their AS number are not supported yet");
            return Err(source.wrong(&at, what));
        }
        match entry.strip_prefix("country:") {
            Some(code) => match code.as_bytes() {
                [a @ b'A'..=b'Z', b @ b'A'..=b'Z'] => protect.deny_countries.push([*a, *b]),
                _ => {
                    let what = format!(
                        "\"{entry}\" is not a country; write two upper-case letters, like \"country:NO\""
                    );
                    return Err(source.wrong(&at, what));
                }
            },
            None => {
                let network = address::network(entry).map_err(|what| source.wrong(&at, what))?;
                protect.deny_networks.push(network);
            }
        }
    }
    if let Some(rate) = raw.rate {
        let per_second = rate.requests.0;
        let burst = rate.burst.unwrap_or(per_second.ceil() as u32);
        if burst == 0 {
            return Err(source.wrong("protect.rate.burst", "`burst` must be at least 1"));
        }
        protect.rate = Some(Rate { per_second, burst });
    }
    protect.refuses_deception = matches!(raw.deception, Some(raw::Deception::Refuse));
    Ok(protect)
}
