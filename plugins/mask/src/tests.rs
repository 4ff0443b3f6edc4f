//! What is hidden, what stays, and that nothing slips through.

use brooklet_testing::{Rec, Shown, Transforming, golden};
use proptest::prelude::*;

use super::*;

fn masked(fields: &str, value: &str) -> String {
    let config = format!(r#"{{"fields": {fields}, "salt": "pepper"}}"#);
    Transforming::<Mask>::start(&config).unwrap().value(value)
}

#[test]
fn fields_are_hidden_in_their_place() {
    let table = [
        (r#"{"a":"null"}"#, r#"{"b": 1, "a": "x" , "c":[]}"#, r#"{"b": 1, "a": null , "c":[]}"#),
        (r#"{"a":{"keep_last":4}}"#, r#"{"a":"123456"}"#, r#"{"a":"**3456"}"#),
        (r#"{"a":{"keep_last":4}}"#, r#"{"a":"1234"}"#, r#"{"a":"****"}"#),
        (r#"{"a":{"keep_last":2}}"#, r#"{"a":123456}"#, r#"{"a":"****56"}"#),
        (r#"{"a":{"keep_last":1}}"#, r#"{"a":"h\u00e9\"ü"}"#, r#"{"a":"***ü"}"#),
        (r#"{"a":{"truncate":3}}"#, r#"{"a":"a\"bc"}"#, r#"{"a":"a\"b"}"#),
        (r#"{"a":{"truncate":3}}"#, r#"{"a":{"deep":"x"}}"#, r#"{"a":null}"#),
        (r#"{"a":{"keep_last":3}}"#, r#"{"a":["secret"]}"#, r#"{"a":null}"#),
        (r#"{"a.b":"null"}"#, r#"{"a":{"b":1,"c":2},"b":3}"#, r#"{"a":{"b":null,"c":2},"b":3}"#),
        (r#"{"a.b":"null"}"#, r#"{"a":[{"b":1},{"b":2}]}"#, r#"{"a":[{"b":null},{"b":null}]}"#),
        (r#"{"a":"null","a.b":"hash"}"#, r#"{"a":{"b":1}}"#, r#"{"a":null}"#),
        (r#"{"a":"null"}"#, r#"{"a":1,"a":2}"#, r#"{"a":null,"a":null}"#),
        (r#"{"a":"null"}"#, r#"{"\u0061":1}"#, r#"{"\u0061":null}"#),
    ];
    for (fields, value, expected) in table {
        assert_eq!(masked(fields, value), expected, "{fields} of {value}");
    }
}

#[test]
fn equal_fields_have_equal_digests_and_others_others() {
    let digest = |value: &str| masked(r#"{"a":"hash"}"#, value);
    let one = digest(r#"{"a":"N14228"}"#);
    assert_eq!(one.len(), r#"{"a":""}"#.len() + 32);
    assert_eq!(one, digest(r#"{"a":"N1\u0034\u003228"}"#), "however it is written");
    assert_ne!(one, digest(r#"{"a":"N14229"}"#));
    let peppered = Transforming::<Mask>::start(r#"{"fields":{"a":"hash"},"salt":"salt"}"#);
    assert_ne!(one, peppered.unwrap().value(r#"{"a":"N14228"}"#), "the salt counts");
    assert_eq!(digest(r#"{"a":null}"#), r#"{"a":null}"#);
}

#[test]
fn what_is_not_json_is_not_shown() {
    let mut plugin = Transforming::<Mask>::start(r#"{"fields":{"a":"null"}}"#).unwrap();
    let records =
        [Rec::value("{\"a\":1"), Rec::tombstone("k"), Rec::value("[]"), Rec::value([0xff])];
    let shown = plugin.show(&records).unwrap();
    assert!(matches!(&shown[0], Shown::Rejected { code, .. } if code == "syntax"));
    assert_eq!(shown[1..3], [Shown::Record(records[1].clone()), Shown::Record(records[2].clone())]);
    assert!(matches!(&shown[3], Shown::Rejected { code, .. } if code == "syntax"));
}

#[test]
fn a_configuration_that_would_hide_nothing_is_refused() {
    let table = [
        (r#"{"fields":{"a":"hash"}}"#, "`hash` needs a `salt`"),
        (r#"{"fields":{"a..b":"null"}}"#, "empty name"),
        (r#"{"fields":{"a":"shred"}}"#, "unknown variant"),
        (r#"{"field":{}}"#, "unknown field"),
    ];
    for (config, problem) in table {
        let error = Transforming::<Mask>::start(config).unwrap_err().to_string();
        assert!(error.contains(problem), "{config}: {error}");
    }
}

#[test]
fn flights_are_masked_as_the_readme_shows() {
    golden::transform::<Mask>("tests/flights");
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "\\PC{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The same thing done to a tree.
fn hide(value: &mut serde_json::Value, path: &[&str]) {
    match value {
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| hide(item, path)),
        serde_json::Value::Object(members) => match path {
            [last] => {
                members.entry(*last).and_modify(|member| *member = serde_json::Value::Null);
            }
            [first, rest @ ..] => {
                if let Some(member) = members.get_mut(*first) {
                    hide(member, rest);
                }
            }
            [] => {}
        },
        _ => {}
    }
}

proptest! {
    #[test]
    fn hiding_in_the_text_is_hiding_in_the_tree(mut value in json()) {
        let text = value.to_string();
        let shown = masked(r#"{"a":"null","b.c":"null"}"#, &text);
        hide(&mut value, &["a"]);
        hide(&mut value, &["b", "c"]);
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        prop_assert_eq!(shown, value);
    }
}
