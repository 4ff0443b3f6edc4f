//! What may be written, and what is said about what may not.

use super::*;

const EXAMPLE: &str = include_str!("../../../../../examples/broker.ron");

fn problems(text: &str) -> String {
    Config::read("broker.ron", text).unwrap_err().to_string()
}

#[test]
fn nothing_has_to_be_written() {
    let config = Config::default();
    assert_eq!(Config::read("", "()").unwrap(), config);
    assert_eq!(config.listeners[0].to_string(), "tcp://127.0.0.1:9092");
    assert_eq!(config.advertised, vec![None]);
    assert_eq!(config.admin.unwrap().to_string(), "127.0.0.1:9644");
    assert_eq!(config.data, PathBuf::from("./brooklet-data"));
}

#[test]
fn the_example_says_what_is_so_without_it() {
    assert_eq!(Config::read("examples/broker.ron", EXAMPLE).unwrap(), Config::default());
}

#[test]
fn every_problem_is_reported_at_once_with_its_path() {
    let text = r#"(
        node_id: -1,
        listener: ["tcp://127.0.0.1:1"],
        advertised: ["http://a:1", "tcp://b:0"],
        admin: "nowhere",
        shards: "two",
        topic_defaults: { "retention.mss": "1", "retention.ms": "x", "brooklet.flush": "os" },
        groups: (session_timeout_ms_min: 9, session_timeout_ms_max: 8, delay: 1),
        limits: (frame_bytes_max: 17),
    )"#;
    let expected = r#"broker.ron is not usable:
  node_id: -1 is outside 0..=2147483647
  advertised: 2 addresses for 1 listeners; give one for each
  advertised[0]: "http://a:1" does not start with tcp://, the only transport there is
  advertised[1]: port 0 cannot be connected to
  admin: "nowhere" is neither ADDRESS:PORT nor "none"
"#;
    let problems = problems(text);
    assert!(problems.starts_with(expected), "{problems}");
    for part in [
        "\n  shards: ",
        "\n  topic_defaults.brooklet.flush: is set for each topic by itself",
        "\n  topic_defaults.retention.ms: Invalid value x for configuration retention.ms",
        "\n  topic_defaults.retention.mss: is not known; did you mean retention.ms?",
        "\n  groups.session_timeout_ms_min: 9 is more than session_timeout_ms_max, 8",
        "\n  groups.delay: is not known; there are initial_rebalance_delay_ms, ",
        "\n  limits.frame_bytes_max: 17 is outside 2097152..=104857600",
        "\n  listener: is not known; did you mean listeners?",
    ] {
        assert!(problems.contains(part), "{part} in {problems}");
    }
}

#[test]
fn a_file_that_cannot_be_read_says_where() {
    for text in ["", "(node_id: 1", "[1, 2]", "(node_id 1)"] {
        assert!(problems(text).starts_with("broker.ron is not usable:\n  "), "{text}");
    }
}

#[test]
fn addresses_are_hosts_and_ports() {
    let one = Address::parse("tcp://[::1]:9092").unwrap();
    assert_eq!((one.host.as_str(), one.port), ("::1", 9092));
    assert_eq!(one.to_string(), "tcp://[::1]:9092");
    for wrong in ["9092", "tcp://:1", "tcp://a", "tcp://a:x", "tcp://a:70000", "tcp://::1:9092"] {
        assert!(Address::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn administrators_see_the_configuration_under_kafkas_names() {
    let text = r#"(topic_defaults: { "retention.ms": "5" }, default_partitions: 3)"#;
    let settings = Config::read("", text).unwrap().broker_settings();
    for (name, value) in [
        ("log.retention.ms", "5"),
        ("num.partitions", "3"),
        ("node.id", "1"),
        ("listeners", "PLAINTEXT://127.0.0.1:9092"),
    ] {
        assert_eq!(settings[name], value);
    }
    assert!(!settings.contains_key("auto.create.topics.enable"));
    for (name, value) in &settings {
        brooklet_meta::setting::broker::check(name, value).unwrap();
    }
}
