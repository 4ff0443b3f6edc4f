//! Schemas known to the host: those that the binding brings along.

use crate::error::Error;

/// The language of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache Avro.
    Avro,
    /// JSON Schema.
    JsonSchema,
    /// Protocol Buffers.
    Protobuf,
}

/// A schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Its number, the same everywhere.
    pub id: u32,
    /// Its version within its subject.
    pub version: u32,
    /// Its language.
    pub format: Format,
    /// Its text.
    pub definition: String,
}

/// The schema of that number.
pub fn by_id(id: u32) -> Result<Schema, Error> {
    #[cfg(target_family = "wasm")]
    return Ok(crate::bindings::brooklet::plugin::schemas::by_id(id)?.into());
    #[cfg(not(target_family = "wasm"))]
    return crate::stand_in::schema_by_id(id);
}

/// The newest schema of a subject, such as `flights-value`.
pub fn latest(subject: &str) -> Result<Schema, Error> {
    #[cfg(target_family = "wasm")]
    return Ok(crate::bindings::brooklet::plugin::schemas::latest(subject)?.into());
    #[cfg(not(target_family = "wasm"))]
    return crate::stand_in::latest_schema(subject);
}

#[cfg(target_family = "wasm")]
impl From<crate::bindings::brooklet::plugin::schemas::Schema> for Schema {
    fn from(schema: crate::bindings::brooklet::plugin::schemas::Schema) -> Schema {
        use crate::bindings::brooklet::plugin::schemas::Format as Wire;
        let format = match schema.kind {
            Wire::Avro => Format::Avro,
            Wire::JsonSchema => Format::JsonSchema,
            Wire::Protobuf => Format::Protobuf,
        };
        let (id, version) = (schema.id, schema.version);
        Schema { id, version, format, definition: schema.definition }
    }
}
