//! HTTP dates as a cache reads them (RFC 9110 §5.6.7, RFC 9111 §4.2).
//!
//! All three forms, in any case, as a cache should; a zone other than GMT, a missing part or a stray character makes
//! the date invalid. What an invalid date means is for each field to say.
//!
//! Two things are read more kindly than the library that writes our dates would: a day of the week that is not the
//! date's says nothing about the time, and a leap second is the one before it. And the century of a two-digit year is
//! found as the RFC says, by what would be more than fifty years ahead.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::HeaderName;

const MONTHS: [&[u8]; 12] = [
    b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
];

const DAYS: [&[u8]; 7] = [
    b"sunday",
    b"monday",
    b"tuesday",
    b"wednesday",
    b"thursday",
    b"friday",
    b"saturday",
];

/// What "more than 50 years in the future" counts from for years of two digits. The program's year and not the clock's,
/// so that reading a date stays pure; it is off by as many years as the program is old.
const PRESENT_YEAR: u64 = 2026;

/// A date field, if it is there and can be read. Of several lines the first counts.
#[must_use]
pub(super) fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    parse(headers.get(name)?.as_bytes())
}

/// Reads a date.
#[must_use]
pub(super) fn parse(text: &[u8]) -> Option<SystemTime> {
    let mut rest = Rest(text.trim_ascii());
    let day_name = rest.letters();
    let full = DAYS.iter().any(|day| day.eq_ignore_ascii_case(day_name));
    let short = DAYS
        .iter()
        .any(|day| day[..3].eq_ignore_ascii_case(day_name));
    let (year, month, day, seconds);
    if short && rest.skips(b", ") {
        day = rest.digits(2)?;
        rest.expect(b" ")?;
        month = rest.month()?;
        rest.expect(b" ")?;
        year = rest.digits(4)?;
        rest.expect(b" ")?;
        seconds = rest.time_of_day()?;
        rest.expect(b" ")?;
        rest.gmt()?;
    } else if full && rest.skips(b", ") {
        day = rest.digits(2)?;
        rest.expect(b"-")?;
        month = rest.month()?;
        rest.expect(b"-")?;
        year = of_two_digits(rest.digits(2)?);
        rest.expect(b" ")?;
        seconds = rest.time_of_day()?;
        rest.expect(b" ")?;
        rest.gmt()?;
    } else if short && rest.skips(b" ") {
        month = rest.month()?;
        rest.expect(b" ")?;
        day = match rest.skips(b" ") {
            true => rest.digits(1)?,
            false => rest.digits(2)?,
        };
        rest.expect(b" ")?;
        seconds = rest.time_of_day()?;
        rest.expect(b" ")?;
        year = rest.digits(4)?;
    } else {
        return None;
    }
    if !rest.0.is_empty() || day == 0 || day > days_in(year, month) {
        return None;
    }
    let seconds = days_since_1970(year, month, day)? * 86_400 + seconds;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn skips(&mut self, prefix: &[u8]) -> bool {
        let after = self.0.strip_prefix(prefix);
        self.0 = after.unwrap_or(self.0);
        after.is_some()
    }

    fn expect(&mut self, prefix: &[u8]) -> Option<()> {
        self.skips(prefix).then_some(())
    }

    fn letters(&mut self) -> &'a [u8] {
        let end = self
            .0
            .iter()
            .position(|byte| !byte.is_ascii_alphabetic())
            .unwrap_or(self.0.len());
        let (letters, rest) = self.0.split_at(end);
        self.0 = rest;
        letters
    }

    /// So many digits.
    fn digits(&mut self, count: usize) -> Option<u64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits.iter().try_fold(0, |number, digit| {
            let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
            Some(number * 10 + digit)
        })
    }

    /// From 1.
    fn month(&mut self) -> Option<u64> {
        let name = self.letters();
        let at = MONTHS
            .iter()
            .position(|month| month.eq_ignore_ascii_case(name))?;
        Some(at as u64 + 1)
    }

    /// `hour:minute:second`, in seconds.
    fn time_of_day(&mut self) -> Option<u64> {
        let hour = self.digits(2)?;
        self.expect(b":")?;
        let minute = self.digits(2)?;
        self.expect(b":")?;
        let second = self.digits(2)?;
        let is_time = hour < 24 && minute < 60 && second <= 60;
        is_time.then_some(hour * 3600 + minute * 60 + second.min(59))
    }

    fn gmt(&mut self) -> Option<()> {
        self.letters().eq_ignore_ascii_case(b"gmt").then_some(())
    }
}

/// RFC 9110 §5.6.7: one that seems to be more than fifty years ahead is of the century before.
fn of_two_digits(year: u64) -> u64 {
    let century = PRESENT_YEAR / 100 * 100;
    let year = century + year;
    if year > PRESENT_YEAR + 50 {
        year - 100
    } else {
        year
    }
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// None before 1970: the caller's times begin there, and such a date has passed in any case.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let before = year.checked_sub(1970)? * 365 + leaps(year - 1) - leaps(1969);
    let in_year: u64 = (1..month).map(|month| days_in(year, month)).sum();
    Some(before + in_year + day - 1)
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
            "Mon, 06 Nov 1994 08:49:37 GMT",
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
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 29 Feb 1993 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Foo, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun Nov  6 08:49:37 GMT 1994",
            "Wednesday, 09-November-1994 08:49:37 GMT and more",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"Sun, 06 Nov 1994 08:49:37 GMT\xff"), None);
    }
    #[test]
    fn days_are_counted_as_the_library_that_writes_dates_does() {
        // A bit more than a month at a time, to the end of the year 9999.
        for days in (0..2_932_896).step_by(37) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400 + 12_345);
            let text = httpdate::fmt_http_date(time);
            assert_eq!(parse(text.as_bytes()), Some(time), "{text}");
        }
    }

    #[test]
    fn years_of_two_digits_are_at_most_fifty_years_ahead() {
        for (year, expected) in [(94, 1994), (26, 2026), (0, 2000), (76, 2076), (77, 1977)] {
            assert_eq!(of_two_digits(year), expected);
        }
        let leap = parse(b"Sat, 31 Dec 2016 23:59:60 GMT");
        assert_eq!(leap, parse(b"Sat, 31 Dec 2016 23:59:59 GMT"));
    }
}
