//! What source and sink send alike.

use std::collections::BTreeMap;
use std::time::Duration;

use brooklet::http::Request;
use brooklet::{Error, secrets};

/// A secret that is sent in a header.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretHeader {
    name: String,
    #[serde(default = "authorization")]
    header: String,
    #[serde(default = "bearer")]
    prefix: String,
}

fn authorization() -> String {
    "authorization".to_owned()
}

fn bearer() -> String {
    "Bearer ".to_owned()
}

/// Long enough for slow endpoints; the host allows no more.
pub(crate) fn timeout() -> Duration {
    Duration::from_secs(30)
}

/// What all requests of a connector have in common.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) secret: Option<SecretHeader>,
    pub(crate) timeout: Duration,
}

impl Endpoint {
    /// A request to this URL. The secret is asked for each time: one that was changed counts at once.
    pub(crate) fn request(&self, method: &str, url: &str) -> Result<Request, Error> {
        let mut request = Request::new(method, url).timeout(self.timeout);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(secret) = &self.secret {
            let value = secrets::get(&secret.name)?;
            let text = value.reveal_str().map(str::trim_end);
            let text = text.ok_or_else(|| {
                Error::Config(format!(
                    "the secret {} is no text, and goes into a header",
                    secret.name
                ))
            })?;
            request = request.header(&secret.header, &format!("{}{text}", secret.prefix));
        }
        Ok(request)
    }
}
