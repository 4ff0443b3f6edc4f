//! Folders of clusters, tokens cut and mistyped, and who is believed.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::super::credentials::{self, Credentials};
use super::*;

const ID: &str = "8lVZCiW_S2i0o1GGZ5oNfA";

fn place(host: &str, port: u16) -> (HostPort, HostPort) {
    (("0.0.0.0".to_owned(), port), (host.to_owned(), port))
}

/// A cluster with its first broker, and a token for another.
fn cluster() -> (tempfile::TempDir, ClusterIdentity, JoinToken) {
    let data = tempfile::tempdir().unwrap();
    let clock = Clock::start();
    let first = found(data.path(), ID, BrokerId(1), place("one", 9192), &clock).unwrap();
    let seeds = vec![first.advertised.clone()];
    let token = JoinToken::make(data.path(), ID, BrokerId(2), seeds, &clock).unwrap();
    (data, first, token)
}

fn identity(files: &TlsFiles) -> PeerIdentity {
    let certificate = CertificateDer::from_pem_file(&files.certificate).unwrap();
    PeerIdentity::of(&[certificate]).unwrap()
}

#[test]
fn a_broker_joins_with_one_token() {
    let (data, first, token) = cluster();
    assert_eq!(read(data.path()).unwrap(), Some(first.clone()));
    let other = tempfile::tempdir().unwrap();
    assert_eq!(read(other.path()).unwrap(), None);
    let told: JoinToken = token.to_string().parse().unwrap();
    assert_eq!(told, token);
    let second = join(other.path(), &told, place("two", 9193)).unwrap();
    assert_eq!(read(other.path()).unwrap(), Some(second.clone()));
    assert_eq!(
        (second.node, second.seeds.as_slice()),
        (BrokerId(2), &[("one".to_owned(), 9192)][..])
    );
    for (identity_of, files) in [(BrokerId(1), &first.files), (BrokerId(2), &second.files)] {
        assert_eq!(node_of(&identity(files), ID), Ok(identity_of));
        for purpose in [credentials::Purpose::Tls, credentials::Purpose::Quic] {
            assert!(Credentials::open(files.clone(), purpose).unwrap().asks_clients());
        }
    }
    assert!(node_of(&identity(&first.files), "AAAAAAAAAAAAAAAAAAAAAA").is_err());
}

#[test]
fn a_folder_belongs_to_one_cluster_as_one_broker() {
    let (data, first, token) = cluster();
    let clock = Clock::start();
    let again = found(data.path(), ID, BrokerId(1), place("one", 9192), &clock);
    assert!(matches!(again, Err(ClusterError::Already { node: BrokerId(1), .. })));
    let as_another = join(data.path(), &token, place("one", 9192));
    assert!(matches!(as_another, Err(ClusterError::Already { node: BrokerId(1), .. })));
    // The same broker gets another certificate, and stays where it was.
    let before = identity(&first.files).fingerprint;
    let renewed = JoinToken::make(data.path(), ID, BrokerId(1), Vec::new(), &clock).unwrap();
    assert_eq!(join(data.path(), &renewed, place("elsewhere", 1)).unwrap(), first);
    assert_ne!(identity(&first.files).fingerprint, before);
    let other = tempfile::tempdir().unwrap();
    join(other.path(), &token, place("two", 9193)).unwrap();
    let made = JoinToken::make(other.path(), ID, BrokerId(3), Vec::new(), &clock);
    assert!(matches!(made, Err(ClusterError::NoAuthority { .. })));
}

#[test]
fn a_token_that_is_cut_or_mistyped_anywhere_is_none() {
    let (_data, _, token) = cluster();
    let text = token.to_string();
    for end in (0..text.len()).step_by(7) {
        assert!(text[..end].parse::<JoinToken>().is_err(), "cut at {end}");
    }
    for at in (0..text.len()).step_by(11) {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let mistyped = String::from_utf8(bytes).unwrap();
        assert!(mistyped.parse::<JoinToken>().is_err(), "mistyped at {at}");
    }
    assert_eq!("hello".parse::<JoinToken>(), Err(TokenError::NotOne));
    assert!(!format!("{token:?}").contains("PRIVATE"));
}

#[test]
fn what_says_who_a_broker_is_is_read_line_by_line() {
    let read = |text: &str| {
        parse(text, Path::new("folder")).map_err(|(line, problem)| format!("{line}: {problem}"))
    };
    let whole = "cluster a\nnode 3\nlisten [::]:9192\nadvertised here:1\nseed [fe80::1]:2\n";
    let parsed = read(whole).unwrap();
    assert_eq!(parsed.to_string(), whole);
    let table = [
        ("", "1: cluster is missing"),
        ("cluster a\nnode -3\n", "2: is no broker's number"),
        ("cluster a\nnode 3\nlisten here\n", "3: is no HOST:PORT"),
        ("cluster a\nnode 3\nlisten ::1:9192\n", "3: is no HOST:PORT"),
        ("cluster a\nnode 3\nlisten a:1\n", "4: advertised is missing"),
        ("cluster a\ncolour red\n", "2: means nothing"),
        ("cluster\n", "1: has no value"),
    ];
    for (text, problem) in table {
        assert_eq!(read(text), Err(problem.to_owned()), "{text:?}");
    }
}
