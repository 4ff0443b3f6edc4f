//! Keeps records by their key or by a header. The same stands in `javascript/only`, `python/only` and `c/only`.

use brooklet::{Action, Record};

/// The configuration. What is left out is not asked for.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What the key begins with.
    prefix: Option<String>,
    /// A header, and the values that it may have.
    header: Option<Wanted>,
}

/// A header that is asked for.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    name: String,
    values: Vec<String>,
}

/// Kept is what has all that is asked for. A key or header that is null is none.
#[brooklet::transform(columns(keys, headers))]
pub fn only(record: Record<'_>, config: &Config) -> Action {
    if let Some(prefix) = &config.prefix
        && !record.key().is_some_and(|key| key.starts_with(prefix.as_bytes()))
    {
        return Action::Drop;
    }
    if let Some(Wanted { name, values }) = &config.header {
        let has = |header: &[u8]| values.iter().any(|value| value.as_bytes() == header);
        if !record.header(name).is_some_and(has) {
            return Action::Drop;
        }
    }
    Action::Keep
}

brooklet::plugin! {
    name: "only",
    description: "Keeps records by their key or by a header.",
    roles: { transform: only },
    config: {
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "prefix": { "type": "string" },
            "header": {
                "type": "object",
                "required": ["name", "values"],
                "additionalProperties": false,
                "properties": {
                    "name": { "type": "string" },
                    "values": { "type": "array", "items": { "type": "string" } }
                }
            }
        }
    },
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_does_natively_what_the_components_do() {
        for case in ["key", "header", "both"] {
            brooklet_testing::golden::transform::<super::only>(&format!("../../cases/only/{case}"));
        }
    }
}
