//! Why a run came to nothing, for a person to read. What a run finds wrong with a cluster is no failure of the run: that is
//! in its report.

use std::fmt;

/// A sentence.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Says what was being done when something went wrong.
pub(crate) fn context<E: fmt::Display>(what: &str) -> impl Fn(E) -> Failure + use<E> {
    let what = what.to_owned();
    move |error| Failure(format!("{what}: {error}"))
}
