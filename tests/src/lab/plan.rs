//! What a lab is to consist of, and the files and wires it becomes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::node::{Node, Ports};
use crate::authority::PemFiles;
use crate::places::{FRANKFURT, LONDON, LOS_ANGELES, NEW_YORK, Place, SINGAPORE};
use crate::{Authority, Link};

/// One node to be.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
}

/// A lab to be.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    nodes: Vec<NodePlan>,
    between_regions: Duration,
    certificates: Vec<(&'static str, Vec<&'static str>)>,
    sections: String,
    memory: &'static str,
    witnessed: bool,
    proxy_protocol: bool,
}

impl Plan {
    /// Nodes as listed, no distance between them.
    #[must_use]
    pub fn new(nodes: &[(&'static str, Place)]) -> Self {
        Self {
            nodes: nodes
                .iter()
                .map(|(name, place)| NodePlan {
                    name,
                    place: *place,
                })
                .collect(),
            memory: "32 MiB",
            ..Self::default()
        }
    }

    /// London, New York, Singapore.
    #[must_use]
    pub fn three_regions() -> Self {
        Self::new(&[("lon1", LONDON), ("nyc1", NEW_YORK), ("sin1", SINGAPORE)])
    }

    /// Two in Europe, two in America, one in Asia.
    #[must_use]
    pub fn five_nodes() -> Self {
        Self::new(&[
            ("lon1", LONDON),
            ("fra1", FRANKFURT),
            ("nyc1", NEW_YORK),
            ("lax1", LOS_ANGELES),
            ("sin1", SINGAPORE),
        ])
    }

    /// How far regions are from each other, one way.
    #[must_use]
    pub fn apart(mut self, one_way: Duration) -> Self {
        self.between_regions = one_way;
        self
    }

    /// Every node gets a certificate for these hosts, under this name.
    #[must_use]
    pub fn certificate(mut self, name: &'static str, hosts: &[&'static str]) -> Self {
        self.certificates.push((name, hosts.to_vec()));
        self
    }

    /// More sections of every node file, as TOML.
    #[must_use]
    pub fn section(mut self, toml: &str) -> Self {
        self.sections.push_str(toml);
        self.sections.push('\n');
        self
    }

    /// Memory of each node's cache, as the node file says it.
    #[must_use]
    pub fn memory(mut self, size: &'static str) -> Self {
        self.memory = size;
        self
    }

    /// Every node's syncs are witnessed, so that [`Node::drop_unsynced`] knows what a power cut would take.
    #[must_use]
    pub fn witnessed(mut self) -> Self {
        self.witnessed = true;
        self
    }

    /// What comes to every node from 127.0.0.1 begins with a PROXY header.
    #[must_use]
    pub fn proxy_protocol(mut self) -> Self {
        self.proxy_protocol = true;
        self
    }

    pub(super) async fn build(
        self,
        folder: &Path,
    ) -> (Authority, Vec<Arc<Node>>, BTreeMap<(String, String), Link>) {
        let authority = Authority::new();
        let files: Vec<(&str, PemFiles)> = self
            .certificates
            .iter()
            .map(|(name, hosts)| (*name, authority.issue_files(folder, name, hosts)))
            .collect();
        let network = Network::next();
        let homes: Vec<(Ipv4Addr, Ports)> = (0..self.nodes.len())
            .map(|index| {
                let address = network.node(index);
                (address, Ports::free(address))
            })
            .collect();
        let links = self.links(&homes, network.wires()).await;
        let witness = self.witnessed.then(|| crate::synced::build_witness(folder));
        let mut nodes = Vec::new();
        for (plan, (address, ports)) in self.nodes.iter().zip(&homes) {
            let home = folder.join(plan.name);
            std::fs::create_dir_all(&home).expect("the lab's folder can be written");
            let text = self.node_file(plan, *address, *ports, &home, &links, &files);
            std::fs::write(home.join("node.toml"), text).expect("the lab's folder can be written");
            nodes.push(Arc::new(Node::new(
                plan,
                *address,
                *ports,
                home,
                witness.clone(),
            )));
        }
        (authority, nodes, links)
    }

    async fn links(
        &self,
        homes: &[(Ipv4Addr, Ports)],
        local: Ipv4Addr,
    ) -> BTreeMap<(String, String), Link> {
        let mut links = BTreeMap::new();
        for from in &self.nodes {
            for (to, (address, ports)) in self.nodes.iter().zip(homes) {
                if from.name == to.name {
                    continue;
                }
                let one_way = if from.place.region == to.place.region {
                    Duration::ZERO
                } else {
                    self.between_regions
                };
                let target = SocketAddr::from((*address, ports.peer));
                let link = Link::start(local, target, one_way)
                    .await
                    .expect("a port of the lab's own address is free");
                links.insert((from.name.to_owned(), to.name.to_owned()), link);
            }
        }
        links
    }

    fn node_file(
        &self,
        plan: &NodePlan,
        address: Ipv4Addr,
        ports: Ports,
        home: &Path,
        links: &BTreeMap<(String, String), Link>,
        files: &[(&str, PemFiles)],
    ) -> String {
        let ways = links.iter().filter(|((from, _), _)| from == plan.name);
        let routes: String = ways.fold(String::new(), |mut text, ((_, to), link)| {
            writeln!(text, "{to} = \"{}\"", link.address).expect("text grows");
            text
        });
        let first = &self.nodes[0];
        let join = links
            .get(&(plan.name.to_owned(), first.name.to_owned()))
            .map(|link| format!("\"{}\"", link.address))
            .unwrap_or_default();
        let certificates = files.iter().fold(String::new(), |mut text, (name, files)| {
            let (chain, key) = (files.chain.display(), files.key.display());
            writeln!(
                text,
                "[certificates.{name}]\nchain = \"{chain}\"\nkey = \"{key}\""
            )
            .expect("text grows");
            text
        });
        let Ports {
            http,
            https,
            dns,
            peer,
            metrics,
        } = ports;
        format!(
            r#"[node]
name = "{name}"
region = "{region}"
latitude = {latitude:?}
longitude = {longitude:?}
[listen]
http = ["{address}:{http}"]
https = ["{address}:{https}"]
dns = ["{address}:{dns}"]
peer = ["{address}:{peer}"]
admin = ["unix:{home}/admin.sock"]
metrics = ["{address}:{metrics}"]
trusted_proxies = ["127.0.0.1/32"]
proxy_protocol = {proxied}
[advertise]
ipv4 = "{address}"
peer = "{address}:{peer}"
[cluster]
join = [{join}]
[peer.route]
{routes}[data]
dir = "{home}/data"
[cache]
dir = "{home}/cache"
memory_max = "{memory}"
disk_max = "256 MiB"
disk_free_min = "1 MiB"
[log]
level = "info,openraft=warn,actix_server=warn"
access = "json"
{certificates}{sections}"#,
            name = plan.name,
            region = plan.place.region,
            latitude = plan.place.latitude,
            longitude = plan.place.longitude,
            home = home.display(),
            memory = self.memory,
            proxied = self.proxy_protocol,
            sections = self.sections,
        )
    }
}

/// A /24 of loopback for one lab, apart from those of other labs and other test processes.
#[derive(Clone, Copy, Debug)]
struct Network(u8, u8);

impl Network {
    fn next() -> Self {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let (process, lab) = (std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let third = (process / 128 % 16) * 16 + lab % 16;
        Self(
            64 + u8::try_from(process % 128).unwrap_or(0),
            u8::try_from(third).unwrap_or(0),
        )
    }

    fn node(self, index: usize) -> Ipv4Addr {
        Ipv4Addr::new(
            127,
            self.0,
            self.1,
            1 + u8::try_from(index).unwrap_or(u8::MAX - 1),
        )
    }

    fn wires(self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.0, self.1, 200)
    }
}

impl Ports {
    /// Ports that are free now on an address that nobody else uses.
    fn free(address: Ipv4Addr) -> Self {
        let tcp = || {
            let listener = TcpListener::bind((address, 0)).expect("a port is free");
            let port = listener
                .local_addr()
                .expect("a bound socket has an address")
                .port();
            (listener, port)
        };
        // All held at once, so that they differ.
        let (http, https, peer, metrics) = (tcp(), tcp(), tcp(), tcp());
        let mut dns = tcp();
        while UdpSocket::bind((address, dns.1)).is_err() {
            dns = tcp();
        }
        Self {
            http: http.1,
            https: https.1,
            dns: dns.1,
            peer: peer.1,
            metrics: metrics.1,
        }
    }
}
