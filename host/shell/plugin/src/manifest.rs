//! What a component says about itself, read without running it: its manifest, its roles, its signature.
//!
//! **Invariants.** A component that passes [`inspect`] exports `lifecycle` and at least one role, each of a
//! version this broker speaks; its manifest names no role that it does not export.

use serde::{Deserialize, Serialize};
use wasmparser::{Encoding, Parser, Payload};

use crate::error::UseError;
use crate::signature::{self, Signed};

/// Larger components are refused.
pub const COMPONENT_BYTES_MAX: usize = 50 << 20;
const MANIFEST_SECTION: &str = "brooklet:manifest";
const MANIFEST_BYTES_MAX: usize = 256 << 10;
const PACKAGE: &str = "brooklet:plugin/";
/// The version of the interfaces that is bound, as exports name it.
const VERSION: &str = "0.1.0";
/// Names are folders' and metrics' labels, too.
const NAME_BYTES_MAX: usize = 64;

/// What a plugin can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Chooses partitions.
    Partitioner,
    /// Checks and converts keys or values.
    Serde,
    /// Changes or drops records of a view.
    Transform,
    /// Decides what a compaction keeps.
    #[serde(alias = "compaction-policy")]
    Compaction,
    /// Brings records in.
    Source,
    /// Takes records out.
    Sink,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 6] = [
        Role::Partitioner,
        Role::Serde,
        Role::Transform,
        Role::Compaction,
        Role::Source,
        Role::Sink,
    ];

    /// The interface it exports.
    pub fn interface(self) -> &'static str {
        match self {
            Role::Partitioner => "partitioner",
            Role::Serde => "serde",
            Role::Transform => "transform",
            Role::Compaction => "compaction-policy",
            Role::Source => "source",
            Role::Sink => "sink",
        }
    }

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Compaction => "compaction",
            Role::Partitioner | Role::Serde | Role::Transform | Role::Source | Role::Sink => {
                self.interface()
            }
        }
    }

    /// Whether it runs as a task of a connector.
    pub fn is_task(self) -> bool {
        matches!(self, Role::Source | Role::Sink)
    }
}

/// The manifest inside a component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// Name by which it is installed if nothing else is said.
    pub name: String,
    /// Its version, for people.
    pub version: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// What it does.
    pub roles: Vec<Role>,
    /// JSON Schema of its configuration; anything goes without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<serde_json::Value>,
    /// What it would like to be granted.
    #[serde(default)]
    pub wants: Wants,
    /// A compaction policy that gives records new values.
    #[serde(default)]
    pub merges: bool,
}

/// Capabilities that a plugin asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wants {
    /// `host:port` to send HTTP requests to; `*` where the configuration decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Want>,
    /// Names of secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Want>,
    /// Folders as the plugin sees them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<Want>,
    /// Variables of the environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<Want>,
}

/// One wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// What.
    pub name: String,
    /// And what for.
    #[serde(default)]
    pub why: String,
}

/// All that is known of a component before it runs.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// Its blake3 digest, 64 hexadecimal digits.
    pub digest: String,
    /// Its size in bytes.
    pub bytes: usize,
    /// Its manifest.
    pub manifest: Manifest,
    /// Who signed it, if the signature is true.
    pub signed: Signed,
}

/// Reads what a component says about itself.
pub fn inspect(bytes: &[u8]) -> Result<Inspected, UseError> {
    if bytes.len() > COMPONENT_BYTES_MAX {
        let problem = format!("{} bytes, at most {COMPONENT_BYTES_MAX} are taken", bytes.len());
        return Err(UseError::Component(problem));
    }
    if Parser::is_core_wasm(bytes) {
        let problem = "a core WebAssembly module, not a component: build it for wasm32-wasip2, or wrap \
                       it with `wasm-tools component new`";
        return Err(UseError::Component(problem.to_owned()));
    }
    if !Parser::is_component(bytes) {
        return Err(UseError::Component("not a WebAssembly component".to_owned()));
    }
    let (manifest, exports) = read(bytes)?;
    let roles = roles(&exports)?;
    let manifest = manifest.ok_or_else(|| {
        UseError::Component(format!("the component has no `{MANIFEST_SECTION}` section"))
    })?;
    for role in &manifest.roles {
        if !roles.contains(role) {
            let problem = format!(
                "the manifest names the role {}, but nothing exports {PACKAGE}{}@{VERSION}",
                role.name(),
                role.interface(),
            );
            return Err(UseError::Component(problem));
        }
    }
    check_name(&manifest.name)?;
    if let Some(schema) = &manifest.config {
        check_schema(&manifest.name, schema)?;
    }
    let digest = blake3::hash(bytes).to_hex().to_string();
    Ok(Inspected { digest, bytes: bytes.len(), manifest, signed: signature::read(bytes)? })
}

/// Whether a plugin may be called that.
pub fn check_name(name: &str) -> Result<(), UseError> {
    let plain =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.starts_with(['.', '-']);
    if fits && name.chars().all(plain) {
        return Ok(());
    }
    Err(UseError::Refused(format!(
        "{name:?} cannot be a plugin's name: 1 to {NAME_BYTES_MAX} of a-z, 0-9, '-', '_' and '.', not beginning with '.' or '-'"
    )))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of a component's many parts only these say something to the host"
)]
fn read(bytes: &[u8]) -> Result<(Option<Manifest>, Vec<String>), UseError> {
    let malformed = |error: wasmparser::BinaryReaderError| {
        UseError::Component(format!("not a well-formed component: {error}"))
    };
    let mut manifest = None;
    let mut exports = Vec::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(malformed)? {
            Payload::Version { encoding: Encoding::Component | Encoding::Module, .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if section.name() == MANIFEST_SECTION => {
                let parsed = parse(section.data())?;
                if manifest.replace(parsed).is_some() {
                    let problem = format!("the component has more than one `{MANIFEST_SECTION}`");
                    return Err(UseError::Component(problem));
                }
            }
            // Exports of nested components are not the plugin's.
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    exports.push(export.map_err(malformed)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((manifest, exports))
}

fn parse(data: &[u8]) -> Result<Manifest, UseError> {
    if data.len() > MANIFEST_BYTES_MAX {
        return Err(UseError::Component("the manifest is absurdly long".to_owned()));
    }
    let mut json = serde_json::Deserializer::from_slice(data);
    serde_path_to_error::deserialize(&mut json)
        .map_err(|error| UseError::Component(format!("the manifest: {error}")))
}

fn roles(exports: &[String]) -> Result<Vec<Role>, UseError> {
    let of_ours: Vec<&str> =
        exports.iter().filter_map(|export| export.strip_prefix(PACKAGE)).collect();
    let speaks = |interface: &str| of_ours.contains(&format!("{interface}@{VERSION}").as_str());
    let roles: Vec<Role> = Role::ALL.into_iter().filter(|role| speaks(role.interface())).collect();
    if speaks("lifecycle") && !roles.is_empty() {
        return Ok(roles);
    }
    let list = if of_ours.is_empty() { "nothing".to_owned() } else { of_ours.join(", ") };
    Err(UseError::Component(format!(
        "the component exports {list} of brooklet:plugin; this broker speaks {VERSION} and needs `lifecycle` and one of {}",
        Role::ALL.map(Role::interface).join(", ")
    )))
}

fn check_schema(plugin: &str, schema: &serde_json::Value) -> Result<(), UseError> {
    let checked = jsonschema::validator_for(schema);
    checked
        .map(drop)
        .map_err(|error| UseError::Schema { plugin: plugin.to_owned(), problem: error.to_string() })
}

/// Checks a configuration against the schema of the plugin it is for; every problem with its path.
pub(crate) fn check_config(
    manifest: &Manifest,
    plugin: &str,
    config: &serde_json::Value,
) -> Result<(), UseError> {
    let problem = |problem: String| UseError::Config { plugin: plugin.to_owned(), problem };
    if !config.is_object() {
        return Err(problem("must be an object".to_owned()));
    }
    let Some(schema) = &manifest.config else { return Ok(()) };
    let validator =
        jsonschema::validator_for(schema).map_err(|error| problem(error.to_string()))?;
    let mut problems = validator.iter_errors(config).map(|error| {
        let path = error.instance_path().to_string();
        let path = if path.is_empty() { "/".to_owned() } else { path };
        format!("{path}: {error}")
    });
    let all: Vec<String> = problems.by_ref().take(10).collect();
    if all.is_empty() { Ok(()) } else { Err(problem(all.join("; "))) }
}
