//! `nearside sign`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Args;
use ipnet::IpNet;

use super::failure::Failure;
use super::output;
use crate::proxy::key;
use crate::proxy::signed::{Grant, KEY_MIN_BYTES, target};

/// Arguments of `sign`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// What is granted: a whole URL, as clients will ask for it
    pub url: String,
    /// File with the key: the one that the nodes have among their secrets
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
    /// Name of the key in the site's [auth.signed]
    #[arg(long, value_name = "NAME")]
    pub key: String,
    /// How long it is granted: "90s", "1h", "7d"
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1h")]
    pub lasting: Duration,
    /// Grant every path that begins so, in place of the URL's own path and query
    #[arg(long, value_name = "PATH")]
    pub prefix: Option<String>,
    /// Grant it to clients in this network only
    #[arg(long, value_name = "NETWORK")]
    pub client: Option<IpNet>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let url = &arguments.url;
    let no_url = || {
        Failure::usage(format!(
            "\"{url}\" is not a URL; write it like \"https://shop.example/video/a.mp4\""
        ))
    };
    if !url.contains("://") {
        return Err(no_url());
    }
    let url = url.split('#').next().unwrap_or_default();
    let host = key::host_of_url(url).ok_or_else(no_url)?;
    let uri: http::Uri = url.parse().map_err(|_| no_url())?;
    let path = &arguments.key_file;
    let secret = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let secret = secret.trim_ascii_end();
    if secret.len() < KEY_MIN_BYTES {
        let what = format!(
            "the key in {} has {} bytes, and needs at least {KEY_MIN_BYTES}; make one with `openssl rand -hex 32`",
            path.display(),
            secret.len()
        );
        return Err(Failure::failed(what));
    }
    let end = SystemTime::now()
        .checked_add(arguments.lasting)
        .and_then(|end| end.duration_since(UNIX_EPOCH).ok())
        .ok_or_else(|| Failure::usage("the time is out of range"))?;
    if let Some(prefix) = &arguments.prefix
        && !uri.path().starts_with(&**prefix)
    {
        let what =
            format!("the URL's path does not begin with {prefix}, so it would not be granted");
        return Err(Failure::usage(what));
    }
    let grant = Grant {
        target: target(&uri).ok_or_else(no_url)?,
        prefix: arguments.prefix.as_deref().map(Into::into),
        expires: end.as_secs(),
        client: arguments.client,
    };
    let given = grant.sign(secret, &arguments.key, &host);
    let separator = if uri.query().is_some() { '&' } else { '?' };
    output::text(&format!("{url}{separator}{given}\n"))
}
