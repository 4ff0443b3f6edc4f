//! Tokens that are whole, and texts that are not.

use std::sync::OnceLock;

use brooklet_types::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::tls::cluster::{Addresses, FOLDER, init};

const ID: &str = "AAAAAAAAAAAAAAAAAAAA_w";

fn made() -> &'static JoinToken {
    static MADE: OnceLock<JoinToken> = OnceLock::new();
    MADE.get_or_init(|| {
        let data = tempfile::tempdir().unwrap();
        let clock = Clock::start();
        let own = ("10.0.0.1".to_owned(), 9095);
        let addresses = Addresses { listen: own.clone(), advertised: own.clone() };
        init(data.path(), ID, BrokerId(1), &addresses, &clock).unwrap();
        let seeds = [own, ("fe80::1".to_owned(), 1)];
        JoinToken::make(&data.path().join(FOLDER), BrokerId(2), &seeds, &clock).unwrap()
    })
}

/// A text with these bytes in it, and the checksum that goes with them.
fn summed(bytes: &[u8]) -> String {
    let all = [bytes, &sum(bytes)].concat();
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(all))
}

/// The bytes in a token, without their checksum.
fn bytes(token: &JoinToken) -> Vec<u8> {
    let text = token.to_text();
    let mut bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX).unwrap()).unwrap();
    bytes.truncate(bytes.len() - SUM_BYTES);
    bytes
}

fn changed(change: impl FnOnce(&mut JoinToken)) -> Result<JoinToken, TokenError> {
    let mut token = made().clone();
    change(&mut token);
    token.to_text().parse()
}

#[test]
fn a_token_is_read_as_it_was_written_however_a_terminal_has_broken_it() {
    let token = made();
    let text = token.to_text();
    assert!(text.len() < 2500, "{} characters to copy", text.len());
    assert_eq!(text.parse().as_ref(), Ok(token));
    let (left, right) = text.split_at(80);
    assert_eq!(format!("  {left}\r\n{right}\n").parse().as_ref(), Ok(token));
    assert_eq!((token.cluster_id(), token.node()), (ID, BrokerId(2)));
    assert_eq!(token.seeds(), [("10.0.0.1".to_owned(), 9095), ("fe80::1".to_owned(), 1)]);
}

#[test]
fn the_longest_token_there_may_be_is_read() {
    let long = (0..SEEDS_MAX).map(|_| ("a".repeat(253), 65535)).collect::<Vec<_>>();
    let token = changed(|it| {
        it.seeds.clone_from(&long);
        it.authority = vec![7; PART_MAX].into();
        it.key = vec![7; PART_MAX];
    });
    assert_eq!(token.map(|token| token.seeds), Ok(long));
    // As long as the certificate that has to be one could be.
    let all = PREFIX.len() + (2 * 22 + 4 + 1 + SEEDS_MAX * 257 + 3 * (PART_MAX + 2)) * 4 / 3;
    assert!(all < LENGTH_MAX);
}

#[test]
fn a_secret_is_not_printed() {
    let shown = format!("{:?}", made());
    assert!(shown.starts_with("JoinToken { cluster_id"), "{shown}");
    assert!(!shown.contains("key"), "{shown}");
}

#[test]
fn what_is_no_token_is_told_from_one_that_is_not_whole() {
    let text = made().to_text();
    let cut = &text[..text.len() - 1];
    let mistyped = text.replacen('A', "B", 1);
    let long = text.clone() + &"A".repeat(LENGTH_MAX);
    for (text, expected) in [
        ("", TokenError::NoToken),
        ("hello", TokenError::NoToken),
        ("brooklet-join", TokenError::NoToken),
        ("brooklet-join-", TokenError::NotWhole),
        (PREFIX, TokenError::NotWhole),
        ("brooklet-join-1.AAAA", TokenError::NotWhole),
        ("brooklet-join-1.?", TokenError::NotWhole),
        ("brooklet-join-2.AAAA", TokenError::Version),
        ("brooklet-join-10.AAAA", TokenError::Version),
        (cut, TokenError::NotWhole),
        (&mistyped, TokenError::NotWhole),
        (&long, TokenError::TooLong),
    ] {
        assert_eq!(text.parse::<JoinToken>(), Err(expected), "{text}");
    }
}

#[test]
fn what_is_whole_is_believed_no_further_than_it_makes_sense() {
    let nonsense = |text| Err(TokenError::Nonsense(text));
    let seed = |host: &str, port| vec![(host.to_owned(), port)];
    let far = "a part is too long";
    let host = "a broker's address is none";
    let count = "it names too few or too many brokers";
    let number = "the broker's number is none";
    let cluster = "the cluster's id is none";
    let none = "there is no certificate in it";
    for (actual, expected) in [
        (changed(|it| it.cluster_id.push('A')), nonsense(far)),
        (changed(|it| it.cluster_id = "AAAAAAAAAAAAAAAAAAAA w".to_owned()), nonsense(cluster)),
        (changed(|it| it.node = BrokerId(-1)), nonsense(number)),
        (changed(|it| it.node = BrokerId(3)), nonsense("the certificate is another broker's")),
        (changed(|it| it.seeds.clear()), nonsense(count)),
        (changed(|it| it.seeds = vec![("a".to_owned(), 1); 17]), nonsense(count)),
        (changed(|it| it.seeds = seed("", 1)), nonsense(host)),
        (changed(|it| it.seeds = seed("a", 0)), nonsense(host)),
        (changed(|it| it.seeds = seed("a\nseed = b", 1)), nonsense(host)),
        (changed(|it| it.seeds = seed(&"a".repeat(254), 1)), nonsense(far)),
        (changed(|it| it.certificate = vec![7; 20].into()), nonsense(none)),
        (changed(|it| it.key = vec![7; PART_MAX + 1]), nonsense(far)),
        (summed(&[]).parse(), nonsense("it ends too early")),
        (
            summed(&[bytes(made()), vec![0]].concat()).parse(),
            nonsense("there is more behind its end"),
        ),
    ] {
        assert_eq!(actual, expected);
    }
    let foreign = changed(|it| it.cluster_id = "-BBBBBBBBBBBBBBBBBBBBg".to_owned());
    assert!(matches!(foreign, Err(TokenError::Node(NodeError::Foreign { .. }))), "{foreign:?}");
    // Whoever was given a certificate of the authority, and not this one.
    let authority = changed(|it| it.certificate = it.authority.clone());
    assert!(matches!(authority, Err(TokenError::Node(NodeError::NoNode { .. }))), "{authority:?}");
}

#[test]
fn a_token_that_others_would_not_believe_is_refused_with_the_reason() {
    let clock = Clock::start();
    assert!(clock.timestamp() > Timestamp(0));
    made().check(&clock).unwrap();
    let spoilt = |spoil: &dyn Fn(&mut JoinToken)| {
        let mut token = made().clone();
        spoil(&mut token);
        token.check(&clock).unwrap_err().to_string()
    };
    let data = tempfile::tempdir().unwrap();
    let own = ("a".to_owned(), 1);
    let addresses = Addresses { listen: own.clone(), advertised: own.clone() };
    init(data.path(), ID, BrokerId(1), &addresses, &clock).unwrap();
    let folder = data.path().join(FOLDER);
    let other = JoinToken::make(&folder, BrokerId(2), &[own], &clock).unwrap();
    for (error, expected) in [
        (spoilt(&|it| it.authority = other.authority.clone()), "node 2 would not be believed: "),
        (spoilt(&|it| it.authority = vec![7; 20].into()), "node 2 would not be believed: "),
        (spoilt(&|it| it.node = BrokerId(3)), "not valid for name"),
        (spoilt(&|it| it.key.clone_from(&other.key)), "KeyMismatch"),
        (spoilt(&|it| it.key = vec![7; 20]), "node 2 would not be believed: "),
    ] {
        assert!(error.contains(expected), "{expected} is not in {error}");
    }
}

proptest! {
    #[test]
    fn whatever_a_text_says_it_is_refused(text in ".{0,200}") {
        let bare = text.parse::<JoinToken>();
        prop_assert_eq!(bare, Err(TokenError::NoToken));
        let begun = format!("{PREFIX}{text}").parse::<JoinToken>();
        prop_assert_eq!(begun, Err(TokenError::NotWhole));
    }

    #[test]
    fn whatever_bytes_are_in_a_token_they_are_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let read = summed(&bytes).parse::<JoinToken>();
        prop_assert!(matches!(read, Err(TokenError::Nonsense(_))), "{read:?}");
    }

    #[test]
    fn what_is_read_is_what_was_written_also_of_a_token_that_was_changed(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = bytes(made());
        let mut other = whole.clone();
        other[at.index(whole.len())] = byte;
        if let Ok(token) = summed(&other).parse::<JoinToken>() {
            prop_assert_eq!(bytes(&token), other);
        }
        let cut = &whole[..cut.index(whole.len())];
        let too_early = Err(TokenError::Nonsense("it ends too early"));
        prop_assert_eq!(summed(cut).parse::<JoinToken>(), too_early);
    }

    #[test]
    fn a_letter_that_was_mistyped_is_noticed(at in any::<prop::sample::Index>(), letter in "[A-Za-z0-9_-]") {
        let text = made().to_text();
        let at = PREFIX.len() + at.index(text.len() - PREFIX.len());
        let mut other = text.clone();
        other.replace_range(at..=at, &letter);
        if other != text {
            prop_assert_eq!(other.parse::<JoinToken>(), Err(TokenError::NotWhole));
        }
    }
}
