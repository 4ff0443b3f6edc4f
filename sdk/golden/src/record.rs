//! Records that own their bytes, and what can become of one.

/// A record of a test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rec {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Its time, milliseconds since the epoch.
    pub timestamp: i64,
}

impl Rec {
    /// Nothing but a value.
    pub fn value(value: impl AsRef<[u8]>) -> Rec {
        Rec { value: Some(value.as_ref().to_vec()), ..Rec::default() }
    }

    /// A key and a value.
    pub fn new(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Rec {
        Rec { key: Some(key.as_ref().to_vec()), ..Rec::value(value) }
    }

    /// A key without a value.
    pub fn tombstone(key: impl AsRef<[u8]>) -> Rec {
        Rec { key: Some(key.as_ref().to_vec()), ..Rec::default() }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Rec {
        self.headers.push((name.to_owned(), Some(value.as_ref().to_vec())));
        self
    }

    /// At another time.
    #[must_use]
    pub fn at(mut self, timestamp: i64) -> Rec {
        self.timestamp = timestamp;
        self
    }

    /// The value as text.
    pub fn text(&self) -> &str {
        let value = self.value.as_deref().expect("a tombstone has no text");
        std::str::from_utf8(value).expect("the value is text")
    }
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It came out, as it was or changed.
    Record(Rec),
    /// It was dropped.
    Dropped,
    /// It could not be handled.
    Rejected {
        /// The code.
        code: String,
        /// The message.
        message: String,
    },
}
