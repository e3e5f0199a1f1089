//! `nearside explain`.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;

use super::arguments::Global;
use super::client::Client;
use super::failure::Failure;
use super::output::{self, Cell, Table};
use crate::admin::api::{Explanation, Question};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// What is asked for; without a scheme https is meant
    pub url: String,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<IpAddr>,
    /// The method [default: GET]
    #[arg(long, value_name = "METHOD")]
    pub method: Option<String>,
    /// A request field, as "Name: value"; can be repeated
    #[arg(long = "header", value_name = "FIELD")]
    pub headers: Vec<String>,
}

pub(super) async fn run(arguments: Arguments, global: &Global) -> anyhow::Result<()> {
    let question = Question {
        url: arguments.url,
        method: arguments.method,
        from: arguments.from,
        headers: fields(&arguments.headers)?,
    };
    let client = Client::new(global)?;
    let told: Explanation = client
        .post("/api/v1/explain", &question, Duration::ZERO)
        .await?;
    if global.json {
        output::json(&told)
    } else {
        output::text(&page(&told))
    }
}

/// Request fields as they are typed.
pub(super) fn fields(typed: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let fields = typed.iter().map(|field| {
        let (name, value) = field.split_once(':').ok_or_else(|| {
            Failure::usage(format!(
                "\"{field}\" is not a field; write it like \"Accept: text/html\""
            ))
        })?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    });
    fields.collect()
}

/// One line for each thing there is to say, and the keys in force as a table.
fn page(told: &Explanation) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    let site = match (&told.site, told.revision) {
        (None, _) => "none".to_owned(),
        (Some(site), None | Some(0)) => site.clone(),
        (Some(site), Some(revision)) => format!("{site}, revision {revision}"),
    };
    lines.push(("request", format!("{} {}", told.method, told.url)));
    lines.push(("node", told.node.clone()));
    lines.push(("site", site));
    lines.push(("verdict", format!("{}: {}", told.verdict, told.because)));
    if let Some(location) = &told.location {
        lines.push(("location", location.clone()));
    }
    if let Some(key) = &told.key {
        lines.push(("key", key.to_string()));
    }
    if let Some(identity) = &told.purge_identity {
        lines.push(("purge", identity.clone()));
    }
    if let Some(stored) = &told.stored {
        let kind = stored.content_type.as_deref().unwrap_or("no type");
        let (age, ttl) = (stored.age_s, stored.ttl_s);
        let place = match stored.tier.as_str() {
            "disk" => "on disk",
            _ => "in memory",
        };
        let left = if ttl > 0 {
            format!("fresh for {ttl} s more")
        } else {
            format!("stale for {} s", ttl.unsigned_abs())
        };
        lines.push((
            "stored",
            format!(
                "{} {kind}, {} bytes, age {age} s, {left}, {place}, {}",
                stored.status, stored.body_bytes, stored.purge
            ),
        ));
        if !stored.tags.is_empty() {
            lines.push(("tags", stored.tags.join(", ")));
        }
        for (name, value) in &stored.variant {
            let value = value.as_deref().unwrap_or("(absent)");
            lines.push(("variant", format!("{name}: {value}")));
        }
    } else if told.key.is_some() {
        lines.push(("stored", "nothing".to_owned()));
    }
    for hop in &told.next {
        let health = if hop.healthy {
            ""
        } else {
            " (believed to be down)"
        };
        lines.push(("origin", format!("{}{health}", hop.origin)));
    }
    for rule in &told.waiting {
        let text = format!(
            "{} (line {}) is decided when an answer is known",
            rule.number, rule.line
        );
        lines.push(("rule", text));
    }
    let mut text = String::new();
    for (word, said) in lines {
        text.push_str(&format!("{word:<10}{said}\n"));
    }
    if !told.in_force.is_empty() {
        let mut table = Table::new(["KEY", "VALUE", "RULE", "LINE"]);
        for key in &told.in_force {
            table.row([
                Cell::from(&key.key),
                Cell::from(&key.value),
                Cell::or_dash(key.rule.map(|rule| rule.number)),
                Cell::or_dash(key.rule.map(|rule| rule.line)),
            ]);
        }
        text.push_str(&table.render());
    }
    text
}
