//! Secrets that the operator granted by name. For sources and sinks.

use std::fmt;

use crate::error::Error;

/// A secret's bytes; they are not printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is one.
    pub fn reveal_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secret of that name, if it was granted.
pub fn get(name: &str) -> Result<Secret, Error> {
    #[cfg(target_family = "wasm")]
    return Ok(Secret(crate::bindings::brooklet::plugin::secrets::get(name)?.reveal()));
    #[cfg(not(target_family = "wasm"))]
    return crate::stand_in::secret(name).map(Secret);
}
