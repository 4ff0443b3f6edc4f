//! Real processes. One binary, a module for each subject.

#![expect(clippy::unwrap_used, reason = "a test speaks by failing")]

mod bench;
mod command;
mod compaction;
mod connectors;
mod examples;
mod flights;
mod folder;
mod groups;
mod hostile;
mod hostile_plugins;
mod links;
mod ops;
mod placing;
mod plugins;
mod policies;
mod program;
mod stage;
mod survivors;
mod three;
mod users;
