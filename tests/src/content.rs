//! Bodies that prove what they are: a name, a version and a length give the same bytes everywhere, so a client can
//! tell a right body from a wrong one without asking anybody.

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// The field in which origins of the lab say `name;version;length` of what they send.
pub(crate) const CONTENT_FIELD: &str = "x-content";

/// The bytes that `name` (a path and query) has in `version`.
#[must_use]
pub fn content(name: &str, version: u64, length: usize) -> Bytes {
    let seed = Sha256::digest(format!("{name};{version};{length}"));
    let mut word = [0; 8];
    word.copy_from_slice(&seed[..8]);
    let mut state = u64::from_le_bytes(word) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // xorshift64*: cheap, and no two seeds share a stream in any length used here.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// What is wrong with a whole body that was asked for as `path`; none: it is what the origin sent. `said` is the
/// `x-content` field.
#[must_use]
pub fn content_fault(path: &str, said: Option<&str>, body: &[u8]) -> Option<String> {
    let Some(said) = said else {
        return Some("no x-content field".to_owned());
    };
    let parts: Vec<&str> = said.split(';').collect();
    let [name, version, length] = parts[..] else {
        return Some(format!("unreadable x-content: {said}"));
    };
    let (Ok(version), Ok(length)) = (version.parse(), length.parse::<usize>()) else {
        return Some(format!("unreadable x-content: {said}"));
    };
    if name != path {
        return Some(format!("asked for {path}, got {name}"));
    }
    if body.len() != length {
        return Some(format!("{} bytes of {length}", body.len()));
    }
    (body != content(name, version, length)).then(|| format!("wrong bytes for {said}"))
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_short_or_swapped_body_is_seen() {
        let body = content("/a", 1, 100);
        assert_eq!(content_fault("/a", Some("/a;1;100"), &body), None);
        assert!(content_fault("/b", Some("/a;1;100"), &body).is_some());
        assert!(content_fault("/a", Some("/a;2;100"), &body).is_some());
        assert!(content_fault("/a", Some("/a;1;100"), &body[..99]).is_some());
        assert!(content_fault("/a", None, &body).is_some());
    }
}
