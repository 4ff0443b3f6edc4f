//! A serde for JSON with a schema: what does not fit is not stored.
//!
//! **What it decides.** Whether bytes are JSON that fits the schema. They are stored as they came.
//!
//! **Invariants.** Reading never refuses what was stored under an older schema: only what is written is
//! compared with it. A message says which rule was broken and where, never what the value was: it ends in
//! logs and in answers to clients.

use brooklet::{Context, Error, Reject, Serde, Subject, schemas};
use jsonschema::Validator;
use serde_json::Value;

/// Problems that are named of one record.
const PROBLEMS_MAX: usize = 3;

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The schema itself; without it, the latest one the binding has for the subject.
    schema: Option<Value>,
}

/// The serde.
#[derive(Debug)]
pub struct JsonSchema {
    fixed: Option<Validator>,
    /// The validator of the subject that was seen last: an instance works for one.
    fetched: Option<(Subject, Validator)>,
}

impl Serde for JsonSchema {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<JsonSchema, Error> {
        let compiled = config.schema.as_ref().map(compile).transpose();
        let fixed = compiled.map_err(|problem| Error::Config(format!("schema: {problem}")))?;
        Ok(JsonSchema { fixed, fetched: None })
    }

    fn deserialize(&mut self, _: &Subject, data: &[u8], json: &mut Vec<u8>) -> Result<(), Reject> {
        serde_json::from_slice::<serde::de::IgnoredAny>(data)?;
        json.extend_from_slice(data);
        Ok(())
    }

    fn serialize(
        &mut self,
        subject: &Subject,
        json: &[u8],
        data: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        self.check(subject, json)?;
        data.extend_from_slice(json);
        Ok(())
    }

    fn check(&mut self, subject: &Subject, data: &[u8]) -> Result<(), Reject> {
        let value: Value = serde_json::from_slice(data)?;
        let validator = self.validator(subject)?;
        if validator.is_valid(&value) {
            return Ok(());
        }
        let problems = validator.iter_errors(&value).take(PROBLEMS_MAX).map(|error| {
            let path = error.instance_path().to_string();
            let path = if path.is_empty() { "/" } else { path.as_str() };
            format!("{path}: {}", error.masked())
        });
        Err(Reject::new("schema", problems.collect::<Vec<_>>().join("; ")))
    }
}

impl JsonSchema {
    fn validator(&mut self, subject: &Subject) -> Result<&Validator, Reject> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed);
        }
        if self.fetched.as_ref().is_none_or(|(known, _)| known != subject) {
            let unknown = |problem: &dyn std::fmt::Display| {
                Reject::new("schema-unknown", format!("{}: {problem}", subject.name()))
            };
            let schema = schemas::latest(&subject.name()).map_err(|error| unknown(&error))?;
            if schema.format != schemas::Format::JsonSchema {
                return Err(unknown(&"its schema is not JSON Schema"));
            }
            let schema: Value =
                serde_json::from_str(&schema.definition).map_err(|error| unknown(&error))?;
            let validator = compile(&schema).map_err(|problem| unknown(&problem))?;
            self.fetched = Some((subject.clone(), validator));
        }
        let (_, validator) = self.fetched.as_ref().expect("it was fetched above");
        Ok(validator)
    }
}

fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::validator_for(schema).map_err(|error| error.to_string())
}

brooklet::plugin! {
    name: "json-schema",
    description: "Stores only JSON that fits a schema.",
    roles: { serde: JsonSchema },
    config: {
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "schema": {
                "type": ["object", "boolean"],
                "description": "The schema; without it, the latest one the binding has for the subject"
            }
        }
    },
}

#[cfg(test)]
mod tests {
    use brooklet::schemas::{Format, Schema};
    use brooklet::stand_in;
    use brooklet_testing::Serding;

    use super::*;

    const FLIGHT: &str = r#"{
        "type": "object",
        "required": ["carrier", "dep_delay"],
        "additionalProperties": false,
        "properties": {
            "carrier": { "type": "string", "pattern": "^[A-Z0-9]{2}$" },
            "dep_delay": { "type": ["integer", "null"] }
        }
    }"#;

    fn start() -> Serding<JsonSchema> {
        Serding::start(&format!(r#"{{"schema": {FLIGHT}}}"#)).unwrap()
    }

    #[test]
    fn what_fits_is_stored_as_it_came() {
        let flight = r#"{ "dep_delay": null, "carrier":"UA" }"#;
        assert_eq!(start().check(flight), Ok(()));
        assert_eq!(start().serialize(flight).unwrap(), flight.as_bytes());
        assert_eq!(start().deserialize(flight).unwrap(), flight);
    }

    #[test]
    fn what_does_not_fit_is_refused_without_being_repeated() {
        let table = [
            ("{", "syntax", "EOF"),
            ("\u{0}", "syntax", "expected value"),
            (r#"{"carrier":"UA"}"#, "schema", "/: \"dep_delay\" is a required property"),
            (r#"{"carrier":"secret","dep_delay":1}"#, "schema", "/carrier: value does not match"),
            (
                r#"{"carrier":"UA","dep_delay":"secret"}"#,
                "schema",
                "/dep_delay: value is not of types",
            ),
            (
                r#"{"carrier":"UA","dep_delay":1,"extra":"secret"}"#,
                "schema",
                "/: Additional properties",
            ),
            ("[]", "schema", "/: value is not of type \"object\""),
        ];
        for (value, code, message) in table {
            let reject = start().check(value).unwrap_err();
            assert_eq!(reject.code, code, "{value}: {reject}");
            assert!(reject.message.contains(message), "{value}: {reject}");
            assert!(!reject.message.contains("secret"), "{value}: {reject}");
            assert_eq!(start().serialize(value).unwrap_err(), reject, "both ways in");
        }
    }

    #[test]
    fn what_was_stored_before_the_schema_can_be_read() {
        assert_eq!(start().deserialize("[1]").unwrap(), "[1]");
        assert_eq!(start().deserialize("{").unwrap_err().code, "syntax");
    }

    #[test]
    fn the_binding_can_bring_the_schema() {
        let mut plugin = Serding::<JsonSchema>::start("{}").unwrap();
        assert_eq!(plugin.check("{}").unwrap_err().code, "schema-unknown");
        let definition = FLIGHT.to_owned();
        let schema = Schema { id: 1, version: 1, format: Format::JsonSchema, definition };
        stand_in::add_schema("topic-value", schema);
        assert_eq!(plugin.check("{}").unwrap_err().code, "schema");
        assert_eq!(plugin.check(r#"{"carrier":"UA","dep_delay":1}"#), Ok(()));
    }

    #[test]
    fn schemas_are_checked_and_never_fetched() {
        let table = [
            (r#"{"schema": {"type": "objekt"}}"#, "schema: "),
            (r#"{"schema": {"$ref": "https://schemas.example/flight.json"}}"#, "schema: "),
            (r#"{"schemas": {}}"#, "unknown field"),
        ];
        for (config, problem) in table {
            let error = Serding::<JsonSchema>::start(config).unwrap_err().to_string();
            assert!(error.contains(problem), "{config}: {error}");
        }
    }
}
