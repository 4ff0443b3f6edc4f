//! Bugs planted on purpose, so that a simulation that has gone blind is noticed. All of them are bugs of whoever
//! embeds the core: the core's own code is what is being looked at.

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Nothing.
    None,
    /// A follower says that it has what is not on its disk yet.
    FetchBeforeSync,
    /// A follower does not say of which epoch its last record is, and so is never told to cut its log.
    SkipTruncation,
    /// A leader has every follower put into the in-sync set that asks it for anything.
    GrowTooEarly,
    /// A broker that starts again goes on as the leader that it was, in the same epoch.
    LeadAfterRestart,
}
