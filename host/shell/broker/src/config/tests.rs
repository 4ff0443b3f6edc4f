//! What may be written, and what is said about what may not.

use brooklet_io::quic::Congestion;
use brooklet_io::tls::ClientAuth;

use super::*;

const EXAMPLE: &str = include_str!("../../../../../examples/broker.ron");

fn problems(text: &str) -> String {
    Config::read("broker.ron", text).unwrap_err().to_string()
}

#[test]
fn nothing_has_to_be_written() {
    let config = Config::default();
    assert_eq!(Config::read("", "()").unwrap(), config);
    let addresses: Vec<_> = config.listeners.iter().map(|it| it.address.to_string()).collect();
    assert_eq!(addresses, ["tcp://127.0.0.1:9092", "quic://127.0.0.1:9092"]);
    assert!(config.listeners.iter().all(|it| it.advertised.is_none() && it.tls.is_none()));
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
        advertised: ["http://a:1", "tcp://a:1", "tcp://b:0"],
        admin: "nowhere",
        shards: "two",
        topic_defaults: { "retention.mss": "1", "retention.ms": "x", "brooklet.flush": "os" },
        groups: (session_timeout_ms_min: 9, session_timeout_ms_max: 8, delay: 1),
        limits: (frame_bytes_max: 17),
    )"#;
    let expected = r#"broker.ron is not usable:
  node_id: -1 is outside 0..=2147483647
  advertised: 3 addresses for 2 listeners; give one for each
  advertised[0]: "http://a:1" does not start with tcp://, tls:// or quic://
  advertised[1]: tcp://a:1 is not reached through quic://127.0.0.1:9092
  advertised[2]: port 0 cannot be connected to
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
    assert_eq!(Address::parse("quic://a:1").unwrap().transport, Transport::Quic);
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
        ("listeners", "PLAINTEXT://127.0.0.1:9092,QUIC://127.0.0.1:9092"),
    ] {
        assert_eq!(settings[name], value);
    }
    assert!(!settings.contains_key("auto.create.topics.enable"));
    for (name, value) in &settings {
        brooklet_meta::setting::broker::check(name, value).unwrap();
    }
}

#[test]
fn a_broker_that_stands_somewhere_sends_consumers_to_who_is_nearer() {
    let settings = Config::read("", r#"(rack: "eu-1a")"#).unwrap().broker_settings();
    assert_eq!(settings["broker.rack"], "eu-1a");
    assert!(settings["replica.selector.class"].ends_with(".RackAwareReplicaSelector"));
    for (name, value) in &settings {
        brooklet_meta::setting::broker::check(name, value).unwrap();
    }
    let settings = Config::read("", r#"(rack: "")"#).unwrap().broker_settings();
    assert!(!settings.contains_key("broker.rack"));
    assert!(!settings.contains_key("replica.selector.class"));
    for (rack, problem) in [
        ("a\nb", "rack: has characters that cannot be seen"),
        (&"x".repeat(256), "rack: has 256 bytes; 255 are the most"),
    ] {
        let problems = problems(&format!("(rack: \"{rack}\")"));
        assert!(problems.contains(problem), "{problems}");
    }
}

#[test]
fn a_listener_has_its_own_certificate_or_everybodys() {
    let text = r#"(
        listeners: [
            "tls://0.0.0.0:9093",
            (url: "tls://0.0.0.0:9094", tls: (
                certificate: "in.pem", key: "in.key", client_ca: "ca.pem", client_auth: "required",
            )),
            (url: "quic://0.0.0.0:9093"),
        ],
        tls: (certificate: "out.pem", key: "out.key"),
        access: (public_unauthenticated: true),
        quic: (congestion: "bbr"),
    )"#;
    let config = Config::read("", text).unwrap();
    let own = config.listeners[1].tls.as_ref().unwrap();
    assert_eq!(own.client_auth, ClientAuth::Required(PathBuf::from("ca.pem")));
    assert!(config.listeners[0].tls.is_none() && config.listeners[2].tls.is_none());
    assert_eq!(config.tls.unwrap().certificate, PathBuf::from("out.pem"));
    assert_eq!(config.quic.congestion, Congestion::Bbr);
}

#[test]
fn what_is_wrong_with_listeners_is_said_with_its_place() {
    let text = r#"(
        listeners: [
            "tls://a:1",
            (url: "tcp://a:2", tls: (certificate: "a", key: "b")),
            (url: "tls://a:3", tls: (key: "b", client_auth: "maybe")),
            (url: "tls://a:4", tls: (certificate: "a", key: "b", client_auth: "required")),
            (url: "tls://a:5", tls: (certificate: "a", key: "b", client_ca: "c")),
            "tcp://a:1", "quic://a:1", "quic://a:1", 7,
            (uri: "tls://a:6"),
        ],
        quic: (congestion: "reno", streams_max: 0),
    )"#;
    let expected = r#"broker.ron is not usable:
  listeners[1].url: tcp:// has no certificate; write tls:// for one that has
  listeners[2].tls.certificate: is missing; name a file in PEM
  listeners[2].tls.client_auth: "maybe" is none of none, requested, required
  listeners[3].tls.client_ca: is missing, and client_auth is "required"
  listeners[4].tls.client_ca: is of no use with client_auth: "none"
  listeners[5]: tcp://a:1 needs the port of tls://a:1
  listeners[7]: quic://a:1 stands here twice
  listeners[8]: is neither an address nor (url: ADDRESS, tls: (…))
  listeners[9].uri: is not known; did you mean url?
  listeners[9].url: "" does not start with tcp://, tls:// or quic://
  listeners[0]: has no certificate; set tls.certificate and tls.key
  quic.congestion: is not known; there are cubic, bbr
  quic.streams_max: 0 is outside 1..=4096"#;
    let problems = problems(text);
    for line in expected.lines() {
        assert!(problems.contains(line), "{line} is missing in {problems}");
    }
}

#[test]
fn who_may_come_in_from_elsewhere_is_said_by_name() {
    let sasl = r#"sasl: (mechanisms: ["SCRAM-SHA-512"], session_ms_max: 60000)"#;
    let required = r#"tls: (certificate: "a", key: "b", client_ca: "c", client_auth: "required")"#;
    let requested = required.replace("required", "requested");
    let table = [
        ("url: \"tcp://127.0.0.1:1\"".to_owned(), "", None),
        ("url: \"tcp://[::ffff:127.0.0.1]:1\"".to_owned(), "", None),
        ("url: \"tcp://localhost:1\"".to_owned(), "", None),
        (format!("url: \"tcp://127.0.0.1:1\", {sasl}"), "", None),
        (format!("url: \"quic://0.0.0.0:1\", {sasl}"), "", None),
        (format!("url: \"tls://[::]:1\", {required}"), "", None),
        (format!("url: \"tls://[::]:1\", {requested}"), "", Some("lets everybody in")),
        ("url: \"tcp://0.0.0.0:1\"".to_owned(), "", Some("lets everybody in")),
        ("url: \"quic://edge.example:1\"".to_owned(), "", Some("lets everybody in")),
        ("url: \"tcp://0.0.0.0:1\"".to_owned(), "public_unauthenticated: true", None),
        (format!("url: \"tcp://0.0.0.0:1\", {sasl}"), "", Some("speaks SASL in the clear")),
        (format!("url: \"tcp://0.0.0.0:1\", {sasl}"), "public_unencrypted: true", None),
        (
            "url: \"tcp://127.0.0.1:1\", principals: \"DEFAULT\"".to_owned(),
            "",
            Some("has principals"),
        ),
        (format!("url: \"tls://[::]:1\", {required}, principals: \"DEFAULT\""), "", None),
        (
            format!("url: \"tls://[::]:1\", {required}, {sasl}, principals: \"DEFAULT\""),
            "",
            Some("has principals"),
        ),
    ];
    for (listener, access, expected) in table {
        let text = format!("(listeners: [({listener})], access: ({access}))");
        match (Config::read("", &text), expected) {
            (Ok(config), None) => {
                let mut config = config;
                let addresses = vec![Address::parse("tcp://0.0.0.0:1").unwrap()];
                let listens = config.listen("", addresses, None).is_ok();
                assert_eq!(listens, config.access.public_unauthenticated, "{text}");
            }
            (Err(error), Some(part)) => {
                assert!(error.to_string().contains(part), "{text}: {error}")
            }
            (read, _) => panic!("{text}: {read:?}"),
        }
    }
}

#[test]
fn what_is_wrong_with_access_is_said_with_its_place() {
    let text = r#"(
        listeners: [(url: "quic://a:1", sasl: (mechanisms: ["PLAIN", "PLAIN", "SCRAM-SHA-25", "OAUTHBEARER"]),
            principals: "RULE:x")],
        access: (first_users: { "": "a", "ada": "" }, users: 1),
    )"#;
    let problems = problems(text);
    for line in [
        "listeners[0].sasl.mechanisms: PLAIN stands here twice",
        "listeners[0].sasl.mechanisms: \"SCRAM-SHA-25\" is not known; did you mean SCRAM-SHA-256?",
        "listeners[0].sasl.oauth: is missing: whose tokens are taken has to be said",
        "listeners[0].principals: \"RULE:x\" is neither DEFAULT nor RULE:pattern/replacement/[LU]",
        "access.first_users: has a user without a name",
        "access.first_users: \"ada\" has no file; name one that holds the password",
        "access.users: is not known; there are first_users, ",
    ] {
        assert!(problems.contains(line), "{line} is missing in {problems}");
    }
}
