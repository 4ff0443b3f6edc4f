//! What can be wrong with a message.

use kafka_wire_core::{DecodeError, EncodeError};

use brooklet_types::ErrorCode;

/// A message that cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The frame or its header is not one.
    #[error("malformed frame: {source}")]
    Frame { source: DecodeError },
    /// The body is not what its header says.
    #[error("malformed {message} v{version}: {source}")]
    Decode { message: &'static str, version: i16, source: DecodeError },
    /// A value that this version cannot carry: a bug of ours.
    #[error("cannot write {message} v{version}: {source}")]
    Encode { message: &'static str, version: i16, source: EncodeError },
    /// More bytes than this message may have.
    #[error("{message} of {bytes} bytes, the limit is {limit}")]
    TooLarge { message: &'static str, bytes: usize, limit: usize },
}

impl WireError {
    /// What a client is told, where it is told anything before the connection closes.
    pub fn code(&self) -> ErrorCode {
        match self {
            WireError::Frame { .. } | WireError::Decode { .. } | WireError::TooLarge { .. } => {
                ErrorCode::InvalidRequest
            }
            WireError::Encode { .. } => ErrorCode::UnknownServerError,
        }
    }
}
