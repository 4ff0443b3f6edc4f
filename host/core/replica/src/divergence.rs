//! Where two logs part: what a leader says to a follower, and where the follower cuts (KIP-101, 279, 595).
//!
//! **Where it sits.** Below both roles. A log's history of epochs comes in as a function: the largest epoch of which
//! the log has records and which is not after the asked one, with the offset where it ends; none where the log has
//! nothing so old.
//!
//! **Why it holds.** An epoch has one leader, who writes each offset once, and nobody appends to what does not
//! match. So two logs that both have an epoch have the same records up to where the shorter of the two ends it.

use brooklet_types::{LeaderEpoch, Offset};

/// An epoch of a log, and the first offset that is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Where it ends: where the next begins, or the log's end.
    pub end: Offset,
}

/// What a leader, whose log begins at `log_start`, says to a follower that has everything before `offset`, the last
/// of it of epoch `last`. None when it may go on from there.
pub(crate) fn found(
    offset: Offset,
    last: LeaderEpoch,
    log_start: Offset,
    history: &dyn Fn(LeaderEpoch) -> Option<EpochEnd>,
) -> Option<EpochEnd> {
    // Older than everything here: of that epoch there can be nothing behind the log's start.
    let known = history(last).unwrap_or(EpochEnd { epoch: last, end: log_start });
    (known.epoch < last || known.end < offset).then_some(known)
}

/// Where a follower, whose log begins at `log_start`, cuts when its leader said `found`. One cut may not be enough:
/// the next fetch tells.
///
/// With nothing as old as what the leader named, everything here is of epochs that the leader does not have, so
/// nothing stays. Kafka cuts at the leader's end there, and would ask and cut at the same place for ever.
pub(crate) fn cut(
    found: EpochEnd,
    log_start: Offset,
    history: &dyn Fn(LeaderEpoch) -> Option<EpochEnd>,
) -> Offset {
    match history(found.epoch) {
        Some(own) if own.epoch == found.epoch => own.end.min(found.end),
        Some(own) => own.end,
        None => log_start.min(found.end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Log = (u64, &'static [(u32, u64)], u64);

    /// The history of a log of start, epochs with their first offsets, and end.
    fn history((_, epochs, end): Log) -> impl Fn(LeaderEpoch) -> Option<EpochEnd> {
        move |asked| {
            let at = epochs.iter().rposition(|(epoch, _)| *epoch <= asked.0)?;
            let end = epochs.get(at + 1).map_or(end, |next| next.1);
            Some(EpochEnd { epoch: LeaderEpoch(epochs[at].0), end: Offset::new(end) })
        }
    }

    #[test]
    fn a_leader_finds_where_logs_part() {
        let log: Log = (5, &[(2, 5), (4, 20), (7, 30)], 42);
        // Offset and last epoch of the follower; what the leader says.
        let table = [
            ((42, 7), None),
            ((35, 7), None),
            ((30, 4), None),
            ((25, 4), None),
            ((5, 1), None),
            ((31, 4), Some((4, 30))),
            ((50, 7), Some((7, 42))),
            ((25, 3), Some((2, 20))),
            ((15, 3), Some((2, 20))),
            ((50, 9), Some((7, 42))),
            ((9, 1), Some((1, 5))),
        ];
        for ((offset, last), expected) in table {
            let start = Offset::new(log.0);
            let said = found(Offset::new(offset), LeaderEpoch(last), start, &history(log));
            let said = said.map(|end| (end.epoch.0, end.end.value()));
            assert_eq!(said, expected, "a follower at {offset} in {last}");
        }
    }

    #[test]
    fn a_follower_cuts_where_its_records_are_no_longer_the_leaders() {
        let own: Log = (5, &[(2, 5), (4, 20), (7, 30)], 42);
        // What the leader said; where to cut.
        let table = [
            ((7, 35), 35),
            ((4, 25), 25),
            // The leader has more of that epoch: ours of it stay, later ones go.
            ((4, 100), 30),
            // An epoch that is not here: the last before it, whole, and ask again.
            ((6, 25), 30),
            ((3, 12), 20),
            ((2, 9), 9),
            // Nothing here is the leader's.
            ((1, 9), 5),
            ((1, 3), 3),
        ];
        for ((epoch, end), expected) in table {
            let said = EpochEnd { epoch: LeaderEpoch(epoch), end: Offset::new(end) };
            let at = cut(said, Offset::new(own.0), &history(own));
            assert_eq!(at.value(), expected, "the leader has epoch {epoch} up to {end}");
        }
    }
}
