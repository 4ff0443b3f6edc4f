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

#[tokio::test]
async fn doors_have_the_ports_behind_the_first_one_but_for_those_that_are_taken() {
    let socket = Socket::bind("127.0.0.1:0").unwrap();
    let first = socket.local_addr().unwrap().port();
    // If it cannot be had it is taken already.
    let _taken = Socket::bind(("127.0.0.1", first + 1));
    let stop = CancellationToken::new();
    let to = vec!["quic://edge:9092?tls=9093".parse().unwrap()];
    let limit = Duration::from_secs(1);
    let doors = Doors::open(socket, true, to, Dialer::default(), limit, stop.clone()).unwrap();
    let port = |node, address: &str| doors.port_to(node, address.parse().unwrap()).unwrap();
    let second = port(Node::Broker(2), "quic://two:9092");
    assert!((first + 2..=first + 16).contains(&second), "{second} behind {first}");
    // Where clients begin is a broker's, and nobody's else once it has been given.
    assert_eq!(port(Node::Broker(1), "tls://edge:9093"), first);
    assert_ne!(port(Node::Broker(3), "tls://edge:9093"), first);
    // A controller is behind another door than the broker of its number; both stay where they are.
    let controller = port(Node::Controller(2), "quic://two:9093");
    assert!(controller != first && controller != second);
    assert_eq!(port(Node::Broker(2), "quic://elsewhere:9092"), second);
    assert_eq!(port(Node::Broker(1), "quic://elsewhere:9092"), first);
    let known = doors.known.lock().unwrap();
    let targets = |node| known.doors[&node].targets.lock().unwrap().clone();
    // What we were told stays behind what we have heard.
    let [heard, told] = &targets(Node::Broker(1))[..] else { panic!("there are two") };
    assert_eq!((heard.host.as_str(), told.host.as_str()), ("elsewhere", "edge"));
    assert_eq!(targets(Node::Broker(2)).len(), 1);
    stop.cancel();
}
