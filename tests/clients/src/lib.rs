//! Other people's clients against our broker: their own suites, and short scenarios.

pub mod client;
pub mod librdkafka;
pub mod scenarios;
