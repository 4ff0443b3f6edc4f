//! The plugins of one topic, in their order, and what becomes of a batch that passes them.

mod placing;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use brooklet_hook::{Checked as Verdict, DeadLetter, Place, Placed, Rejection, Replacement, Shown};
use brooklet_wire::batch::{Records, records, split};
use bytes::Bytes;

use crate::bind::partitioner::PartitionerPlugin;
use crate::bind::serde::SerdePlugin;
use crate::bind::transform::TransformPlugin;
use crate::bind::types::{Blobs, Reject};
use crate::columns::{Checked, Column};
use crate::dead::{self, Reason};
use crate::error::Failure;
use crate::journal::Level;
use crate::rebuild;
use crate::role::serde::{Direction, check, convert};
use crate::role::transform::{Transformed, transform};
use crate::room::Room;
use crate::spec::{Mode, OnFailure, Part};

/// A plugin in its place.
pub(crate) struct Bound<R: crate::role::Role> {
    pub(crate) room: Arc<Room<R>>,
    pub(crate) answer: FailureAnswer,
}

/// The binding's answer to "and if it fails?".
#[derive(Debug)]
pub(crate) struct FailureAnswer {
    pub(crate) on_failure: OnFailure,
    pub(crate) dead_letters: Option<String>,
    /// Protects why it was stopped, if it was.
    pub(crate) stopped: Mutex<Option<String>>,
}

impl<R: crate::role::Role> std::fmt::Debug for Bound<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound").field("room", &self.room).field("answer", &self.answer).finish()
    }
}

/// One step of a chain.
#[derive(Debug)]
pub(crate) enum Step {
    Serde { bound: Bound<SerdePlugin>, part: Part, mode: Mode },
    Transform(Bound<TransformPlugin>),
}

/// All plugins of a topic.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// Why nothing passes, if the topic's plugins can't be used.
    pub(crate) unusable: Option<String>,
    pub(crate) partitioner: Option<(Bound<PartitionerPlugin>, Mode)>,
    pub(crate) steps: Vec<Step>,
    /// Up to where each partition's records have been put among the dead letters by a view: what is shown
    /// again is not put there again.
    pub(crate) mourned: Mutex<BTreeMap<u32, u64>>,
}

/// What one step makes of a batch.
enum Stepped {
    Same,
    New(Bytes, Vec<DeadLetter>),
    Refused(Rejection),
}

impl FailureAnswer {
    /// An error if it was stopped.
    fn enter(&self) -> Result<(), Failure> {
        match &*self.stopped.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(why) => Err(Failure::Stopped(why.clone())),
            None => Ok(()),
        }
    }

    /// What a failure of the whole call comes to.
    fn answer<R: crate::role::Role>(
        &self,
        room: &Room<R>,
        failure: &Failure,
        place: Place<'_>,
        opened: &Records<'_>,
        is_view: bool,
    ) -> Stepped {
        let offset = is_view.then(|| opened.header().base_offset().value());
        if !matches!(failure, Failure::Stopped(_)) {
            tell(room, failure, place, offset);
        }
        let refused = || {
            let message = format!("plugin {} {}: {failure}", room.plugin(), room.version());
            Stepped::Refused(Rejection { message, records: Vec::new() })
        };
        match self.on_failure {
            OnFailure::Reject => refused(),
            OnFailure::Stop => {
                let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
                stopped.get_or_insert_with(|| failure.to_string());
                drop(stopped);
                refused()
            }
            OnFailure::Pass => Stepped::Same,
            OnFailure::DeadLetter => {
                let all: Vec<u32> = (0..opened.header().record_count).collect();
                let reason =
                    |_: u32| Reason { code: failure.kind().into(), message: failure.to_string() };
                self.bury(room, &all, reason, place, opened, is_view)
            }
        }
    }

    /// What records come to that the plugin could not handle. `left` is what is done with the others.
    fn settle<R: crate::role::Role>(
        &self,
        room: &Room<R>,
        rejects: &[Reject],
        place: Place<'_>,
        opened: &Records<'_>,
        is_view: bool,
    ) -> Settled {
        if rejects.is_empty() || self.on_failure == OnFailure::Pass {
            return Settled::Go(Vec::new(), Vec::new());
        }
        let indexes: Vec<u32> = rejects.iter().map(|reject| reject.index).collect();
        match self.on_failure {
            OnFailure::Reject | OnFailure::Stop | OnFailure::Pass => {
                let first = rejects.first().map_or("", |reject| reject.message.as_str());
                let message = format!(
                    "plugin {} {} refuses {} of {} records: {first}",
                    room.plugin(),
                    room.version(),
                    rejects.len(),
                    opened.header().record_count,
                );
                let told = |reject: &Reject| {
                    (reject.index, format!("{}: {}", reject.code, reject.message))
                };
                let records = rejects.iter().map(told).collect();
                Settled::Refuse(Rejection { message, records })
            }
            OnFailure::DeadLetter => {
                let topic = self.dead_letters.as_deref().unwrap_or_default();
                let reason = |index: u32| {
                    let found = rejects.iter().find(|reject| reject.index == index);
                    let (code, message) =
                        found.map(|it| (it.code.clone(), it.message.clone())).unwrap_or_default();
                    Reason { code, message }
                };
                let from = dead::From { room: room.about(), place, is_view };
                match dead::letters(topic, &from, opened, &indexes, reason) {
                    Ok(letters) => Settled::Go(indexes, letters),
                    Err(failure) => Settled::Refuse(Rejection {
                        message: failure.to_string(),
                        records: Vec::new(),
                    }),
                }
            }
        }
    }

    fn bury<R: crate::role::Role>(
        &self,
        room: &Room<R>,
        indexes: &[u32],
        reason: impl Fn(u32) -> Reason,
        place: Place<'_>,
        opened: &Records<'_>,
        is_view: bool,
    ) -> Stepped {
        let topic = self.dead_letters.as_deref().unwrap_or_default();
        let from = dead::From { room: room.about(), place, is_view };
        let buried = dead::letters(topic, &from, opened, indexes, reason)
            .and_then(|letters| Ok(Stepped::New(rebuild::without(opened, indexes)?, letters)));
        buried.unwrap_or_else(|failure| refused(&failure))
    }
}

enum Settled {
    /// These records are left out, and these letters written.
    Go(Vec<u32>, Vec<DeadLetter>),
    Refuse(Rejection),
}

fn refused(failure: &Failure) -> Stepped {
    Stepped::Refused(Rejection { message: failure.to_string(), records: Vec::new() })
}

/// Says in the plugin's journal and in the broker's log what happened, and where.
fn tell<R: crate::role::Role>(
    room: &Room<R>,
    failure: &Failure,
    place: Place<'_>,
    offset: Option<u64>,
) {
    let mut fields = BTreeMap::from([
        ("version".to_owned(), room.version().to_owned()),
        ("topic".to_owned(), place.topic.to_string()),
        ("partition".to_owned(), place.partition.0.to_string()),
        ("kind".to_owned(), failure.kind().to_owned()),
    ]);
    if let Some(offset) = offset {
        fields.insert("offset".to_owned(), offset.to_string());
    }
    let shared = room.shared();
    shared.journal.add(Level::Error, &shared.task, failure.to_string(), fields);
}

fn partition_number(place: Place<'_>) -> i32 {
    place.partition.to_wire()
}

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
    async fn run(&self, place: Place<'_>, batch: &Bytes, is_view: bool) -> Stepped {
        let opened = match records(batch) {
            Ok(opened) => opened,
            Err(error) => return refused(&Failure::BadInput(error.to_string())),
        };
        match self {
            Step::Serde { bound, part, mode } => {
                let made = match bound.answer.enter() {
                    Ok(()) => bound.serde(*part, *mode, place, &opened, is_view).await,
                    Err(failure) => Err(failure),
                };
                let failed = |failure: Failure| {
                    bound.answer.answer(&bound.room, &failure, place, &opened, is_view)
                };
                made.unwrap_or_else(failed)
            }
            Step::Transform(bound) => {
                let made = match bound.answer.enter() {
                    Ok(()) => bound.transform(place, &opened, is_view).await,
                    Err(failure) => Err(failure),
                };
                let failed = |failure: Failure| {
                    bound.answer.answer(&bound.room, &failure, place, &opened, is_view)
                };
                made.unwrap_or_else(failed)
            }
        }
    }
}

impl Bound<SerdePlugin> {
    async fn serde(
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
    async fn transform(
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

impl Chain {
    /// In place of plugins that can't be used: nothing passes unseen.
    pub(crate) fn unusable(why: String) -> Chain {
        Chain { unusable: Some(why), ..Chain::default() }
    }

    /// A batch on its way in.
    pub(crate) async fn check(&self, place: Place<'_>, batch: &Bytes) -> Verdict {
        if let Some(why) = &self.unusable {
            return Verdict::Reject(Rejection { message: why.clone(), records: Vec::new() });
        }
        if let Some((bound, Mode::Verify)) = &self.partitioner
            && !place.is_placed
            && let Some(rejection) = bound.verify(place, batch).await
        {
            return Verdict::Reject(rejection);
        }
        let mut current: Option<Bytes> = None;
        let mut dead_letters = Vec::new();
        for step in &self.steps {
            match step.run(place, current.as_ref().unwrap_or(batch), false).await {
                Stepped::Same => {}
                Stepped::New(next, letters) => {
                    current = Some(next);
                    dead_letters.extend(letters);
                }
                Stepped::Refused(rejection) => return Verdict::Reject(rejection),
            }
        }
        match current {
            Some(batch) => Verdict::Replace(Replacement { batch, dead_letters }),
            None => Verdict::Pass,
        }
    }

    /// Records on their way out of a view.
    pub(crate) async fn show(&self, place: Place<'_>, batches: &[Bytes]) -> Shown {
        if let Some(why) = &self.unusable {
            return Shown::Refuse(why.clone());
        }
        let mut shown = Vec::with_capacity(batches.len());
        let mut dead_letters = Vec::new();
        let mut any = false;
        for piece in batches {
            for batch in split(piece) {
                let Ok((header, bytes)) = batch else {
                    return Shown::Refuse("a stored batch is damaged".to_owned());
                };
                let mut current = piece.slice_ref(bytes);
                if !header.attributes.is_control() && header.record_count > 0 {
                    for step in &self.steps {
                        match step.run(place, &current, true).await {
                            Stepped::Same => {}
                            Stepped::New(next, letters) => {
                                current = next;
                                dead_letters.extend(letters);
                                any = true;
                            }
                            Stepped::Refused(rejection) => return Shown::Refuse(rejection.message),
                        }
                    }
                }
                shown.push(current);
            }
        }
        self.only_new(place, &mut dead_letters);
        if any { Shown::Replace(shown, dead_letters) } else { Shown::Pass }
    }

    /// Lets only letters pass that were not stored before.
    fn only_new(&self, place: Place<'_>, letters: &mut Vec<DeadLetter>) {
        let mourned = self.mourned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mark) = mourned.get(&place.partition.0) {
            letters.retain(|letter| dead::offset(letter) > Some(*mark));
        }
    }

    /// These letters are stored.
    pub(crate) fn buried(&self, place: Place<'_>, letters: &[DeadLetter]) {
        let Some(last) = letters.iter().filter_map(dead::offset).max() else { return };
        let mut mourned = self.mourned.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = mourned.entry(place.partition.0).or_insert(last);
        *mark = (*mark).max(last);
    }

    /// Distributes records that have no partition.
    pub(crate) async fn place(&self, place: Place<'_>, batch: &Bytes) -> Placed {
        match &self.partitioner {
            Some((bound, _)) => bound.place(place, batch).await,
            None => {
                let message = format!("{} has no partitioner", place.topic);
                Placed::Reject(Rejection { message, records: Vec::new() })
            }
        }
    }
}
