//! Envelope: a client's request on its way from the broker that has the client to the controller, and back.
//!
//! The request goes whole, header and body, and so does the response: the controller answers as it would have
//! answered the client. With a response comes, as a tagged field of ours, the version of the cluster that has what
//! it says: the client is answered once the broker that has it knows that version too, so that it finds there what
//! it was told of.

use std::net::IpAddr;

use brooklet_types::ErrorCode;
use brooklet_wire::message::{
    Bytes, EnvelopeRequest, EnvelopeResponse, make, tagged_number, with_tagged_number,
};

use super::{Malformed, NoAnswer, check};

/// The longest principal: a kind and a name.
pub const PRINCIPAL_BYTES_MAX: usize = 32 << 10;

/// A client's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The frame, without its length.
    pub request: Bytes,
    /// Who the client is, as principals are written: `User:ada`.
    pub principal: String,
    /// Where it comes from, as rules name hosts.
    pub host: IpAddr,
}

/// The controller's response to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    /// The frame, without its length.
    pub response: Bytes,
    /// The version of the cluster that has what it says; none where nothing has changed.
    pub version: Option<u64>,
}

/// The request.
pub fn ask(forwarded: &Forwarded) -> EnvelopeRequest {
    make(|it: &mut EnvelopeRequest| {
        it.request_data = forwarded.request.clone();
        it.request_principal = Some(Bytes::copy_from_slice(forwarded.principal.as_bytes()));
        it.client_host_address = match forwarded.host {
            IpAddr::V4(address) => Bytes::copy_from_slice(&address.octets()),
            IpAddr::V6(address) => Bytes::copy_from_slice(&address.octets()),
        };
    })
}

/// Reads the request. The frame stays a slice of the one it came in.
///
/// # Errors
/// If it is no request, or of nobody.
pub fn asked(request: &EnvelopeRequest) -> Result<Forwarded, Malformed> {
    let missing = |field| Malformed::Missing { field };
    if request.request_data.is_empty() {
        return Err(missing("request_data"));
    }
    let principal = request.request_principal.as_ref().filter(|it| !it.is_empty());
    let principal = principal.ok_or_else(|| missing("request_principal"))?;
    let (field, bytes) = ("request_principal", principal.len());
    if bytes > PRINCIPAL_BYTES_MAX {
        return Err(Malformed::Length { field, bytes });
    }
    let principal = std::str::from_utf8(principal).map_err(|_| Malformed::Text { field })?;
    let host = address(&request.client_host_address)?;
    Ok(Forwarded { request: request.request_data.clone(), principal: principal.to_owned(), host })
}

/// The response.
pub fn answer(outcome: Result<&Returned, ErrorCode>) -> EnvelopeResponse {
    make(|it: &mut EnvelopeResponse| match outcome {
        Ok(returned) => {
            it.response_data = Some(returned.response.clone());
            let tagged = returned.version.map(with_tagged_number);
            it.unknown_tagged_fields = tagged.unwrap_or_default();
        }
        Err(code) => it.error_code = code.to_wire(),
    })
}

/// Reads the response. The frame stays a slice of the one it came in.
///
/// # Errors
/// If the other broker did not carry the request out: then it is not the controller, or did not understand it.
pub fn answered(response: &EnvelopeResponse) -> Result<Returned, NoAnswer> {
    check(response.error_code)?;
    let data = response.response_data.clone().filter(|data| !data.is_empty());
    let missing = Malformed::Missing { field: "response_data" };
    let version = tagged_number(&response.unknown_tagged_fields).map_err(Malformed::Tagged)?;
    Ok(Returned { response: data.ok_or(missing)?, version })
}

fn address(bytes: &[u8]) -> Result<IpAddr, Malformed> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(octets));
    }
    let field = "client_host_address";
    let octets = <[u8; 16]>::try_from(bytes);
    octets.map(IpAddr::from).map_err(|_| Malformed::Length { field, bytes: bytes.len() })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn forwarded(host: IpAddr) -> Forwarded {
        Forwarded { request: "request".into(), principal: "User:ada".to_owned(), host }
    }

    #[test]
    fn a_request_comes_as_it_was_sent() {
        let hosts = [Ipv4Addr::new(10, 0, 0, 7).into(), Ipv6Addr::LOCALHOST.into()];
        for host in hosts {
            let forwarded = forwarded(host);
            let request = ask(&forwarded);
            assert_eq!(asked(&request), Ok(forwarded.clone()));
            let read = asked(&request).unwrap();
            assert_eq!(read.request.as_ptr(), forwarded.request.as_ptr(), "not copied");
        }
    }

    #[test]
    fn a_response_comes_with_the_version_that_has_it() {
        for version in [None, Some(0), Some(u64::MAX)] {
            let returned = Returned { response: "response".into(), version };
            assert_eq!(answered(&answer(Ok(&returned))), Ok(returned));
        }
        let refused = ErrorCode::NotController;
        assert_eq!(answered(&answer(Err(refused))), Err(NoAnswer::Refused(refused)));
    }

    type Spoil = fn(&mut EnvelopeRequest);

    #[test]
    fn what_means_nothing_is_refused_by_name() {
        let missing = |field| Malformed::Missing { field };
        let length = |field, bytes| Malformed::Length { field, bytes };
        let principal = "request_principal";
        let table: &[(Spoil, Malformed)] = &[
            (|it| it.request_data = Bytes::new(), missing("request_data")),
            (|it| it.request_principal = None, missing(principal)),
            (|it| it.request_principal = Some(Bytes::new()), missing(principal)),
            (
                |it| it.request_principal = Some(vec![b'a'; (32 << 10) + 1].into()),
                length(principal, (32 << 10) + 1),
            ),
            (
                |it| it.request_principal = Some(Bytes::from_static(b"User:\xff")),
                Malformed::Text { field: principal },
            ),
            (|it| it.client_host_address = Bytes::new(), length("client_host_address", 0)),
            (|it| it.client_host_address = vec![1; 5].into(), length("client_host_address", 5)),
        ];
        for (spoil, malformed) in table {
            let mut request = ask(&forwarded(Ipv6Addr::LOCALHOST.into()));
            spoil(&mut request);
            assert_eq!(asked(&request), Err(malformed.clone()));
        }
        let silent = EnvelopeResponse::default();
        assert_eq!(answered(&silent), Err(missing("response_data").into()));
    }
}
