//! A text of fields with a separator between them, shown as a JSON array of strings.

use brooklet::{Context, Error, Reject, Serde, Subject};

/// What the operator configures; the schema below says the same to the broker.
#[derive(Debug, serde::Deserialize)]
pub struct Config {
    separator: char,
}

/// An instance.
#[derive(Debug)]
pub struct Separated {
    separator: char,
}

impl Serde for Separated {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<Separated, Error> {
        Ok(Separated { separator: config.separator })
    }

    fn deserialize(&mut self, _: &Subject, data: &[u8], json: &mut Vec<u8>) -> Result<(), Reject> {
        let text = std::str::from_utf8(data).map_err(|error| Reject::new("syntax", error))?;
        let fields: Vec<&str> = text.split(self.separator).collect();
        Ok(serde_json::to_writer(json, &fields)?)
    }

    fn serialize(&mut self, _: &Subject, json: &[u8], data: &mut Vec<u8>) -> Result<(), Reject> {
        let fields: Vec<String> = serde_json::from_slice(json)?;
        if fields.iter().any(|field| field.contains(self.separator)) {
            return Err(Reject::new("separator", "a field has the separator in it"));
        }
        data.extend_from_slice(fields.join(&self.separator.to_string()).as_bytes());
        Ok(())
    }
}

brooklet::plugin! {
    description: "Shows fields with a separator between them as a JSON array.",
    roles: { serde: Separated },
    config: {
        "type": "object",
        "required": ["separator"],
        "additionalProperties": false,
        "properties": { "separator": { "type": "string", "minLength": 1, "maxLength": 1 } }
    },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::Serding;

    use super::*;

    #[test]
    fn fields_go_there_and_back() {
        let mut plugin = Serding::<Separated>::start(r#"{"separator":";"}"#).unwrap();
        assert_eq!(plugin.deserialize("a;b;").unwrap(), r#"["a","b",""]"#);
        assert_eq!(plugin.serialize(r#"["a","b",""]"#).unwrap(), b"a;b;");
        assert_eq!(plugin.serialize(r#"["a;b"]"#).unwrap_err().code, "separator");
        assert_eq!(plugin.check([0xff]).unwrap_err().code, "syntax");
    }
}
