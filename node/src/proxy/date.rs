//! HTTP dates as a cache reads them (RFC 9110 §5.6.7, RFC 9111 §4.2).
//!
//! All three forms, in any case, as a cache should; a zone other than GMT, a missing part or a stray character makes
//! the date invalid. What an invalid date means is for each field to say.

use std::time::SystemTime;

use http::HeaderMap;
use http::header::HeaderName;

/// The longest form is `Wednesday, 09-Nov-94 08:49:37 GMT`.
const LONGEST_BYTES: usize = 33;

/// A date field, if it is there and can be read. Of several lines the first counts.
#[must_use]
pub(super) fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    parse(headers.get(name)?.as_bytes())
}

/// Reads a date.
#[must_use]
pub(super) fn parse(text: &[u8]) -> Option<SystemTime> {
    let text = text.trim_ascii();
    let mut canonical = [0; LONGEST_BYTES];
    let canonical = canonical.get_mut(..text.len())?;
    canonical.copy_from_slice(text);
    // Names of days and months begin with a capital, the zone is all capitals.
    for word in canonical.split_mut(|byte| !byte.is_ascii_alphabetic()) {
        word.make_ascii_lowercase();
        if word == b"gmt" {
            word.make_ascii_uppercase();
        } else if let Some(first) = word.first_mut() {
            first.make_ascii_uppercase();
        }
    }
    let text = std::str::from_utf8(canonical).ok()?;
    httpdate::parse_http_date(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_form_is_read_in_any_case_and_only_in_gmt() {
        let expected = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "sun, 06 nov 1994 08:49:37 gmt",
            "SUN, 06 NOV 1994 08:49:37 GMT",
            " Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "SUNDAY, 06-NOV-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "sun nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
        for text in [
            "",
            "0",
            "-1",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 6 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "784111777",
            "Wednesday, 09-November-1994 08:49:37 GMT and more",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"Sun, 06 Nov 1994 08:49:37 GMT\xff"), None);
    }
}
