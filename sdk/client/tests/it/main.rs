//! The client against servers that follow a script, over each transport. No broker is needed.

#![expect(clippy::unwrap_used, reason = "a script that cannot be played is a failed test")]

mod scripted;
mod transports;
