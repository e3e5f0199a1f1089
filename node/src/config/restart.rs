//! What of a changed node file waits for a restart: everything but the certificates, which are taken at once.

use super::settings::Settings;

/// The keys whose written values differ from the running ones, in the order of the file.
#[must_use]
pub fn waiting_for_restart(running: &Settings, written: &Settings) -> Vec<&'static str> {
    let (old, new) = (running, written);
    let limits = (&old.limits, &new.limits);
    let changed = [
        ("node.name", old.name != new.name),
        ("node.region", old.region != new.region),
        ("node.latitude, node.longitude", old.point != new.point),
        ("listen.http", old.listen.http != new.listen.http),
        ("listen.https", old.listen.https != new.listen.https),
        ("listen.dns", old.listen.dns != new.listen.dns),
        ("listen.peer", old.listen.peer != new.listen.peer),
        ("listen.admin", old.listen.admin != new.listen.admin),
        ("listen.metrics", old.listen.metrics != new.listen.metrics),
        (
            "listen.trusted_proxies",
            old.listen.trusted_proxies != new.listen.trusted_proxies,
        ),
        (
            "listen.proxy_protocol",
            old.listen.proxy_protocol != new.listen.proxy_protocol,
        ),
        ("advertise", old.advertise != new.advertise),
        ("cluster", old.cluster != new.cluster),
        ("peer.route", old.peer_route != new.peer_route),
        ("data.dir", old.data_dir != new.data_dir),
        ("data.secrets", old.secrets_dir != new.secrets_dir),
        ("cache", old.cache != new.cache),
        ("geo.databases", old.geo_databases != new.geo_databases),
        ("log", old.log != new.log),
        ("limits", limits.0 != limits.1),
    ];
    let waiting = changed.into_iter().filter(|(_, differs)| *differs);
    waiting.map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node_file;

    #[test]
    fn only_what_differs_is_named_and_certificates_never() {
        let parse = |text: &str| node_file::parse(text, "node.toml", []).unwrap();
        let running = parse("[node]\nname = \"lon1\"\n");
        let text = "[node]\nname = \"lon1\"\nregion = \"eu\"\n[limits]\nconnections = 7\n\
            [certificates.shop]\nchain = \"/c.pem\"\nkey = \"/c.key\"\n";
        let written = parse(text);
        assert_eq!(waiting_for_restart(&running, &running), [""; 0]);
        assert_eq!(
            waiting_for_restart(&running, &written),
            ["node.region", "limits"]
        );
    }
}
