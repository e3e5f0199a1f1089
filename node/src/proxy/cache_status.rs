//! `Cache-Status` (RFC 9211): one member per cache that handled the answer, ours last.

use super::outcome::{Outcome, Passage};

/// A node's name as it begins our member: a token where it is one, else a string (RFC 8941 §3.3).
#[must_use]
pub(super) fn name(node: &str) -> Box<str> {
    let mut text = String::with_capacity(node.len());
    write_node(&mut text, node);
    text.into()
}

/// Writes our member of the list: `NODE; hit; ttl=…` or `NODE; fwd=miss; fwd-status=200; stored; collapsed`.
///
/// `name` is what [`name`] made of the node's.
pub(super) fn write(text: &mut String, name: &str, passage: &Passage) {
    text.push_str(name);
    match passage.fwd {
        // Neither found nor asked for.
        None if matches!(passage.outcome, Outcome::Own(_)) => {}
        None => text.push_str("; hit"),
        Some(fwd) => {
            text.push_str("; fwd=");
            text.push_str(fwd.word());
            if let Some(status) = passage.fwd_status {
                text.push_str("; fwd-status=");
                text.push_str(status.as_str());
            }
        }
    }
    if let Some(ttl_s) = passage.ttl_s {
        text.push_str("; ttl=");
        text.push_str(itoa::Buffer::new().format(ttl_s));
    }
    if passage.stored {
        text.push_str("; stored");
    }
    if passage.collapsed {
        text.push_str("; collapsed");
    }
    let detail = match passage.outcome {
        Outcome::StaleIfError => Some("stale-if-error"),
        Outcome::Uncacheable(refusal) | Outcome::Bypass(refusal) => Some(refusal.word()),
        Outcome::Own(own) => Some(own.word()),
        _ => passage.detail,
    };
    if let Some(detail) = detail {
        text.push_str("; detail=");
        text.push_str(detail);
    }
}

/// Our member with the key beside what it says (RFC 9211 §2.7).
#[must_use]
pub(super) fn with_key(member: &str, key: &str) -> String {
    let mut text = String::with_capacity(member.len() + key.len() + 10);
    text.push_str(member);
    text.push_str("; key=");
    write_string(&mut text, key);
    text
}

fn write_node(text: &mut String, node: &str) {
    let starts_well = node.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*');
    let token = node
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte));
    if starts_well && token {
        text.push_str(node);
        return;
    }
    write_string(text, node);
}

/// A string of RFC 8941 §3.3.3; what cannot stand in one is left out.
fn write_string(text: &mut String, string: &str) {
    text.push('"');
    for c in string.chars().filter(|c| matches!(c, ' '..='~')) {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::super::outcome::{Fwd, Own, Refusal};
    use super::*;
    use http::StatusCode;

    fn member(node: &str, passage: &Passage) -> String {
        let mut text = String::new();
        write(&mut text, &name(node), passage);
        text
    }

    #[test]
    fn a_key_is_a_string_whatever_is_in_it() {
        let shown = with_key("lon1; hit; ttl=9", "https a /\"b\\c\u{e9}");
        assert_eq!(shown, "lon1; hit; ttl=9; key=\"https a /\\\"b\\\\c\"");
    }

    #[test]
    fn each_way_of_answering_has_its_line() {
        let hit = Passage {
            ttl_s: Some(30),
            ..Passage::new(Outcome::Hit)
        };
        assert_eq!(member("lon1", &hit), "lon1; hit; ttl=30");
        let miss = Passage {
            fwd: Some(Fwd::Miss),
            fwd_status: Some(StatusCode::OK),
            stored: true,
            collapsed: true,
            ..Passage::new(Outcome::Miss)
        };
        assert_eq!(
            member("lon1", &miss),
            "lon1; fwd=miss; fwd-status=200; stored; collapsed"
        );
        let private = Passage {
            fwd: Some(Fwd::Miss),
            fwd_status: Some(StatusCode::OK),
            ..Passage::new(Outcome::Uncacheable(Refusal::Private))
        };
        assert_eq!(
            member("lon1", &private),
            "lon1; fwd=miss; fwd-status=200; detail=private"
        );
        let own = Passage::new(Outcome::Own(Own::OnlyIfCached));
        assert_eq!(member("lon1", &own), "lon1; detail=only-if-cached");
        let stale = Passage {
            fwd: Some(Fwd::Stale),
            ttl_s: Some(-3),
            ..Passage::new(Outcome::StaleIfError)
        };
        assert_eq!(
            member("1 a\"b", &stale),
            "\"1 a\\\"b\"; fwd=stale; ttl=-3; detail=stale-if-error"
        );
    }
}
