//! Whether two addresses are one broker's.

use super::*;

#[test]
fn a_broker_is_known_by_its_host_and_the_port_of_the_transport_it_was_asked_over() {
    let table = [
        ("quic://edge:9092", "quic://edge:9092", true),
        ("quic://edge:9092", "quic://Edge:9092", true),
        ("quic://edge:9092?tls=9093", "quic://edge:9092", true),
        ("quic://edge:9092?tls=9093", "tls://edge:9093", true),
        ("quic://edge:9092", "tls://edge:9092", true),
        ("quic://edge:9092?tls=9093", "tls://edge:9092", false),
        ("quic://edge:9092", "quic://edge:9093", false),
        ("quic://edge:9092", "quic://other:9092", false),
        ("tls://edge:9092", "tls://edge:9092", true),
        ("tls://edge:9092", "quic://edge:9092", false),
        ("tcp://edge:9092", "tcp://edge:9092", true),
        ("quic://edge:9092", "tcp://edge:9092", false),
    ];
    for (dialled, said, expected) in table {
        let found = leads_to(&dialled.parse().unwrap(), &said.parse().unwrap());
        assert_eq!(found, expected, "{dialled} {said}");
    }
}
