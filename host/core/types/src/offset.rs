//! Positions in a partition, and distances between them.

use std::fmt;

/// Position of one record in its partition. The first record ever written has offset 0.
///
/// Kafka's wire says "no offset" with -1. That sentinel stops at the codec: inside the broker
/// absence is `Option<Offset>`, so no comparison can quietly treat -1 as "very old".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(u64);

/// A number of records: the distance between two offsets of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct RecordCount(pub u32);

impl Offset {
    /// The first position of every partition.
    pub const ZERO: Offset = Offset(0);
    /// The last position the wire can name.
    pub const MAX: Offset = Offset(i64::MAX as u64);

    /// A position known to be in the wire's range.
    pub const fn new(raw: u64) -> Offset {
        assert!(raw <= Offset::MAX.0, "offset beyond the wire's range");
        Offset(raw)
    }

    /// Reads a wire offset; any negative value means "none".
    pub fn from_wire(raw: i64) -> Option<Offset> {
        u64::try_from(raw).ok().map(Offset)
    }

    /// The offset as Kafka writes it.
    pub fn to_wire(self) -> i64 {
        i64::try_from(self.0).expect("an Offset never exceeds i64::MAX")
    }

    /// The bare number, for formatting and for file names.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The position `count` records later.
    pub fn plus(self, count: RecordCount) -> Offset {
        let sum = Offset(self.0 + u64::from(count.0));
        assert!(sum <= Offset::MAX, "offset {self} plus {count:?} leaves the wire's range");
        sum
    }

    /// The next position.
    pub fn next(self) -> Offset {
        self.plus(RecordCount(1))
    }

    /// How many positions lie in `base..self`; zero when `base` is not before `self`.
    pub fn distance_from(self, base: Offset) -> u64 {
        self.0.saturating_sub(base.0)
    }

    /// How many records lie in `base..self`, or `None` when that is negative or absurd.
    pub fn since(self, base: Offset) -> Option<RecordCount> {
        let distance = self.0.checked_sub(base.0)?;
        u32::try_from(distance).ok().map(RecordCount)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
