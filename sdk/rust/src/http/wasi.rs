//! The client itself, over `wasi:http/outgoing-handler`.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};
use wasip2::io::streams::StreamError;

use super::{BODY_BYTES_MAX, Error, Request, Response, Url};

/// `blocking-write-and-flush` takes no more at once.
const WRITE_BYTES_MAX: usize = 4096;
const READ_BYTES: u64 = 64 << 10;

pub(super) fn send(request: &Request) -> Result<Response, Error> {
    let outgoing = assemble(request)?;
    let body = outgoing.body().map_err(|()| invalid("the body"))?;
    let answer = outgoing_handler::handle(outgoing, Some(options(request)?)).map_err(explain)?;
    write(body, &request.body)?;
    answer.subscribe().block();
    let response = answer.get().ok_or_else(|| broken("woken without an answer"))?;
    let response =
        response.map_err(|()| broken("the answer was taken already"))?.map_err(explain)?;
    read(&response)
}

fn assemble(request: &Request) -> Result<OutgoingRequest, Error> {
    let mut headers: Vec<(String, Vec<u8>)> = Vec::with_capacity(request.headers.len() + 1);
    for (name, value) in &request.headers {
        headers.push((name.to_ascii_lowercase(), value.clone().into_bytes()));
    }
    if !request.body.is_empty() || !matches!(request.method.as_str(), "GET" | "HEAD") {
        headers.push(("content-length".to_owned(), request.body.len().to_string().into_bytes()));
    }
    let headers = Fields::from_list(&headers);
    let headers = headers.map_err(|error| Error::Invalid(format!("a header: {error:?}")))?;
    let url = Url::parse(&request.url)?;
    let outgoing = OutgoingRequest::new(headers);
    let method = method(&request.method);
    outgoing.set_method(&method).map_err(|()| invalid("the method"))?;
    let scheme = if url.is_https { Scheme::Https } else { Scheme::Http };
    outgoing.set_scheme(Some(&scheme)).map_err(|()| invalid("the scheme"))?;
    outgoing.set_authority(Some(url.authority)).map_err(|()| invalid("the host"))?;
    let path = if url.is_bare { format!("/{}", url.path) } else { url.path.to_owned() };
    outgoing.set_path_with_query(Some(&path)).map_err(|()| invalid("the path"))?;
    Ok(outgoing)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

fn options(request: &Request) -> Result<RequestOptions, Error> {
    let nanos = u64::try_from(request.timeout.as_nanos()).unwrap_or(u64::MAX);
    let options = RequestOptions::new();
    options.set_connect_timeout(Some(nanos)).map_err(|()| invalid("the timeout"))?;
    options.set_first_byte_timeout(Some(nanos)).map_err(|()| invalid("the timeout"))?;
    options.set_between_bytes_timeout(Some(nanos)).map_err(|()| invalid("the timeout"))?;
    Ok(options)
}

/// Hands the body over. A server may answer before it has heard everything: then the answer counts,
/// not that nobody listened.
fn write(body: OutgoingBody, bytes: &[u8]) -> Result<(), Error> {
    let stream = body.write().map_err(|()| broken("the body can't be written"))?;
    let mut chunks = bytes.chunks(WRITE_BYTES_MAX);
    let written = chunks.all(|chunk| stream.blocking_write_and_flush(chunk).is_ok());
    drop(stream);
    if written { OutgoingBody::finish(body, None).map_err(explain) } else { Ok(()) }
}

fn read(response: &IncomingResponse) -> Result<Response, Error> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let headers = response.headers().entries();
    let headers = headers.into_iter().map(|(name, value)| (name, text(value))).collect();
    let incoming = response.consume().map_err(|()| broken("the answer has no body to read"))?;
    let body = read_body(&incoming)?;
    Ok(Response { status: response.status(), headers, body })
}

fn read_body(incoming: &IncomingBody) -> Result<Vec<u8>, Error> {
    let stream = incoming.stream().map_err(|()| broken("the answer's body was taken already"))?;
    let mut body = Vec::new();
    loop {
        match stream.blocking_read(READ_BYTES) {
            Ok(bytes) if body.len() + bytes.len() > BODY_BYTES_MAX => return Err(Error::TooLong),
            Ok(bytes) => body.extend_from_slice(&bytes),
            Err(StreamError::Closed) => return Ok(body),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(broken(&format!("the answer broke off: {}", error.to_debug_string())));
            }
        }
    }
}

fn explain(code: ErrorCode) -> Error {
    match code {
        ErrorCode::HttpRequestDenied
        | ErrorCode::DestinationIpProhibited
        | ErrorCode::DestinationNotFound => Error::Denied(format!("{code}")),
        ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestUriInvalid
        | ErrorCode::HttpRequestUriTooLong
        | ErrorCode::HttpRequestHeaderSectionSize(_)
        | ErrorCode::HttpRequestHeaderSize(_)
        | ErrorCode::HttpRequestBodySize(_) => Error::Invalid(format!("{code}")),
        other => Error::Connection(format!("{other}")),
    }
}

fn invalid(part: &str) -> Error {
    Error::Invalid(part.to_owned())
}

fn broken(problem: &str) -> Error {
    Error::Connection(problem.to_owned())
}
