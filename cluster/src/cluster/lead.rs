//! What a leader does beside replicating: it makes Raft's membership follow the members that were agreed on.

use std::sync::Weak;
use std::time::Duration;

use super::Inner;
use super::member::Membership;

/// Between looks when nothing seems to change.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs for as long as the node is a member; idle unless it leads.
pub(crate) async fn lead(inner: Weak<Inner>, membership: Weak<Membership>) {
    let (mut state, mut server) = {
        let (Some(inner), Some(membership)) = (inner.upgrade(), membership.upgrade()) else {
            return;
        };
        (inner.applied.watch(), membership.raft.changes())
    };
    loop {
        {
            let (Some(inner), Some(membership)) = (inner.upgrade(), membership.upgrade()) else {
                return;
            };
            loop {
                let liveness = inner.liveness.borrow().clone();
                let now = inner.applied.state();
                if !membership.raft.follow_members(&now, &liveness).await {
                    break;
                }
            }
        }
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            goes_on = server.next() => if !goes_on { return },
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
