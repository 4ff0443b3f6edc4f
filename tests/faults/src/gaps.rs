//! How long a partition took nothing, from when its records were acknowledged.

use serde::Serialize;

/// A time in which nothing was acknowledged, in nanoseconds since the history began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The last acknowledgement before.
    pub(crate) from: u64,
    /// The first one after; or the end of what is known.
    pub(crate) until: u64,
}

impl Gap {
    /// How long it is, in milliseconds.
    pub(crate) fn milliseconds(self) -> f64 {
        // Nanoseconds of a run are far below 2^53.
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let nanoseconds = (self.until - self.from) as f64;
        nanoseconds / 1e6
    }
}

/// The longest gap of those that lie in part between `from` and `until`. What is known ends at `end`.
pub(crate) fn longest(acknowledged: &[u64], from: u64, until: u64, end: u64) -> Gap {
    let first = acknowledged.partition_point(|time| *time <= from);
    let last = acknowledged.partition_point(|time| *time < until);
    let before = first.checked_sub(1).map_or(0, |at| acknowledged[at]);
    let after = acknowledged.get(last).copied().unwrap_or(end.max(until));
    let between = acknowledged.get(first..last).unwrap_or_default().iter().copied();
    let mut longest = Gap { from: before, until: before };
    let mut start = before;
    for time in between.chain([after]) {
        if time - start > longest.until - longest.from {
            longest = Gap { from: start, until: time };
        }
        start = time;
    }
    longest
}

/// Figures of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figures {
    /// How many.
    pub(crate) count: usize,
    /// The middle one, in milliseconds.
    pub(crate) median_ms: f64,
    /// The longest, in milliseconds.
    pub(crate) worst_ms: f64,
}

impl Figures {
    /// Of milliseconds; none if there are none.
    pub(crate) fn of(mut all: Vec<f64>) -> Option<Figures> {
        all.sort_by(f64::total_cmp);
        let (count, worst_ms) = (all.len(), *all.last()?);
        // The lower one of two in the middle would flatter.
        let median_ms = all[count / 2];
        Some(Figures { count, median_ms, worst_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_found_where_it_touches_what_is_looked_at() {
        let acknowledged = [10, 20, 30, 90, 100, 110, 500];
        let cases = [
            ("in the middle", 25, 95, Gap { from: 30, until: 90 }),
            ("begins before", 40, 50, Gap { from: 30, until: 90 }),
            ("ends behind", 95, 120, Gap { from: 110, until: 500 }),
            ("nothing special", 12, 28, Gap { from: 10, until: 20 }),
            ("before the first", 0, 5, Gap { from: 0, until: 10 }),
            ("never again", 501, 600, Gap { from: 500, until: 900 }),
            ("an acknowledgement at its end", 30, 90, Gap { from: 30, until: 90 }),
        ];
        for (name, from, until, expected) in cases {
            assert_eq!(longest(&acknowledged, from, until, 900), expected, "{name}");
        }
        assert_eq!(longest(&[], 10, 20, 900), Gap { from: 0, until: 900 });
    }

    #[test]
    fn the_upper_one_of_two_in_the_middle_is_the_median() {
        let figures = Figures::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(figures, Figures { count: 4, median_ms: 3.0, worst_ms: 4.0 });
        assert_eq!(Figures::of(Vec::new()), None);
    }
}
