//! Bugs planted on purpose, so that a simulation that has gone blind is noticed. They are the host's: the
//! quorum knows nothing of them.

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Nothing.
    None,
    /// Messages that rest on something written are sent before it is.
    SendBeforeWriting,
    /// A crash loses the file with the term and the vote.
    LoseVote,
    /// A snapshot lacks what the last entry brought.
    ShortSnapshot,
    /// A leader answers reads without a proof that it is one.
    ReadWithoutProof,
}
