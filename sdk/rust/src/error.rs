//! What a plugin answers when it can't do what was asked: of a whole call, or of one record.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::bindings::types::{PluginError, Reject as WireReject};

/// Why a whole call failed. For one record among others there is [`Reject`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong. Not tried again.
    #[error("{0}")]
    Config(String),
    /// The same call may succeed later.
    #[error("{message}")]
    Retriable {
        /// What is missing.
        message: String,
        /// How long to wait; zero leaves it to the host.
        after: Duration,
    },
    /// This input can never succeed.
    #[error("{0}")]
    BadInput(String),
    /// The plugin's own state can't be trusted any more. The instance is replaced.
    #[error("{0}")]
    Fatal(String),
    /// A capability that was not granted.
    #[error("{0}")]
    Denied(String),
}

impl Error {
    /// The configuration is wrong.
    pub fn config(problem: impl fmt::Display) -> Error {
        Error::Config(problem.to_string())
    }

    /// The same call may succeed later; the host knows when.
    pub fn retriable(problem: impl fmt::Display) -> Error {
        Error::Retriable { message: problem.to_string(), after: Duration::ZERO }
    }

    /// This input can never succeed.
    pub fn bad_input(problem: impl fmt::Display) -> Error {
        Error::BadInput(problem.to_string())
    }

    /// The instance is of no more use.
    pub fn fatal(problem: impl fmt::Display) -> Error {
        Error::Fatal(problem.to_string())
    }
}

impl From<Error> for PluginError {
    fn from(error: Error) -> PluginError {
        match error {
            Error::Config(message) => PluginError::Config(message),
            Error::Retriable { message, after } => {
                let millis = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
                PluginError::Retriable((message, millis))
            }
            Error::BadInput(message) => PluginError::BadInput(message),
            Error::Fatal(message) => PluginError::Fatal(message),
            Error::Denied(message) => PluginError::Denied(message),
        }
    }
}

impl From<PluginError> for Error {
    fn from(error: PluginError) -> Error {
        match error {
            PluginError::Config(message) => Error::Config(message),
            PluginError::Retriable((message, millis)) => {
                Error::Retriable { message, after: Duration::from_millis(millis.into()) }
            }
            PluginError::BadInput(message) => Error::BadInput(message),
            PluginError::Fatal(message) => Error::Fatal(message),
            PluginError::Denied(message) => Error::Denied(message),
        }
    }
}

/// Why one record could not be handled. What becomes of it is the operator's choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Short and stable, for metrics and machines.
    pub code: Cow<'static, str>,
    /// For the person who reads the log or the dead letter.
    pub message: String,
}

impl Reject {
    /// A reason with its code: `syntax`, `schema`, …
    pub fn new(code: &'static str, message: impl fmt::Display) -> Reject {
        Reject { code: Cow::Borrowed(code), message: message.to_string() }
    }

    pub(crate) fn at(self, index: usize) -> WireReject {
        WireReject { index: short(index), code: self.code.into_owned(), message: self.message }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl From<serde_json::Error> for Reject {
    /// Bytes that are not JSON, or not the JSON that was expected, have the code `syntax`.
    fn from(error: serde_json::Error) -> Reject {
        Reject::new("syntax", error)
    }
}

/// A position as the interfaces write it. Columns cross the border of a 32-bit memory, so none is longer.
pub(crate) fn short(position: usize) -> u32 {
    u32::try_from(position).expect("a column holds less than 4 GiB")
}
