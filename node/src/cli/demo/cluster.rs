//! A cluster of real processes on loopback, made the way an operator makes one: node files, `cluster init`, a join token,
//! a zone, a site.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use super::certificates;
use super::client::Web;
use super::plan::{HOST, NODES, NodePlan, ORIGINS, OriginPlan, Ports, SITE, ZONE};
use super::process::{Program, Running};

/// Longest wait for a node to be ready, and how often it is asked.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const READY_INTERVAL: Duration = Duration::from_millis(100);
/// Longest wait for a request to an origin.
const ORIGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// All of it: the folder goes, and the processes are killed, when this is dropped.
pub(super) struct Demo {
    pub(super) program: Program,
    pub(super) ports: Ports,
    pub(super) ca: PathBuf,
    ca_pem: Vec<u8>,
    token: PathBuf,
    // Before the folder: processes end first.
    nodes: [Option<Running>; NODES.len()],
    origins: [Option<Running>; ORIGINS.len()],
    asker: reqwest::Client,
    folder: TempDir,
}

impl Demo {
    /// Makes the folder and the certificates; starts nothing.
    pub(super) fn prepare() -> Result<Self> {
        let ports = Ports::free()?;
        let folder = tempfile::Builder::new()
            .prefix("nearside-demo-")
            .tempdir()
            .context("cannot make a temporary folder")?;
        let files = certificates::write(&folder.path().join("certificates"), &[HOST.to_owned()])?;
        for node in &NODES {
            let dir = folder.path().join(node.name);
            fs::create_dir_all(&dir)?;
            fs::write(dir.join("node.toml"), node_file(node, ports, &dir, &files))?;
        }
        fs::write(folder.path().join("site.toml"), site_file(ports))?;
        fs::write(folder.path().join("zone.toml"), zone_file())?;
        let asker = reqwest::Client::builder()
            .no_proxy()
            .timeout(ORIGIN_TIMEOUT)
            .build()?;
        Ok(Self {
            program: Program::current()?,
            ports,
            ca_pem: fs::read(&files.ca)?,
            ca: files.ca,
            token: folder.path().join("join.token"),
            nodes: [const { None }; NODES.len()],
            origins: [const { None }; ORIGINS.len()],
            asker,
            folder,
        })
    }

    /// Where everything lies.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A node's admin socket.
    pub(super) fn socket(&self, node: usize) -> PathBuf {
        self.folder().join(NODES[node].name).join("admin.sock")
    }

    /// Where a node answers DNS.
    pub(super) fn dns(&self, node: usize) -> SocketAddr {
        SocketAddr::from((NODES[node].address, self.ports.dns))
    }

    /// A new client that was sent to `address`.
    pub(super) fn web(&self, address: Ipv4Addr) -> Result<Web> {
        Web::to(address, self.ports, &self.ca_pem)
    }

    /// The nodes that run, with their places in [`NODES`].
    pub(super) fn alive(&self) -> impl Iterator<Item = (usize, &'static NodePlan)> + '_ {
        NODES
            .iter()
            .enumerate()
            .filter(|(index, _)| self.nodes[*index].is_some())
    }

    /// A node's process id, while it runs.
    pub(super) fn process_id(&self, node: usize) -> Option<u32> {
        self.nodes[node].as_ref().and_then(Running::id)
    }

    /// `nearside ARGUMENTS --json` on one node.
    pub(super) async fn ask(&self, node: usize, arguments: &[&str]) -> Result<Value> {
        self.program.ask(&self.socket(node), arguments).await
    }

    /// Starts both origins and waits until they answer.
    pub(super) async fn start_origins(&mut self) -> Result<()> {
        for (index, origin) in ORIGINS.iter().enumerate() {
            let log = self.folder().join(format!("origin-{}.log", origin.name));
            let listen = SocketAddr::from((origin.address, self.ports.origin)).to_string();
            let arguments = ["demo", "origin", "--name", origin.name, "--listen", &listen];
            self.origins[index] = Some(self.program.start(&arguments, &log)?);
        }
        let deadline = Instant::now() + READY_TIMEOUT;
        for (index, origin) in ORIGINS.iter().enumerate() {
            while self.ask_origin(origin, "/healthz").await.is_err() {
                if let Some(running) = &mut self.origins[index] {
                    running.check(origin.name)?;
                }
                pause(deadline, "the origins to answer").await?;
            }
        }
        Ok(())
    }

    /// Starts a node; the first time, all but the first bring the join token.
    pub(super) fn start_node(&mut self, node: usize) -> Result<()> {
        let dir = self.folder().join(NODES[node].name);
        let (config, token) = (dir.join("node.toml"), self.token.clone());
        let config = config.to_string_lossy();
        let token = token.to_string_lossy();
        let mut arguments = vec!["node", "--config", &config];
        if node != 0 {
            arguments.extend(["--token-file", &token]);
        }
        self.nodes[node] = Some(self.program.start(&arguments, &dir.join("log"))?);
        Ok(())
    }

    /// Waits until a node says that it may get traffic.
    pub(super) async fn wait_ready(&mut self, node: usize) -> Result<()> {
        self.wait_check(node, "ready").await
    }

    async fn wait_check(&mut self, node: usize, check: &str) -> Result<()> {
        let name = NODES[node].name;
        let deadline = Instant::now() + READY_TIMEOUT;
        while self.ask(node, &["status", "--check", check]).await.is_err() {
            let Some(running) = &mut self.nodes[node] else {
                bail!("{name} does not run");
            };
            running.check(name)?;
            pause(deadline, &format!("{name} to be {check}"))
                .await
                .with_context(|| format!("{name} says: {}", running.last_words()))?;
        }
        Ok(())
    }

    /// Starts the first node, makes the cluster, hands the token to the rest, and waits until all belong.
    pub(super) async fn form(&mut self) -> Result<()> {
        self.start_node(0)?;
        self.wait_check(0, "live").await?;
        self.ask(0, &["cluster", "init"]).await?;
        let made = self
            .ask(0, &["join-token", "new", "--ttl", "1h", "--uses", "8"])
            .await?;
        let token = made["token"]
            .as_str()
            .context("`join-token new --json` names no token")?;
        fs::write(&self.token, token)?;
        for node in 1..NODES.len() {
            self.start_node(node)?;
        }
        for node in 0..NODES.len() {
            self.wait_ready(node).await?;
        }
        for node in 0..NODES.len() {
            self.wait_all_up(node).await?;
        }
        Ok(())
    }

    /// Waits until a node has heard from every other: what it answers in DNS rests on that.
    async fn wait_all_up(&self, node: usize) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let members = self.ask(node, &["members"]).await?;
            let listed = members["members"].as_array().map(Vec::as_slice);
            let up = listed
                .unwrap_or_default()
                .iter()
                .filter(|member| member["healthy"].as_bool() == Some(true))
                .count();
            if up == NODES.len() {
                return Ok(());
            }
            let what = format!("{} to hear from all, not only {up}", NODES[node].name);
            pause(deadline, &what).await?;
        }
    }

    /// Publishes the zone on one node and the site on another: a change is made anywhere.
    pub(super) async fn publish(&self) -> Result<()> {
        let zone = self.folder().join("zone.toml");
        let site = self.folder().join("site.toml");
        self.ask(1, &["zone", "apply", &zone.to_string_lossy()])
            .await?;
        self.ask(4, &["site", "apply", &site.to_string_lossy()])
            .await?;
        Ok(())
    }

    /// kill -9 of a node.
    pub(super) async fn kill_node(&mut self, node: usize) -> Result<()> {
        match self.nodes[node].take() {
            Some(mut running) => running.kill().await,
            None => bail!("{} does not run", NODES[node].name),
        }
    }

    /// kill -9 of an origin.
    pub(super) async fn kill_origin(&mut self, origin: usize) -> Result<()> {
        match self.origins[origin].take() {
            Some(mut running) => running.kill().await,
            None => bail!("{} does not run", ORIGINS[origin].name),
        }
    }

    /// How often the running origins were asked for a path, all together.
    pub(super) async fn origin_requests(&self, path: &str) -> Result<u64> {
        let mut sum = 0;
        for (_, origin) in self.running_origins() {
            let text = self.ask_origin(origin, "/.demo/requests").await?;
            let counts: Value = serde_json::from_str(&text)?;
            sum += counts[path].as_u64().unwrap_or(0);
        }
        Ok(sum)
    }

    /// Makes every running origin publish its next edition.
    pub(super) async fn publish_edition(&self) -> Result<()> {
        for (_, origin) in self.running_origins() {
            let url = format!(
                "http://{}:{}/.demo/publish",
                origin.address, self.ports.origin
            );
            self.asker.post(url).send().await?.error_for_status()?;
        }
        Ok(())
    }

    /// Ends every process, then removes the folder. The data is of no use to anybody: nothing is drained.
    pub(super) async fn stop(mut self) {
        for running in self.nodes.iter_mut().chain(&mut self.origins) {
            if let Some(mut running) = running.take() {
                running.kill().await.ok();
            }
        }
        self.folder.close().ok();
    }

    fn running_origins(&self) -> impl Iterator<Item = (usize, &'static OriginPlan)> + '_ {
        ORIGINS
            .iter()
            .enumerate()
            .filter(|(index, _)| self.origins[*index].is_some())
    }

    async fn ask_origin(&self, origin: &OriginPlan, path: &str) -> Result<String> {
        let url = format!("http://{}:{}{path}", origin.address, self.ports.origin);
        let response = self.asker.get(url).send().await?.error_for_status()?;
        Ok(response.text().await?)
    }
}

/// Waits a little, until the deadline.
pub(super) async fn pause(deadline: Instant, what: &str) -> Result<()> {
    if Instant::now() >= deadline {
        bail!("waited too long for {what}");
    }
    tokio::time::sleep(READY_INTERVAL).await;
    Ok(())
}

fn node_file(plan: &NodePlan, ports: Ports, dir: &Path, files: &certificates::Files) -> String {
    let (name, address, dir) = (plan.name, plan.address, dir.display());
    let first = NODES[0].address;
    let join = if address == first {
        String::new()
    } else {
        format!("\"{first}:{}\"", ports.peer)
    };
    format!(
        r#"# {city}
[node]
name = "{name}"
region = "{region}"
latitude = {latitude:?}
longitude = {longitude:?}
[listen]
http = ["{address}:{http}"]
https = ["{address}:{https}"]
dns = ["{address}:{dns}"]
peer = ["{address}:{peer}"]
admin = ["unix:{dir}/admin.sock"]
metrics = ["{address}:{metrics}"]
trusted_proxies = ["127.0.0.0/8"]
[advertise]
ipv4 = "{address}"
peer = "{address}:{peer}"
[cluster]
join = [{join}]
[data]
dir = "{dir}/data"
[cache]
dir = "{dir}/cache"
memory_max = "64 MiB"
disk_max = "1 GiB"
disk_free_min = "64 MiB"
[certificates.{SITE}]
chain = "{chain}"
key = "{key}"
"#,
        city = plan.city,
        region = plan.region,
        latitude = plan.point.latitude,
        longitude = plan.point.longitude,
        http = ports.http,
        https = ports.https,
        dns = ports.dns,
        peer = ports.peer,
        metrics = ports.metrics,
        chain = files.chain.display(),
        key = files.key.display(),
    )
}

fn site_file(ports: Ports) -> String {
    let mut text = format!("name = \"{SITE}\"\nhosts = [\"{HOST}\"]\n");
    for origin in &ORIGINS {
        // Writing to a String cannot fail.
        write!(
            text,
            "[[origin]]\nname = \"{}\"\nurl = \"http://{}:{}\"\nregion = \"{}\"\nlatitude = {:?}\nlongitude = {:?}\n",
            origin.name,
            origin.address,
            ports.origin,
            origin.region,
            origin.point.latitude,
            origin.point.longitude
        )
        .ok();
    }
    text + "[origins]\nhealth = { path = \"/healthz\", interval = \"500ms\", timeout = \"1s\", fall = 2, rise = 2 }\n"
}

fn zone_file() -> String {
    format!(
        "name = \"{ZONE}\"\nnameservers = {{ ns1 = \"{}\", ns2 = \"{}\" }}\nttl = {{ min = \"2s\", max = \"5s\" }}\n",
        NODES[0].name, NODES[2].name
    )
}

#[cfg(test)]
mod tests {
    use super::{site_file, zone_file};
    use crate::cli::demo::plan::{ORIGINS, Ports};
    use crate::config::{site_file as site, zone_file as zone};

    #[test]
    fn what_the_demo_publishes_is_what_the_program_accepts() {
        let ports = Ports {
            http: 8080,
            https: 8443,
            dns: 8053,
            peer: 7443,
            metrics: 9180,
            origin: 9000,
        };
        let parsed = site::parse(&site_file(ports), "site.toml").expect("a good site");
        assert_eq!(parsed.origins.len(), ORIGINS.len());
        assert!(zone::parse(&zone_file(), "zone.toml").is_ok());
    }
}
