//! Files, good and bad, and files that change under a listener.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::Clock;
use crate::tls::issue::{self, Authority, Eyes, Issued, Subject};

const CUT_OFF: &str = "-----BEGIN CERTIFICATE-----\nMIIB";
const NONSENSE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const LOCKED: &str =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";

fn subject(name: &str, purpose: issue::Purpose) -> Subject {
    Subject {
        name: name.to_owned(),
        organization: None,
        hosts: vec!["localhost".to_owned()],
        days: 30,
        purpose,
    }
}

fn made(name: &str) -> Issued {
    issue::self_signed(&subject(name, issue::Purpose::Server), &Clock::start()).unwrap()
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
}

fn files(folder: &TempDir) -> TlsFiles {
    let path = |name| folder.path().join(name);
    let client_auth = ClientAuth::Required(path("ca.pem"));
    TlsFiles { certificate: path("own.pem"), key: path("own.key"), client_auth }
}

/// A listener's files that are good.
fn good(folder: &TempDir) -> TlsFiles {
    let files = files(folder);
    let own = made("own");
    write(&files.certificate, &own.certificate);
    write(&files.key, &own.key);
    let authority = subject("authority", issue::Purpose::Authority);
    let authority = issue::self_signed(&authority, &Clock::start()).unwrap();
    write(files.client_auth.authorities().unwrap(), authority.certificate);
    files
}

#[test]
fn a_bad_file_is_named_with_what_is_wrong() {
    type Spoil = fn(&TlsFiles);
    let table: [(Spoil, &str); 10] = [
        (|it| fs::remove_file(&it.certificate).unwrap(), "own.pem: No such file"),
        (|it| write(&it.certificate, ""), "own.pem: there is no certificate in it"),
        (|it| write(&it.certificate, CUT_OFF), "own.pem: not in PEM: "),
        (|it| write(&it.certificate, NONSENSE), "own.pem: certificate 1: "),
        (|it| write(&it.certificate, vec![b'x'; 2 << 20]), "own.pem: longer than 1048576 bytes"),
        (|it| fs::remove_file(&it.key).unwrap(), "own.key: No such file"),
        (
            |it| write(&it.key, LOCKED),
            "own.key: there is no private key in it that is without a password",
        ),
        (|it| write(&it.key, made("other").key), "own.key is not the key of "),
        (
            |it| fs::remove_file(it.client_auth.authorities().unwrap()).unwrap(),
            "ca.pem: No such file",
        ),
        (
            |it| write(it.client_auth.authorities().unwrap(), ""),
            "ca.pem: there is no certificate in it",
        ),
    ];
    for (spoil, expected) in table {
        let folder = tempfile::tempdir().unwrap();
        let files = good(&folder);
        Credentials::open(files.clone(), Purpose::Tls).unwrap();
        spoil(&files);
        let error = Credentials::open(files, Purpose::Tls).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected} is not in {error}");
    }
}

#[test]
fn files_that_change_are_exchanged_as_a_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let files = good(&folder);
    let credentials = Credentials::open(files.clone(), Purpose::Quic).unwrap();
    let first = credentials.current().fingerprint;
    assert!(matches!(credentials.look(), Ok(None)));
    // Half of a renewal: the certificate is there, its key is not yet.
    let next = made("next");
    write(&files.certificate, &next.certificate);
    let error = credentials.look().unwrap_err();
    assert!(matches!(error, TlsError::KeyMismatch { .. }), "{error}");
    assert_eq!(credentials.current().fingerprint, first);
    write(&files.key, &next.key);
    assert!(matches!(credentials.look(), Ok(Some(_))));
    assert_eq!(credentials.current().fingerprint, next.fingerprint);
    assert_ne!(first, next.fingerprint);
    assert!(matches!(credentials.look(), Ok(None)));
}

#[test]
fn the_first_certificate_of_a_chain_to_expire_counts() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::start();
    let authority = Subject { days: 3, ..subject("authority", issue::Purpose::Authority) };
    let authority = issue::self_signed(&authority, &clock).unwrap();
    let (pem, key) = (folder.path().join("a.pem"), folder.path().join("a.key"));
    write(&pem, &authority.certificate);
    issue::write_new(&key, authority.key.as_bytes(), Eyes::Owner).unwrap();
    let issuer = Authority::read(&pem, &key).unwrap();
    let own = issuer.issue(&subject("own", issue::Purpose::Server), &clock).unwrap();
    let files = TlsFiles { client_auth: ClientAuth::None, ..files(&folder) };
    write(&files.certificate, own.certificate + &authority.certificate);
    write(&files.key, &own.key);
    let left = Credentials::open(files, Purpose::Tls).unwrap().current().expires
        - clock.timestamp().0 / 1000;
    assert!((3 * 86_400 - 60..=3 * 86_400).contains(&left), "{left} seconds");
}

#[test]
fn a_certificate_is_made_once_and_its_key_is_its_owners() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let tls = folder.path().join("data/tls");
    // What a start that was cut off has left behind.
    fs::create_dir_all(&tls).unwrap();
    write(&tls.join("self-made.key"), "half a key");
    let files = issue::self_made(&tls, &Clock::start()).unwrap();
    let mode = fs::metadata(&files.key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let made = Credentials::open(files, Purpose::Quic).unwrap().current().fingerprint;
    let again = issue::self_made(&tls, &Clock::start()).unwrap();
    assert_eq!(issue::fingerprint(&again.certificate).unwrap(), made);
    assert_eq!(Credentials::open(again, Purpose::Quic).unwrap().current().fingerprint, made);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_once_and_healing_too() {
    let folder = tempfile::tempdir().unwrap();
    let files = good(&folder);
    let credentials = Credentials::open(files.clone(), Purpose::Tls).unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let follow = credentials.clone().follow(stop.clone(), move |seen| {
        let seen = seen.map(|current| current.fingerprint).map_err(str::to_owned);
        tell.send(seen).unwrap();
    });
    let following = tokio::spawn(follow);
    write(&files.key, "");
    assert!(told.recv().await.unwrap().unwrap_err().contains("no private key"));
    for _ in 0..5 {
        tokio::time::advance(follow::LOOK_INTERVAL).await;
    }
    let next = made("next");
    write(&files.certificate, &next.certificate);
    write(&files.key, &next.key);
    let seen = told.recv().await.unwrap();
    assert_eq!(seen, Ok(next.fingerprint), "the failure was told again, or half a change");
    stop.cancel();
    following.await.unwrap();
}
