//! Keeps the records whose key begins with a prefix.

use brooklet::{Action, Record};

/// What the operator configures; the schema below says the same to the broker.
#[derive(Debug, serde::Deserialize)]
pub struct Config {
    prefix: String,
}

/// Called once per record. `columns` names what is copied into the plugin; ask for `values`, `headers` and
/// `timestamps` as you need them. To change a record, return a `brooklet::Change`.
#[brooklet::transform(columns(keys))]
pub fn transform(record: Record<'_>, config: &Config) -> Action {
    match record.key() {
        Some(key) if key.starts_with(config.prefix.as_bytes()) => Action::Keep,
        _ => Action::Drop,
    }
}

brooklet::plugin! {
    description: "Keeps the records whose key begins with a prefix.",
    roles: { transform: transform },
    config: {
        "type": "object",
        "required": ["prefix"],
        "additionalProperties": false,
        "properties": { "prefix": { "type": "string" } }
    },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::{Rec, Shown, Transforming};

    use super::*;

    #[test]
    fn keys_with_the_prefix_are_kept() {
        let mut plugin = Transforming::<transform>::start(r#"{"prefix":"U"}"#).unwrap();
        let records = [Rec::new("UA", "1"), Rec::new("AA", "2"), Rec::value("3")];
        let expected = [Shown::Record(records[0].clone()), Shown::Dropped, Shown::Dropped];
        assert_eq!(plugin.show(&records).unwrap(), expected);
    }
}
