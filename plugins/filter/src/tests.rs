//! What is kept, and what is said about expressions that can't be understood.

use brooklet_testing::{Rec, Shown, Transforming, golden};

use super::*;

fn start(keep: &str) -> Result<Transforming<Filter>, Error> {
    Transforming::start(&serde_json::json!({ "keep": keep }).to_string())
}

#[track_caller]
fn kept(keep: &str, record: &Rec) -> bool {
    let shown = start(keep).unwrap().show(std::slice::from_ref(record)).unwrap();
    match &shown[..] {
        [Shown::Record(_)] => true,
        [Shown::Dropped] => false,
        other => panic!("{keep}: {other:?}"),
    }
}

#[test]
fn expressions_mean_what_they_say() {
    let value = r#"{"carrier":"UA","delay":16,"late":true,"gate":null,"id":9007199254740993,
        "from":{"code":"JFK","lat":40.64},"tags":["a"],"odd.name":1,"quote":"it\u0027s","key":"field"}"#;
    let record = Rec::new("N1", value).header("region", "eu").header("region", "us").at(1500);
    let table = [
        ("carrier == 'UA'", true),
        ("carrier == \"DL\"", false),
        ("carrier != 'DL' and delay > 15", true),
        ("delay >= 16 && delay <= 16.0", true),
        ("delay < 16 || from.code == 'JFK'", true),
        ("not (delay < 16) and !late", false),
        ("late", true),
        ("carrier", false),
        ("from.lat > 40 and from.lat < 40.65", true),
        ("gate == null and missing == null", true),
        ("exists(gate) and not exists(missing)", true),
        ("exists(tags) and tags != null", true),
        ("carrier in ['DL', 'UA']", true),
        ("delay not in [1, 2, 3]", true),
        ("delay in [16, 'x', null]", true),
        ("missing in [null]", true),
        ("key == 'N1' and value.key == 'field'", true),
        ("starts_with(key, 'N') and ends_with(carrier, 'A') and contains(from.code, 'F')", true),
        ("starts_with(delay, '1')", false),
        ("header('region') == 'us'", true),
        ("exists(header('other'))", false),
        ("timestamp > 1000 and timestamp == 1500", true),
        (r"odd\.name == 1", true),
        (r"quote == 'it\'s'", true),
        ("delay == '16'", false),
        ("delay != '16'", true),
        ("delay < 'x' or delay > 'x'", false),
        ("-1.5e1 < delay", true),
        // And binds more tightly than or.
        ("late or late and false", true),
        ("id == 9007199254740993", true),
        ("id == 9007199254740992", false),
    ];
    for (keep, expected) in table {
        assert_eq!(kept(keep, &record), expected, "{keep}");
    }
}

#[test]
fn problems_are_named_with_their_place() {
    let table = [
        ("", "character 1: expected a field"),
        ("a = 1", "character 3: equality is written =="),
        ("a == ", "character 6: expected a field"),
        ("a == 1 b", "character 8: expected `and`, `or` or the end, found \"b\""),
        ("(a == 1", "character 8: expected \")\", found the end"),
        ("a in 1", "character 6: expected \"[\", found the number 1"),
        ("a in [b]", "character 7: expected a text, a number"),
        ("a not b", "character 7: expected `in`"),
        ("lower(a) == 'x'", "character 1: lower is not one of the functions"),
        ("starts_with(a, b)", "character 16: expected a text in quotes"),
        ("a == 'open", "character 6: this text has no end"),
        ("a == 1x", "character 6: \"1x\" is not a number"),
        ("a..b == 1", "character 1: the path \"a..b\" has an empty name"),
        ("a == 1 ; b", "character 8: ';' has no meaning here"),
        ("a and or b", "character 7: expected a field"),
        (r"a == '\q'", "character 7: \\ is followed by"),
    ];
    for (keep, expected) in table {
        let problem = start(keep).unwrap_err().to_string();
        assert!(problem.starts_with(&format!("keep: {expected}")), "{keep:?}: {problem}");
    }
    let deep = format!("{}a{}", "(".repeat(100), ")".repeat(100));
    assert!(start(&deep).unwrap_err().to_string().contains("within each other"));
}

#[test]
fn only_what_is_named_is_copied() {
    let table = [
        ("key == 'a'", Columns::KEYS),
        ("a.b == 1 or timestamp > 0", Columns::VALUES | Columns::TIMESTAMPS),
        ("exists(header('h'))", Columns::HEADERS),
        ("true", Columns::empty()),
    ];
    for (keep, columns) in table {
        let config = Config { keep: keep.to_owned() };
        let filter = Filter::new(config, &Context::default()).unwrap();
        assert_eq!(filter.columns(), columns, "{keep}");
    }
}

#[test]
fn what_is_not_json_is_rejected_only_if_it_is_looked_at() {
    let records = [Rec::new("a", "{broken"), Rec::tombstone("a")];
    let by_field = start("x == 1").unwrap().show(&records).unwrap();
    assert!(matches!(&by_field[0], Shown::Rejected { code, .. } if code == "syntax"));
    assert_eq!(by_field[1], Shown::Dropped);
    let by_key = start("key == 'a'").unwrap().show(&records).unwrap();
    assert_eq!(by_key, records.map(Shown::Record));
}

#[test]
fn flights_are_filtered_as_the_readme_shows() {
    golden::transform::<Filter>("tests/flights");
}
