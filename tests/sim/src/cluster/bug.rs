//! Bugs planted on purpose, so that a simulation that has gone blind is noticed. All of them are bugs of whoever
//! embeds the cores: something is done to what passes between them.

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Bug {
    /// Nothing.
    None,
    /// Syncs are said to be done that were not, so a follower says that it has what it may lose.
    AcknowledgeBeforeSync,
    /// A follower does not say of which epoch its last record is, and so is never told to cut its log.
    SkipTruncation,
    /// A broker hears late of what was decided, and answers readers meanwhile whatever epoch they know of.
    StaleLeaderAnswers,
    /// A leader has every follower put into the in-sync set that asks it for anything.
    GrowTooEarly,
    /// The leader of the quorum counts what an earlier leader proposed as committed when its followers have it.
    CommitFromEarlierTerm,
    /// A snapshot of the quorum's lacks the last entry that it stands for.
    ShortSnapshot,
}
