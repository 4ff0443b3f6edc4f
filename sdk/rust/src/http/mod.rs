//! HTTP out of sources and sinks, one request at a time, to the hosts that were granted.
//!
//! A thin client over `wasi:http`: the host connects, encrypts and enforces the grants. A refusal, an
//! outage and an answer of 500 are three things: only what came back as an answer is a [`Response`].

#[cfg(target_family = "wasm")]
mod wasi;

use std::time::Duration;

/// An answer with a longer body is an error: it has to fit the instance's memory several times.
pub const BODY_BYTES_MAX: usize = 8 << 20;
const TIMEOUT: Duration = Duration::from_secs(30);

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// `http://…` or `https://…`.
    pub url: String,
    /// Headers in their order. `host` and `content-length` come by themselves.
    pub headers: Vec<(String, String)>,
    /// The body; empty is none.
    pub body: Vec<u8>,
    /// How long to wait for a connection, for an answer to begin, and for it to go on.
    pub timeout: Duration,
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// 100 to 599.
    pub status: u16,
    /// Headers as they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why nothing came back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host was not granted.
    #[error("not granted: {0}")]
    Denied(String),
    /// No connection, or it broke, or nothing came in time. It may succeed later.
    #[error("{0}")]
    Connection(String),
    /// The request could never be sent as it is.
    #[error("not a request that can be sent: {0}")]
    Invalid(String),
    /// More than [`BODY_BYTES_MAX`].
    #[error("the answer is longer than {BODY_BYTES_MAX} bytes")]
    TooLong,
}

impl Request {
    /// A request with this method for this URL.
    pub fn new(method: &str, url: &str) -> Request {
        Request {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: TIMEOUT,
        }
    }

    /// `GET`.
    pub fn get(url: &str) -> Request {
        Request::new("GET", url)
    }

    /// `POST`.
    pub fn post(url: &str) -> Request {
        Request::new("POST", url)
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    /// Waiting no longer than this.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Request {
        self.timeout = timeout;
        self
    }

    /// Sends it and waits for the whole answer.
    pub fn send(&self) -> Result<Response, Error> {
        Url::parse(&self.url)?;
        #[cfg(target_family = "wasm")]
        return wasi::send(self);
        #[cfg(not(target_family = "wasm"))]
        return crate::stand_in::send(self);
    }
}

impl Response {
    /// An answer, for tests.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Response {
        Response { status, headers: Vec::new(), body: body.into() }
    }

    /// With one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Response {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(candidate, _): &&(String, String)| candidate.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> crate::Error {
        let message = error.to_string();
        match error {
            Error::Denied(_) => crate::Error::Denied(message),
            Error::Connection(_) => crate::Error::retriable(message),
            Error::Invalid(_) => crate::Error::Config(message),
            Error::TooLong => crate::Error::BadInput(message),
        }
    }
}

/// A URL, taken apart as far as `wasi:http` wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    pub(crate) is_https: bool,
    pub(crate) authority: &'a str,
    /// With the query, without the fragment; empty is `/`.
    pub(crate) path: &'a str,
    /// Whether a `/` is missing between authority and query.
    pub(crate) is_bare: bool,
}

impl<'a> Url<'a> {
    pub(crate) fn parse(url: &'a str) -> Result<Url<'a>, Error> {
        let invalid = |problem: &str| Error::Invalid(format!("{problem}: {url:?}"));
        let (is_https, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(invalid("a URL begins with http:// or https://")),
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() {
            return Err(invalid("no host"));
        }
        if authority.contains('@') {
            return Err(invalid("a name and password belong into a header"));
        }
        Ok(Url { is_https, authority, path, is_bare: !path.starts_with('/') })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let table = [
            ("http://a.example", (false, "a.example", "", true)),
            ("https://a.example:8443/x/y?z=1#there", (true, "a.example:8443", "/x/y?z=1", false)),
            ("http://[::1]:80?q", (false, "[::1]:80", "?q", true)),
        ];
        for (url, (is_https, authority, path, is_bare)) in table {
            assert_eq!(Url::parse(url), Ok(Url { is_https, authority, path, is_bare }), "{url}");
        }
        for url in ["", "ftp://a", "http://", "http:///x", "https://user:word@a.example/"] {
            assert!(matches!(Url::parse(url), Err(Error::Invalid(_))), "{url}");
        }
    }

    #[test]
    fn an_answer_comes_from_the_test() {
        crate::stand_in::answer_http(|request| {
            assert_eq!((request.method.as_str(), &request.body[..]), ("POST", &b"x"[..]));
            Ok(Response::new(204, "").with_header("ETag", "1"))
        });
        let answer = Request::post("http://a.example/").body("x").send().unwrap();
        assert_eq!((answer.status, answer.header("etag")), (204, Some("1")));
    }
}
