//! JoinQuorum, which is ours: a broker asks to be a member of the metadata's quorum.

use brooklet_shard::DirectoryId;
use brooklet_types::{BrokerId, ErrorCode};
use brooklet_wire::message::{JoinQuorumRequest, JoinQuorumResponse, Uuid, make};

use super::{Malformed, broker, error, id};

/// The longest text of a refusal that is kept.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Why a broker is no member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotJoined {
    /// The other broker said no, and why.
    #[error("{}: {message}", .code.name())]
    Refused {
        /// Kafka's code.
        code: ErrorCode,
        /// What is wrong, for people.
        message: String,
    },
    /// What it said means nothing.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// The request of a broker that keeps the metadata in that folder.
pub fn ask(broker: BrokerId, directory: DirectoryId) -> JoinQuorumRequest {
    make(|request: &mut JoinQuorumRequest| {
        request.broker_id = broker.0;
        request.directory = Uuid::from_bytes(directory.0);
    })
}

/// Reads the request.
///
/// # Errors
/// If it is nobody's, or of no folder.
pub fn asked(request: &JoinQuorumRequest) -> Result<(BrokerId, DirectoryId), Malformed> {
    let directory = DirectoryId(id("directory", request.directory)?);
    Ok((broker("broker_id", request.broker_id)?, directory))
}

/// The response: nothing, or the code and what is wrong.
pub fn answer(outcome: Result<(), (ErrorCode, &str)>) -> JoinQuorumResponse {
    make(|response: &mut JoinQuorumResponse| {
        if let Err((code, message)) = outcome {
            response.error_code = code.to_wire();
            response.error_message = Some(message.into());
        }
    })
}

/// Reads the response.
///
/// # Errors
/// If the broker is no member.
pub fn answered(response: &JoinQuorumResponse) -> Result<(), NotJoined> {
    let Some(code) = error(response.error_code)? else { return Ok(()) };
    let message = response.error_message.as_deref().unwrap_or(code.message());
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(Malformed::Length { field: "error_message", bytes: message.len() }.into());
    }
    Err(NotJoined::Refused { code, message: message.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_who_is_heard() {
        let (broker, directory) = (BrokerId(3), DirectoryId([7; 16]));
        assert_eq!(asked(&ask(broker, directory)), Ok((broker, directory)));
        let nobody = asked(&ask(BrokerId(-1), directory)).unwrap_err();
        assert_eq!(nobody.to_string(), "broker_id is -1");
        let nowhere = asked(&ask(broker, DirectoryId([0; 16])));
        assert_eq!(nowhere, Err(Malformed::Missing { field: "directory" }));
    }

    #[test]
    fn a_refusal_comes_with_its_reason() {
        assert_eq!(answered(&answer(Ok(()))), Ok(()));
        let refused =
            |code, message: &str| Err(NotJoined::Refused { code, message: message.to_owned() });
        let code = ErrorCode::InvalidRequest;
        assert_eq!(answered(&answer(Err((code, "no")))), refused(code, "no"));
        let mut silent = answer(Err((code, "no")));
        silent.error_message = None;
        assert_eq!(answered(&silent), refused(code, code.message()));
        let endless = "no".repeat(1000);
        let malformed = Malformed::Length { field: "error_message", bytes: 2000 };
        assert_eq!(answered(&answer(Err((code, &endless)))), Err(malformed.into()));
        let unknown = make(|it: &mut JoinQuorumResponse| it.error_code = 999);
        assert_eq!(answered(&unknown), Err(Malformed::Code(999).into()));
    }
}
