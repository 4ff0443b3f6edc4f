//! What can go wrong, in the two places where it is told apart: while a plugin is made ready, and while it runs.

use std::fmt;
use std::time::Duration;

use crate::bind::types::PluginError;

/// Why a plugin cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UseError {
    /// No plugin of that name is installed.
    #[error("no plugin {0:?} is installed")]
    Unknown(String),
    /// It does not do what is asked of it.
    #[error("plugin {plugin:?} is no {wanted}: it is a {roles}")]
    Role { plugin: String, wanted: String, roles: String },
    /// Its configuration does not fit its schema.
    #[error("configuration of plugin {plugin:?}: {problem}")]
    Config { plugin: String, problem: String },
    /// Its schema is not one.
    #[error("the manifest of plugin {plugin:?} has a schema that is none: {problem}")]
    Schema { plugin: String, problem: String },
    /// The bytes are no component that this broker can run.
    #[error("{0}")]
    Component(String),
    /// It could not be started.
    #[error("plugin {plugin:?} does not start: {failure}")]
    Start { plugin: String, failure: Failure },
    /// The folder of plugins could not be read or written.
    #[error("{what}: {error}")]
    Io { what: String, error: std::io::Error },
    /// What was asked makes no sense.
    #[error("{0}")]
    Refused(String),
}

impl UseError {
    pub(crate) fn io(what: impl fmt::Display) -> impl FnOnce(std::io::Error) -> UseError {
        let what = what.to_string();
        move |error| UseError::Io { what, error }
    }
}

/// Why a call did not give an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The guest did what no guest may do: unreachable code, memory out of bounds, a panic, too deep a stack.
    #[error("trapped: {0}")]
    Trap(String),
    /// It took longer than it may.
    #[error("ran longer than {0:?}")]
    Timeout(Duration),
    /// It wanted more memory than it may have.
    #[error("wanted more memory than its {0} bytes")]
    Memory(usize),
    /// It gave back more than it may.
    #[error("gave back {bytes} bytes, {limit} are the most")]
    Output { bytes: usize, limit: usize },
    /// Its answer contradicts itself or the question.
    #[error("gave a wrong answer: {0}")]
    Wrong(String),
    /// It says that its configuration is wrong.
    #[error("configuration: {0}")]
    Config(String),
    /// It says that the same call may succeed later.
    #[error("{message}")]
    Retriable { message: String, after: Option<Duration> },
    /// It says that this input can never succeed.
    #[error("{0}")]
    BadInput(String),
    /// It says that it can't be trusted any more.
    #[error("fatal: {0}")]
    Fatal(String),
    /// It needs what it was not granted.
    #[error("not granted: {0}")]
    Denied(String),
    /// As many instances run as may.
    #[error("no room for another instance: {0}")]
    Busy(String),
    /// It could not be made ready.
    #[error("{0}")]
    Unusable(String),
    /// It failed before, and its binding says `stop`.
    #[error("stopped after: {0}")]
    Stopped(String),
}

impl Failure {
    /// One word, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Failure::Trap(_) => "trap",
            Failure::Timeout(_) => "timeout",
            Failure::Memory(_) => "memory",
            Failure::Output { .. } => "output",
            Failure::Wrong(_) => "wrong",
            Failure::Config(_) => "config",
            Failure::Retriable { .. } => "retriable",
            Failure::BadInput(_) => "bad-input",
            Failure::Fatal(_) => "fatal",
            Failure::Denied(_) => "denied",
            Failure::Busy(_) => "busy",
            Failure::Unusable(_) => "unusable",
            Failure::Stopped(_) => "stopped",
        }
    }

    /// Whether the instance must not be used again.
    pub(crate) fn spoils_instance(&self) -> bool {
        !matches!(
            self,
            Failure::Retriable { .. }
                | Failure::BadInput(_)
                | Failure::Denied(_)
                | Failure::Busy(_)
                | Failure::Config(_)
        )
    }

    /// Whether trying again later makes sense.
    pub fn is_retriable(&self) -> bool {
        !matches!(self, Failure::Config(_) | Failure::Denied(_) | Failure::Stopped(_))
    }

    /// Whether it says something about the moment rather than about the plugin and the records: nothing is to
    /// be concluded from it for later.
    pub(crate) fn is_of_the_moment(&self) -> bool {
        matches!(self, Failure::Retriable { .. } | Failure::Busy(_))
    }

    pub(crate) fn wrong(what: impl Into<String>) -> Failure {
        Failure::Wrong(what.into())
    }
}

/// The most of a plugin's own words that is kept.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Cuts a plugin's words to a length that a log can bear.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES_MAX {
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
        // A line that is kept must not keep the megabytes that it was cut from.
        text.shrink_to_fit();
    }
    text
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Failure {
        match error {
            PluginError::Config(text) => Failure::Config(cut(text)),
            PluginError::Retriable((text, millis)) => {
                let after = (millis > 0).then(|| Duration::from_millis(millis.into()));
                Failure::Retriable { message: cut(text), after }
            }
            PluginError::BadInput(text) => Failure::BadInput(cut(text)),
            PluginError::Fatal(text) => Failure::Fatal(cut(text)),
            PluginError::Denied(text) => Failure::Denied(cut(text)),
        }
    }
}
