//! Where the responses of one URL live that answer different requests (RFC 9111 §4.1), and how they are found.
//!
//! The primary key is for what has the URL to itself, as far as is known: one response without `Vary`, or the first of
//! those that are chosen by the same fields. A request that it matches looks no further. So nothing else that could
//! match the same request may be stored beside it, but one without `Vary`, which comes after all that have one: the most
//! recent of several that match is to be used (§4), and a lookup of one key could not tell. Once answers come that are
//! chosen by other fields, the one under the primary key moves to a key of its own, as all later ones do.

use std::time::SystemTime;

use http::header::{DATE, HeaderName};
use http::{HeaderMap, StatusCode};
use nearside_cache_store::{Fill, Key};

use super::Proxy;
use super::admit::Ask;
use super::date::date;
use super::fill::Place;
use super::lookup::Stored;
use super::meta::HttpMeta;
use super::parts::{self, object_of};
use super::vary::{self, Directory};

impl Proxy {
    /// Where an answer is found by the requests that it matches. A question goes out before it is known by what its
    /// answer is chosen, so its place may be that of other fields, or of none.
    pub(super) async fn right_place(&self, ask: &Ask, place: &Place, meta: &HttpMeta) -> Place {
        let fields = fields_of(meta);
        let variant = || vary::variant_key(place.primary.whole(), &fields, &ask.headers);
        let primary = || place.primary.whole().to_vec();
        let key = if meta.status == StatusCode::PARTIAL_CONTENT {
            let object = if fields.is_empty() {
                primary()
            } else {
                variant()
            };
            self.part_key(&object, &meta.head)
        } else {
            let directory = self.directory(&place.primary).await;
            let own = place.key.whole();
            // Without Vary: nothing but what it takes the place of is there. With it: all is chosen by the same fields.
            let alone = match fields.is_empty() {
                true => directory.variants().all(|variant| variant == own),
                false => place.key == place.primary && directory.is_chosen_by(&fields),
            };
            alone.then(|| place.primary.clone())
        };
        Place {
            primary: place.primary.clone(),
            key: key.unwrap_or_else(|| self.store.key(variant())),
        }
    }

    /// Notes in the directory where a fresh response was put, so that the next request finds it; takes out what the
    /// bound on variants pushes out, and what it `replaces`. Called before the entry is committed.
    pub(super) async fn note_variant(
        &self,
        place: &Place,
        meta: &HttpMeta,
        replaces: Option<&Stored>,
    ) {
        let selection = &fields_of(meta)[..];
        let partial = meta.status == StatusCode::PARTIAL_CONTENT;
        if partial && selection.is_empty() {
            // It is found on the list of parts, and chases nobody off.
            return;
        }
        let key = match partial {
            // A part is listed by itself; here is noted by which fields its object is found.
            true => object_of(place.key.whole()),
            false => place.key.whole().clone(),
        };
        if key != *place.primary.whole() && !selection.is_empty() {
            self.make_room(&place.primary, selection).await;
        }
        let gone = self
            .change_directory(&place.primary, |directory| {
                let variants = if selection.is_empty() && key == *place.primary.whole() {
                    // It has the URL to itself.
                    if directory.is_empty() {
                        return None;
                    }
                    directory.take_variants()
                } else if directory.holds(selection, &key) {
                    return None;
                } else {
                    directory.add(selection, &key)
                };
                let of_them = |held: &mut parts::Held| variants.contains(&held.object);
                let parts: Vec<_> = directory.parts.extract_if(.., of_them).collect();
                Some((variants, parts))
            })
            .await;
        // One without Vary stays for the requests that this one does not answer.
        if let Some(replaced) = replaces
            && !partial
            && replaced.key().whole() != &key
            && (selection.is_empty() || !replaced.meta().selection.is_empty())
        {
            self.store.remove(replaced.key());
        }
        let Some((variants, parts)) = gone else {
            return;
        };
        for held in parts {
            self.store.remove(&self.store.key(held.key()));
        }
        for whole in variants {
            if whole != key && whole != *place.primary.whole() {
                self.store.remove(&self.store.key(whole));
            }
        }
    }

    /// Moves what lives under the primary key, and is chosen by other fields than these, to a key of its own. It costs a
    /// copy, once for a URL; where that does not succeed it is fetched again.
    async fn make_room(&self, primary: &Key, fields: &[HeaderName]) {
        let Some(entry) = self.store.lookup(primary).await else {
            return;
        };
        let own = fields_of(entry.meta());
        if own.is_empty() || own == fields {
            return;
        }
        let whole = vary::key_of(primary.whole(), &entry.meta().selection);
        self.copy(&entry, &self.store.key(whole.clone())).await;
        self.change_directory(primary, |directory| {
            directory.rename(primary.whole(), &whole);
            Some(())
        })
        .await;
        self.store.remove(primary);
    }

    async fn copy(&self, entry: &Stored, key: &Key) {
        let (meta, length) = (entry.meta().clone(), entry.body_bytes());
        let Fill::Lead(mut writer) = self.store.fill(key, None, |_| false, meta.fill_index) else {
            return;
        };
        writer.head(meta, Some(length));
        if length > 0 {
            let Ok(mut reader) = self.store.read(entry, 0..length).await else {
                return;
            };
            while let Some(piece) = reader.next().await {
                let Ok(piece) = piece else { return };
                if writer.write(piece).await.is_err() {
                    return;
                }
            }
        }
        if let Err(error) = writer.finish() {
            tracing::debug!(%error, "a variant was not moved");
        }
    }

    /// What of a directory answers a request: one with `Vary` before one without, then the most recent (§4.1). The
    /// keys where it could be, and is not, come beside it: the first is where a fetch goes.
    pub(super) async fn best_variant(
        &self,
        ask: &Ask,
        primary: &Key,
        directory: &Directory,
    ) -> (Option<Key>, Option<(Key, Stored)>) {
        let mut best: Option<(Rank, Key, Stored)> = None;
        let mut first = None;
        for whole in directory.keys(primary.whole(), &ask.headers) {
            let key = self.store.key(whole);
            first.get_or_insert_with(|| key.clone());
            let Some(entry) = self.store.lookup(&key).await else {
                continue;
            };
            if !vary::matches(&entry.meta().selection, &ask.headers) {
                continue;
            }
            let rank = rank(entry.meta());
            if best.as_ref().is_none_or(|(best, ..)| rank > *best)
                && let Some((entry, _)) = self.usable(ask, entry)
            {
                best = Some((rank, key, entry));
            }
        }
        (first, best.map(|(_, key, entry)| (key, entry)))
    }
}

/// By which of several is chosen.
pub(super) type Rank = (bool, SystemTime);

pub(super) fn rank(meta: &HttpMeta) -> Rank {
    let generated = date(&meta.head, DATE).unwrap_or(meta.freshness.response_time);
    (!meta.selection.is_empty(), generated)
}

/// By what a response is chosen.
pub(super) fn fields_of(meta: &HttpMeta) -> Vec<HeaderName> {
    names(&meta.selection)
}

/// By what an answer that updates a stored one is chosen, for the request that got it. None when nothing is chosen by it
/// any more.
#[must_use]
pub(super) fn selection_after(
    vary: &vary::Vary,
    old: &[(HeaderName, Option<Vec<u8>>)],
    request: &HeaderMap,
) -> Option<Vec<(HeaderName, Option<Vec<u8>>)>> {
    match vary {
        vary::Vary::Nothing => Some(Vec::new()),
        vary::Vary::Fields(fields) if *fields == names(old) => Some(old.to_vec()),
        vary::Vary::Fields(fields) => Some(vary::selection(request, fields)),
        vary::Vary::Anything => None,
    }
}

fn names(selection: &[(HeaderName, Option<Vec<u8>>)]) -> Vec<HeaderName> {
    selection.iter().map(|(name, _)| name.clone()).collect()
}
