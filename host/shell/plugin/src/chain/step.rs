//! One plugin of a chain, and what it makes of a batch.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use brooklet_hook::Place;
use brooklet_wire::batch::{Records, records};
use bytes::Bytes;

use super::failing::{Settled, refused, tell};
use super::{Bound, FailureAnswer, Step, Stepped, partition_number};
use crate::bind::serde::SerdePlugin;
use crate::bind::transform::TransformPlugin;
use crate::bind::types::{Blobs, Reject};
use crate::columns::{Checked, Column};
use crate::dead::Reason;
use crate::error::Failure;
use crate::rebuild;
use crate::role::Role;
use crate::role::serde::{Direction, check, convert};
use crate::role::transform::{Transformed, transform};
use crate::room::Room;
use crate::spec::{Mode, OnFailure, Part};

/// Calls, and time, that go into finding the records of a batch that a plugin fails on. What is not found by then counts
/// as failed.
const PROBES_MAX: u32 = 64;
const PROBING_MAX: Duration = Duration::from_secs(1);

fn column_of(opened: &Records<'_>, part: Part) -> Result<Blobs, Failure> {
    let mut column = Column::default();
    for record in opened.iter() {
        let record = record.map_err(|error| Failure::BadInput(error.to_string()))?;
        column.push(match part {
            Part::Key => record.key,
            Part::Value => record.value,
        });
    }
    Ok(column.finish())
}

impl Step {
    /// What becomes of a batch.
    pub(super) async fn run(&self, place: Place<'_>, batch: &Bytes, is_view: bool) -> Stepped {
        let opened = match records(batch) {
            Ok(opened) => opened,
            Err(error) => return refused(&Failure::BadInput(error.to_string())),
        };
        let failure = match self.attempt(place, &opened, is_view).await {
            Ok(made) => return made,
            Err(failure) => failure,
        };
        let several = opened.header().record_count > 1;
        if several && self.failure_answer().on_failure == OnFailure::DeadLetter && points(&failure)
        {
            return self.isolate(place, &opened, failure, is_view).await;
        }
        match self {
            Step::Serde { bound, .. } => {
                bound.answer.answer(&bound.room, &failure, place, &opened, is_view)
            }
            Step::Transform(bound) => {
                bound.answer.answer(&bound.room, &failure, place, &opened, is_view)
            }
        }
    }

    fn failure_answer(&self) -> &FailureAnswer {
        match self {
            Step::Serde { bound, .. } => &bound.answer,
            Step::Transform(bound) => &bound.answer,
        }
    }

    async fn attempt(
        &self,
        place: Place<'_>,
        opened: &Records<'_>,
        is_view: bool,
    ) -> Result<Stepped, Failure> {
        self.failure_answer().enter()?;
        match self {
            Step::Serde { bound, part, mode } => {
                bound.serde(*part, *mode, place, opened, is_view).await
            }
            Step::Transform(bound) => bound.transform(place, opened, is_view).await,
        }
    }

    /// Finds the records of a batch that the plugin fails on, by halves, so that the others go on without them.
    async fn isolate(
        &self,
        place: Place<'_>,
        opened: &Records<'_>,
        failure: Failure,
        is_view: bool,
    ) -> Stepped {
        let began = Instant::now();
        let mut probes = 0;
        let mut suspects = vec![(0..opened.header().record_count, failure)];
        let mut at_fault: BTreeMap<u32, Failure> = BTreeMap::new();
        while let Some((range, failure)) = suspects.pop() {
            let is_over = probes >= PROBES_MAX || began.elapsed() >= PROBING_MAX;
            if range.len() == 1 || is_over || !points(&failure) {
                at_fault.extend(range.map(|index| (index, failure.clone())));
                continue;
            }
            let middle = range.start.midpoint(range.end);
            for half in [range.start..middle, middle..range.end] {
                probes += 1;
                if let Err(failure) = self.probe(place, opened, half.clone(), is_view).await {
                    suspects.push((half, failure));
                }
            }
        }
        if at_fault.is_empty() {
            // It failed once and not again, or it fails on all of them together.
            match self.attempt(place, opened, is_view).await {
                Ok(made) => return made,
                Err(failure) => return self.bury(place, opened, &all(opened, &failure), is_view),
            }
        }
        let buried = self.bury(place, opened, &at_fault, is_view);
        let Stepped::New(rest, letters) = buried else { return buried };
        match self.go_on(place, &rest, is_view).await {
            Ok(Stepped::Same) => Stepped::New(rest, letters),
            Ok(Stepped::New(made, more)) => Stepped::New(made, [letters, more].concat()),
            Ok(Stepped::Refused(rejection)) => Stepped::Refused(rejection),
            Err(failure) => self.bury(place, opened, &all(opened, &failure), is_view),
        }
    }

    /// Says that these records can't be handled, and sets them aside.
    fn bury(
        &self,
        place: Place<'_>,
        opened: &Records<'_>,
        at_fault: &BTreeMap<u32, Failure>,
        is_view: bool,
    ) -> Stepped {
        let indexes: Vec<u32> = at_fault.keys().copied().collect();
        let reason = |index: u32| {
            let failure = at_fault.get(&index);
            failure.map_or_else(Reason::default, |failure| Reason {
                code: failure.kind().into(),
                message: failure.to_string(),
            })
        };
        match self {
            Step::Serde { bound, .. } => {
                tell_first(&bound.room, at_fault, place, opened, is_view);
                bound.answer.bury(&bound.room, &indexes, reason, place, opened, is_view)
            }
            Step::Transform(bound) => {
                tell_first(&bound.room, at_fault, place, opened, is_view);
                bound.answer.bury(&bound.room, &indexes, reason, place, opened, is_view)
            }
        }
    }

    /// Shows some of the records to the plugin, to see whether it fails.
    async fn probe(
        &self,
        place: Place<'_>,
        opened: &Records<'_>,
        range: Range<u32>,
        is_view: bool,
    ) -> Result<(), Failure> {
        let all = 0..opened.header().record_count;
        let others: Vec<u32> = all.filter(|index| !range.contains(index)).collect();
        let part = rebuild::without(opened, &others)?;
        let part = records(&part).map_err(|error| Failure::BadInput(error.to_string()))?;
        self.attempt(place, &part, is_view).await.map(drop)
    }

    /// With the records that could be handled, if there are any.
    async fn go_on(
        &self,
        place: Place<'_>,
        rest: &Bytes,
        is_view: bool,
    ) -> Result<Stepped, Failure> {
        let opened = records(rest).map_err(|error| Failure::BadInput(error.to_string()))?;
        if opened.header().record_count == 0 {
            return Ok(Stepped::Same);
        }
        self.attempt(place, &opened, is_view).await
    }
}

/// All records of a batch, for one reason.
fn all(opened: &Records<'_>, failure: &Failure) -> BTreeMap<u32, Failure> {
    (0..opened.header().record_count).map(|index| (index, failure.clone())).collect()
}

/// Tells of the first of the records that can't be handled: one line for a batch.
fn tell_first<R: Role>(
    room: &Room<R>,
    at_fault: &BTreeMap<u32, Failure>,
    place: Place<'_>,
    opened: &Records<'_>,
    is_view: bool,
) {
    if let Some((index, failure)) = at_fault.first_key_value() {
        let offset = opened.header().base_offset().value() + u64::from(*index);
        tell(room, failure, place, is_view.then_some(offset));
    }
}

/// Whether a failure is one of the records that were shown, and found soon: one that takes all its time would take it
/// over and over.
fn points(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Trap(_)
            | Failure::Memory(_)
            | Failure::Output { .. }
            | Failure::Wrong(_)
            | Failure::BadInput(_)
            | Failure::Fatal(_)
    )
}

impl Bound<SerdePlugin> {
    pub(super) async fn serde(
        &self,
        part: Part,
        mode: Mode,
        place: Place<'_>,
        opened: &Records<'_>,
        is_view: bool,
    ) -> Result<Stepped, Failure> {
        let topic = place.topic.as_str();
        let column = column_of(opened, part)?;
        let direction = match (is_view, mode) {
            (true, _) => Some(Direction::Deserialize),
            (false, Mode::Encode) => Some(Direction::Serialize),
            (false, Mode::Check | Mode::Place | Mode::Verify) => None,
        };
        let Some(direction) = direction else {
            let rejects = check(&self.room, topic, part, column).await?;
            return Ok(match self.answer.settle(&self.room, &rejects, place, opened, is_view) {
                Settled::Refuse(rejection) => Stepped::Refused(rejection),
                Settled::Go(left, _) if left.is_empty() => Stepped::Same,
                Settled::Go(left, letters) => {
                    Stepped::New(rebuild::without(opened, &left)?, letters)
                }
            });
        };
        let (new, rejects) = convert(&self.room, topic, part, column, direction).await?;
        let settled = self.answer.settle(&self.room, &rejects, place, opened, is_view);
        let (left, letters) = match settled {
            Settled::Refuse(rejection) => return Ok(Stepped::Refused(rejection)),
            Settled::Go(left, letters) => (left, letters),
        };
        let count = opened.header().record_count as usize;
        let new = if self.answer.on_failure == OnFailure::Pass && !rejects.is_empty() {
            original_where_rejected(&new, &rejects, opened, part)?
        } else {
            new
        };
        let column = Checked::new(&new, count, "entries")?;
        Ok(Stepped::New(rebuild::with_part(opened, part, column, &left)?, letters))
    }
}

/// With `pass`, what can't be converted goes on as it was.
fn original_where_rejected(
    new: &Blobs,
    rejects: &[Reject],
    opened: &Records<'_>,
    part: Part,
) -> Result<Blobs, Failure> {
    let count = opened.header().record_count as usize;
    let (old, mut mixed) = (column_of(opened, part)?, Column::default());
    let (old, new) = (Checked::new(&old, count, "entries")?, Checked::new(new, count, "entries")?);
    let mut rejects = rejects.iter().map(|reject| reject.index as usize).peekable();
    for index in 0..count {
        let is_rejected = rejects.next_if_eq(&index).is_some();
        mixed.push(if is_rejected { old.get(index) } else { new.get(index) });
    }
    Ok(mixed.finish())
}

impl Bound<TransformPlugin> {
    pub(super) async fn transform(
        &self,
        place: Place<'_>,
        opened: &Records<'_>,
        is_view: bool,
    ) -> Result<Stepped, Failure> {
        let (topic, partition) = (place.topic.as_str(), partition_number(place));
        let (made, rejects) = transform(&self.room, topic, partition, opened).await?;
        let settled = self.answer.settle(&self.room, &rejects, place, opened, is_view);
        let (left, letters) = match settled {
            Settled::Refuse(rejection) => return Ok(Stepped::Refused(rejection)),
            Settled::Go(left, letters) => (left, letters),
        };
        let batch = match made {
            Transformed::Pass if left.is_empty() => return Ok(Stepped::Same),
            Transformed::Pass => rebuild::without(opened, &left)?,
            Transformed::Select(bits) => rebuild::selected(opened, &bits, &left)?,
            Transformed::Emit(out) => rebuild::emitted(opened, &out, &left)?,
        };
        Ok(Stepped::New(batch, letters))
    }
}
