//! What a quorum promises, kept in the plainest form there is, and whether it was kept. One promise, one file.

pub(crate) mod agreement;
pub(crate) mod decided;
pub(crate) mod one_leader;
pub(crate) mod reads;

use agreement::Agreement;
use decided::Decided;
use one_leader::OneLeader;
use reads::Reads;

/// Everything that was promised. That it goes on when nothing goes wrong any more is seen by the world.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    pub(crate) one_leader: OneLeader,
    pub(crate) agreement: Agreement,
    pub(crate) decided: Decided,
    pub(crate) reads: Reads,
}
