//! How a command fails: what happened, what to do next, and the exit code.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use brooklet_client::consumer::ConsumeError;
use brooklet_client::{ApiError, ConnectError, ProduceError};
use brooklet_types::ErrorCode;
use serde_json::json;

/// The reason a command ends early.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// Something did not work.
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), hint: None, code: 1 }
    }

    /// The command line asks for something that makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), hint: None, code: 2 }
    }

    /// What the command line names does not exist.
    pub(crate) fn missing(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), hint: None, code: 3 }
    }

    /// The reader of our output has gone: nothing is wrong, and nobody to tell.
    pub(crate) fn nobody_listens() -> Failure {
        Failure { message: String::new(), hint: None, code: 0 }
    }

    /// The same, with advice.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// A file cannot be used. One that is not there is what was named and does not exist.
    pub(crate) fn file(verb: &str, path: &Path, error: &io::Error) -> Failure {
        let code = if error.kind() == io::ErrorKind::NotFound { 3 } else { 1 };
        let message = format!("{verb} {}: {error}", path.display());
        Failure { message, hint: None, code }
    }

    /// Says it on standard error, for people or for programs.
    pub(crate) fn report(self, as_json: bool) -> ExitCode {
        let Failure { message, hint, code } = self;
        let mut text = String::new();
        if as_json && !message.is_empty() {
            text = json!({ "error": message, "hint": hint, "exit_code": code }).to_string() + "\n";
        } else if !message.is_empty() {
            text = format!("brooklet: {message}\n");
            text.extend(hint.map(|hint| format!("  {hint}\n")));
        }
        // Where standard error is closed there is nobody left to tell.
        let _ = io::stderr().lock().write_all(text.as_bytes());
        ExitCode::from(code)
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        let (hint, code) = advice(&error);
        Failure { message: error.to_string(), hint, code }
    }
}

impl From<ProduceError> for Failure {
    fn from(error: ProduceError) -> Failure {
        let (hint, code) = match &error {
            ProduceError::Topic(source) | ProduceError::Failed { source, .. } => advice(source),
            ProduceError::Refused { code, .. } if *code == ErrorCode::MessageTooLarge => {
                (Some("raise the topic's max.message.bytes, or lower --batch-bytes".to_owned()), 1)
            }
            ProduceError::Refused { .. }
            | ProduceError::TooLarge { .. }
            | ProduceError::Unencodable { .. }
            | ProduceError::NoPartition { .. }
            | ProduceError::Expired { .. }
            | ProduceError::Closed
            | ProduceError::IdempotenceNeedsAcksAll => (None, 1),
        };
        Failure { message: error.to_string(), hint, code }
    }
}

impl From<ConsumeError> for Failure {
    fn from(error: ConsumeError) -> Failure {
        let (hint, code) = match &error {
            ConsumeError::Api(source) => advice(source),
            ConsumeError::OutOfRange { .. } => {
                (Some("read from what is left with --from start".to_owned()), 1)
            }
            ConsumeError::BadBatch { offset, .. } => {
                let hint = format!("skip it with --partition and --from {}", offset + 1);
                (Some(hint), 1)
            }
            ConsumeError::Fenced { .. } | ConsumeError::BadAssignment { .. } => (None, 1),
        };
        Failure { message: error.to_string(), hint, code }
    }
}

/// What to do next, and the exit code.
fn advice(error: &ApiError) -> (Option<String>, u8) {
    match error {
        ApiError::NoBroker { tried } if tried.iter().any(ConnectError::is_final) => {
            let hint = "log in with --sasl-user, --sasl-password-file and --sasl-mechanism";
            (Some(hint.to_owned()), 1)
        }
        ApiError::NoBroker { .. } => {
            let hint = "is a broker running there? Start one with `brooklet serve`, or name another \
                        with --broker HOST:PORT";
            (Some(hint.to_owned()), 1)
        }
        ApiError::AdvertisedUnreachable { address, .. } => {
            let hint = format!(
                "the first contact worked, but the broker then sent us to {address}, its advertised \
                 address; set its `advertised` (Kafka: advertised.listeners) to an address that \
                 works from here"
            );
            (Some(hint), 1)
        }
        ApiError::Deadline { last, .. } => advice(last),
        ApiError::Refused { code, .. } => match code.known() {
            Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId) => {
                let hint = "`brooklet topic list` shows what exists, `brooklet topic create NAME` \
                            makes one";
                (Some(hint.to_owned()), 3)
            }
            Some(ErrorCode::TopicAlreadyExists) => {
                (Some("--if-not-exists makes that no error".to_owned()), 1)
            }
            Some(ErrorCode::InvalidConfig) => {
                let hint = "`brooklet topic describe NAME --all` lists every setting of a topic";
                (Some(hint.to_owned()), 1)
            }
            Some(ErrorCode::GroupIdNotFound) => {
                (Some("`brooklet group list` shows what exists".to_owned()), 3)
            }
            Some(ErrorCode::ResourceNotFound) => {
                (Some("`brooklet user list` shows who there is".to_owned()), 3)
            }
            Some(ErrorCode::NonEmptyGroup | ErrorCode::UnknownMemberId) => {
                (Some("stop the group's members first".to_owned()), 1)
            }
            Some(_) | None => (None, 1),
        },
        ApiError::Request(_)
        | ApiError::NoLeader { .. }
        | ApiError::UnknownBroker { .. }
        | ApiError::Incomplete { .. } => (None, 1),
    }
}
