//! The header in front of every request.
//!
//! **Decides** which header version a request has. **Never** reads the length prefix (whoever owns
//! the socket does) nor the body.

use bytes::Bytes;
use kafka_wire_core::{ApiVersion, KafkaDecode, StrBytes};

use crate::WireError;
use crate::message::decoder;
use crate::version::Api;

/// What stands before a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API key as sent: it need not be one the broker has.
    pub api: i16,
    /// The version as sent: it need not be one the broker serves.
    pub version: i16,
    /// To be repeated in the response.
    pub correlation: i32,
    /// What the client calls itself.
    pub client_id: Option<StrBytes>,
}

/// Takes the header off the front of a frame (without its length) and leaves the body.
///
/// Header v2 (with tagged fields) goes by the version even where that version is not served, as
/// in Kafka. Of an API the broker does not have, the tagged fields stay in what is left: that
/// request cannot be answered anyhow.
pub fn parse_header(frame: &mut Bytes) -> Result<RequestHeader, WireError> {
    let mut start = decoder(frame.clone())?;
    let key = start.read_i16().map_err(|source| WireError::Frame { source })?;
    let version = start.read_i16().map_err(|source| WireError::Frame { source })?;
    let flexible = Api::from_wire(key).is_some_and(|api| api.is_flexible(version));

    let mut decoder = decoder(frame.clone())?;
    let header_version = ApiVersion::new(if flexible { 2 } else { 1 });
    let header = kafka_wire::RequestHeader::decode(&mut decoder, header_version)
        .map_err(|source| WireError::Frame { source })?;
    let rest = decoder.remaining();
    *frame = decoder.take_bytes(rest).map_err(|source| WireError::Frame { source })?;
    Ok(RequestHeader {
        api: header.request_api_key,
        version: header.request_api_version,
        correlation: header.correlation_id,
        client_id: header.client_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &[u8] = &[0, 3, b'c', b'l', b'i'];

    fn frame(key: i16, version: i16, rest: &[u8]) -> Bytes {
        let mut frame = Vec::new();
        frame.extend_from_slice(&key.to_be_bytes());
        frame.extend_from_slice(&version.to_be_bytes());
        frame.extend_from_slice(&7i32.to_be_bytes());
        frame.extend_from_slice(CLIENT);
        frame.extend_from_slice(rest);
        frame.into()
    }

    #[test]
    fn the_header_version_follows_the_api_and_its_version() {
        let table: &[(i16, i16, &[u8])] = &[
            // (key, version, tagged fields)
            (18, 0, &[]),
            (18, 2, &[]),
            (18, 3, &[0]),
            (18, 4, &[1, 9, 2, 0xaa, 0xbb]),
            // Unknown versions are flexible as soon as theirs are.
            (18, 99, &[0]),
            (3, 8, &[]),
            (3, 9, &[0]),
            (47, 0, &[]),
            (60, 0, &[0]),
            // Not ours: the tagged fields stay.
            (24, 3, &[]),
        ];
        for &(key, version, tags) in table {
            let mut whole = frame(key, version, &[tags, b"body"].concat());
            let header = parse_header(&mut whole).unwrap();
            assert_eq!((header.api, header.version, header.correlation), (key, version, 7));
            assert_eq!(header.client_id.as_deref(), Some("cli"));
            assert_eq!(whole, b"body".as_slice(), "{key} {version}");
        }
    }

    #[test]
    fn a_header_cut_anywhere_is_an_error() {
        let whole = frame(18, 3, &[0]);
        for end in 0..whole.len() {
            assert!(parse_header(&mut whole.slice(..end)).is_err(), "{end}");
        }
    }
}
