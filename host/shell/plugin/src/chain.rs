//! The plugins of one topic, in their order, and what becomes of a batch that passes them.

mod failing;
mod placing;
mod step;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use brooklet_hook::{Checked as Verdict, DeadLetter, Place, Placed, Rejection, Replacement, Shown};
use brooklet_wire::batch::split;
use bytes::Bytes;

use crate::bind::partitioner::PartitionerPlugin;
use crate::bind::serde::SerdePlugin;
use crate::bind::transform::TransformPlugin;
use crate::dead;
use crate::room::Room;
use crate::spec::{Mode, OnFailure, Part};

/// How long an answer to a consumer is worked on before what there is of it is given: a view whose plugin takes its
/// full time over every batch goes on, if slowly, instead of outlasting the consumer's patience.
const SHOW_TIME_MAX: Duration = Duration::from_secs(1);

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

fn partition_number(place: Place<'_>) -> i32 {
    place.partition.to_wire()
}

impl Chain {
    /// In place of plugins that can't be used: nothing passes unseen.
    pub(crate) fn unusable(why: String) -> Chain {
        Chain { unusable: Some(why), ..Chain::default() }
    }

    /// Whether a plugin failed whose binding says `stop`.
    pub(crate) fn is_stopped(&self) -> bool {
        let is_stopped = |answer: &FailureAnswer| answer.enter().is_err();
        let steps = self.steps.iter().any(|step| match step {
            Step::Serde { bound, .. } => is_stopped(&bound.answer),
            Step::Transform(bound) => is_stopped(&bound.answer),
        });
        steps || self.partitioner.as_ref().is_some_and(|(bound, _)| is_stopped(&bound.answer))
    }

    /// A batch on its way in.
    pub(crate) async fn check(&self, place: Place<'_>, batch: &Bytes) -> Verdict {
        if let Some(why) = &self.unusable {
            return Verdict::Reject(Rejection::whole(why.clone()));
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

    /// Records on their way out of a view: of the batches as many, from the first on, as can be had within
    /// `bytes_max` and a call's time. The others are there when the consumer asks for what follows.
    pub(crate) async fn show(
        &self,
        place: Place<'_>,
        batches: &[Bytes],
        bytes_max: usize,
    ) -> Shown {
        if let Some(why) = &self.unusable {
            return Shown::Refuse(why.clone());
        }
        let mut shown = Vec::with_capacity(batches.len());
        let mut dead_letters = Vec::new();
        let mut any = false;
        let (began, mut bytes) = (Instant::now(), 0_usize);
        'pieces: for piece in batches {
            for batch in split(piece) {
                let Ok((header, whole)) = batch else {
                    return Shown::Refuse("a stored batch is damaged".to_owned());
                };
                // One batch is always shown: whoever gets none would ask for the same again.
                let is_over = bytes >= bytes_max || began.elapsed() >= SHOW_TIME_MAX;
                if is_over && !shown.is_empty() {
                    any = true;
                    break 'pieces;
                }
                let mut current = piece.slice_ref(whole);
                if !header.attributes.is_control() && header.record_count > 0 {
                    for step in &self.steps {
                        match step.run(place, &current, true).await {
                            Stepped::Same => {}
                            Stepped::New(next, letters) => {
                                current = next;
                                dead_letters.extend(letters);
                                any = true;
                            }
                            // What came before is shown, and the next fetch begins with this one.
                            Stepped::Refused(_) if !shown.is_empty() => {
                                any = true;
                                break 'pieces;
                            }
                            Stepped::Refused(rejection) => return Shown::Refuse(rejection.message),
                        }
                    }
                }
                bytes = bytes.saturating_add(current.len());
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
                Placed::Reject(Rejection::whole(message))
            }
        }
    }
}
