//! Folders that become a cluster's, and handshakes between them.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;

use super::*;
use crate::tls::cluster::server_name;
use crate::tls::credentials::{Credentials, Purpose};
use crate::tls::provider;

const ID: &str = "AAAAAAAAAAAAAAAAAAAA_w";
const OTHER: &str = "-BBBBBBBBBBBBBBBBBBBBg";

fn at(host: &str) -> Addresses {
    Addresses { listen: ("::".to_owned(), 9095), advertised: (host.to_owned(), 9095) }
}

/// The folder of a cluster's first broker.
fn begun(id: &str) -> (TempDir, ClusterIdentity) {
    let data = tempfile::tempdir().unwrap();
    let identity = init(data.path(), id, BrokerId(1), &at("one"), &Clock::start()).unwrap();
    (data, identity)
}

fn token(data: &TempDir, node: i32) -> JoinToken {
    let seeds = [("one".to_owned(), 9095)];
    JoinToken::make(&data.path().join(FOLDER), BrokerId(node), &seeds, &Clock::start()).unwrap()
}

fn joined(token: &JoinToken) -> (TempDir, ClusterIdentity) {
    let data = tempfile::tempdir().unwrap();
    let identity = join(data.path(), token, &at("two"), &Clock::start()).unwrap();
    (data, identity)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What the server knows of the client after a handshake in which the client asks for `name`.
fn shake(
    client: &ClusterIdentity,
    server: &ClusterIdentity,
    name: &str,
) -> Result<PeerIdentity, rustls::Error> {
    let mut roots = RootCertStore::empty();
    let believed = client.files.client_auth.authorities().unwrap();
    for authority in CertificateDer::pem_file_iter(believed).unwrap() {
        roots.add(authority.unwrap()).unwrap();
    }
    let own = CertificateDer::from_pem_file(&client.files.certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(&client.files.key).unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![own], key)
        .unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut dialling = ClientConnection::new(Arc::new(config), name).unwrap();
    let credentials = Credentials::open(server.files.clone(), Purpose::Tls).unwrap();
    let mut serving = ServerConnection::new(Arc::clone(&credentials.current().config)).unwrap();
    while dialling.is_handshaking() || serving.is_handshaking() {
        let mut sent = Vec::new();
        dialling.write_tls(&mut sent).unwrap();
        serving.read_tls(&mut sent.as_slice()).unwrap();
        serving.process_new_packets()?;
        let mut sent = Vec::new();
        serving.write_tls(&mut sent).unwrap();
        dialling.read_tls(&mut sent.as_slice()).unwrap();
        dialling.process_new_packets()?;
    }
    Ok(PeerIdentity::of(serving.peer_certificates().unwrap()).unwrap())
}

#[test]
fn brokers_of_one_cluster_know_each_other_by_number_and_nobody_else() {
    let (first, one) = begun(ID);
    let (_second, two) = joined(&token(&first, 2));
    for (client, server, number) in [(&one, &two, 1), (&two, &one, 2)] {
        let names = [server_name(Some(server.node)), server_name(None)];
        for name in names {
            let seen = shake(client, server, &name).unwrap();
            assert_eq!(node_of(&seen, ID), Ok(BrokerId(number)));
        }
        let wrong = shake(client, server, &server_name(Some(client.node))).unwrap_err();
        assert!(wrong.to_string().contains("not valid for name"), "{wrong}");
    }
    let (other, stranger) = begun(OTHER);
    let name = server_name(None);
    for (client, server) in [(&one, &stranger), (&stranger, &one)] {
        let refused = shake(client, server, &name).unwrap_err();
        assert!(matches!(refused, rustls::Error::InvalidCertificate(_)), "{refused}");
    }
    // Somebody has made both authorities believed: then it is the name that says it.
    let authority = fs::read_to_string(other.path().join("cluster/authority.pem")).unwrap();
    let believed = one.files.client_auth.authorities().unwrap();
    let both = fs::read_to_string(believed).unwrap() + &authority;
    fs::write(believed, &both).unwrap();
    fs::write(stranger.files.client_auth.authorities().unwrap(), &both).unwrap();
    let error = node_of(&shake(&stranger, &one, &name).unwrap(), ID).unwrap_err().to_string();
    assert_eq!(error, format!("node 1 belongs to cluster {OTHER}, and this is cluster {ID}"));
}

#[test]
fn what_was_written_is_read_and_is_for_its_owner() {
    let (first, one) = begun(ID);
    assert_eq!(one.cluster_id, ID);
    assert_eq!((one.node, one.addresses.clone(), one.seeds.len()), (BrokerId(1), at("one"), 0));
    let (second, two) = joined(&token(&first, 2));
    assert_eq!((two.node, &two.addresses), (BrokerId(2), &at("two")));
    assert_eq!(two.seeds, [("one".to_owned(), 9095)]);
    for (data, identity) in [(&first, &one), (&second, &two)] {
        assert_eq!(ClusterIdentity::read(data.path()).unwrap().as_ref(), Some(identity));
        let folder = data.path().join(FOLDER);
        assert_eq!((mode(&folder), mode(&folder.join(NODE))), (0o700, 0o600));
        assert!(!data.path().join(FRESH).exists());
    }
    assert_eq!(mode(&first.path().join("cluster/authority.key")), 0o600);
    assert!(!second.path().join("cluster/authority.key").exists());
    let alone = tempfile::tempdir().unwrap();
    assert_eq!(ClusterIdentity::read(alone.path()).unwrap(), None);
}

#[test]
fn the_authority_may_be_somewhere_else() {
    let (first, one) = begun(ID);
    let safe = tempfile::tempdir().unwrap();
    for name in [AUTHORITY_CERTIFICATE, AUTHORITY_KEY] {
        fs::rename(first.path().join(FOLDER).join(name), safe.path().join(name)).unwrap();
    }
    assert_eq!(ClusterIdentity::read(first.path()).unwrap(), Some(one.clone()));
    let seeds = [("one".to_owned(), 9095)];
    let clock = Clock::start();
    let error = JoinToken::make(&first.path().join(FOLDER), BrokerId(2), &seeds, &clock);
    assert!(error.unwrap_err().to_string().contains("authority.key: No such file"));
    let (_second, two) =
        joined(&JoinToken::make(safe.path(), BrokerId(2), &seeds, &clock).unwrap());
    shake(&two, &one, &server_name(Some(BrokerId(1)))).unwrap();
    // A listener's authority is none of a cluster.
    let made = ClusterAuthority::make("plant", &clock).unwrap();
    fs::write(safe.path().join(AUTHORITY_CERTIFICATE), made.certificate).unwrap();
    fs::write(safe.path().join(AUTHORITY_KEY), made.key).unwrap();
    let error = JoinToken::make(safe.path(), BrokerId(2), &seeds, &clock).unwrap_err();
    assert!(matches!(error, ClusterError::NoAuthority { .. }), "{error}");
    // A certificate beside another one's key issues what nobody believes.
    let other = ClusterAuthority::make(ID, &clock).unwrap();
    fs::write(safe.path().join(AUTHORITY_CERTIFICATE), other.certificate).unwrap();
    let error = JoinToken::make(safe.path(), BrokerId(2), &seeds, &clock).unwrap_err();
    assert!(matches!(error, ClusterError::Disbelieved { .. }), "{error}");
}

#[test]
fn a_folder_that_belongs_to_a_cluster_is_refused_by_name_and_left_as_it_is() {
    let (first, _) = begun(ID);
    let (second, two) = joined(&token(&first, 2));
    let (other, _) = begun(OTHER);
    let before = fs::read(&two.files.certificate).unwrap();
    let clock = Clock::start();
    let refused = [
        init(second.path(), ID, BrokerId(2), &at("two"), &clock),
        join(second.path(), &token(&first, 3), &at("two"), &clock),
        join(second.path(), &token(&other, 2), &at("two"), &clock),
    ];
    for outcome in refused {
        let error = outcome.unwrap_err().to_string();
        let named = format!("belongs to cluster {ID} as node 2 already");
        assert!(error.contains(&named), "{error}");
    }
    assert_eq!(fs::read(&two.files.certificate).unwrap(), before);
    // A broker that has run alone has data of a cluster of its own.
    let alone = tempfile::tempdir().unwrap();
    fs::write(alone.path().join(STORED), OTHER).unwrap();
    for outcome in [
        init(alone.path(), ID, BrokerId(2), &at("two"), &clock),
        join(alone.path(), &token(&first, 2), &at("two"), &clock),
    ] {
        let error = outcome.unwrap_err().to_string();
        let named = format!("what is stored there is of cluster {OTHER}, not of {ID}");
        assert!(error.contains(&named), "{error}");
    }
    assert!(!alone.path().join(FOLDER).exists());
    init(alone.path(), OTHER, BrokerId(2), &at("two"), &clock).unwrap();
}

#[test]
fn a_second_token_for_the_same_broker_renews_it_under_a_listener_that_goes_on() {
    let (first, one) = begun(ID);
    let (second, two) = joined(&token(&first, 2));
    let served = Credentials::open(two.files.clone(), Purpose::Quic).unwrap();
    let before = served.current().fingerprint;
    assert!(served.look().unwrap().is_none());
    let clock = Clock::start();
    let renewed = join(second.path(), &token(&first, 2), &at("elsewhere"), &clock).unwrap();
    assert_eq!(renewed, ClusterIdentity { addresses: at("elsewhere"), ..two.clone() });
    assert_ne!(served.look().unwrap().unwrap().fingerprint, before);
    shake(&one, &renewed, &server_name(Some(BrokerId(2)))).unwrap();
    let believed = renewed.files.client_auth.authorities().unwrap();
    assert_eq!(CertificateDer::pem_file_iter(believed).unwrap().count(), 1);
    // Another authority of the same cluster is believed beside the one before.
    let (anew, _) = begun(ID);
    join(second.path(), &token(&anew, 2), &at("two"), &clock).unwrap();
    assert_eq!(CertificateDer::pem_file_iter(believed).unwrap().count(), 2);
    served.look().unwrap().unwrap();
    // What was spoilt is made good by it.
    fs::write(&two.files.certificate, "spoilt").unwrap();
    ClusterIdentity::read(second.path()).unwrap_err();
    assert_eq!(join(second.path(), &token(&anew, 2), &at("two"), &clock).unwrap(), two);
    let mut left: Vec<_> = fs::read_dir(second.path().join(FOLDER)).unwrap().flatten().collect();
    left.sort_by_key(|entry| entry.file_name());
    let names: Vec<_> = left.iter().map(|entry| entry.file_name()).collect();
    assert_eq!(names, [AUTHORITIES, IDENTITY, NODE]);
    assert_eq!(mode(&two.files.key), 0o600);
}

#[test]
fn what_was_left_by_one_that_was_cut_off_is_in_nobodys_way() {
    let (first, _) = begun(ID);
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(data.path().join(FRESH)).unwrap();
    fs::write(data.path().join(FRESH).join(NODE), "half").unwrap();
    assert_eq!(ClusterIdentity::read(data.path()).unwrap(), None);
    let clock = Clock::start();
    {
        let _other = alone(data.path()).unwrap();
        let busy = join(data.path(), &token(&first, 2), &at("two"), &clock).unwrap_err();
        assert!(matches!(busy, ClusterError::Busy { .. }), "{busy}");
    }
    join(data.path(), &token(&first, 2), &at("two"), &clock).unwrap();
}

#[test]
fn what_cannot_be_is_not_written() {
    let data = tempfile::tempdir().unwrap();
    let clock = Clock::start();
    let odd = |host: &str, port| Addresses { advertised: (host.to_owned(), port), ..at("one") };
    for (id, node, addresses, expected) in [
        ("short", 1, at("one"), "\"short\" is not a cluster's id"),
        (ID, -1, at("one"), "0 or more, and not -1"),
        (ID, 1, odd("", 1), "\":1\" is not an address"),
        (ID, 1, odd("a", 0), "\"a:0\" is not an address"),
        (ID, 1, odd("a\nnode = 3", 1), "is not an address"),
    ] {
        let error = init(data.path(), id, BrokerId(node), &addresses, &clock).unwrap_err();
        assert!(error.to_string().contains(expected), "{expected} is not in {error}");
    }
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
    let (first, _) = begun(ID);
    let folder = first.path().join(FOLDER);
    for count in [0, SEEDS_MAX + 1] {
        let seeds = vec![("a".to_owned(), 1); count];
        let error = JoinToken::make(&folder, BrokerId(2), &seeds, &clock).unwrap_err();
        assert!(matches!(error, ClusterError::Seeds(_)), "{error}");
    }
}

#[test]
fn a_folder_that_is_not_as_it_was_written_is_named() {
    let (data, one) = begun(ID);
    let path = data.path().join(FOLDER).join(IDENTITY);
    let good = fs::read_to_string(&path).unwrap();
    let edited = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    for (text, expected) in [
        (edited("format = 1", "format = 2"), "format 2, which this version does not read"),
        (edited("format = 1\n", ""), "format is missing"),
        (edited("node = 1", "node = 01"), "node: \"01\" is not a broker's number"),
        (edited("node = 1", "node 1"), "line 4: not a name, =, and a value"),
        (edited("node = 1", "node = 1\nnode = 2"), "line 5: node for a second time"),
        (edited("node = 1", "nodes = 1"), "line 4: nothing is called nodes"),
        (edited(ID, "AAAA"), "cluster: \"AAAA\" is not a cluster's id"),
        (edited("[::]:9095", ":::9095"), "listen: \":::9095\" is not an address"),
        (edited("one:9095", "one"), "advertised: \"one\" is not an address"),
        (good.clone() + "seed = a", "line 7: \"a\" is not an address"),
        (good.clone() + &"seed = a:1\n".repeat(17), "line 23: too many seeds"),
        // The identity of one, and the certificate of another.
        (edited("node = 1", "node = 2"), "node.pem: the certificate of node 1, and this is node 2"),
        (edited(ID, OTHER), "node.pem: node 1 belongs to cluster"),
    ] {
        fs::write(&path, &text).unwrap();
        let error = ClusterIdentity::read(data.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected} is not in {error}");
    }
    // By hand, and right.
    let edited = edited("node = 1", "\n # moved\nnode=1") + "  seed = [::1]:1  \r\n";
    fs::write(&path, edited).unwrap();
    let seeds = vec![("::1".to_owned(), 1)];
    assert_eq!(ClusterIdentity::read(data.path()).unwrap(), Some(ClusterIdentity { seeds, ..one }));
    fs::remove_file(&path).unwrap();
    let error = ClusterIdentity::read(data.path()).unwrap_err().to_string();
    assert!(error.contains("identity: missing"), "{error}");
}
