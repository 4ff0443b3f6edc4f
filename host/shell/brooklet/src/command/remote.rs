//! The broker's administration, over HTTP.

use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;
use crate::web::HEADER;

/// The option that says where administration is.
#[derive(clap::Args)]
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
}

impl Admin {
    /// What lies below a path, `plugins` or `connectors`.
    pub(crate) fn below(&self, path: &str, timeout: Duration) -> Remote {
        Remote::new(&self.admin, path, timeout)
    }
}

/// Where administration is, and how long it may take.
pub(crate) struct Remote {
    base: String,
    agent: ureq::Agent,
}

impl Remote {
    fn new(admin: &str, below: &str, timeout: Duration) -> Remote {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .build();
        Remote { base: format!("http://{admin}/{below}"), agent: config.into() }
    }

    fn failed(&self, error: &ureq::Error) -> Failure {
        Failure::new(format!("{}: {error}", self.base)).hint(
            "is the broker running, and does --admin name its address for probes and metrics?",
        )
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
        self.answer(self.agent.get(format!("{}{path}", self.base)).call())
    }

    pub(crate) fn post(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Value, Failure> {
        let mut request = self.agent.post(format!("{}{path}", self.base)).header(HEADER, "1");
        for (name, value) in query {
            request = request.query(*name, *value);
        }
        self.answer(request.send(body))
    }

    pub(crate) fn post_json(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.agent.post(format!("{}{path}", self.base)).header(HEADER, "1");
        let request = request.header("content-type", "application/json");
        self.answer(request.send(body.to_string().as_bytes()))
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.agent.put(format!("{}{path}", self.base)).header(HEADER, "1");
        let request = request.header("content-type", "application/json");
        self.answer(request.send(body.to_string().as_bytes()))
    }

    pub(crate) fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.answer(self.agent.delete(format!("{}{path}", self.base)).header(HEADER, "1").call())
    }
}
