//! The client against servers that follow a script, over each transport, its lanes, urgent ones among them, and fetch sessions against a broker.

#![expect(clippy::unwrap_used, reason = "a script that cannot be played is a failed test")]

mod lanes;
mod scripted;
mod sessions;
mod transports;
mod urgency;
