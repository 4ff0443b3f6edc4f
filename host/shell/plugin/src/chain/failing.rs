//! What a failure comes to: the binding's answer to "and if it fails?".
//!
//! **Invariants.** Whatever the answer, a record is with its producer, in its topic or among the dead letters, and the
//! plugin's journal says what happened and where.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use brooklet_hook::{DeadLetter, Place, Rejection};
use brooklet_wire::batch::Records;

use super::{FailureAnswer, Stepped};
use crate::bind::types::Reject;
use crate::dead::{self, Reason};
use crate::error::Failure;
use crate::rebuild;
use crate::room::Room;
use crate::spec::OnFailure;

impl FailureAnswer {
    /// An error if it was stopped.
    pub(super) fn enter(&self) -> Result<(), Failure> {
        match &*self.stopped.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(why) => Err(Failure::Stopped(why.clone())),
            None => Ok(()),
        }
    }

    /// With `stop`, has nothing pass from now on. A failure of the moment is no reason.
    pub(super) fn stop(&self, failure: &Failure) {
        if self.on_failure == OnFailure::Stop && !failure.is_of_the_moment() {
            let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
            stopped.get_or_insert_with(|| failure.to_string());
        }
    }

    /// What a failure of the whole call comes to.
    pub(super) fn answer<R: crate::role::Role>(
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
            let is_of_the_moment = failure.is_of_the_moment();
            Stepped::Refused(Rejection { message, records: Vec::new(), is_of_the_moment })
        };
        match self.on_failure {
            OnFailure::Reject => refused(),
            OnFailure::Stop => {
                self.stop(failure);
                refused()
            }
            OnFailure::Pass => Stepped::Same,
            // Nothing is wrong with these records.
            OnFailure::DeadLetter if failure.is_of_the_moment() => refused(),
            OnFailure::DeadLetter => {
                let all: Vec<u32> = (0..opened.header().record_count).collect();
                let reason =
                    |_: u32| Reason { code: failure.kind().into(), message: failure.to_string() };
                self.bury(room, &all, reason, place, opened, is_view)
            }
        }
    }

    /// What records come to that the plugin could not handle. `left` is what is done with the others.
    pub(super) fn settle<R: crate::role::Role>(
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
                if is_view {
                    // A consumer is told that there is an error, and not which.
                    let offset = opened.header().base_offset().value();
                    tell(room, &Failure::BadInput(message.clone()), place, Some(offset));
                }
                let told = |reject: &Reject| {
                    (reject.index, format!("{}: {}", reject.code, reject.message))
                };
                let records = rejects.iter().map(told).collect();
                Settled::Refuse(Rejection { message, records, is_of_the_moment: false })
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
                    Err(failure) => Settled::Refuse(Rejection::whole(failure.to_string())),
                }
            }
        }
    }

    pub(super) fn bury<R: crate::role::Role>(
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

/// What records come to that were set apart from the others.
pub(super) enum Settled {
    /// These records are left out, and these letters written.
    Go(Vec<u32>, Vec<DeadLetter>),
    Refuse(Rejection),
}

pub(super) fn refused(failure: &Failure) -> Stepped {
    Stepped::Refused(Rejection::whole(failure.to_string()))
}

/// Says in the plugin's journal and in the broker's log what happened, and where.
pub(super) fn tell<R: crate::role::Role>(
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
    shared.journal.tell(&shared.task, failure.to_string(), fields);
}
