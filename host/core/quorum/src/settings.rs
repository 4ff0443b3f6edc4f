//! What a quorum is told at its start: who it is, how patient it is, and its limits.
//!
//! The limits of bytes are the same on all members of a cluster: one refuses what another may not send.

use crate::member::{ClusterId, Member};

/// How a member behaves. Ticks are whatever the caller makes of them, all members about alike.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Who we are.
    pub me: Member,
    /// The cluster; messages of another are refused.
    pub cluster: ClusterId,
    /// Spreads our elections, so that members do not stand at the same moment. Any number, another on each
    /// member.
    pub entropy: u64,
    /// Ticks without word from a leader before we stand for election, at least; at most one less than twice
    /// as many.
    pub election_ticks: u32,
    /// Ticks between two heartbeats of a leader.
    pub heartbeat_ticks: u32,
    /// Ticks after which a snapshot that was sent and not acknowledged is sent again.
    pub snapshot_ticks: u32,
    /// Bytes of entries in one message; a single entry may be larger.
    pub append_bytes_max: usize,
    /// Messages with entries under way to one follower.
    pub inflight_max: usize,
    /// Bytes of one proposal.
    pub proposal_bytes_max: usize,
    /// What entries cost that are not committed, memory beside their bytes included; past it proposals are
    /// refused.
    pub uncommitted_bytes_max: usize,
    /// What entries in memory may cost; past it more are refused until the caller compacts. It compacts when
    /// half of it is reached.
    pub kept_bytes_max: usize,
    /// Bytes of a snapshot.
    pub snapshot_bytes_max: usize,
}

impl Settings {
    /// The usual ones, for ticks of 100 ms: a leader that is gone is missed after half a second to one.
    pub fn new(me: Member, cluster: ClusterId, entropy: u64) -> Settings {
        Settings {
            me,
            cluster,
            entropy,
            election_ticks: 5,
            heartbeat_ticks: 1,
            // Ten seconds: long enough for 64 MiB over a slow link.
            snapshot_ticks: 100,
            append_bytes_max: 1 << 20,
            inflight_max: 64,
            // A topic of ten thousand partitions is half a megabyte.
            proposal_bytes_max: 8 << 20,
            uncommitted_bytes_max: 16 << 20,
            kept_bytes_max: 64 << 20,
            // With its envelope it fits into a request frame.
            snapshot_bytes_max: 64 << 20,
        }
    }

    /// Panics on settings that cannot work: they are ours.
    pub(crate) fn assert_sound(&self) {
        assert!(self.me.broker.0 >= 0, "a broker has a number");
        assert!(self.heartbeat_ticks > 0, "a leader is heard");
        assert!(self.election_ticks > self.heartbeat_ticks, "a heartbeat comes before an election");
        assert!(self.snapshot_ticks > 0 && self.inflight_max > 0, "something may be under way");
        assert!(self.append_bytes_max <= self.uncommitted_bytes_max, "a message may be filled");
        assert!(self.proposal_bytes_max <= self.uncommitted_bytes_max, "a proposal may be made");
        // Otherwise entries that wait for their commit could keep out those that bring it.
        assert!(self.kept_bytes_max >= 4 * self.uncommitted_bytes_max, "there is room to commit");
    }
}
