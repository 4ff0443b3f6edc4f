//! A transform that turns objects within objects into fields of one: `{"a":{"b":1}}` into `{"a.b":1}`. As
//! Kafka Connect's `Flatten`, arrays stay what they are.
//!
//! **Invariants.** No field is lost: empty objects stay, and where two fields would get the same name the
//! record is rejected.

use std::collections::BTreeSet;

use brooklet::{Batch, Columns, Context, Error, Output, Reject, Transform, json};

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What stands between the names.
    #[serde(default = "dot")]
    delimiter: String,
}

/// Kafka Connect's default.
fn dot() -> String {
    ".".to_owned()
}

/// The transform.
#[derive(Debug)]
pub struct Flatten {
    delimiter: String,
    flat: Vec<u8>,
    /// The names of the record at hand.
    names: BTreeSet<String>,
}

impl Transform for Flatten {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<Flatten, Error> {
        Ok(Flatten { delimiter: config.delimiter, flat: Vec::new(), names: BTreeSet::new() })
    }

    fn columns(&self) -> Columns {
        Columns::VALUES
    }

    fn transform(&mut self, batch: &Batch<'_>, out: &mut Output<'_>) -> Result<(), Error> {
        for value in batch.values().iter() {
            let Some(value) = value else {
                out.keep();
                continue;
            };
            match self.flatten(value) {
                Ok(true) => out.value(Some(&self.flat)),
                Ok(false) => out.keep(),
                Err(reject) => out.reject(reject),
            }
        }
        Ok(())
    }
}

impl Flatten {
    /// Puts the value in `flat`; false if it is flat already.
    fn flatten(&mut self, value: &[u8]) -> Result<bool, Reject> {
        let text = std::str::from_utf8(value).map_err(|error| Reject::new("syntax", error))?;
        self.flat.clear();
        self.names.clear();
        self.flat.push(b'{');
        let mut nested = false;
        if !self.put("", text, &mut nested)? {
            serde_json::from_str::<serde::de::IgnoredAny>(text)?;
            return Ok(false);
        }
        self.flat.push(b'}');
        Ok(nested)
    }

    /// Appends the members of an object, with `prefix` before their names; false if it is none, or is
    /// empty and has a name itself. `nested` tells whether any object was taken apart.
    fn put(&mut self, prefix: &str, text: &str, nested: &mut bool) -> Result<bool, Reject> {
        let mut outcome = Ok(());
        let mut count = 0;
        let is_object = json::members(text, |name, member| {
            count += 1;
            if outcome.is_ok() {
                outcome = self.put_member(prefix, name, member, nested);
            }
        })?;
        outcome?;
        Ok(is_object && (count > 0 || prefix.is_empty()))
    }

    fn put_member(
        &mut self,
        prefix: &str,
        name: &str,
        member: &str,
        nested: &mut bool,
    ) -> Result<(), Reject> {
        let full = format!("{prefix}{name}");
        let deeper = format!("{full}{}", self.delimiter);
        if member.starts_with('{') && self.put(&deeper, member, nested)? {
            *nested = true;
            return Ok(());
        }
        if self.names.contains(&full) {
            return Err(Reject::new("same-name", format!("two fields would be called {full:?}")));
        }
        if self.flat.len() > 1 {
            self.flat.push(b',');
        }
        serde_json::to_writer(&mut self.flat, &full)?;
        self.flat.push(b':');
        self.flat.extend_from_slice(member.as_bytes());
        self.names.insert(full);
        Ok(())
    }
}

brooklet::plugin! {
    name: "flatten",
    description: "Turns objects within objects of a JSON value into fields of one.",
    roles: { transform: Flatten },
    config: {
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "delimiter": {
                "type": "string",
                "default": ".",
                "description": "What stands between the names"
            }
        }
    },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::{Rec, Shown, Transforming, golden};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn objects_are_taken_apart() {
        let table = [
            (
                "{}",
                r#"{"a":{"b":1,"c":{"d":"x"}},"e":[{"f":1}]}"#,
                r#"{"a.b":1,"a.c.d":"x","e":[{"f":1}]}"#,
            ),
            (r#"{"delimiter":"_"}"#, r#"{"a":{"b":1}}"#, r#"{"a_b":1}"#),
            (r#"{"delimiter":""}"#, r#"{"a":{"b":1}}"#, r#"{"ab":1}"#),
            ("{}", r#"{"a":{},"b":{"c":{}}}"#, r#"{"a":{},"b.c":{}}"#),
            ("{}", r#"{"a": 1 , "b":null}"#, r#"{"a": 1 , "b":null}"#),
            ("{}", "{}", "{}"),
            ("{}", "[{\"a\":{}}]", "[{\"a\":{}}]"),
            ("{}", "7", "7"),
            ("{}", r#"{"\"":{"é":1}}"#, r#"{"\".é":1}"#),
        ];
        for (config, value, expected) in table {
            let mut plugin = Transforming::<Flatten>::start(config).unwrap();
            assert_eq!(plugin.value(value), expected, "{value}");
        }
    }

    #[test]
    fn what_would_lose_a_field_is_rejected() {
        let mut plugin = Transforming::<Flatten>::start("{}").unwrap();
        let table = [
            (r#"{"a":{"b":1},"a.b":2}"#, "same-name"),
            (r#"{"a":1,"a":2}"#, "same-name"),
            (r#"{"a":"#, "syntax"),
            ("x", "syntax"),
        ];
        for (value, code) in table {
            let shown = plugin.show(&[Rec::value(value)]).unwrap();
            assert!(
                matches!(&shown[0], Shown::Rejected { code: found, .. } if found == code),
                "{value}"
            );
        }
    }

    #[test]
    fn flights_are_flattened_as_the_readme_shows() {
        golden::transform::<Flatten>("tests/flights");
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![Just(serde_json::Value::Null), any::<i32>().prop_map(Into::into)];
        leaf.prop_recursive(5, 40, 4, |inner| {
            proptest::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect()))
        })
    }

    fn leaves(
        prefix: &str,
        value: &serde_json::Value,
        flat: &mut serde_json::Map<String, serde_json::Value>,
    ) {
        for (name, member) in value.as_object().into_iter().flatten() {
            let full = format!("{prefix}{name}");
            match member.as_object() {
                Some(members) if !members.is_empty() => leaves(&format!("{full}."), member, flat),
                _ => drop(flat.insert(full, member.clone())),
            }
        }
    }

    proptest! {
        #[test]
        fn every_leaf_is_there_under_its_path(value in json()) {
            prop_assume!(value.is_object());
            let mut expected = serde_json::Map::new();
            leaves("", &value, &mut expected);
            let mut plugin = Transforming::<Flatten>::start("{}").unwrap();
            let flat: serde_json::Value = serde_json::from_str(&plugin.value(&value.to_string())).unwrap();
            prop_assert_eq!(flat, serde_json::Value::Object(expected));
        }
    }
}
