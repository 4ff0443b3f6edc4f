//! A serde at work.

use brooklet::{Error, Part, Reject, Serde, Subject};

/// A serde that was initialised, for the values of one topic.
#[derive(Debug)]
pub struct Serding<S> {
    serde: S,
    subject: Subject,
}

impl<S: Serde> Serding<S> {
    /// Initialises it with a configuration in JSON.
    pub fn start(config: &str) -> Result<Serding<S>, Error> {
        let serde = crate::start("serde", config, S::new)?;
        Ok(Serding { serde, subject: Subject { topic: "topic".to_owned(), part: Part::Value } })
    }

    /// Wire bytes to JSON.
    pub fn deserialize(&mut self, data: impl AsRef<[u8]>) -> Result<String, Reject> {
        let mut json = Vec::new();
        self.serde.deserialize(&self.subject, data.as_ref(), &mut json)?;
        Ok(String::from_utf8(json).expect("JSON is UTF-8"))
    }

    /// JSON to wire bytes.
    pub fn serialize(&mut self, json: &str) -> Result<Vec<u8>, Reject> {
        let mut data = Vec::new();
        self.serde.serialize(&self.subject, json.as_bytes(), &mut data)?;
        Ok(data)
    }

    /// Whether these wire bytes may be stored.
    pub fn check(&mut self, data: impl AsRef<[u8]>) -> Result<(), Reject> {
        self.serde.check(&self.subject, data.as_ref())
    }
}
