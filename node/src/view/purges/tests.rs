use http::HeaderName;
use proptest::prelude::*;

use super::*;

fn of<'a>(url: &'a str, tags: Option<&'a TagSet>) -> Identity<'a> {
    Identity {
        site: "shop",
        url,
        tags,
    }
}

fn tags(names: &[&str]) -> TagSet {
    let names = names.iter().map(|name| (*name).into()).collect();
    TagSet {
        fields: Box::new([(HeaderName::from_static("cache-tag"), names)]),
        every: false,
    }
}

fn url(text: &str) -> PurgeScope {
    PurgeScope::Url(text.to_owned())
}

fn tag(name: &str) -> PurgeScope {
    PurgeScope::Tag(name.to_owned())
}

#[test]
fn an_entry_is_gone_once_a_matching_purge_is_newer() {
    let book = PurgeBook::default();
    let none = TagSet::default();
    let page = of("shop.example/a", Some(&none));
    let other = of("shop.example/b", Some(&none));
    assert_eq!(book.verdict(page, 0), PurgeVerdict::Usable);
    book.purge("shop", &url("shop.example/a"), 5, false);
    assert_eq!(book.verdict(page, 4), PurgeVerdict::Gone);
    assert_eq!(book.verdict(page, 5), PurgeVerdict::Usable);
    assert_eq!(book.verdict(other, 4), PurgeVerdict::Usable);
    book.purge("shop", &PurgeScope::All, 7, true);
    assert_eq!(book.verdict(other, 6), PurgeVerdict::Stale);
    assert_eq!(book.verdict(page, 4), PurgeVerdict::Gone);
    assert_eq!(book.verdict(page, 7), PurgeVerdict::Usable);
}

#[test]
fn prefixes_are_of_the_path_or_of_one_hosts() {
    let book = PurgeBook::default();
    let none = TagSet::default();
    let verdict = |url, index| book.verdict(of(url, Some(&none)), index);
    book.purge("shop", &PurgeScope::Prefix("/blog/".into()), 5, false);
    book.purge("shop", &PurgeScope::Prefix("de.example/a".into()), 6, true);
    assert_eq!(verdict("shop.example/blog/1?x", 4), PurgeVerdict::Gone);
    assert_eq!(verdict("de.example/blog/", 4), PurgeVerdict::Gone);
    assert_eq!(verdict("shop.example/blog", 4), PurgeVerdict::Usable);
    assert_eq!(verdict("shop.example/blog/1", 5), PurgeVerdict::Usable);
    assert_eq!(verdict("de.example/ab", 5), PurgeVerdict::Stale);
    assert_eq!(verdict("shop.example/ab", 5), PurgeVerdict::Usable);
}

#[test]
fn a_tag_reaches_what_carries_it_and_what_may() {
    let book = PurgeBook::default();
    let (both, one) = (tags(&["news", "article-7"]), tags(&["news"]));
    book.purge("shop", &tag("article-7"), 5, false);
    book.purge("shop", &tag("news"), 4, true);
    assert_eq!(book.verdict(of("a", Some(&both)), 4), PurgeVerdict::Gone);
    assert_eq!(book.verdict(of("a", Some(&one)), 3), PurgeVerdict::Stale);
    assert_eq!(book.verdict(of("a", Some(&one)), 4), PurgeVerdict::Usable);
    let every = TagSet {
        every: true,
        ..TagSet::default()
    };
    assert_eq!(book.verdict(of("a", Some(&every)), 4), PurgeVerdict::Gone);
    assert_eq!(book.verdict(of("a", Some(&every)), 5), PurgeVerdict::Usable);
    // A running fill's tags are not known before its head is.
    assert_eq!(book.verdict(of("a", None), 4), PurgeVerdict::Gone);
    assert_eq!(book.verdict(of("a", None), 5), PurgeVerdict::Usable);
    let untagged = TagSet::default();
    assert_eq!(
        book.verdict(of("a", Some(&untagged)), 0),
        PurgeVerdict::Usable
    );
}

#[test]
fn what_was_checked_is_checked_again_for_the_next_purge_only() {
    let book = PurgeBook::default();
    let (checked, tagged) = (Checked::default(), tags(&["news"]));
    let entry = of("shop.example/a", Some(&tagged));
    let verdict = || book.verdict_of_entry(entry, 1, &checked);
    let seen = || checked.0.load(Ordering::Relaxed);
    assert_eq!((verdict(), seen()), (PurgeVerdict::Usable, 0));
    book.purge("shop", &tag("sports"), 5, false);
    assert_eq!((verdict(), seen()), (PurgeVerdict::Usable, 5));
    book.purge("other", &PurgeScope::All, 8, false);
    assert_eq!((verdict(), seen()), (PurgeVerdict::Usable, 8));
    // Matches again are found though they are older than what was seen of others.
    book.purge("shop", &tag("news"), 9, true);
    assert_eq!((verdict(), seen()), (PurgeVerdict::Stale, 8));
    assert_eq!(verdict(), PurgeVerdict::Stale);
    book.purge("shop", &url("shop.example/a"), 10, false);
    assert_eq!((verdict(), seen()), (PurgeVerdict::Gone, 8));
    // A copy, as a 304 makes it, has been checked by nobody.
    assert_eq!(checked.clone().0.load(Ordering::Relaxed), 0);
}

/// A purge of a small world, so that purges and entries meet.
fn some_purge() -> impl Strategy<Value = (PurgeScope, bool)> {
    let scope = prop_oneof![
        1 => Just(PurgeScope::All),
        4 => "(h|g)/(a|ab|b)".prop_map(PurgeScope::Url),
        3 => "(h|g)?/(a|b)?".prop_map(PurgeScope::Prefix),
        4 => "(t|u|v)".prop_map(PurgeScope::Tag),
    ];
    (scope, any::<bool>())
}

/// Does it match, said as plainly as can be?
fn matches(scope: &PurgeScope, url: &str, named: &[&str]) -> bool {
    match scope {
        PurgeScope::All => true,
        PurgeScope::Url(purged) => purged == url,
        PurgeScope::Prefix(prefix) if prefix.starts_with('/') => url[1..].starts_with(prefix),
        PurgeScope::Prefix(prefix) => url.starts_with(prefix),
        PurgeScope::Tag(tag) => named.contains(&tag.as_str()),
    }
}

proptest! {
    /// Whatever was purged and looked at in between, an entry is what the purges after its fill make of it.
    #[test]
    fn the_book_says_what_the_list_of_purges_says(
        purges in prop::collection::vec(some_purge(), 0..20),
        entries in prop::collection::vec(("(h|g)/(a|ab|b)", 0_u8..8, 0_u64..20), 1..8),
        looks in prop::collection::vec(any::<bool>(), 20),
    ) {
        let book = PurgeBook::default();
        let named = |bits: u8| -> Vec<&str> {
            let all = ["t", "u", "v"].into_iter().enumerate();
            all.filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, tag)| tag).collect()
        };
        let held: Vec<_> = entries
            .iter()
            .map(|(url, bits, fill)| (url, named(*bits), *fill, tags(&named(*bits)), Checked::default()))
            .collect();
        for applied in 0..=purges.len() {
            if applied > 0 {
                let (scope, soft) = &purges[applied - 1];
                book.purge("shop", scope, applied as u64, *soft);
            }
            if !looks[applied % looks.len()] && applied < purges.len() {
                continue;
            }
            for (url, named, fill, set, checked) in &held {
                let after = (*fill as usize).min(applied);
                let newer = purges[after..applied].iter();
                let met: Vec<bool> = newer
                    .filter(|(scope, _)| matches(scope, url, named))
                    .map(|(_, soft)| *soft)
                    .collect();
                let expected = if met.contains(&false) {
                    PurgeVerdict::Gone
                } else if met.is_empty() {
                    PurgeVerdict::Usable
                } else {
                    PurgeVerdict::Stale
                };
                let entry = of(url, Some(set));
                prop_assert_eq!(book.verdict(entry, *fill), expected);
                prop_assert_eq!(book.verdict_of_entry(entry, *fill, checked), expected);
            }
        }
    }
}
