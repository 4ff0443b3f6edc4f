//! The broker's administration, over HTTP.
//!
//! It asks for the token that lies in the broker's data folder. That of the folder that `serve` has by itself is found here too, and
//! shown to a broker on this machine only: no other could have it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use ureq::RequestBuilder;

use super::password;
use crate::failure::Failure;
use crate::web::HEADER;

/// The token's name in a data folder.
const TOKEN: &str = "admin-token";

/// The options that say where administration is, and with which token.
#[derive(Clone, clap::Args)]
pub(crate) struct Admin {
    /// Where the broker serves probes, metrics and administration
    #[arg(
        long,
        global = true,
        env = "BROOKLET_ADMIN",
        default_value = "127.0.0.1:9644",
        value_name = "HOST:PORT"
    )]
    admin: String,
    /// File with the token for administration, `admin-token` of the broker's data folder
    #[arg(long, global = true, env = "BROOKLET_ADMIN_TOKEN", value_name = "FILE")]
    admin_token: Option<PathBuf>,
    /// The broker's data folder, which has the token; ./brooklet-data if there is one and the broker is on this machine
    #[arg(long, global = true, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

impl Admin {
    /// What lies below a path, `plugins` or `connectors`.
    pub(crate) fn below(&self, path: &str, timeout: Duration) -> Remote {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .build();
        let base = format!("http://{}/{path}", self.admin);
        Remote { base, admin: self.clone(), agent: config.into() }
    }

    /// The token, if one is named or found.
    fn token(&self) -> Result<Option<String>, Failure> {
        // The folder first: the file may be named by the environment.
        let of_folder = self.data.as_ref().map(|folder| folder.join(TOKEN));
        let named = of_folder.or_else(|| self.admin_token.clone());
        if let Some(path) = named {
            return Ok(Some(password::read(&path)?.reveal().to_owned()));
        }
        let path = PathBuf::from("./brooklet-data").join(TOKEN);
        if !is_here(&self.admin) {
            return Ok(None);
        }
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // Whatever else is wrong with it is told by reading it.
            Ok(_) | Err(_) => Ok(Some(password::read(&path)?.reveal().to_owned())),
        }
    }
}

/// Whether an address, `HOST:PORT`, is certainly on this machine.
fn is_here(admin: &str) -> bool {
    let socket = admin.parse().map(|address: SocketAddr| address.ip());
    let host = admin.rsplit_once(':').map_or(admin, |(host, _)| host);
    let address = socket.or_else(|_| host.parse()).map(|address: IpAddr| address.is_loopback());
    host.eq_ignore_ascii_case("localhost") || address.unwrap_or(false)
}

/// Where administration is, and how long it may take.
pub(crate) struct Remote {
    base: String,
    admin: Admin,
    agent: ureq::Agent,
}

impl Remote {
    fn failed(&self, error: &ureq::Error) -> Failure {
        Failure::new(format!("{}: {error}", self.base)).hint(
            "is the broker running, and does --admin name its address for probes and metrics?",
        )
    }

    /// Shows the token, if there is one: without it the broker says what is missing.
    fn known<Body>(&self, request: RequestBuilder<Body>) -> Result<RequestBuilder<Body>, Failure> {
        Ok(match self.admin.token()? {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        })
    }

    fn answer(
        &self,
        answered: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, Failure> {
        let mut response = answered.map_err(|error| self.failed(&error))?;
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().map_err(|error| self.failed(&error))?;
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if (200..300).contains(&status) {
            return Ok(value);
        }
        let message = value["error"].as_str().unwrap_or(text.trim()).to_owned();
        Err(if status == 404 { Failure::missing(message) } else { Failure::new(message) })
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.answer(self.known(self.agent.get(format!("{}{path}", self.base)))?.call())
    }

    pub(crate) fn post(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Value, Failure> {
        let request = self.agent.post(format!("{}{path}", self.base)).header(HEADER, "1");
        let mut request = self.known(request)?;
        for (name, value) in query {
            request = request.query(*name, *value);
        }
        self.answer(request.send(body))
    }

    pub(crate) fn post_json(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.agent.post(format!("{}{path}", self.base)).header(HEADER, "1");
        let request = self.known(request)?.header("content-type", "application/json");
        self.answer(request.send(body.to_string().as_bytes()))
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.agent.put(format!("{}{path}", self.base)).header(HEADER, "1");
        let request = self.known(request)?.header("content-type", "application/json");
        self.answer(request.send(body.to_string().as_bytes()))
    }

    pub(crate) fn delete(&self, path: &str) -> Result<Value, Failure> {
        let request = self.agent.delete(format!("{}{path}", self.base)).header(HEADER, "1");
        self.answer(self.known(request)?.call())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loopback_address_is_certainly_here() {
        for (admin, expected) in [
            ("127.0.0.1:9644", true),
            ("127.0.0.1", true),
            ("localhost:1", true),
            ("[::1]:9644", true),
            ("edge.example:9644", false),
            ("localhost.example:9644", false),
            ("192.0.2.7:9644", false),
            ("", false),
        ] {
            assert_eq!(is_here(admin), expected, "{admin}");
        }
    }
}
