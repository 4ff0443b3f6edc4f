//! Who somebody is, once that is known.

pub mod mapping;

use std::fmt;
use std::sync::Arc;

/// An identity, `User:name`. Cheap to clone: every connection has one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(Arc<str>);

/// The kind of all principals that authentication makes. Rules may name others; nobody is one.
const USER: &str = "User:";

impl Principal {
    /// The user of that name.
    pub fn user(name: &str) -> Principal {
        Principal(Arc::from(format!("{USER}{name}")))
    }

    /// Who speaks where nobody is asked who they are.
    pub fn anonymous() -> Principal {
        Principal::user("ANONYMOUS")
    }

    /// Reads `Kind:name`, as rules and configurations have it; none without a colon.
    pub fn parse(text: &str) -> Option<Principal> {
        text.contains(':').then(|| Principal(Arc::from(text)))
    }

    /// `User:name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its kind.
    pub fn name(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(_, name)| name)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_a_kind_and_a_name() {
        assert_eq!(Principal::user("ada").as_str(), "User:ada");
        assert_eq!(Principal::user("CN=a:b").name(), "CN=a:b");
        assert_eq!(Principal::parse("User:ada"), Some(Principal::user("ada")));
        assert_eq!(Principal::parse("ada"), None);
        assert_eq!(Principal::anonymous().to_string(), "User:ANONYMOUS");
    }
}
