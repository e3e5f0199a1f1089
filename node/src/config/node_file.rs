//! The node file and the environment over it → [`Settings`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use nearside_cache_store::{DISK_MIN_BYTES, MEMORY_MIN_BYTES};
use nearside_geo::Point;

use super::address::host_and_port;
use super::error::ConfigError;
use super::raw;
use super::settings::{
    AccessLog, CacheBounds, CertificateFiles, ClusterSettings, Limits, LogSettings, Settings,
    Timing,
};
use super::sockets;
use super::text::{Text, explain, variable};
use super::units::{List, Size, Span};

/// The commented node file: the reference, and (a test holds it to that) the defaults.
pub const DEFAULT: &str = include_str!("default.toml");

/// What every variable of ours begins with. `NEARSIDE_ADMIN` and the like belong to the command line.
const PREFIX: &str = "NEARSIDE__";

/// Reads a node file from disk, with this process's environment over it.
///
/// # Errors
/// The first thing that is wrong with the file or with a variable.
pub fn load(path: &Path) -> Result<Settings, ConfigError> {
    let name = path.display().to_string();
    let text = if name == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let text =
        text.map_err(|error| ConfigError::unlocated(&name, format!("cannot be read: {error}")))?;
    parse(&text, &name, std::env::vars())
}

/// Checks a node file, with `environment` over it.
///
/// # Errors
/// The first thing that is wrong with the text or with a variable.
pub fn parse(
    text: &str,
    name: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, ConfigError> {
    let mut source = Text::new(name, text);
    let as_written: raw::NodeFile = source.parse()?;
    let variables: Vec<(String, String)> = environment
        .into_iter()
        .filter(|(key, _)| key.starts_with(PREFIX))
        .collect();
    if variables.is_empty() {
        return check(as_written, &source);
    }
    // One at a time first: a variable that is wrong by itself is named, which the layers together could not do.
    for variable in &variables {
        layer(None, std::slice::from_ref(variable)).map_err(|message| {
            let (what, hint) = explain(&message, "");
            let error = ConfigError::unlocated(&variable.0, what);
            hint.into_iter().fold(error, ConfigError::hint)
        })?;
    }
    let merged = layer(Some(text), &variables)
        .map_err(|message| ConfigError::unlocated(name, explain(&message, "").0))?;
    let overridden: Vec<String> = variables
        .iter()
        .map(|(key, _)| key[PREFIX.len()..].replace("__", ".").to_lowercase())
        .collect();
    source.overridden = &overridden;
    check(merged, &source)
}

/// The file's layer and the environment's, by the `config` crate. Its errors know a key but no line, and the values
/// of the environment are all strings, which the raw types read as what they stand for.
fn layer(text: Option<&str>, variables: &[(String, String)]) -> Result<raw::NodeFile, String> {
    let environment = config::Environment::with_prefix("NEARSIDE")
        .prefix_separator("__")
        .separator("__")
        .source(Some(variables.iter().cloned().collect()));
    let mut layers = config::Config::builder();
    if let Some(text) = text {
        layers = layers.add_source(config::File::from_str(text, config::FileFormat::Toml));
    }
    layers
        .add_source(environment)
        .build()
        .and_then(config::Config::try_deserialize)
        .map_err(|error: config::ConfigError| {
            let message = error.to_string();
            match message.find(" for key `") {
                Some(end) => message[..end].to_owned(),
                None => message.trim_end_matches(" in the environment").to_owned(),
            }
        })
}

fn check(raw: raw::NodeFile, source: &Text<'_>) -> Result<Settings, ConfigError> {
    let name = raw.node.name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| {
        source
            .wrong("node", "`node.name` is missing")
            .hint(format!("set it in [node], or by {}", variable("node.name")))
    })?;
    name_of_node(&name).map_err(|what| source.wrong("node.name", what))?;
    let region = raw.node.region.unwrap_or_else(|| "default".to_owned());
    name_of_node(&region)
        .map_err(|what| source.wrong("node.region", what.replacen("name", "region", 1)))?;
    let point = point(source, "node", raw.node.latitude, raw.node.longitude)?;

    let listen = sockets::listen(raw.listen, source)?;
    let advertise = sockets::advertise(raw.advertise, &listen, source)?;
    let token_file = raw.admin.token_file.map(PathBuf::from);
    sockets::check_admin(&listen, token_file.is_some(), source)?;

    let mut peer_route = raw.peer.route;
    for (peer, address) in &mut peer_route {
        *address = host_and_port(address)
            .map_err(|what| source.wrong(&format!("peer.route.{peer}"), what))?;
    }
    let mut join = raw.cluster.join.unwrap_or_default().0;
    for (index, address) in join.iter_mut().enumerate() {
        *address = host_and_port(address)
            .map_err(|what| source.wrong(&format!("cluster.join.{index}"), what))?;
    }
    let certificates = raw.certificates.into_iter().map(|(name, files)| {
        let files = CertificateFiles {
            chain: files.chain.into(),
            key: files.key.into(),
        };
        (name, files)
    });

    Ok(Settings {
        name,
        region,
        point,
        advertise,
        cluster: ClusterSettings {
            join,
            timing: match raw.cluster.timing {
                Some(raw::Timing::Global) => Timing::Global,
                Some(raw::Timing::Regional) | None => Timing::Regional,
            },
        },
        peer_route,
        secrets_dir: dir(
            raw.data.secrets,
            "/etc/nearside/secrets",
            "data.secrets",
            source,
        )?,
        data_dir: dir(raw.data.dir, "/var/lib/nearside", "data.dir", source)?,
        cache: cache(raw.cache, source)?,
        certificates: certificates.collect(),
        geo_databases: paths(raw.geo.databases),
        admin_token_file: token_file,
        log: LogSettings {
            level: log_level(raw.log.level, source)?,
            access: match raw.log.access {
                Some(raw::Access::Off) => AccessLog::Off,
                Some(raw::Access::Json) | None => AccessLog::Json,
                Some(raw::Access::Human) => AccessLog::Human,
            },
        },
        limits: limits(&raw.limits, source)?,
        listen,
    })
}

/// Names of nodes and regions: they stand in DNS names, metrics labels and `Cache-Status`.
fn name_of_node(name: &str) -> Result<(), String> {
    let good = !name.is_empty()
        && name.len() <= 63
        && name
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if good {
        Ok(())
    } else {
        Err(format!(
            "the name \"{name}\" must be 1 to 63 lower-case letters, digits and hyphens, such as \"lon1\""
        ))
    }
}

/// Latitude and longitude, both or neither, on the globe. `section` is where the keys stand.
pub(super) fn point(
    source: &Text<'_>,
    section: &str,
    latitude: Option<f64>,
    longitude: Option<f64>,
) -> Result<Option<Point>, ConfigError> {
    match (latitude, longitude) {
        (None, None) => Ok(None),
        (Some(latitude), Some(longitude)) => {
            let key = if (-90.0..=90.0).contains(&latitude) {
                "longitude"
            } else {
                "latitude"
            };
            let point = Point::new(latitude, longitude).ok_or_else(|| {
                source.wrong(
                    &format!("{section}.{key}"),
                    format!(
                        "{latitude}, {longitude} is not on the globe: latitude is -90 to 90, longitude -180 to 180"
                    ),
                )
            })?;
            Ok(Some(point))
        }
        (Some(_), None) => Err(source.wrong(
            &format!("{section}.latitude"),
            "`latitude` stands without `longitude`",
        )),
        (None, Some(_)) => Err(source.wrong(
            &format!("{section}.longitude"),
            "`longitude` stands without `latitude`",
        )),
    }
}

fn cache(raw: raw::NodeCache, source: &Text<'_>) -> Result<CacheBounds, ConfigError> {
    let at_least = |size: Option<Size>, default: u64, least: u64, key: &str| {
        let bytes = size.map_or(default, |size| size.0);
        if bytes < least {
            let mebibytes = least >> 20;
            return Err(source.wrong(key, format!("`{key}` must be at least {mebibytes} MiB")));
        }
        Ok(bytes)
    };
    Ok(CacheBounds {
        dir: dir(raw.dir, "/var/cache/nearside", "cache.dir", source)?,
        memory_max_bytes: at_least(
            raw.memory_max,
            512 << 20,
            MEMORY_MIN_BYTES,
            "cache.memory_max",
        )?,
        disk_max_bytes: at_least(raw.disk_max, 10 << 30, DISK_MIN_BYTES, "cache.disk_max")?,
        disk_free_min_bytes: raw.disk_free_min.map_or(1 << 30, |size| size.0),
    })
}

fn dir(
    written: Option<String>,
    default: &str,
    key: &str,
    source: &Text<'_>,
) -> Result<PathBuf, ConfigError> {
    match written {
        Some(path) if path.is_empty() => Err(source.wrong(key, format!("`{key}` is empty"))),
        Some(path) => Ok(path.into()),
        None => Ok(default.into()),
    }
}

fn paths(list: Option<List>) -> Vec<PathBuf> {
    let list = list.unwrap_or_default().0;
    list.into_iter().map(PathBuf::from).collect()
}

fn log_level(level: Option<String>, source: &Text<'_>) -> Result<String, ConfigError> {
    let level = level.unwrap_or_else(|| "info".to_owned());
    // A lone word that is no level would be taken for the name of a module, and mute everything else.
    let word = level.chars().all(|c| c.is_ascii_alphanumeric());
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    if word && !levels.contains(&level.as_str()) {
        let error = source.wrong("log.level", format!("`log.level` cannot be \"{level}\""));
        return Err(match super::nearest(&level, levels) {
            Some(meant) => error.hint(format!("did you mean \"{meant}\"?")),
            None => error.hint(format!("write one of {}", levels.join(", "))),
        });
    }
    tracing_subscriber::EnvFilter::try_new(&level)
        .map_err(|error| source.wrong("log.level", format!("`log.level` \"{level}\": {error}")))?;
    Ok(level)
}

fn limits(raw: &raw::Limits, source: &Text<'_>) -> Result<Limits, ConfigError> {
    let default = Limits::default();
    let count = |written: Option<u32>, default: usize, key: &str| match written {
        Some(0) => Err(source.wrong(key, format!("`{key}` must be at least 1"))),
        Some(count) => Ok(count as usize),
        None => Ok(default),
    };
    let time = |written: Option<Span>, default: Duration, key: &str| match written {
        Some(Span(Duration::ZERO)) => {
            Err(source.wrong(key, format!("`{key}` must be longer than nothing")))
        }
        Some(Span(time)) => Ok(time),
        None => Ok(default),
    };
    let header_bytes = match raw.header_max {
        Some(Size(bytes @ 1024..=1_048_576)) => bytes as usize,
        Some(_) => {
            let what = "`limits.header_max` must be 1 KiB to 1 MiB";
            return Err(source.wrong("limits.header_max", what));
        }
        None => default.header_bytes,
    };
    Ok(Limits {
        connections: count(raw.connections, default.connections, "limits.connections")?,
        connections_per_client: count(
            raw.connections_per_client,
            default.connections_per_client,
            "limits.connections_per_client",
        )?,
        header_bytes,
        header_fields: count(
            raw.header_fields,
            default.header_fields,
            "limits.header_fields",
        )?,
        body_bytes: raw.body_max.map_or(default.body_bytes, |size| size.0),
        head_timeout: time(
            raw.head_timeout,
            default.head_timeout,
            "limits.head_timeout",
        )?,
        idle_timeout: time(
            raw.idle_timeout,
            default.idle_timeout,
            "limits.idle_timeout",
        )?,
        progress_timeout: time(
            raw.progress_timeout,
            default.progress_timeout,
            "limits.progress_timeout",
        )?,
        h2_streams: match raw.h2_streams {
            Some(0) => {
                return Err(source.wrong(
                    "limits.h2_streams",
                    "`limits.h2_streams` must be at least 1",
                ));
            }
            Some(streams) => streams,
            None => default.h2_streams,
        },
        h2_resets: count(raw.h2_resets, default.h2_resets, "limits.h2_resets")?,
        tunnels: count(raw.tunnels, default.tunnels, "limits.tunnels")?,
        tunnel_idle_timeout: time(
            raw.tunnel_idle_timeout,
            default.tunnel_idle_timeout,
            "limits.tunnel_idle_timeout",
        )?,
    })
}

#[cfg(test)]
mod tests;
