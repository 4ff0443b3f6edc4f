//! What the gate has to say, as bytes.
//!
//! **Decides** which requests are told that they have no place in an exchange: those whose whole response has a
//! code, and Metadata, as which Kafka's clients begin. For others the connection closes without a word.

use brooklet_auth::sasl::Answer;
use brooklet_types::ErrorCode;
use brooklet_wire::message::{
    ApiVersionsResponse, KafkaResponse, MetadataResponse, SaslAuthenticateResponse,
    SaslHandshakeResponse, encode_response, make,
};
use brooklet_wire::version::Api;
use bytes::{BufMut, Bytes, BytesMut};

use super::Form;

/// A whole frame; none where nothing can be said.
pub(super) fn encode(form: Form, answer: Answer) -> Option<Bytes> {
    let Form::Response { api, version, correlation } = form else {
        return bare(answer);
    };
    match answer {
        Answer::Handshake { code, mechanisms } => {
            let response = make(|response: &mut SaslHandshakeResponse| {
                response.error_code = code.to_wire();
                response.mechanisms = mechanisms.into_iter().map(Into::into).collect();
            });
            frame(correlation, version, &response)
        }
        Answer::Authenticate { code, message, token, session_lifetime_ms } => {
            let response = make(|response: &mut SaslAuthenticateResponse| {
                response.error_code = code.to_wire();
                response.error_message = Some(message.into());
                response.auth_bytes = token.into();
                // Version 0 has no room for it.
                response.session_lifetime_ms = if version == 0 { 0 } else { session_lifetime_ms };
            });
            frame(correlation, version, &response)
        }
        Answer::Error(code) => error(api, version, correlation, code),
        Answer::Token(_) => None,
    }
}

fn bare(answer: Answer) -> Option<Bytes> {
    let Answer::Token(token) = answer else { return None };
    let length = i32::try_from(token.len()).ok()?;
    let mut frame = BytesMut::with_capacity(token.len() + size_of::<i32>());
    frame.put_i32(length);
    frame.put_slice(&token);
    Some(frame.freeze())
}

fn error(api: Api, version: i16, correlation: i32, code: ErrorCode) -> Option<Bytes> {
    if !api.serves(version) {
        return None;
    }
    let code = code.to_wire();
    if api == Api::ApiVersions {
        let response = make(|response: &mut ApiVersionsResponse| response.error_code = code);
        return frame(correlation, version, &response);
    }
    if api == Api::SaslHandshake {
        let response = make(|response: &mut SaslHandshakeResponse| response.error_code = code);
        return frame(correlation, version, &response);
    }
    if api == Api::Metadata {
        // Who and where brokers are is not said, and there is no room for a code.
        let response = make(|response: &mut MetadataResponse| response.controller_id = -1);
        return frame(correlation, version, &response);
    }
    None
}

fn frame<R: KafkaResponse>(correlation: i32, version: i16, response: &R) -> Option<Bytes> {
    let frame = encode_response(correlation, version, response);
    // A response that this version cannot carry is our own mistake: say so where we are read.
    frame.inspect_err(|error| tracing::error!(%error, "response")).ok()
}
