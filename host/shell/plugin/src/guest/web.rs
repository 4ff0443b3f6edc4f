//! HTTP out of sources and sinks: to the hosts that were granted, and no other.

use std::time::Duration;

use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::grant::HostGrant;

/// The longest that a connection may take to come about, an answer to begin, and a pause within it to last.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Stands between a guest and the network.
#[derive(Debug)]
pub(super) struct Gate {
    hosts: Vec<HostGrant>,
}

impl Gate {
    pub(super) fn new(hosts: Vec<HostGrant>) -> Gate {
        Gate { hosts }
    }

    fn allows(&self, uri: &http::Uri) -> bool {
        let Some(host) = uri.host() else { return false };
        let secure = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        self.hosts.iter().any(|granted| granted.covers(host, port))
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Result<(http::Response<WasiBody>, Io), Error>;

impl WasiHttpHooks for Gate {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _io: Io,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        if !self.allows(request.uri()) {
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        }
        let within = |asked: Option<Duration>| Some(asked.unwrap_or(WAIT_MAX).min(WAIT_MAX));
        let options = options.unwrap_or_default();
        let options = RequestOptions {
            connect_timeout: within(options.connect_timeout),
            first_byte_timeout: within(options.first_byte_timeout),
            between_bytes_timeout: within(options.between_bytes_timeout),
        };
        Box::new(async move {
            let sent = wasmtime_wasi_http::default_send_request(request, Some(options)).await;
            let (response, io) = sent?;
            Ok((response.map(|body| body.boxed_unsync()), Box::new(io) as Io))
        })
    }
}
