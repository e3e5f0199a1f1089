//! What purges cost a hit: the verdict on an entry with ten tags, among a million live tags, after no purge, one, and
//! ten thousand purges by tag; and what a purge itself costs the book.
//!
//! `cargo bench -p nearside-node --bench purges`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::HeaderName;
use nearside_cluster::{PurgeScope, SitePurges};
use nearside_node::view::{Checked, Identity, PurgeBook, PurgeVerdict, TagSet};

const ENTRIES: usize = 100_000;
const TAGS_EACH: usize = 10;

struct Entry {
    url: String,
    tags: TagSet,
    fill_index: u64,
    checked: Checked,
}

/// A million tags, no two alike.
fn entries() -> Vec<Entry> {
    let entry = |number: usize| {
        let tags = (0..TAGS_EACH).map(|tag| format!("article-{number}-{tag}").into());
        Entry {
            url: format!("shop.example/articles/{number}"),
            tags: TagSet {
                fields: Box::new([(HeaderName::from_static("cache-tag"), tags.collect())]),
                every: false,
            },
            // What the floor has absorbed of ten thousand purges is older.
            fill_index: 8_000,
            checked: Checked::default(),
        }
    };
    (0..ENTRIES).map(entry).collect()
}

/// A site after these purges by tag, none of which is of an entry.
fn purged(count: u64) -> (PurgeBook, Arc<SitePurges>) {
    let mut purges = SitePurges::default();
    for number in 0..count {
        // The last is the newest of all, so that there is one that no entry was checked for.
        let index = 10_000 - (count - 1 - number);
        purges.add(&PurgeScope::Tag(format!("section-{number}")), index, false);
    }
    let (book, purges) = (PurgeBook::default(), Arc::new(purges));
    book.set_all(std::iter::once(("shop", &purges)), 0);
    (book, purges)
}

fn verdict(book: &PurgeBook, entry: &Entry, checked: &Checked) -> PurgeVerdict {
    let identity = Identity {
        site: "shop",
        url: &entry.url,
        tags: Some(&entry.tags),
    };
    book.verdict_of_entry(identity, entry.fill_index, checked)
}

fn purges(criterion: &mut Criterion) {
    let entries = entries();
    for count in [0, 1, 10_000] {
        let (book, _) = purged(count);
        let mut next = entries.iter().cycle();
        let mut entry = move || next.next().expect("a cycle has no end");
        for entry in &entries {
            assert_eq!(verdict(&book, entry, &entry.checked), PurgeVerdict::Usable);
        }
        criterion.bench_function(
            &format!("{count} purges, entry checked before"),
            |bencher| {
                bencher.iter(|| {
                    let entry = entry();
                    black_box(verdict(&book, entry, &entry.checked))
                });
            },
        );
        let (book, _) = purged(count);
        let mut next = entries.iter().cycle();
        let mut entry = move || next.next().expect("a cycle has no end");
        criterion.bench_function(&format!("{count} purges, entry not checked"), |bencher| {
            bencher.iter_batched(
                || (entry(), Checked::default()),
                |(entry, checked)| black_box(verdict(&book, entry, &checked)),
                BatchSize::SmallInput,
            );
        });
    }
    let (book, purges) = purged(10_000);
    let scope = PurgeScope::Tag("section-1".to_owned());
    let mut index = 10_000;
    criterion.bench_function("the book takes over a purge", |bencher| {
        bencher.iter(|| {
            index += 1;
            book.purged("shop", &scope, index, &purges);
        });
    });
    criterion.bench_function("the state adds a purge to a shared table", |bencher| {
        let mut shared = Arc::clone(&purges);
        bencher.iter(|| {
            index += 1;
            let keep = Arc::clone(&shared);
            Arc::make_mut(&mut shared).add(&scope, index, false);
            drop(keep);
        });
    });
}

criterion_group!(benches, purges);
criterion_main!(benches);
