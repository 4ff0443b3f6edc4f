//! Produce requests that wait for replicas.

use std::collections::{BTreeMap, BTreeSet};

use brooklet_types::Offset;

/// Requests that wait at one partition at once. A producer waits for few; this is room for the producers of a busy
/// partition while its replicas hang, and some hundred kilobytes.
pub const WAITING_MAX: usize = 4096;

/// Names one produce request, in whatever way the owner likes; of one request one batch waits at a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Who waits for what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting {
    by_end: BTreeSet<(Offset, RequestId)>,
    ends: BTreeMap<RequestId, Offset>,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// `request` waits until everything before `end` is safe.
    pub(crate) fn add(&mut self, request: RequestId, end: Offset) {
        assert!(self.len() < WAITING_MAX, "the owner asks before it appends");
        let before = self.ends.insert(request, end);
        assert_eq!(before, None, "a request waits once");
        self.by_end.insert((end, request));
    }

    /// `request` waits no more, having been told something else.
    pub(crate) fn withdraw(&mut self, request: RequestId) {
        if let Some(end) = self.ends.remove(&request) {
            self.by_end.remove(&(end, request));
        }
    }

    /// Takes out the next request that waits for nothing at or after `end`.
    pub(crate) fn pop_before(&mut self, end: Offset) -> Option<RequestId> {
        let (_, request) = *self.by_end.first().filter(|first| first.0 <= end)?;
        self.withdraw(request);
        Some(request)
    }

    /// Takes out the next request.
    pub(crate) fn pop(&mut self) -> Option<RequestId> {
        self.pop_before(Offset::MAX)
    }
}
