//! What must hold of the readers of foreign text, whatever they are given. Each law takes any bytes and panics when it
//! is broken. `tests/fuzz` searches for bytes that break one; `tests` below gives them the seeds, and changed ones.

use std::time::{Duration, SystemTime};

use http::header::{
    CACHE_CONTROL, DATE, ETAG, HeaderName, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE, VARY,
};
use http::{HeaderMap, Method, StatusCode, Uri};

use super::cache_control::{AGE_MAX_S, CacheControl, Scope};
use super::key::{Authority, Target, identity_of_url};
use super::range::{Multipart, Part};
use super::vary::{self, Directory, Vary};
use super::{date, range, targeted};
use crate::config::site_file;

/// A law, under the name of its folder of seeds.
pub type Law = (&'static str, fn(&[u8]));

/// All of them.
pub const LAWS: [Law; 6] = [
    ("cache_control", cache_control),
    ("dates", dates),
    ("ranges", ranges),
    ("vary", vary),
    ("structured_fields", structured_fields),
    ("urls", urls),
];

/// `Cache-Control`, a field line per line: further lines only ever take liberties away, and case does not matter.
pub fn cache_control(data: &[u8]) {
    let lines = field_lines(data);
    let mut fields = HeaderMap::new();
    let mut before: Option<CacheControl> = None;
    for line in &lines {
        fields.append(CACHE_CONTROL, line.clone());
        let after = CacheControl::of_field(&fields, &CACHE_CONTROL);
        for age_s in [
            after.max_age,
            after.s_maxage,
            after.stale_while_revalidate,
            after.stale_if_error,
            after.min_fresh,
            after.max_stale,
        ] {
            assert!(age_s.is_none_or(|age_s| age_s <= AGE_MAX_S));
        }
        if let Some(before) = before {
            assert!(after.no_store >= before.no_store);
            assert!(after.must_revalidate >= before.must_revalidate);
            assert!(after.proxy_revalidate >= before.proxy_revalidate);
            for (before, after) in [
                (before.max_age, after.max_age),
                (before.s_maxage, after.s_maxage),
                (before.stale_while_revalidate, after.stale_while_revalidate),
                (before.stale_if_error, after.stale_if_error),
            ] {
                assert!(before.is_none_or(|before| after.is_some_and(|after| after <= before)));
            }
            for (before, after) in [
                (&before.no_cache, &after.no_cache),
                (&before.private, &after.private),
            ] {
                match before {
                    Scope::Absent => {}
                    Scope::Whole => assert_eq!(after, &Scope::Whole),
                    Scope::Fields(names) => match after {
                        Scope::Fields(more) => assert!(names.iter().all(|it| more.contains(it))),
                        other => assert_eq!(other, &Scope::Whole),
                    },
                }
            }
        }
        before = Some(after);
    }
    let mut shouted = HeaderMap::new();
    for line in &lines {
        if let Ok(line) = HeaderValue::from_bytes(&line.as_bytes().to_ascii_uppercase()) {
            shouted.append(CACHE_CONTROL, line);
        }
    }
    assert_eq!(
        CacheControl::of_field(&shouted, &CACHE_CONTROL),
        before.unwrap_or_default()
    );
}

/// A date: what can be read is written and read back as the same, and case does not matter.
pub fn dates(data: &[u8]) {
    let read = date::parse(data);
    assert_eq!(date::parse(&data.to_ascii_lowercase()), read);
    assert_eq!(date::parse(&data.to_ascii_uppercase()), read);
    if let Some(time) = read {
        let written = httpdate::fmt_http_date(time);
        assert_eq!(date::parse(written.as_bytes()), read, "{written}");
    }
}

/// A length of eight bytes, then lines: `Range`, `If-Range`, `ETag`, `Last-Modified`. What is chosen lies within the
/// object, and several parts do not overlap.
pub fn ranges(data: &[u8]) {
    let Some((length, text)) = data.split_first_chunk::<8>() else {
        return;
    };
    let length = u64::from_be_bytes(*length);
    let mut lines = field_lines(text).into_iter();
    let mut request = HeaderMap::new();
    let mut stored = HeaderMap::new();
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(date)) {
        stored.insert(DATE, date);
    }
    for (name, to_origin) in [
        (RANGE, true),
        (IF_RANGE, true),
        (ETAG, false),
        (LAST_MODIFIED, false),
    ] {
        let fields = if to_origin { &mut request } else { &mut stored };
        match lines.next() {
            Some(line) if !line.is_empty() => fields.append(name, line),
            _ => continue,
        };
    }
    match range::part(&Method::GET, &request, StatusCode::OK, &stored, length) {
        Part::Whole | Part::Unsatisfiable => {}
        Part::Bytes(range) => assert!(range.start < range.end && range.end <= length),
        Part::Several(ranges) => {
            assert!(ranges.len() > 1);
            let mut sorted = ranges.clone();
            sorted.sort_unstable_by_key(|range| range.start);
            assert!(sorted.windows(2).all(|pair| pair[0].end <= pair[1].start));
            for range in &ranges {
                assert!(range.start < range.end && range.end <= length);
            }
            // The sum of parts that do not overlap is at most the object; heads come on top.
            if length < u64::MAX / 2 {
                let parts = Multipart::new("b", None, ranges, length);
                let sum: u64 = parts
                    .parts
                    .iter()
                    .map(|(head, range)| head.len() as u64 + range.end - range.start)
                    .sum();
                assert_eq!(parts.length_bytes, sum + parts.end.len() as u64);
            }
        }
    }
}

/// `Vary` in the first line, then values of the request's fields in turn. A request matches what it selected, values
/// in normal form stay as they are, and a directory keeps its bounds and its encoding whatever it is read from.
pub fn vary(data: &[u8]) {
    let decoded = Directory::decode(data);
    assert_eq!(Directory::decode(&decoded.encode()), decoded);
    let mut lines = field_lines(data).into_iter();
    let mut answer = HeaderMap::new();
    if let Some(line) = lines.next() {
        answer.append(VARY, line);
    }
    let Vary::Fields(names) = Vary::of_response(&answer) else {
        return;
    };
    let mut request = HeaderMap::new();
    for (name, value) in names.iter().cycle().zip(lines) {
        request.append(name.clone(), value);
    }
    let selection = vary::selection(&request, &names);
    assert!(vary::matches(&selection, &request));
    for (name, value) in &selection {
        let Some(value) = value else { continue };
        let mut normal = HeaderMap::new();
        if let Ok(line) = HeaderValue::from_bytes(value) {
            normal.insert(name.clone(), line);
            assert_eq!(vary::selected(&normal, name).as_ref(), Some(value));
        }
    }
    let key = vary::variant_key(b"primary", &names, &request);
    let mut directory = decoded;
    for gone in directory.add(&names, &key) {
        assert!(!directory.variants().any(|variant| *variant == gone));
    }
    assert!(directory.holds(&names, &key));
    assert!(directory.keys(b"primary", &request).any(|it| it == key));
}

/// A field for CDNs, a line per line. Where it does not count, `Cache-Control` does, and it never makes an age that
/// is out of bounds.
pub fn structured_fields(data: &[u8]) {
    let mut fields = HeaderMap::new();
    for line in field_lines(data) {
        fields.append(HeaderName::from_static("cdn-cache-control"), line);
    }
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=77"));
    let directives = CacheControl::of_response(&fields);
    for age_s in [directives.max_age, directives.s_maxage] {
        assert!(age_s.is_none_or(|age_s| age_s <= AGE_MAX_S));
    }
    match targeted::directives(&fields) {
        Some(targeted) => assert_eq!(directives, targeted),
        None => assert_eq!(directives.max_age, Some(77)),
    }
}

/// A URL. Its normal form is the normal form of itself, holds no dot segment and only bytes that a URL may hold, and
/// purges find what requests make.
pub fn urls(data: &[u8]) {
    let Ok(site) = site_file::any_host(&["1".to_owned()]) else {
        return;
    };
    let rules = &site.rules;
    let text = String::from_utf8_lossy(data);
    if let Ok(authority) = Authority::parse(&text, true) {
        let again = Authority::parse(authority.as_str(), true);
        assert_eq!(again.as_ref(), Ok(&authority), "{text}");
    }
    let Ok(uri) = Uri::try_from(data) else { return };
    let Ok(target) = Target::normalise(&uri, rules) else {
        return;
    };
    let normal = target.path_and_query().as_str();
    assert!(
        normal
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#'),
        "{normal}"
    );
    assert!(
        !target
            .path()
            .split('/')
            .any(|segment| matches!(segment, "." | "..")),
        "{normal}"
    );
    if target.path().starts_with('/') {
        let uri = Uri::try_from(normal).expect("a normal form is a URL");
        let again = Target::normalise(&uri, rules).expect("a normal form can be normalised");
        assert_eq!(again.path_and_query().as_str(), normal);
        let url = format!("https://host.example{normal}");
        let identity = target.identity("host.example");
        assert_eq!(identity_of_url(&url, rules), Some(identity));
    }
}

/// Lines that can be field values.
fn field_lines(data: &[u8]) -> Vec<HeaderValue> {
    data.split(|byte| *byte == b'\n')
        .take(64)
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    /// Changed seeds per law: seconds, where `tests/fuzz` takes minutes.
    const CHANGED: usize = 20_000;

    /// Bytes that mean something to one reader or another.
    const WORDS: [&[u8]; 24] = [
        b",",
        b";",
        b"=",
        b"\"",
        b"\\",
        b"-",
        b"*",
        b"%2e",
        b"%",
        b"/",
        b"/../",
        b"?",
        b"&",
        b":",
        b"W/",
        b" ",
        b"\t",
        b"\n",
        b"0",
        b"99999999999999999999",
        b"max-age",
        b"no-cache",
        b"bytes=",
        b"GMT",
    ];

    fn seeds(law: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus");
        let files = std::fs::read_dir(folder.join(law)).expect("every law has seeds");
        files
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .collect()
    }

    /// One of the seeds, with one to four changes.
    fn changed(seeds: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
        let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
        for _ in 0..random.random_range(1..=4) {
            let at = random.random_range(0..=bytes.len());
            match random.random_range(0..5) {
                0 if at < bytes.len() => bytes[at] = random.random(),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => {
                    let word = WORDS[random.random_range(0..WORDS.len())];
                    drop(bytes.splice(at..at, word.iter().copied()));
                }
                3 => {
                    let other = &seeds[random.random_range(0..seeds.len())];
                    let from = random.random_range(0..=other.len());
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
                _ => bytes.truncate(at),
            }
        }
        bytes
    }

    #[test]
    fn the_laws_hold_for_seeds_and_changed_seeds() {
        for (name, law) in LAWS {
            let seeds = seeds(name);
            assert!(seeds.len() >= 5, "{name}");
            let mut random = StdRng::seed_from_u64(9111);
            let changed = (0..CHANGED).map(|_| changed(&seeds, &mut random));
            for bytes in seeds.iter().cloned().chain(changed) {
                let held = std::panic::catch_unwind(|| law(&bytes));
                assert!(
                    held.is_ok(),
                    "{name}: {:?}",
                    bytes.escape_ascii().to_string()
                );
            }
        }
    }
}
