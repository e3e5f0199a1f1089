//! `nearside serve`: one node in front of an application, in one line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::failure::Failure;
use crate::config::settings::{AccessLog, AdminAddress, Settings};
use crate::config::site::Site;
use crate::config::{node_file, site_file};

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Application to ask for what is not cached: a URL, or a port of this machine; can be repeated
    #[arg(long, required_unless_present = "site", value_name = "URL|PORT")]
    pub origin: Vec<String>,
    /// Where clients connect
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Folder for the cache and the admin socket [default: nearside/serve-PORT in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Folder of the secrets that the site file names [default: /etc/nearside/secrets]
    #[arg(long, requires = "site", value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// Site file with rules, health checks and the like, in place of --origin; its hosts are not looked at
    #[arg(long, conflicts_with = "origin", value_name = "FILE")]
    pub site: Option<PathBuf>,
    /// Address of /metrics, /healthz and /readyz [default: none]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,
    /// A line for each request [default: human on a terminal, else off]
    #[arg(long, value_name = "FORM")]
    pub access_log: Option<Form>,
}

/// How requests are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Not at all.
    Off,
    /// JSON lines.
    Json,
    /// A short line that says hit, or why not.
    Human,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let site = site(&arguments)?;
    let settings = settings(&arguments)?;
    crate::admin::own_listener(&site, &settings).map_err(Failure::Usage)?;
    crate::observe::system_log::start(&settings.log.level)?;
    greet(&arguments, &settings);
    crate::app::serve(settings, site).await
}

/// Says to a person where to look, and how to purge. Programs read the exit code and the logs.
fn greet(arguments: &Arguments, settings: &Settings) {
    use std::io::IsTerminal as _;

    if !std::io::stderr().is_terminal() {
        return;
    }
    let behind = match &arguments.site {
        Some(file) => format!("the origins of {}", file.display()),
        None => arguments.origin.join(", "),
    };
    super::output::note(&format!("http://{} in front of {behind}", arguments.listen));
    for address in &settings.listen.admin {
        if let AdminAddress::Unix(path) = address {
            super::output::note(&format!(
                "`nearside purge URL --admin unix:{}` makes what is cached unusable",
                path.display()
            ));
        }
    }
}

fn site(arguments: &Arguments) -> anyhow::Result<Site> {
    let Some(file) = &arguments.site else {
        return Ok(site_file::any_host(&arguments.origin)
            .map_err(|error| Failure::Usage(error.to_string()))?);
    };
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::failed(format!("{name}: cannot be read: {error}")))?;
    let mut site = site_file::parse(&text, &name).map_err(Failure::from)?;
    site.any_host = true;
    Ok(site)
}

/// The defaults of a node file, with what `serve` says differently: one listener, everything in one folder.
pub(super) fn settings(arguments: &Arguments) -> anyhow::Result<Settings> {
    use std::io::IsTerminal as _;

    let text = "[node]\nname = \"serve\"\n[listen]\nhttps = []\ndns = []\npeer = []\n";
    let mut settings = node_file::parse(text, "serve", []).map_err(Failure::from)?;
    let dir = match &arguments.data {
        Some(dir) => dir.clone(),
        None => default_dir(arguments.listen.port())?,
    };
    settings.listen.http = vec![arguments.listen];
    settings.listen.metrics = arguments.metrics.into_iter().collect();
    settings.listen.admin = vec![AdminAddress::Unix(dir.join("admin.sock"))];
    settings.cache.dir = dir.join("cache");
    settings.data_dir = dir.join("data");
    if let Some(dir) = &arguments.secrets {
        settings.secrets_dir.clone_from(dir);
    }
    settings.log.access = match arguments.access_log {
        Some(Form::Off) => AccessLog::Off,
        Some(Form::Json) => AccessLog::Json,
        Some(Form::Human) => AccessLog::Human,
        None if std::io::stdout().is_terminal() => AccessLog::Human,
        None => AccessLog::Off,
    };
    if arguments.listen.ip().is_loopback() {
        // Whoever comes is this machine: a proxy or a tunnel in front, that brings all clients from one address.
        settings.limits.connections_per_client = settings.limits.connections;
    }
    "warn".clone_into(&mut settings.log.level);
    Ok(settings)
}

/// Where the user's caches live (XDG base directories). Two nodes on two ports keep apart.
fn default_dir(port: u16) -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    match caches {
        Some(caches) => Ok(caches.join("nearside").join(format!("serve-{port}"))),
        None => Err(Failure::usage(
            "neither XDG_CACHE_HOME nor HOME is set: name a folder with --data",
        )),
    }
}
