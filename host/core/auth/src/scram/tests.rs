//! The RFCs' own exchanges, everything that can be wrong with one, and bytes that mean nothing.

use proptest::prelude::*;

use super::message::{ClientFinal, ClientFirst, ServerFinal, ServerFirst, escaped};
use super::*;
use crate::mechanism::{Rejection, Secret};

pub(crate) const SECRET: [u8; 32] = [7; 32];

thread_local! {
    /// How often this thread has computed a keyed hash.
    static WORK: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Notes so many hashes.
pub(super) fn note(count: NonZeroU32) {
    WORK.with(|work| work.set(work.get() + u64::from(count.get())));
}

/// How many this thread has computed.
pub(crate) fn work() -> u64 {
    WORK.with(std::cell::Cell::get)
}

/// What is kept of `password`, hashed as little as is allowed.
pub(crate) fn credential(hash: ScramHash, password: &str) -> ScramCredential {
    let iterations = NonZeroU32::new(ITERATIONS).unwrap();
    super::credential(hash, password, b"a salt of twenty-four b.".to_vec(), iterations)
}

struct Vector {
    hash: ScramHash,
    client_nonce: &'static str,
    server_nonce: &'static str,
    salt: &'static str,
    messages: [&'static str; 4],
}

/// RFC 7677 §3, and the same exchange with the other hash as other implementations have it in their tests.
const VECTORS: [Vector; 2] = [
    Vector {
        hash: ScramHash::Sha256,
        client_nonce: "rOprNGfwEbeRWgbNEkqO",
        server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
        messages: [
            "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ],
    },
    Vector {
        hash: ScramHash::Sha512,
        client_nonce: "rOprNGfwEbeRWgbNEkqO",
        server_nonce: "02431b08-2f89-4bad-a4e6-80c0564ec865",
        salt: "Yin2FuHTt/M0kJWb0t9OI32n2VmOGi3m+JfjOvuDF88=",
        messages: [
            "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO02431b08-2f89-4bad-a4e6-80c0564ec865,\
             s=Yin2FuHTt/M0kJWb0t9OI32n2VmOGi3m+JfjOvuDF88=,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO02431b08-2f89-4bad-a4e6-80c0564ec865,\
             p=Hc5yec3NmCD7t+kFRw4/3yD6/F3SQHc7AVYschRja+Bc3sbdjlA0eH1OjJc0DD4ghn1tnXN5/Wr6qm9xmaHt4A==",
            "v=BQuhnKHqYDwQWS5jAw4sZed+C9KFUALsbrq81bB0mh+bcUUbbMPNNmBIupnS2AmyyDnG5CTBQtkjJ9kyY4kzmw==",
        ],
    },
];

impl Vector {
    fn credential(&self) -> ScramCredential {
        let salt = STANDARD.decode(self.salt).unwrap();
        super::credential(self.hash, "pencil", salt, NonZeroU32::new(4096).unwrap())
    }

    /// Says `first` to the server.
    fn challenge(&self, first: &str) -> Result<(Challenged, Vec<u8>), Rejection> {
        let credential = self.credential();
        let find =
            |user: &str, hash| (user == "user" && hash == self.hash).then(|| credential.clone());
        challenge(
            &Users::new(&find, &SECRET, ITERATIONS),
            self.hash,
            self.server_nonce,
            first.as_bytes(),
        )
    }
}

#[test]
fn the_exchanges_of_the_standards() {
    for vector in VECTORS {
        let [first, challenge, last, signature] = vector.messages;
        let (challenged, said) = vector.challenge(first).unwrap();
        assert_eq!(String::from_utf8(said).unwrap(), challenge);
        let (user, said) = challenged.verify(last.as_bytes()).unwrap();
        assert_eq!((user.as_str(), String::from_utf8(said).unwrap().as_str()), ("user", signature));

        let nonce = vector.client_nonce.to_owned();
        let password = Secret::new("pencil");
        let (mut client, said) = ScramClient::with_nonce(vector.hash, "user", password, nonce);
        assert_eq!(String::from_utf8(said).unwrap(), first);
        let said = client.step(challenge.as_bytes()).unwrap().unwrap();
        assert_eq!(String::from_utf8(said).unwrap(), last);
        assert_eq!(client.step(signature.as_bytes()), Ok(None));
        assert_eq!(client.step(signature.as_bytes()), Err(ScramClientError::Over));
    }
}

#[test]
fn a_hashed_password_makes_the_same_credential() {
    for hash in ScramHash::ALL {
        let (salt, iterations) = (vec![3; 5], NonZeroU32::new(4097).unwrap());
        let salted = salted_password(hash, "pencil", &salt, iterations);
        let of_hashed = credential_of(hash, &salted, salt.clone(), 4097);
        assert_eq!(of_hashed, super::credential(hash, "pencil", salt, iterations));
        assert!(is_password(hash, &of_hashed, "pencil"));
        assert!(!is_password(hash, &of_hashed, "Pencil"));
    }
}

/// The rest of the RFC's exchange with something changed in the client's final message.
#[test]
fn a_final_message_with_anything_changed_proves_nothing() {
    let vector = &VECTORS[0];
    let last = vector.messages[2];
    let other_nonce = last.replace("k0,", "k1,");
    let other_header = last.replace("c=biws", "c=eSws");
    let short = last.replace("AndVQ=", "A");
    let wrong = last.replace("p=d", "p=e");
    let extended = last.replace(",p=", ",x=y,p=");
    for (changed, reason) in [
        (other_nonce.as_str(), "the nonce is not that of this exchange"),
        (&other_header, "the channel binding does not repeat the first message's"),
        (&short, "the client's final message is not one of SCRAM"),
        (&wrong, "there is no such user, or the password is another"),
        (&extended, "there is no such user, or the password is another"),
        ("c=biws,r=x", "the client's final message is not one of SCRAM"),
        ("", "the client's final message is not one of SCRAM"),
    ] {
        let (challenged, _) = vector.challenge(vector.messages[0]).unwrap();
        let refused = challenged.verify(changed.as_bytes()).unwrap_err();
        assert_eq!(refused, Rejection::Kept(reason), "{changed}");
    }
    let whole = STANDARD.encode([0; 16]);
    let proof_of_another_length = format!("{},p={whole}", last.rsplit_once(",p=").unwrap().0);
    let (challenged, _) = vector.challenge(vector.messages[0]).unwrap();
    let refused = challenged.verify(proof_of_another_length.as_bytes()).unwrap_err();
    assert_eq!(refused, Rejection::Kept("the proof is not as long as the hash"));
}

#[test]
fn what_was_proved_in_one_exchange_proves_nothing_in_another() {
    let vector = Vector { server_nonce: "another", ..VECTORS[0] };
    let (challenged, _) = vector.challenge(vector.messages[0]).unwrap();
    let replayed = challenged.verify(vector.messages[2].as_bytes()).unwrap_err();
    assert_eq!(replayed, Rejection::Kept("the nonce is not that of this exchange"));
}

#[test]
fn who_is_not_there_is_challenged_like_everybody_and_always_the_same_way() {
    let nobody = |name: &str| {
        let find = |_: &str, _| None;
        let first = format!("n,,n={name},r=abc");
        let users = Users::new(&find, &SECRET, 5000);
        challenge(&users, ScramHash::Sha256, "def", first.as_bytes()).unwrap()
    };
    let (challenged, said) = nobody("eve");
    assert_eq!(nobody("eve").1, said);
    assert_ne!(nobody("bob").1, said);
    let message = ServerFirst::read(&said).unwrap();
    assert_eq!((message.salt.len(), message.iterations), (SALT_BYTES, 5000));

    // Also who guesses what was made up is nobody.
    let key = [9; 32];
    let mut challenged = challenged;
    challenged.forge(stored_key(ScramHash::Sha256, &key));
    let without = "c=biws,r=abcdef";
    let all = format!("n=eve,r=abc,{},{without}", String::from_utf8(said).unwrap());
    let stored = stored_key(ScramHash::Sha256, &key);
    let proof = xor(&key, mac(ScramHash::Sha256, &stored, all.as_bytes()).as_ref());
    let last = format!("{without},p={}", STANDARD.encode(proof));
    let refused = challenged.verify(last.as_bytes()).unwrap_err();
    assert_eq!(refused, Rejection::Kept("there is no such user, or the password is another"));
}

/// What takes the time is hashing: what is counted is how often.
#[test]
fn a_wrong_proof_costs_the_same_whoever_is_claimed() {
    for hash in ScramHash::ALL {
        let kept = super::credential(hash, "pencil", vec![3; 9], NonZeroU32::new(9000).unwrap());
        let find = |user: &str, _| (user == "ada").then(|| kept.clone());
        let users = Users::new(&find, &SECRET, 9000);
        let spent = |user: &str| {
            let before = work();
            let first = format!("n,,n={user},r=abc");
            let (challenged, said) = challenge(&users, hash, "def", first.as_bytes()).unwrap();
            assert_eq!(ServerFirst::read(&said).unwrap().iterations, 9000, "{user}");
            let proof = STANDARD.encode(vec![1; hash.bytes()]);
            let last = format!("c=biws,r=abcdef,p={proof}");
            challenged.verify(last.as_bytes()).unwrap_err();
            work() - before
        };
        let expected = spent("ada");
        assert!((1..100).contains(&expected), "a few, and no password: {expected}");
        assert_eq!(spent("eve"), expected);
        assert_eq!(spent("somebody else"), expected);
    }
}

#[test]
fn another_identity_and_tokens_are_refused() {
    let vector = &VECTORS[0];
    let told = vector.challenge("n,a=root,n=user,r=abc").unwrap_err();
    assert!(matches!(told, Rejection::Told(text) if text.contains("different from username")));
    assert!(vector.challenge("n,a=user,n=user,r=abc").is_ok());
    let nonce = vector.client_nonce;
    let (challenged, _) = vector.challenge(&format!("n,,n=user,r={nonce},tokenauth=true")).unwrap();
    assert!(challenged.verify(vector.messages[2].as_bytes()).is_err());
}

#[test]
#[rustfmt::skip] // A table is read by columns.
fn first_messages() {
    type Case = (&'static str, Option<(&'static str, &'static str, &'static str)>);
    let table: &[Case] = &[
        ("n,,n=ada,r=abc",              Some(("", "ada", "abc"))),
        ("n,a=bob,n=ada,r=abc",         Some(("bob", "ada", "abc"))),
        ("n,,n=a=2Cb=3Dc,r=abc",        Some(("", "a,b=c", "abc"))),
        ("n,,n=ada,r=abc,x=y,zz=1=2",   Some(("", "ada", "abc"))),
        ("n,,n=ada,r=,",                None),
        ("n,,n=ada,r=a b",              None),
        ("n,,n=ada",                    None),
        ("n,,n=,r=abc",                 None),
        ("n,,n=a=b,r=abc",              None),
        ("n,,n=a=2,r=abc",              None),
        ("n,,n=é,r=abc",                None),
        ("n,,n=a\0,r=abc",              None),
        ("n,,m=x,n=ada,r=abc",          None),
        ("n,,n=ada,r=abc,m=x",          None),
        ("n,,n=ada,r=abc,1=x",          None),
        ("n,,n=ada,r=abc,x",            None),
        ("n,bob,n=ada,r=abc",           None),
        ("y,,n=ada,r=abc",              None),
        ("p=tls-unique,,n=ada,r=abc",   None),
        ("n=ada,r=abc",                 None),
        ("",                            None),
    ];
    for (text, expected) in table {
        let read = ClientFirst::read(text.as_bytes()).ok();
        let read = read.as_ref().map(|it| (it.authorization_id.as_str(), it.user.as_str(), it.nonce));
        assert_eq!(read, *expected, "{text:?}");
    }
}

#[test]
fn a_server_that_is_not_to_be_believed() {
    let begin = || {
        let (hash, nonce) = (ScramHash::Sha256, "abc".to_owned());
        ScramClient::with_nonce(hash, "ada", Secret::new("pencil"), nonce).0
    };
    use ScramClientError::{Impostor, Iterations, Malformed, Nonce, Refused};
    for (challenge, error) in [
        ("r=abd1,s=c2FsdA==,i=4096", Nonce),
        ("r=abc,s=c2FsdA==,i=4096", Nonce),
        ("r=abc1,s=c2FsdA==,i=4095", Iterations { asked: 4095 }),
        ("r=abc1,s=c2FsdA==,i=0", Iterations { asked: 0 }),
        ("r=abc1,s=c2FsdA==,i=1000001", Iterations { asked: 1_000_001 }),
        ("r=abc1,s=c2FsdA==,i=99999999999", Malformed),
        ("r=abc1,s=c2FsdA==,i=+4096", Malformed),
        ("r=abc1,s=c2Fsd,i=4096", Malformed),
        ("", Malformed),
    ] {
        assert_eq!(begin().step(challenge.as_bytes()), Err(error), "{challenge}");
    }
    let proved = |last: &str| {
        let mut client = begin();
        client.step(b"r=abc1,s=c2FsdA==,i=4096").unwrap();
        client.step(last.as_bytes())
    };
    assert_eq!(proved("e=invalid-proof"), Err(Refused("invalid-proof".to_owned())));
    assert_eq!(proved("v=AAAA"), Err(Impostor));
    assert_eq!(proved("v="), Err(Impostor));
    assert_eq!(proved("v=A"), Err(Malformed));
    assert_eq!(proved("x"), Err(Malformed));
}

/// Everything a reader can be given.
fn read_everything(bytes: &[u8]) {
    let _ = ClientFirst::read(bytes);
    let _ = ClientFinal::read(bytes);
    let _ = ServerFirst::read(bytes);
    let _ = ServerFinal::read(bytes);
}

proptest! {
    #[test]
    fn bytes_that_mean_nothing_are_read_to_their_end(bytes: Vec<u8>) {
        read_everything(&bytes);
    }

    #[test]
    fn messages_with_a_flaw_are_read_to_their_end(
        vector in 0..2usize,
        message in 0..4usize,
        place: prop::sample::Index,
        flaw: u8,
        cut: bool,
    ) {
        let mut bytes = VECTORS[vector].messages[message].as_bytes().to_vec();
        let place = place.index(bytes.len());
        bytes[place] = flaw;
        bytes.truncate(if cut { place } else { bytes.len() });
        read_everything(&bytes);
    }

    #[test]
    fn a_name_comes_through_whatever_it_is(name in "[ -~]{1,12}") {
        let message = format!("n,,n={},r=abc", escaped(&name));
        prop_assert_eq!(ClientFirst::read(message.as_bytes()).unwrap().user, name);
    }

    #[test]
    fn a_client_and_a_server_agree_on_the_password_alone(
        known in "[a-c]{1,2}",
        guessed in "[a-c]{1,2}",
        random: [u8; NONCE_BYTES],
        sha512: bool,
    ) {
        let hash = if sha512 { ScramHash::Sha512 } else { ScramHash::Sha256 };
        let kept = credential(hash, &known);
        let find = |_: &str, _| Some(kept.clone());
        let (mut client, first) = ScramClient::new(hash, "ada", Secret::new(guessed.clone()), random);
        let users = Users::new(&find, &SECRET, ITERATIONS);
        let (challenged, said) = challenge(&users, hash, "server", &first).unwrap();
        let last = client.step(&said).unwrap().unwrap();
        match challenged.verify(&last) {
            Ok((user, signature)) => {
                prop_assert_eq!(known, guessed);
                prop_assert_eq!(user, "ada");
                prop_assert_eq!(client.step(&signature), Ok(None));
            }
            Err(_) => prop_assert_ne!(known, guessed),
        }
    }
}
