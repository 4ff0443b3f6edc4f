//! Bugs planted on purpose, so that a simulation that has gone blind is noticed. All of them are bugs of whoever
//! embeds the cores: something is done to what passes between them.

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Nothing.
    None,
    /// Syncs are said to be done that were not, so a follower says that it has what it may lose.
    AcknowledgeBeforeSync,
    /// A follower does not say of which epoch its last record is, and so is never told to cut its log.
    SkipTruncation,
    /// A broker answers readers as if it led what it once led, whatever epoch they know of.
    StaleLeaderAnswers,
    /// A leader has every follower put into the in-sync set that asks it for anything.
    GrowTooEarly,
    /// A broker's image of the cluster lacks what came last, and it goes on from there.
    ShortImage,
    /// A broker that starts again is registered as the run before.
    KeepRegistration,
}
