//! One file per verb, and what several of them say the same way.

pub(crate) mod check;
pub(crate) mod completion;
pub(crate) mod consume;
pub(crate) mod dump;
pub(crate) mod group;
pub(crate) mod position;
pub(crate) mod produce;
pub(crate) mod serve;
pub(crate) mod topic;
