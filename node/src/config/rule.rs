//! Rules: what they match, and what is in force where they do.
//!
//! Two phases. At admission the request is held against every rule ([`Rules::at_request`]); rules that ask for nothing
//! but the request are laid over the site's own policy in the order of the file. Those that ask for the answer's status
//! or type are kept in mind, and join when the answer is known, stored or fresh ([`Rules::at_response`]), each in its
//! place, so that a later rule wins key by key whatever it matches by.
//!
//! A site without rules pays nothing: its ruling is a word, and the policy is borrowed from the site. Where one rule
//! applies, which is the common case, the two are merged beforehand.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use siphasher::sip128::SipHasher24;

use super::pattern::Pattern;
use super::policy::{Acts, Policy};

/// What a rule matches: everything that is given has to hold; of a list one is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// Normalised paths, without the query.
    pub paths: Vec<Pattern>,
    /// Methods.
    pub methods: Vec<Method>,
    /// Request fields.
    pub fields: Vec<(HeaderName, FieldTest)>,
    /// Statuses of the answer.
    pub statuses: Vec<RangeInclusive<u16>>,
    /// Media types of the answer, lower case, without parameters.
    pub types: Vec<Pattern>,
}

/// What is asked of a request field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldTest {
    /// It is there.
    Present,
    /// It is not.
    Absent,
    /// One of its lines is covered by one of these.
    Like(Vec<Pattern>),
}

impl When {
    /// Does a request match, as far as it can tell?
    #[must_use]
    pub fn request(&self, method: &Method, path: &str, headers: &HeaderMap) -> bool {
        self.path(path)
            && (self.methods.is_empty() || self.methods.contains(method))
            && self.fields.iter().all(|(name, test)| match test {
                FieldTest::Present => headers.contains_key(name),
                FieldTest::Absent => !headers.contains_key(name),
                FieldTest::Like(patterns) => headers.get_all(name).iter().any(|line| {
                    let line = line.as_bytes();
                    patterns.iter().any(|pattern| pattern.covers_bytes(line))
                }),
            })
    }

    fn path(&self, path: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.covers(path))
    }

    /// Does an answer match?
    #[must_use]
    pub fn response(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        (self.statuses.is_empty()
            || (self.statuses.iter()).any(|range| range.contains(&status.as_u16())))
            && (self.types.is_empty() || {
                let kind = media_type(headers);
                self.types.iter().any(|pattern| pattern.covers(&kind))
            })
    }

    /// Is the answer needed to decide?
    #[must_use]
    pub fn asks_for_answer(&self) -> bool {
        !self.statuses.is_empty() || !self.types.is_empty()
    }

    /// Is more of the request asked for than its URL?
    #[must_use]
    pub fn asks_for_more_than_url(&self) -> bool {
        !self.methods.is_empty() || !self.fields.is_empty()
    }

    /// Does every request match, as far as it can tell?
    fn takes_every_request(&self) -> bool {
        self.paths.is_empty() && !self.asks_for_more_than_url()
    }
}

/// The answer's media type in lower case, without parameters; empty when it says none.
fn media_type(headers: &HeaderMap) -> Cow<'_, str> {
    let written = headers.get(CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
    let essence = written
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default();
    let essence = std::str::from_utf8(essence.trim_ascii()).unwrap_or_default();
    if essence.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(essence.to_ascii_lowercase())
    } else {
        Cow::Borrowed(essence)
    }
}

/// Keys of a site's policy with which a plain request is still answered out of memory in the shortest way: they have
/// their say when a response is stored, or through freshness and the normalised target, which that way asks as well. A
/// key that is not here bars it.
const PLAIN: [&str; 14] = [
    "ttl",
    "ttl_min",
    "ttl_max",
    "negative_ttl",
    "stale_while_revalidate",
    "stale_if_error",
    "client_directives",
    "compression",
    "headers.origin",
    "slice",
    "query_content",
    "key.query_drop",
    "key.query_keep",
    "key.query_sort",
];

/// A rule: what it matches, and what it says where it does.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its line in the site file.
    pub line: usize,
    /// What it matches.
    pub when: When,
    /// What it says.
    pub then: Policy,
}

/// A site's policy and its rules, prepared.
#[derive(Debug, Default)]
pub struct Rules {
    base: Policy,
    rules: Vec<Rule>,
    /// The site's policy with one rule laid over it.
    alone: Vec<Policy>,
    /// The keys of rules whose answers are stored apart.
    apart: Vec<Option<[u8; 16]>>,
    /// Rules that ask for the answer only: they are no concern of the request.
    every_answer: Vec<u16>,
    /// See [`Rules::is_plain`]: the site's own policy, and each rule.
    plain: (bool, Vec<bool>),
    /// Some rule asks for request fields.
    of_fields: bool,
    /// Some rule says something of the query.
    of_query: bool,
    /// Somewhere in the site more is in the key than the URL.
    divides: bool,
    /// Somewhere in the site the device's class is in the key, and the client's country.
    tells: (bool, bool),
}

/// What is in force for a request: cheap to copy, and to be read beside the site's [`Rules`].
#[derive(Clone, Debug, Default)]
pub struct Ruling(Chosen);

#[derive(Clone, Debug, Default)]
enum Chosen {
    /// The site's own policy.
    #[default]
    Base,
    /// With one rule.
    One(u16),
    /// With several, or with some that wait for the answer.
    Many(Arc<Many>),
}

#[derive(Debug)]
struct Many {
    /// In force, in order.
    rules: Vec<u16>,
    /// Wait for the answer, in order.
    waiting: Vec<u16>,
    policy: Policy,
}

/// What becomes of the query's parameters.
#[derive(Clone, Copy, Debug, Default)]
pub struct OfQuery<'a> {
    drop: &'a [Pattern],
    keep: Option<&'a [Pattern]>,
    sort: bool,
}

impl<'a> OfQuery<'a> {
    fn take(&mut self, policy: &'a Policy) {
        if let Some(names) = &policy.query_drop {
            self.drop = names;
        }
        if let Some(names) = &policy.query_keep {
            self.keep = Some(names);
        }
        if let Some(sort) = policy.query_sort {
            self.sort = sort;
        }
    }

    /// Does the query stay as it is?
    #[must_use]
    pub const fn changes_nothing(&self) -> bool {
        self.drop.is_empty() && self.keep.is_none() && !self.sort
    }

    /// Does a parameter of this name stay?
    #[must_use]
    pub fn keeps(&self, name: &str) -> bool {
        let named = |names: &[Pattern]| names.iter().any(|pattern| pattern.covers(name));
        self.keep.is_none_or(named) && !named(self.drop)
    }

    /// Are the parameters put in the order of their names?
    #[must_use]
    pub const fn sorts(&self) -> bool {
        self.sort
    }
}

const fn says_of_query(policy: &Policy) -> bool {
    policy.query_drop.is_some() || policy.query_keep.is_some() || policy.query_sort.is_some()
}

/// A key in force, and who says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// As in the site file.
    pub key: &'static str,
    /// In words.
    pub value: String,
    /// The rule that says it: its number, from one, and its line. None: a section of the site.
    pub rule: Option<(usize, usize)>,
}

impl Rules {
    /// Prepares. Of the rules no more may be given than `u16` can count.
    #[must_use]
    pub fn new(base: Policy, rules: Vec<Rule>) -> Self {
        let alone = rules.iter().map(|rule| {
            let mut policy = base.clone();
            policy.lay_over(&rule.then);
            policy
        });
        let alone = alone.collect();
        let apart: Vec<_> = rules.iter().map(apart).collect();
        let policies = || rules.iter().map(|rule| &rule.then).chain([&base]);
        let every_answer = (0..)
            .zip(&rules)
            .filter(|(_, rule)| rule.when.asks_for_answer() && rule.when.takes_every_request());
        let every_answer = every_answer.map(|(index, _)| index).collect();
        let of_query = rules.iter().any(|rule| says_of_query(&rule.then));
        let divides = apart.iter().any(Option::is_some) || policies().any(Policy::divides);
        let tells = (
            policies().any(|policy| policy.key_device == Some(true)),
            policies().any(|policy| policy.key_country == Some(true)),
        );
        let is_plain = |policy: &Policy| {
            let said = policy.said();
            said.iter().all(|said| PLAIN.contains(&said.key))
        };
        let plain_rules = rules.iter().zip(&apart);
        let plain_rules = plain_rules.map(|(rule, apart)| apart.is_none() && is_plain(&rule.then));
        let plain = (is_plain(&base), plain_rules.collect());
        let of_fields = rules.iter().any(|rule| !rule.when.fields.is_empty());
        Self {
            plain,
            of_fields,
            alone,
            apart,
            every_answer,
            of_query,
            divides,
            tells,
            base,
            rules,
        }
    }

    /// What is in force for a GET whose fields are not looked at; none where some rule asks for them.
    #[must_use]
    pub fn at_plain_request(&self, path: &str) -> Option<Ruling> {
        if self.rules.is_empty() {
            return Some(Ruling::default());
        }
        let ruling = || self.at_request(&Method::GET, path, &HeaderMap::new());
        (!self.of_fields).then(ruling)
    }

    /// Is nothing in force that changes what a fresh stored response answers, or whom?
    #[must_use]
    pub fn is_plain(&self, ruling: &Ruling) -> bool {
        let (base, rules) = &self.plain;
        *base && self.in_force(ruling).all(|index| rules[usize::from(index)])
    }

    /// What holds for the site as a whole.
    #[must_use]
    pub const fn base(&self) -> &Policy {
        &self.base
    }

    /// What a URL alone decides, before its query is known in its normal form.
    #[must_use]
    pub fn of_query(&self, path: &str) -> OfQuery<'_> {
        let mut query = OfQuery::default();
        query.take(&self.base);
        if self.of_query {
            for rule in &self.rules {
                // Such rules match by path alone.
                if says_of_query(&rule.then) && rule.when.path(path) {
                    query.take(&rule.then);
                }
            }
        }
        query
    }

    /// Is more than the URL in the key, somewhere in the site?
    #[must_use]
    pub const fn divides(&self) -> bool {
        self.divides
    }

    /// Are origins told the device's class somewhere in the site, and the client's country? Then clients are not to say
    /// them.
    #[must_use]
    pub const fn tells(&self) -> (bool, bool) {
        self.tells
    }

    /// What is in force for a request, as far as it can tell. `path` is normalised.
    #[must_use]
    pub fn at_request(&self, method: &Method, path: &str, headers: &HeaderMap) -> Ruling {
        let mut chosen = Chosen::Base;
        for (index, rule) in (0..).zip(&self.rules) {
            let waits = rule.when.asks_for_answer();
            if waits && rule.when.takes_every_request() || !rule.when.request(method, path, headers)
            {
                continue;
            }
            chosen = match chosen {
                Chosen::Base if !waits => Chosen::One(index),
                chosen => {
                    let (mut rules, mut waiting) = match chosen {
                        Chosen::Base => (Vec::new(), Vec::new()),
                        Chosen::One(first) => (vec![first], Vec::new()),
                        // Nobody else has it yet.
                        Chosen::Many(many) => match Arc::try_unwrap(many) {
                            Ok(many) => (many.rules, many.waiting),
                            Err(many) => (many.rules.clone(), many.waiting.clone()),
                        },
                    };
                    if waits { &mut waiting } else { &mut rules }.push(index);
                    Chosen::Many(Arc::new(Many {
                        rules,
                        waiting,
                        policy: Policy::default(),
                    }))
                }
            };
        }
        if let Chosen::Many(many) = &mut chosen
            && let Some(many) = Arc::get_mut(many)
        {
            many.policy = self.merged(&many.rules);
        }
        Ruling(chosen)
    }

    /// What is in force once the answer is known.
    #[must_use]
    pub fn at_response(&self, ruling: &Ruling, status: StatusCode, headers: &HeaderMap) -> Ruling {
        let waiting = match &ruling.0 {
            Chosen::Many(many) => &many.waiting[..],
            _ => &[],
        };
        if waiting.is_empty() && self.every_answer.is_empty() {
            return ruling.clone();
        }
        let joining = waiting.iter().chain(&self.every_answer).copied();
        let mut rules: Vec<u16> = joining
            .filter(|index| {
                self.rules[usize::from(*index)]
                    .when
                    .response(status, headers)
            })
            .collect();
        if rules.is_empty() {
            return ruling.clone();
        }
        rules.extend(self.in_force(ruling));
        rules.sort_unstable();
        Ruling(match rules[..] {
            [only] => Chosen::One(only),
            _ => Chosen::Many(Arc::new(Many {
                policy: self.merged(&rules),
                rules,
                waiting: Vec::new(),
            })),
        })
    }

    /// Is there more to learn from an answer?
    #[must_use]
    pub fn waits(&self, ruling: &Ruling) -> bool {
        !self.every_answer.is_empty()
            || matches!(&ruling.0, Chosen::Many(many) if !many.waiting.is_empty())
    }

    /// The policy that a ruling means.
    #[must_use]
    pub fn policy<'a>(&'a self, ruling: &'a Ruling) -> &'a Policy {
        match &ruling.0 {
            Chosen::Base => &self.base,
            Chosen::One(index) => &self.alone[usize::from(*index)],
            Chosen::Many(many) => &many.policy,
        }
    }

    /// What the rules in force add to the cache key: the fingerprints of those that make the origin see another request
    /// and ask for more than the URL. Without rules nothing.
    pub fn apart<'a>(&'a self, ruling: &'a Ruling) -> impl Iterator<Item = [u8; 16]> + 'a {
        let rules = self.in_force(ruling);
        rules.filter_map(|index| self.apart[usize::from(index)])
    }

    /// Every key in force with who says it, in the order of the list of keys.
    #[must_use]
    pub fn explain(&self, ruling: &Ruling) -> Vec<InForce> {
        let rules: Vec<usize> = self.in_force(ruling).map(usize::from).collect();
        let said = self.policy(ruling).said().into_iter();
        let in_force = said.map(|said| {
            let says = |index: &&usize| {
                let said_there = self.rules[**index].then.said();
                said_there.iter().any(|other| other.key == said.key)
            };
            InForce {
                key: said.key,
                value: said.value,
                rule: rules
                    .iter()
                    .rev()
                    .find(says)
                    .map(|index| (index + 1, self.rules[*index].line)),
            }
        });
        in_force.collect()
    }

    /// Rules that wait for an answer: their numbers, from one, and their lines.
    #[must_use]
    pub fn waiting(&self, ruling: &Ruling) -> Vec<(usize, usize)> {
        let waiting = match &ruling.0 {
            Chosen::Many(many) => &many.waiting[..],
            _ => &[],
        };
        let mut waiting: Vec<u16> = waiting.iter().chain(&self.every_answer).copied().collect();
        waiting.sort_unstable();
        let rules = waiting.into_iter().map(usize::from);
        rules
            .map(|index| (index + 1, self.rules[index].line))
            .collect()
    }

    /// The rules, in order.
    #[must_use]
    pub fn all(&self) -> &[Rule] {
        &self.rules
    }

    fn in_force<'a>(&self, ruling: &'a Ruling) -> impl Iterator<Item = u16> + 'a {
        let (one, many) = match &ruling.0 {
            Chosen::Base => (None, &[][..]),
            Chosen::One(index) => (Some(*index), &[][..]),
            Chosen::Many(many) => (None, &many.rules[..]),
        };
        one.into_iter().chain(many.iter().copied())
    }

    fn merged(&self, rules: &[u16]) -> Policy {
        let mut policy = match rules.first() {
            Some(first) => self.alone[usize::from(*first)].clone(),
            None => self.base.clone(),
        };
        for index in rules.iter().skip(1) {
            policy.lay_over(&self.rules[usize::from(*index)].then);
        }
        policy
    }
}

/// The fingerprint of a rule whose answers are stored apart: of all it matches and says, so that another rule that comes
/// to stand in its place finds nothing of it.
fn apart(rule: &Rule) -> Option<[u8; 16]> {
    let shaping = rule
        .then
        .said()
        .iter()
        .any(|said| said.acts == Acts::Shaping);
    if !shaping || !rule.when.asks_for_more_than_url() {
        return None;
    }
    let mut text = rule.then.line();
    // Writing into memory does not fail; were it to, the rules would share what the rest of the text tells apart.
    if write!(text, "{:?}", rule.when).is_err() {
        text.push('?');
    }
    Some(SipHasher24::new().hash(text.as_bytes()).as_bytes())
}

#[cfg(test)]
mod tests;
