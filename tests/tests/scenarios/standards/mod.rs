//! The standards, clause by clause, against the real program in front of an origin that says exactly what it is told.
//!
//! A table is a list of [`Case`]s. Each has a name that is a sentence, a script of what the origin says, and steps: what
//! a client sends, and what must come of it. All cases of a table share one `nearside serve` with default settings, each
//! with URLs of its own, so that hundreds of them run in seconds; every case that fails is told, not only the first.
//! Nothing waits: what should be old arrives old, by its `Age` or `Date`.

mod origin;

mod fields;
mod freshness;
mod invalidating;
mod poisoning;
mod requests;
mod stale;
mod statuses;
mod storing;
mod targeted;
mod validating;
mod varying;

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use futures_util::stream::{self, StreamExt};
use http::Method;
use nearside_tests::{Got, Request, Serve, patience, run};

use origin::{Asked, Exact, Says};

/// Cases at work at once.
const AT_ONCE: usize = 16;

/// One behaviour.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    says: Vec<Says>,
    steps: Vec<Step>,
}

/// One request and what must come of it.
#[derive(Clone, Debug)]
struct Step {
    method: Method,
    path: String,
    fields: String,
    body: &'static str,
    checks: Vec<Check>,
    /// It is sent until its checks hold.
    until: bool,
}

#[derive(Clone, Debug)]
enum Check {
    /// The origin is asked once, and what it says is what the client gets.
    Reaches,
    /// The origin is not asked, and the client gets the content of its answer of this number (from 1).
    Hit(usize),
    /// The origin is asked once, and the client gets the content of an earlier answer.
    Validated(usize),
    /// The origin is asked so often in this step.
    Asks(usize),
    Status(u16),
    /// A field line of the answer: `name: value`, or `!name` where there must be none, or `name: ~word` where its
    /// text must hold a word.
    Sees(String),
    /// The same of the last question that the origin got.
    Sends(String),
    /// The last question was about the case's path with this behind it.
    Target(&'static str),
    /// `Age` is between these.
    Age(u64, u64),
}

/// A case of this name.
fn case(name: impl Into<String>) -> Case {
    Case {
        name: name.into(),
        says: Vec::new(),
        steps: Vec::new(),
    }
}

impl Case {
    /// What the origin says next: a status and field lines, separated by `\n`; `{-60}` stands for the date a minute
    /// ago. The last thing it says it says again and again.
    fn says(mut self, status: u16, fields: &str) -> Self {
        self.says.push(Says::Answer {
            status,
            fields: lines(fields),
            before: "",
            after: Duration::ZERO,
        });
        self
    }

    /// The same after a while.
    fn says_after(mut self, after: Duration, status: u16, fields: &str) -> Self {
        self.says.push(Says::Answer {
            status,
            fields: lines(fields),
            before: "",
            after,
        });
        self
    }

    /// The same behind these bytes.
    fn says_behind(mut self, before: &'static str, status: u16, fields: &str) -> Self {
        self.says.push(Says::Answer {
            status,
            fields: lines(fields),
            before,
            after: Duration::ZERO,
        });
        self
    }

    /// It closes the connection without a word.
    fn says_nothing(mut self) -> Self {
        self.says.push(Says::Nothing);
        self
    }

    /// It sends less than it has promised.
    fn says_half(mut self, fields: &str) -> Self {
        let fields = lines(fields);
        self.says.push(Says::Half { fields });
        self
    }

    /// It answers in HTTP/1.0, and the content ends with the connection.
    fn says_old(mut self, fields: &str) -> Self {
        let fields = lines(fields);
        self.says.push(Says::Old { fields });
        self
    }

    /// A GET with these field lines.
    fn get(self, fields: &str) -> Self {
        self.ask(Method::GET, "", fields)
    }

    /// A HEAD.
    fn head(self, fields: &str) -> Self {
        self.ask(Method::HEAD, "", fields)
    }

    /// Any method; `tail` is put behind the case's own path.
    fn ask(mut self, method: Method, tail: &str, fields: &str) -> Self {
        self.steps.push(Step {
            method,
            path: tail.to_owned(),
            fields: fields.to_owned(),
            body: "",
            checks: Vec::new(),
            until: false,
        });
        self
    }

    /// The last request has content.
    fn with(mut self, body: &'static str) -> Self {
        self.steps.last_mut().expect("a step").body = body;
        self
    }

    fn check(mut self, check: Check) -> Self {
        self.steps.last_mut().expect("a step").checks.push(check);
        self
    }

    fn reaches(self) -> Self {
        self.check(Check::Reaches)
    }

    fn hit(self) -> Self {
        self.hit_of(1)
    }

    fn hit_of(self, number: usize) -> Self {
        self.check(Check::Hit(number))
    }

    /// Sooner or later a GET is a hit with the content of this answer: what goes on in the background is done.
    fn eventually_hit_of(self, number: usize) -> Self {
        let mut case = self.get("").hit_of(number);
        case.steps.last_mut().expect("a step").until = true;
        case
    }

    fn validated(self) -> Self {
        self.check(Check::Validated(1))
    }

    fn asks(self, count: usize) -> Self {
        self.check(Check::Asks(count))
    }

    fn status(self, status: u16) -> Self {
        self.check(Check::Status(status))
    }

    fn sees(self, line: &str) -> Self {
        self.check(Check::Sees(line.to_owned()))
    }

    fn sends(self, line: &str) -> Self {
        self.check(Check::Sends(line.to_owned()))
    }

    fn age(self, least: u64, most: u64) -> Self {
        self.check(Check::Age(least, most))
    }
}

/// Runs a table, and fails with all that went wrong in it.
#[track_caller]
fn table(cases: Vec<Case>) {
    let faults = run(async move {
        let origin = Exact::start().await;
        let url = format!("http://{}", origin.address);
        let serve = Serve::start(&[&url], &[]).await;
        let (origin, serve) = (&origin, &serve);
        stream::iter(cases.into_iter().enumerate())
            .map(|(number, case)| async move { case.fault(number, origin, serve).await })
            .buffer_unordered(AT_ONCE)
            .filter_map(|fault| async { fault })
            .collect::<Vec<String>>()
            .await
    });
    assert!(
        faults.is_empty(),
        "{} fail:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

impl Case {
    /// Plays it, and tells what is wrong.
    async fn fault(self, number: usize, origin: &Exact, serve: &Serve) -> Option<String> {
        let name = format!("case-{number}");
        let now = SystemTime::now();
        let mut says = self.says.clone();
        for said in &mut says {
            if let Says::Answer { fields, .. } | Says::Half { fields } | Says::Old { fields } = said
            {
                *fields = dated(fields, now).replace("{path}", &format!("/{name}"));
            }
        }
        origin.script(&name, says);
        for (index, step) in self.steps.iter().enumerate() {
            let give_up = Instant::now() + patience();
            while let Err(fault) = step.play(&name, origin, serve, now).await {
                if !step.until || Instant::now() > give_up {
                    return Some(format!("  {} (step {}): {fault}", self.name, index + 1));
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        }
        None
    }
}

impl Step {
    async fn play(
        &self,
        name: &str,
        origin: &Exact,
        serve: &Serve,
        now: SystemTime,
    ) -> Result<(), String> {
        let before = origin.asked(name).len();
        let path = format!("/{name}{}", self.path);
        let mut request = Request::new(self.method.clone(), "app.example", &path).to(serve.address);
        for line in dated(&self.fields, now).lines() {
            let (field, value) = line.split_once(':').expect("a field line");
            request = request.field(field, value.trim());
        }
        if !self.body.is_empty() {
            request = request.body(self.body);
        }
        let got = request.send().await;
        let asked = origin.asked(name);
        self.checks.iter().try_for_each(|check| {
            check
                .holds(&self.method, &got, &asked, before, now)
                .map_err(|fault| {
                    let body = String::from_utf8_lossy(&got.body);
                    format!("{fault}; got {} {:?} {body:?}", got.status, got.headers)
                })
        })
    }
}

impl Check {
    fn holds(
        &self,
        method: &Method,
        got: &Got,
        asked: &[Asked],
        before: usize,
        now: SystemTime,
    ) -> Result<(), String> {
        let times = asked.len() - before;
        let content = |number: usize| asked.get(number - 1).map(|asked| asked.content.as_str());
        let is = |number: usize| {
            let body = String::from_utf8_lossy(&got.body);
            let bodiless = *method == Method::HEAD || matches!(got.status, 204 | 304);
            match bodiless || content(number) == Some(&body) {
                true => Ok(()),
                false => Err(format!(
                    "content {body:?} in place of that of answer {number}"
                )),
            }
        };
        let times_is = |expected: usize| match times == expected {
            true => Ok(()),
            false => Err(format!(
                "the origin was asked {times} times, not {expected}"
            )),
        };
        match self {
            Self::Reaches => times_is(1).and_then(|()| is(asked.len())),
            Self::Hit(number) => times_is(0).and_then(|()| is(*number)),
            Self::Validated(number) => times_is(1).and_then(|()| is(*number)),
            Self::Asks(expected) => times_is(*expected),
            Self::Status(status) => match got.status == *status {
                true => Ok(()),
                false => Err(format!("not {status}")),
            },
            Self::Sees(line) => holds_line(&dated(line, now), |name| got.field(name)),
            Self::Sends(line) => {
                let last = asked.last().ok_or("the origin was asked nothing")?;
                holds_line(&dated(line, now), |name| text(&last.headers, name))
                    .map_err(|fault| format!("asked with {:?}: {fault}", last.headers))
            }
            Self::Target(tail) => {
                let target = asked.last().map_or("", |asked| asked.target.as_str());
                match target.trim_start_matches('/').split_once(['/', '?']) {
                    Some(_) if target.ends_with(tail) => Ok(()),
                    _ => Err(format!("asked for {target}")),
                }
            }
            Self::Age(least, most) => {
                let age = got.field("age").and_then(|text| text.parse::<u64>().ok());
                match age.is_some_and(|age| (*least..=*most).contains(&age)) {
                    true => Ok(()),
                    false => Err(format!("age {age:?} is not in {least}..={most}")),
                }
            }
        }
    }
}

fn holds_line(line: &str, field: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    if let Some(name) = line.strip_prefix('!') {
        return match field(name) {
            None => Ok(()),
            Some(value) => Err(format!("{name}: {value}")),
        };
    }
    let (name, value) = line.split_once(':').expect("a field line");
    let (found, value) = (field(name), value.trim());
    let good = match value.strip_prefix('~') {
        Some(word) => found.as_deref().is_some_and(|found| found.contains(word)),
        None => found.as_deref() == Some(value),
    };
    match good {
        true => Ok(()),
        false => Err(format!("{name} is {found:?}, not {value:?}")),
    }
}

fn text(headers: &http::HeaderMap, name: &str) -> Option<String> {
    let values: Vec<String> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// Field lines as they go over the wire.
fn lines(fields: &str) -> String {
    fields
        .lines()
        .filter(|line| !line.is_empty())
        .fold(String::new(), |mut all, line| {
            all.push_str(line);
            all.push_str("\r\n");
            all
        })
}

/// Replaces `{-60}` by the date a minute ago, `{+60}` by the one in a minute; `{850 +60}` and `{asctime +60}` are in the
/// obsolete forms.
fn dated(text: &str, now: SystemTime) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((inside, after)) = behind.split_once('}') else {
            break;
        };
        out.push_str(before);
        let (form, seconds) = inside.rsplit_once(' ').unwrap_or(("", inside));
        match seconds.parse::<i64>() {
            Ok(seconds) => out.push_str(&date(form, shifted(now, seconds))),
            Err(_) => write!(out, "{{{inside}}}").expect("text"),
        }
        rest = after;
    }
    out + rest
}

fn shifted(now: SystemTime, seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        now - distance
    } else {
        now + distance
    }
}

/// A date in one of the three forms (RFC 9110 §5.6.7).
fn date(form: &str, time: SystemTime) -> String {
    let fixed = httpdate::fmt_http_date(time);
    let word = |range: std::ops::Range<usize>| &fixed[range];
    let day = match word(0..3) {
        "Mon" => "Monday",
        "Tue" => "Tuesday",
        "Wed" => "Wednesday",
        "Thu" => "Thursday",
        "Fri" => "Friday",
        "Sat" => "Saturday",
        _ => "Sunday",
    };
    match form {
        "850" => format!(
            "{day}, {}-{}-{} {} GMT",
            word(5..7),
            word(8..11),
            word(14..16),
            word(17..25)
        ),
        "asctime" => {
            let day_of_month = word(5..7).trim_start_matches('0');
            format!(
                "{} {} {day_of_month:>2} {} {}",
                word(0..3),
                word(8..11),
                word(17..25),
                word(12..16)
            )
        }
        _ => fixed,
    }
}
