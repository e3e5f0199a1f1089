//! Changes of header fields on their way, as operators write them: `set`, `add`, `remove`.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use siphasher::sip::SipHasher13;

use super::policy::Value;

/// What is done to one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// It has this value, whatever it had.
    Set(HeaderValue),
    /// These lines come beside what it has.
    Add(Vec<HeaderValue>),
    /// It goes.
    Remove,
}

/// What is done to fields; each is named once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits(pub Vec<(HeaderName, Edit)>);

impl Edits {
    /// Does it.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, edit) in &self.0 {
            match edit {
                Edit::Set(value) => {
                    headers.insert(name.clone(), value.clone());
                }
                Edit::Add(values) => {
                    for value in values {
                        headers.append(name.clone(), value.clone());
                    }
                }
                Edit::Remove => {
                    headers.remove(name);
                }
            }
        }
    }
}

impl Value for Edits {
    /// Values may be secrets between edge and origin: they are told apart, and not shown.
    fn shown(&self) -> String {
        let mut text = String::new();
        for (name, edit) in &self.0 {
            let separator = if text.is_empty() { "" } else { ", " };
            let (verb, values) = match edit {
                Edit::Set(value) => ("set", std::slice::from_ref(value)),
                Edit::Add(values) => ("add", &values[..]),
                Edit::Remove => ("remove", &[][..]),
            };
            let mut bytes = Vec::new();
            for value in values {
                bytes.extend_from_slice(value.as_bytes());
                bytes.push(0);
            }
            // Writing into memory does not fail.
            let written = match values {
                [] => write!(text, "{separator}{verb} {name}"),
                _ => write!(
                    text,
                    "{separator}{verb} {name} (#{:08x})",
                    SipHasher13::new().hash(&bytes) as u32
                ),
            };
            if written.is_err() {
                break;
            }
        }
        text
    }

    /// A later rule speaks of the fields that it names.
    fn overrule(&mut self, later: &Self) {
        self.0
            .retain(|(name, _)| later.0.iter().all(|(other, _)| other != name));
        self.0.extend(later.0.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(list: &[(&'static str, Edit)]) -> Edits {
        let named =
            |(name, edit): &(&'static str, Edit)| (HeaderName::from_static(name), edit.clone());
        Edits(list.iter().map(named).collect())
    }

    fn value(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[test]
    fn fields_are_set_added_and_removed() {
        let mut headers = HeaderMap::new();
        for (name, text) in [("x-a", "1"), ("x-a", "2"), ("x-b", "1"), ("x-c", "1")] {
            headers.append(name, value(text));
        }
        edits(&[
            ("x-a", Edit::Set(value("new"))),
            ("x-b", Edit::Add(vec![value("2"), value("3")])),
            ("x-c", Edit::Remove),
        ])
        .apply(&mut headers);
        let lines = |name| headers.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(lines("x-a"), ["new"]);
        assert_eq!(lines("x-b"), ["1", "2", "3"]);
        assert!(lines("x-c").is_empty());
    }

    #[test]
    fn a_later_rule_speaks_of_what_it_names() {
        let mut site = edits(&[("x-a", Edit::Remove), ("x-b", Edit::Remove)]);
        site.overrule(&edits(&[("x-a", Edit::Set(value("1")))]));
        assert_eq!(
            site,
            edits(&[("x-b", Edit::Remove), ("x-a", Edit::Set(value("1")))])
        );
    }

    #[test]
    fn values_are_told_apart_and_not_shown() {
        let (one, two) = (
            edits(&[("x-a", Edit::Set(value("secret")))]).shown(),
            edits(&[("x-a", Edit::Set(value("other")))]).shown(),
        );
        assert!(one.starts_with("set x-a (#") && !one.contains("secret"));
        assert_ne!(one, two);
    }
}
