//! What a follower does to its log: it copies, cuts, and begins anew.

use brooklet_log::CopyError;
use brooklet_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use brooklet_wire::batch::{BatchBuilder, HEADER_BYTES};

use crate::log::paper::Paper;
use crate::log::{Bug, World};

/// A gap that no segment spans.
const GAP_WIDE: u64 = 1 << 32;

impl World {
    pub(super) fn paper(&mut self) -> &mut Paper {
        self.paper.as_mut().expect("open between steps")
    }

    /// Copies a batch of some leader since the newest of whom there is one, perhaps behind a gap. Its producer
    /// has written elsewhere before: whatever its sequence is, it is not a follower's to judge.
    pub(super) fn copy(&mut self) -> Result<(), String> {
        let mut builder = BatchBuilder::new(self.codec());
        if self.prng.chance(50) {
            let sequence = i32::try_from(self.prng.below(1000)).expect("small");
            builder = builder.producer(ProducerId(2), ProducerEpoch(0), sequence);
        }
        let (batch, records) = self.fill(builder)?;
        let gap = match self.prng.below(100) {
            0..60 => 0,
            60..99 => self.prng.below(30),
            _ => GAP_WIDE,
        };
        let base = self.log().end_offset().value() + gap;
        let oldest = self.log().latest_epoch().map_or(0, |latest| latest.0.min(self.epoch));
        let span = u64::from(self.epoch - oldest) + 1;
        let epoch = oldest + u32::try_from(self.prng.below(span)).expect("an epoch");
        let mut bytes = batch.to_vec();
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
        let batch = bytes.into();
        let copied = match self.log().copy(&batch) {
            Ok(copied) => copied,
            // A flipped bit has made a later leader of one that was not.
            Err(CopyError::StaleEpoch { .. }) if self.oracle.damaged => return Ok(()),
            Err(error) => return Err(format!("copy: {error}")),
        };
        let whole = batch.first_chunk::<HEADER_BYTES>().copied();
        let header = if self.bug == Bug::TrustJournalWithAnyEpoch { whole } else { copied.header };
        self.paper().wrote(copied.from, header, &batch);
        let count = records.len();
        self.wrote(base, records)?;
        self.note(format_args!("copy {count} of {} behind {gap}", LeaderEpoch(epoch)));
        Ok(())
    }

    /// Has the journal vouch for what was written.
    pub(super) fn journal(&mut self) -> Result<(), String> {
        if !self.paper().journal()? {
            return self.sync();
        }
        let end = self.log().end_offset();
        self.log().journaled(end);
        self.oracle.acknowledged = end.value();
        self.note(format_args!("journal"));
        Ok(())
    }

    /// Truncation: what was cut is promised to nobody any more.
    pub(super) fn cut(&mut self) -> Result<(), String> {
        let (start, end) = (self.log().start_offset().value(), self.log().end_offset().value());
        let to = start + self.prng.below(end - start + 1);
        self.oracle.before_cut(self.clock);
        self.log().truncate_to(Offset::new(to)).map_err(|error| format!("truncate: {error}"))?;
        let end = self.log().end_offset().value();
        self.oracle.ends_at(end);
        self.new_producer();
        self.note(format_args!("truncate {to}"));
        Ok(())
    }

    /// The leader's log begins elsewhere than this one ends.
    pub(super) fn begin_anew(&mut self) -> Result<(), String> {
        let end = self.log().end_offset().value();
        let offset = if self.prng.chance(70) {
            end + self.prng.below(1000)
        } else {
            self.prng.below(end + 1)
        };
        self.log().restart_at(Offset::new(offset)).map_err(|error| format!("restart: {error}"))?;
        self.oracle.begins_anew_at(offset);
        self.new_producer();
        self.note(format_args!("begin anew"));
        Ok(())
    }
}
