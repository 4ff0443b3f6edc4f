//! What is shown, and that nothing else is.

use brooklet_testing::{Rec, Shown, Transforming, golden};
use proptest::prelude::*;

use super::*;

fn projected(config: &str, value: &str) -> String {
    Transforming::<Project>::start(config).unwrap().value(value)
}

#[test]
fn fields_are_included_excluded_and_renamed() {
    let value = r#"{"a": 1,"b":{"c":"x","d":[{"e":1,"f":2},3]}, "g":null}"#;
    let table = [
        (r#"{"include":["g","a"]}"#, r#"{"a":1,"g":null}"#),
        (r#"{"include":["b.c"]}"#, r#"{"b":{"c":"x"}}"#),
        (r#"{"include":["b.d.e"]}"#, r#"{"b":{"d":[{"e":1}]}}"#),
        (r#"{"include":["a.deep","g"]}"#, r#"{"g":null}"#),
        (r#"{"include":["nothing"]}"#, "{}"),
        (r#"{"include":["b"],"exclude":["b.d"]}"#, r#"{"b":{"c":"x"}}"#),
        (r#"{"exclude":["b"]}"#, r#"{"a":1,"g":null}"#),
        (r#"{"exclude":["b.d.f","g"]}"#, r#"{"a":1,"b":{"c":"x","d":[{"e":1},3]}}"#),
        (r#"{"exclude":["a"],"include":["a","g"]}"#, r#"{"g":null}"#),
        (
            r#"{"renames":{"a":"A","b.c":"\"C\""},"exclude":["b.d","g"]}"#,
            r#"{"A":1,"b":{"\"C\"":"x"}}"#,
        ),
        (r#"{"renames":{"a":"A"},"include":["g"]}"#, r#"{"g":null}"#),
    ];
    for (config, expected) in table {
        assert_eq!(projected(config, value), expected, "{config}");
    }
    assert_eq!(projected(r#"{"include":["a"]}"#, r#"[{"a":1,"b":2},7]"#), r#"[{"a":1}]"#);
    assert_eq!(projected(r#"{"exclude":["a"]}"#, "7"), "7");
    assert_eq!(projected(r#"{"exclude":["a"]}"#, r#"{"\u0061":7}"#), "{}", "however it is written");
}

#[test]
fn what_cannot_be_looked_into_is_not_shown() {
    let config = r#"{"include":["a"]}"#;
    for (value, code) in
        [("7", "no-fields"), ("{\"a\":1", "syntax"), ("{\"b\":x}", "syntax"), ("x", "no-fields")]
    {
        let shown =
            Transforming::<Project>::start(config).unwrap().show(&[Rec::value(value)]).unwrap();
        assert!(
            matches!(&shown[0], Shown::Rejected { code: found, .. } if found == code),
            "{value}: {shown:?}"
        );
    }
    let shown = Transforming::<Project>::start(r#"{"exclude":["a"]}"#)
        .unwrap()
        .show(&[Rec::value("x")])
        .unwrap();
    assert!(matches!(&shown[0], Shown::Rejected { code, .. } if code == "syntax"));
}

#[test]
fn paths_are_checked() {
    let error = Transforming::<Project>::start(r#"{"include":["a..b"]}"#).unwrap_err().to_string();
    assert!(error.starts_with("include: the path \"a..b\""), "{error}");
}

#[test]
fn flights_are_projected_as_the_readme_shows() {
    golden::transform::<Project>("tests/flights");
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![Just(serde_json::Value::Null), any::<i32>().prop_map(Into::into)];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

fn without(value: &mut serde_json::Value, path: &[&str]) {
    match value {
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| without(item, path)),
        serde_json::Value::Object(members) => match path {
            [last] => drop(members.remove(*last)),
            [first, rest @ ..] => {
                if let Some(member) = members.get_mut(*first) {
                    without(member, rest);
                }
            }
            [] => {}
        },
        _ => {}
    }
}

proptest! {
    #[test]
    fn excluding_from_the_text_is_excluding_from_the_tree(mut value in json()) {
        let shown = projected(r#"{"exclude":["a","b.c"]}"#, &value.to_string());
        without(&mut value, &["a"]);
        without(&mut value, &["b", "c"]);
        prop_assert_eq!(shown, value.to_string());
    }
}
