//! What is left of a log after lost power, flipped bits, cut files and garbage.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod crash;
mod damage;
mod deletion;
mod support;
