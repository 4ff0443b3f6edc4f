//! An assertion that fails is a promise that is broken: the history goes on to be told.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What was broken while `live` ran, if anything was.
pub(crate) fn as_violation(live: impl FnOnce() -> Result<(), String>) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(live)) {
        Ok(lived) => lived.err(),
        Err(panic) => Some(format!("panic: {}", text_of(panic.as_ref()))),
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "something that is no text".to_owned())
}
