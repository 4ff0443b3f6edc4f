//! What an operator lets a plugin have. Nothing is there unless it stands here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// The longest secret there is.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Capabilities granted to one plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Where HTTP requests may go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostGrant>,
    /// Secrets by name, and where each is found: `file:PATH` or `env:NAME`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretSource>,
    /// Folders.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<DirectoryGrant>,
    /// Variables of the environment, with their values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}

/// One `HOST:PORT`. Written without a port it means 443.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostGrant {
    host: String,
    port: u16,
}

impl HostGrant {
    /// Whether requests to this place are granted.
    pub(crate) fn covers(&self, host: &str, port: u16) -> bool {
        self.port == port && self.host.eq_ignore_ascii_case(host.trim_matches(['[', ']']))
    }
}

impl TryFrom<String> for HostGrant {
    type Error = String;

    fn try_from(text: String) -> Result<HostGrant, String> {
        let problem = || format!("{text:?} is no HOST:PORT");
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| problem())?),
            None => (text.as_str(), 443),
        };
        let host = host.trim_matches(['[', ']']);
        if host.is_empty() || host.contains(['/', '*', ' ']) {
            return Err(problem());
        }
        Ok(HostGrant { host: host.to_owned(), port })
    }
}

impl From<HostGrant> for String {
    fn from(grant: HostGrant) -> String {
        if grant.host.contains(':') {
            format!("[{}]:{}", grant.host, grant.port)
        } else {
            format!("{}:{}", grant.host, grant.port)
        }
    }
}

/// Where a secret's bytes are. They are read when a plugin asks, and never written down again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretSource {
    /// The content of a file, without the line break at its end.
    File(PathBuf),
    /// A variable of the broker's environment.
    Variable(String),
}

impl TryFrom<String> for SecretSource {
    type Error = String;

    fn try_from(text: String) -> Result<SecretSource, String> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(SecretSource::File(path.into())),
            Some(("env", name)) if !name.is_empty() => Ok(SecretSource::Variable(name.to_owned())),
            Some(_) | None => Err(format!("{text:?} is neither file:PATH nor env:NAME")),
        }
    }
}

impl From<SecretSource> for String {
    fn from(source: SecretSource) -> String {
        match source {
            SecretSource::File(path) => format!("file:{}", path.display()),
            SecretSource::Variable(name) => format!("env:{name}"),
        }
    }
}

/// A folder of the host that a plugin sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryGrant {
    /// Its path here.
    pub host: PathBuf,
    /// Its path as the plugin sees it.
    pub guest: String,
    /// Whether the plugin may write.
    #[serde(default)]
    pub write: bool,
}

impl Grants {
    /// A secret's bytes, or why there are none.
    pub(crate) fn secret(&self, name: &str) -> Result<Vec<u8>, String> {
        let source = self.secrets.get(name);
        let source = source.ok_or_else(|| format!("secret {name:?} was not granted"))?;
        match source {
            SecretSource::Variable(variable) => std::env::var(variable)
                .map(String::into_bytes)
                .map_err(|_| format!("secret {name:?}: the broker has no variable {variable}")),
            SecretSource::File(path) => {
                let problem = |error: std::io::Error| format!("secret {name:?}: {error}");
                if std::fs::metadata(path).map_err(problem)?.len() > SECRET_BYTES_MAX {
                    return Err(format!("secret {name:?} is longer than {SECRET_BYTES_MAX} bytes"));
                }
                let mut bytes = std::fs::read(path).map_err(problem)?;
                while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                    bytes.pop();
                }
                Ok(bytes)
            }
        }
    }

    pub(crate) fn open_directories(&self, wasi: &mut WasiCtxBuilder) -> Result<(), String> {
        for grant in &self.directories {
            let permissions = if grant.write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            let opened = wasi.preopened_dir(&grant.host, &grant.guest, permissions);
            opened.map_err(|error| format!("granted folder {}: {error}", grant.host.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_granted_with_its_port_and_nothing_beside_it() {
        let of = |text: &str| HostGrant::try_from(text.to_owned());
        let granted = of("api.example.com:8443").unwrap();
        assert!(granted.covers("API.example.com", 8443));
        assert!(!granted.covers("api.example.com", 443));
        assert!(!granted.covers("evil.api.example.com", 8443));
        assert!(of("example.com").unwrap().covers("example.com", 443));
        assert!(of("[::1]:80").unwrap().covers("[::1]", 80));
        for bad in ["", ":80", "*:443", "a b:1", "host:port", "http://x:80"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_what_the_file_holds_without_its_last_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "s3cret\n").unwrap();
        let source = SecretSource::try_from(format!("file:{}", path.display())).unwrap();
        let grants = Grants { secrets: [("token".to_owned(), source)].into(), ..Grants::default() };
        assert_eq!(grants.secret("token").unwrap(), b"s3cret");
        assert!(grants.secret("other").is_err());
    }
}
