//! The task that runs SWIM: one owner of foca's state, fed by datagrams, timers and the roster.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::num::{NonZeroU8, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use foca::{
    Config, Foca, Header, Member, NoCustomBroadcast, Notification, PeriodicParams, Runtime,
};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Liveness;
use crate::Timing;
use crate::raft::{Applied, VERSION};
use crate::state::{NodeId, State};
use crate::transport::{PeerAddress, PeerKind, PeerRequest, Transport};

/// Between attempts to reach members that are not seen up.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);
/// How long a member passes for healthy before anything was heard of it: some rounds of announcing. Without it a node
/// that just started, or met a new member, would believe for a second that those it has not met are down.
const HEARING_TIME: Duration = Duration::from_secs(3);
/// Bytes of one datagram; they travel over TCP, so it is generous.
const DATAGRAM_BYTES_MAX: usize = 16 * 1024;
/// Datagrams on their way at once; beyond, they are dropped as a network would.
const SENDS_MAX: usize = 128;
/// Members asked to probe in our place.
const INDIRECT_PROBES: usize = 3;

/// One datagram that arrived, checked to come from this member.
pub(crate) type Datagram = Bytes;

/// A run of a node: a later one wins over an earlier one, so a restarted node is believed at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    id: NodeId,
    generation: u64,
}

impl foca::Identity for Run {
    type Addr = NodeId;

    fn renew(&self) -> Option<Self> {
        Some(Self {
            id: self.id,
            generation: self.generation + 1,
        })
    }

    fn addr(&self) -> NodeId {
        self.id
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.generation > adversary.generation
    }
}

/// MessagePack without names: datagrams are small, and a version byte goes before each.
struct Codec;

fn write(value: &impl Serialize, mut buf: impl BufMut) -> Result<(), CodecError> {
    let bytes = rmp_serde::to_vec(value).map_err(|error| CodecError(error.to_string()))?;
    if bytes.len() > buf.remaining_mut() {
        return Err(CodecError("no room".into()));
    }
    buf.put_slice(&bytes);
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(buf: impl Buf) -> Result<T, CodecError> {
    rmp_serde::from_read(buf.reader()).map_err(|error| CodecError(error.to_string()))
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct CodecError(String);

impl foca::Codec<Run> for Codec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<Run>, buf: impl BufMut) -> Result<(), CodecError> {
        write(header, buf)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Run>, CodecError> {
        read(buf)
    }

    fn encode_member(&mut self, member: &Member<Run>, buf: impl BufMut) -> Result<(), CodecError> {
        write(member, buf)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Member<Run>, CodecError> {
        read(buf)
    }
}

/// What one step of foca asks for.
#[derive(Default)]
struct Wishes {
    send: Vec<(Run, Bytes)>,
    timers: Vec<(Duration, foca::Timer<Run>)>,
}

impl Runtime<Run> for Wishes {
    fn notify(&mut self, notification: Notification<'_, Run>) {
        match notification {
            Notification::MemberUp(run) => tracing::debug!(node = run.id.0, "heard of as up"),
            Notification::MemberDown(run) => tracing::debug!(node = run.id.0, "heard of as down"),
            Notification::Rejoin(run) => {
                tracing::info!(generation = run.generation, "was believed down; rejoined");
            }
            _ => {}
        }
    }

    fn send_to(&mut self, to: Run, data: &[u8]) {
        let mut datagram = Vec::with_capacity(data.len() + 1);
        datagram.push(VERSION);
        datagram.extend_from_slice(data);
        self.send.push((to, datagram.into()));
    }

    fn submit_after(&mut self, event: foca::Timer<Run>, after: Duration) {
        self.timers.push((after, event));
    }
}

/// A timer that is due; ordered by time, then by submission.
struct Due {
    at: Instant,
    number: u64,
    timer: foca::Timer<Run>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

fn config(timing: &Timing) -> Config {
    let periodic = |frequency, members| {
        Some(PeriodicParams {
            frequency,
            num_members: NonZeroUsize::new(members).unwrap_or(NonZeroUsize::MIN),
        })
    };
    Config {
        probe_period: timing.probe,
        probe_rtt: timing.probe_round_trip,
        num_indirect_probes: NonZeroUsize::new(INDIRECT_PROBES).unwrap_or(NonZeroUsize::MIN),
        max_transmissions: NonZeroU8::new(10).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: timing.suspicion,
        remove_down_after: Some(Duration::from_secs(24 * 3600)),
        max_packet_size: NonZeroUsize::new(DATAGRAM_BYTES_MAX).unwrap_or(NonZeroUsize::MIN),
        notify_down_members: true,
        periodic_announce: periodic(Duration::from_secs(10), 2),
        periodic_announce_to_down_members: periodic(Duration::from_secs(2), 2),
        periodic_gossip: periodic(timing.probe / 3, 3),
    }
}

/// Everything the task works with.
struct Gossip {
    own: NodeId,
    foca: Foca<Run, Codec, StdRng, NoCustomBroadcast>,
    timers: BinaryHeap<Reverse<Due>>,
    timers_submitted: u64,
    sends: JoinSet<()>,
    send_slots: Arc<Semaphore>,
    send_deadline: Duration,
    transport: Arc<dyn Transport>,
    applied: Applied,
    liveness: watch::Sender<Arc<Liveness>>,
    /// Members nothing was heard of yet, and since when they are known; none once something was.
    unheard: BTreeMap<NodeId, Option<Instant>>,
}

/// What a run of the task needs.
pub(crate) struct Start {
    /// This node.
    pub(crate) own: NodeId,
    /// Greater than that of any earlier run of this node.
    pub(crate) generation: u64,
    pub(crate) timing: Timing,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) applied: Applied,
    pub(crate) liveness: watch::Sender<Arc<Liveness>>,
}

impl Start {
    fn gossip(self) -> Gossip {
        let run = Run {
            id: self.own,
            generation: self.generation,
        };
        let random = StdRng::from_rng(&mut rand::rng());
        Gossip {
            own: self.own,
            foca: Foca::new(run, config(&self.timing), random, Codec),
            timers: BinaryHeap::new(),
            timers_submitted: 0,
            sends: JoinSet::new(),
            send_slots: Arc::new(Semaphore::new(SENDS_MAX)),
            send_deadline: self.timing.probe,
            transport: self.transport,
            applied: self.applied,
            liveness: self.liveness,
            unheard: BTreeMap::new(),
        }
    }
}

/// Runs until `stop` says so. Once `leave` does, it says goodbye and no longer answers, so that the others send this
/// node no more clients while it finishes what it has.
pub(crate) async fn gossip(
    start: Start,
    mut arrivals: mpsc::Receiver<Datagram>,
    mut leave: watch::Receiver<bool>,
    mut stop: watch::Receiver<bool>,
) {
    let mut roster = start.applied.watch();
    let mut gossip = start.gossip();
    let mut left = false;
    let mut announce = tokio::time::interval(ANNOUNCE_EVERY);
    announce.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let due = gossip.timers.peek().map(|due| due.0.at);
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            _ = leave.wait_for(|leave| *leave), if !left => {
                left = true;
                gossip.step(|foca, wishes| foca.leave_cluster(wishes));
            },
            datagram = arrivals.recv() => match datagram {
                Some(_) if left => continue,
                Some(datagram) => gossip.arrived(&datagram),
                None => break,
            },
            () = until(due), if !left => gossip.fire(),
            _ = announce.tick() => match left {
                false => gossip.announce(),
                // The goodbye once more, for those that it did not reach.
                true => gossip.step(|foca, wishes| foca.gossip(wishes)),
            },
            changed = roster.changed() => {
                if changed.is_err() {
                    break;
                }
                roster.mark_unchanged();
            },
            Some(_) = gossip.sends.join_next() => continue,
        }
        if !left {
            gossip.conclude();
        }
    }
    gossip.sends.shutdown().await;
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl Gossip {
    fn arrived(&mut self, datagram: &[u8]) {
        let Some((&VERSION, data)) = datagram.split_first() else {
            return;
        };
        self.step(|foca, wishes| foca.handle_data(data, wishes));
    }

    fn fire(&mut self) {
        let now = Instant::now();
        while self.timers.peek().is_some_and(|due| due.0.at <= now) {
            if let Some(Reverse(due)) = self.timers.pop() {
                self.step(|foca, wishes| foca.handle_timer(due.timer, wishes));
            }
        }
    }

    /// Says hello to members that are not seen up: new ones, and all of them after a start.
    fn announce(&mut self) {
        let seen = self.seen();
        let state = self.applied.state();
        for id in state.members.keys() {
            if *id != self.own && !seen.contains(id) {
                let unknown_run = Run {
                    id: *id,
                    generation: 0,
                };
                self.step(|foca, wishes| foca.announce(unknown_run, wishes));
            }
        }
    }

    fn step(
        &mut self,
        step: impl FnOnce(
            &mut Foca<Run, Codec, StdRng, NoCustomBroadcast>,
            &mut Wishes,
        ) -> Result<(), foca::Error>,
    ) {
        let mut wishes = Wishes::default();
        if let Err(error) = step(&mut self.foca, &mut wishes) {
            tracing::debug!(%error, "liveness step failed");
        }
        let now = Instant::now();
        for (after, timer) in wishes.timers {
            self.timers_submitted += 1;
            self.timers.push(Reverse(Due {
                at: now + after,
                number: self.timers_submitted,
                timer,
            }));
        }
        if wishes.send.is_empty() {
            return;
        }
        let state = self.applied.state();
        for (run, datagram) in wishes.send {
            self.send(&state, run.id, datagram);
        }
    }

    fn send(&mut self, state: &State, to: NodeId, datagram: Bytes) {
        let Some(member) = state.members.get(&to) else {
            return;
        };
        let Ok(slot) = Arc::clone(&self.send_slots).try_acquire_owned() else {
            return;
        };
        let target = PeerAddress {
            id: to,
            name: member.name.clone(),
            address: member.peer.clone(),
        };
        let (transport, deadline) = (Arc::clone(&self.transport), self.send_deadline);
        self.sends.spawn(async move {
            let request = PeerRequest {
                kind: PeerKind::Liveness,
                body: datagram,
            };
            // A datagram that is lost is what SWIM is made for.
            if let Err(error) = transport.call(&target, request, deadline).await {
                tracing::trace!(%error, "liveness datagram lost");
            }
            drop(slot);
        });
    }

    fn seen(&self) -> BTreeSet<NodeId> {
        self.foca
            .iter_members()
            .map(|member| member.id().id)
            .collect()
    }

    /// The members that nothing was heard of yet and that have not had their time.
    fn unheard(&mut self, members: &BTreeSet<NodeId>, seen: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let now = Instant::now();
        self.unheard.retain(|id, _| members.contains(id));
        for id in members {
            let since = self.unheard.entry(*id).or_insert(Some(now));
            if seen.contains(id) || since.is_some_and(|since| now - since >= HEARING_TIME) {
                *since = None;
            }
        }
        let waiting = self.unheard.iter().filter(|(_, since)| since.is_some());
        waiting.map(|(id, _)| *id).collect()
    }

    /// Publishes what is believed now, if it changed.
    fn conclude(&mut self) {
        let state = self.applied.state();
        let members: BTreeSet<NodeId> = state.members.keys().copied().collect();
        if !members.contains(&self.own) {
            // The log has not reached the node's own joining yet: it knows nothing to judge by.
            return;
        }
        let seen = self.seen();
        let unheard = self.unheard(&members, &seen);
        self.liveness.send_if_modified(|liveness| {
            let next = liveness.next(self.own, &seen, &unheard, &members);
            let changed = next != **liveness;
            if changed {
                *liveness = Arc::new(next);
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Datagrams have their own, shorter form; a golden one of each kind of message keeps it.
    #[test]
    fn datagrams_are_written_as_ever() {
        let run = |id| Run {
            id: NodeId(id),
            generation: 1_700_000_000_000 + id,
        };
        let check = |message: foca::Message<Run>, golden: &str| {
            let header = Header {
                src: run(1),
                src_incarnation: 2,
                dst: run(7),
                message,
            };
            let mut written = Vec::new();
            write(&header, &mut written).unwrap();
            assert_eq!(hex::encode(&written), golden);
            let read: Header<Run> = read(&written[..]).unwrap();
            assert_eq!(read, header);
        };
        for (message, golden) in GOLDEN.iter().enumerate() {
            let message = match message {
                0 => foca::Message::Ping(5),
                1 => foca::Message::Ack(5),
                2 => foca::Message::PingReq {
                    target: run(9),
                    probe_number: 5,
                },
                3 => foca::Message::Announce,
                4 => foca::Message::Feed,
                5 => foca::Message::Gossip,
                _ => foca::Message::TurnUndead,
            };
            check(message, golden);
        }
        let mut written = Vec::new();
        write(&Member::new(run(9), 3, foca::State::Suspect), &mut written).unwrap();
        assert_eq!(hex::encode(&written), GOLDEN_MEMBER);
    }

    const GOLDEN: [&str; 7] = [
        "949201cf0000018bcfe56801029207cf0000018bcfe5680781a450696e6705",
        "949201cf0000018bcfe56801029207cf0000018bcfe5680781a341636b05",
        "949201cf0000018bcfe56801029207cf0000018bcfe5680781a750696e67526571929209cf0000018bcfe5680905",
        "949201cf0000018bcfe56801029207cf0000018bcfe56807a8416e6e6f756e6365",
        "949201cf0000018bcfe56801029207cf0000018bcfe56807a446656564",
        "949201cf0000018bcfe56801029207cf0000018bcfe56807a6476f73736970",
        "949201cf0000018bcfe56801029207cf0000018bcfe56807aa5475726e556e64656164",
    ];
    const GOLDEN_MEMBER: &str = "939209cf0000018bcfe5680903a753757370656374";
}
