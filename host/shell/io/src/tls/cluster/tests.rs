//! What certificates of brokers say, and how addresses are written.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use super::*;

const ID: &str = "AAAAAAAAAAAAAAAAAAAA_w";
const OTHER: &str = "-BBBBBBBBBBBBBBBBBBBBg";

fn shown(subject: &str) -> PeerIdentity {
    PeerIdentity { subject: subject.to_owned(), fingerprint: crate::tls::Fingerprint::of(b"") }
}

#[test]
fn a_certificate_is_a_brokers_of_this_cluster_or_it_is_said_whose_else() {
    let no_node = |subject: &str| Err(NodeError::NoNode { subject: subject.to_owned() });
    let foreign = |node| {
        let (theirs, ours) = (OTHER.to_owned(), ID.to_owned());
        Err(NodeError::Foreign { node: BrokerId(node), theirs, ours })
    };
    let of = |name: &str, id: &str| format!("CN={name},O=brooklet cluster {id}");
    let good = [(of("node-0", ID), 0), (of("node-2147483647", ID), i32::MAX)];
    for (subject, number) in good {
        assert_eq!(node_of(&shown(&subject), ID), Ok(BrokerId(number)), "{subject}");
    }
    for number in [0, 7] {
        let subject = of(&format!("node-{number}"), OTHER);
        assert_eq!(node_of(&shown(&subject), ID), foreign(number), "{subject}");
    }
    let bad = [
        String::new(),
        format!("CN=brooklet cluster {ID}"),
        "CN=node-1".to_owned(),
        of("node-", ID),
        of("node--1", ID),
        of("node-+1", ID),
        of("node-01", ID),
        of("node-2147483648", ID),
        of("node-1", "short"),
        format!("{},C=DE", of("node-1", ID)),
        format!("C=DE,{}", of("node-1", ID)),
        format!("CN=node-1,O={ID}"),
        // A client that has taken all of it for its name.
        format!("CN=node-1\\,O\\=brooklet cluster {ID}"),
    ];
    for subject in bad {
        assert_eq!(node_of(&shown(&subject), ID), no_node(&subject), "{subject}");
    }
}

#[test]
fn a_name_that_only_looks_like_a_brokers_is_none() {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, format!("node-1,O=brooklet cluster {ID}"));
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = name;
    let made = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let identity = PeerIdentity::of(&[made.der().clone()]).unwrap();
    assert!(matches!(node_of(&identity, ID), Err(NodeError::NoNode { .. })), "{identity:?}");
}

#[test]
fn an_address_is_read_as_it_is_written() {
    for (text, host, port) in [
        ("a:1", "a", 1),
        ("10.0.0.1:9095", "10.0.0.1", 9095),
        ("[::1]:9095", "::1", 9095),
        ("[fe80::1%eth0]:65535", "fe80::1%eth0", 65535),
    ] {
        let expected = (host.to_owned(), port);
        assert_eq!(address(text).as_ref(), Ok(&expected), "{text}");
        assert_eq!(written(&expected), text);
    }
    let long = format!("{}:1", "a".repeat(HOST_MAX + 1));
    for text in [
        "", "a", ":1", "a:", "a:0", "a:65536", "a:-1", "::1", "::1:9095", "[]:1", "a b:1", "a\n:1",
        &long,
    ] {
        assert_eq!(address(text), Err(AddressError(text.to_owned())));
    }
}

#[test]
fn brokers_are_called_by_their_number_and_by_one_name_for_all() {
    assert_eq!(server_name(Some(BrokerId(3))), "node-3.brooklet.internal");
    assert_eq!(server_name(None), "brooklet.internal");
}
