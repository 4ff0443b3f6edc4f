//! Tokens that are right, and everything that can be wrong with one: forged, replayed elsewhere, too late.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use brooklet_types::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::mechanism::{Rejection, Secret};

/// The keys of an issuer, and of somebody who would like to be it. Made once: RSA takes its time.
struct Issuer {
    rsa: KeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
}

static ISSUER: LazyLock<Issuer> = LazyLock::new(Issuer::make);
static FORGER: LazyLock<Issuer> = LazyLock::new(Issuer::make);

const NOW: i64 = 1_800_000_000;

impl Issuer {
    fn make() -> Issuer {
        Issuer {
            rsa: KeyPair::generate(KeySize::Rsa2048).unwrap(),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
        }
    }

    fn keys(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        // DER: a sequence of two integers, of 256 bytes behind a zero and of 3 bytes.
        let rsa = self.rsa.public_key().as_ref();
        let (n, e) = (encode(&rsa[9..265]), encode(&rsa[267..]));
        let point = |pair: &EcdsaKeyPair| {
            let (x, y) =
                pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
            (encode(x), encode(y))
        };
        let ((x256, y256), (x384, y384)) = (point(&self.p256), point(&self.p384));
        json!({"keys": [
            {"kty": "RSA", "kid": "r", "use": "sig", "n": n, "e": e},
            {"kty": "EC", "kid": "p", "crv": "P-256", "alg": "ES256", "x": x256, "y": y256},
            {"kty": "EC", "kid": "q", "crv": "P-384", "x": x384, "y": y384},
            {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
            {"kty": "RSA", "kid": "other", "use": "enc", "n": n, "e": e},
            {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": x256},
        ]})
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.sign(header["alg"].as_str().unwrap_or_default(), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |padding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(padding, &random, message, &mut signature).unwrap();
            signature
        };
        match algorithm {
            "RS384" => rsa(&RSA_PKCS1_SHA384),
            "RS512" => rsa(&RSA_PKCS1_SHA512),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "PS384" => rsa(&RSA_PSS_SHA384),
            "PS512" => rsa(&RSA_PSS_SHA512),
            "ES256" => self.p256.sign(&random, message).unwrap().as_ref().to_vec(),
            "ES384" => self.p384.sign(&random, message).unwrap().as_ref().to_vec(),
            "none" => Vec::new(),
            _ => rsa(&RSA_PKCS1_SHA256),
        }
    }
}

fn verifier() -> TokenVerifier {
    let rules = TokenRules {
        issuer: Some("https://issuer.example".to_owned()),
        audiences: ["kafka".to_owned(), "brooklet".to_owned()].into(),
        ..TokenRules::default()
    };
    let keys = KeySet::parse(ISSUER.keys().to_string().as_bytes()).unwrap();
    TokenVerifier { rules, keys }
}

fn claims() -> Value {
    json!({
        "iss": "https://issuer.example", "aud": "brooklet", "sub": "ada", "scope": "read write",
        "iat": NOW - 60, "exp": NOW + 60,
    })
}

fn changed(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    let object = claims.as_object_mut().unwrap();
    if value.is_null() {
        object.remove(claim);
    } else {
        object.insert(claim.to_owned(), value);
    }
    claims
}

fn check(token: &str) -> Result<Token, TokenError> {
    verifier().verify(token, Timestamp(NOW * 1000))
}

#[test]
fn every_algorithm_is_checked_with_the_key_that_fits() {
    let ada = Token { user: "ada".to_owned(), expires: Timestamp((NOW + 60) * 1000) };
    for algorithm in Algorithm::ALL {
        let key = match algorithm {
            Algorithm::Es256 => "p",
            Algorithm::Es384 => "q",
            Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512 => "r",
            Algorithm::Ps256 | Algorithm::Ps384 | Algorithm::Ps512 => "r",
        };
        let named = json!({"alg": algorithm.name(), "kid": key});
        assert_eq!(check(&ISSUER.token(&named, &claims())), Ok(ada.clone()), "{algorithm:?}");
        let unnamed = json!({"alg": algorithm.name(), "typ": "at+jwt"});
        assert_eq!(check(&ISSUER.token(&unnamed, &claims())), Ok(ada.clone()), "{algorithm:?}");
        let forged = check(&FORGER.token(&named, &claims()));
        assert_eq!(forged, Err(TokenError::Signature), "{algorithm:?}");
    }
}

/// RFC 7515, appendix A.3: the signature is right, and then the claims are not enough.
#[test]
fn the_standards_own_token() {
    let keys = r#"{"keys": [{"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    let keys = KeySet::parse(keys.as_bytes()).unwrap();
    let verifier = TokenVerifier { rules: TokenRules::default(), keys };
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly\
                 9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmX\
                 FCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let at = |seconds: i64| verifier.verify(token, Timestamp(seconds * 1000));
    assert_eq!(at(1_300_819_379), Err(TokenError::Claim("iat".to_owned())));
    assert_eq!(at(1_300_819_411), Err(TokenError::Expired(Timestamp(1_300_819_380_000))));
    let flipped = token.replace("DtEh", "DtEi");
    assert_eq!(verifier.verify(&flipped, Timestamp(0)), Err(TokenError::Signature));
}

#[test]
fn a_header_that_asks_for_less_is_refused() {
    let algorithm = |name: &str| TokenError::Algorithm(name.to_owned());
    let unknown = |id: &str| TokenError::UnknownKey(Some(id.to_owned()));
    for (header, error) in [
        (json!({"alg": "none"}), algorithm("none")),
        (json!({"alg": "None"}), algorithm("None")),
        (json!({"alg": "HS256", "kid": "r"}), algorithm("HS256")),
        (json!({"alg": "HS256", "kid": "secret"}), algorithm("HS256")),
        (json!({"alg": "ES512"}), algorithm("ES512")),
        (json!({"alg": 1}), TokenError::Malformed),
        (json!({}), TokenError::Malformed),
        (json!([]), TokenError::Malformed),
        (json!({"alg": "RS256", "crit": ["exp"], "kid": "r"}), TokenError::Critical),
        (json!({"alg": "RS256", "kid": "nobody"}), unknown("nobody")),
        (json!({"alg": "RS256", "kid": 7}), TokenError::Malformed),
        // A key is used for what it is for, and nothing else.
        (json!({"alg": "RS256", "kid": "p"}), unknown("p")),
        (json!({"alg": "ES384", "kid": "p"}), unknown("p")),
        (json!({"alg": "RS256", "kid": "other"}), unknown("other")),
    ] {
        assert_eq!(check(&ISSUER.token(&header, &claims())), Err(error), "{header}");
    }
    let mut only_es = verifier();
    only_es.rules.algorithms = [Algorithm::Es256].into();
    let token = ISSUER.token(&json!({"alg": "RS256", "kid": "r"}), &claims());
    assert_eq!(only_es.verify(&token, Timestamp(NOW * 1000)), Err(algorithm("RS256")));
}

#[test]
fn a_key_that_is_not_named_must_be_the_only_one() {
    let mut twice = ISSUER.keys();
    let mut again = twice["keys"][0].clone();
    again["kid"] = json!("r2");
    twice["keys"].as_array_mut().unwrap().push(again);
    let keys = KeySet::parse(twice.to_string().as_bytes()).unwrap();
    let verifier = TokenVerifier { keys, ..verifier() };
    let now = Timestamp(NOW * 1000);
    let unnamed = ISSUER.token(&json!({"alg": "RS256"}), &claims());
    assert_eq!(verifier.verify(&unnamed, now), Err(TokenError::UnknownKey(None)));
    let named = ISSUER.token(&json!({"alg": "RS256", "kid": "r2"}), &claims());
    assert!(verifier.verify(&named, now).is_ok());
}

#[test]
fn what_a_token_must_say() {
    let claim = |name: &str| Err(TokenError::Claim(name.to_owned()));
    let time = |seconds: i64| Timestamp(seconds * 1000);
    let table = [
        ("exp", json!(NOW - 29), Ok("ada")),
        ("exp", json!(NOW - 30), Err(TokenError::Expired(time(NOW - 30)))),
        ("exp", json!(NOW as f64 + 0.5), Ok("ada")),
        ("exp", Value::Null, claim("exp")),
        ("exp", json!((NOW + 60).to_string()), claim("exp")),
        ("exp", json!(1e300), claim("exp")),
        ("exp", json!(NOW * 1000), claim("exp")),
        ("nbf", json!(NOW + 30), Ok("ada")),
        ("nbf", json!(NOW + 31), Err(TokenError::NotYet(time(NOW + 31)))),
        ("nbf", json!("tomorrow"), claim("nbf")),
        ("iat", Value::Null, claim("iat")),
        ("iss", json!("https://issuer.example/"), Err(TokenError::Issuer)),
        ("iss", Value::Null, Err(TokenError::Issuer)),
        ("iss", json!(["https://issuer.example"]), Err(TokenError::Issuer)),
        ("aud", json!(["other", "kafka"]), Ok("ada")),
        ("aud", json!("other"), Err(TokenError::Audience)),
        ("aud", json!([]), Err(TokenError::Audience)),
        ("aud", Value::Null, Err(TokenError::Audience)),
        ("aud", json!({"brooklet": true}), claim("aud")),
        ("sub", json!(" bob "), Ok("bob")),
        ("sub", json!("  "), claim("sub")),
        ("sub", json!(7), claim("sub")),
        ("sub", Value::Null, claim("sub")),
        ("scope", Value::Null, Ok("ada")),
        ("scope", json!(3), claim("scope")),
    ];
    for (name, value, expected) in table {
        let token = ISSUER.token(&json!({"alg": "ES256"}), &changed(name, value.clone()));
        let user = check(&token).map(|token| token.user);
        assert_eq!(user, expected.map(str::to_owned), "{name}: {value}");
    }
}

#[test]
fn scopes_users_and_audiences_as_the_rules_have_them() {
    let with = |change: &dyn Fn(&mut TokenRules), claims: &Value| {
        let mut verifier = verifier();
        change(&mut verifier.rules);
        let token = ISSUER.token(&json!({"alg": "ES256"}), claims);
        verifier.verify(&token, Timestamp(NOW * 1000)).map(|token| token.user)
    };
    let wants = |scopes: &[&str]| -> BTreeSet<String> {
        scopes.iter().map(|scope| (*scope).to_owned()).collect()
    };
    let scope =
        |scopes: &[&str], claims: &Value| with(&|rules| rules.scopes = wants(scopes), claims);
    let (ada, lacks) = (Ok("ada".to_owned()), Err(TokenError::Scope("admin".to_owned())));
    assert_eq!(scope(&["read", "write"], &claims()), ada);
    assert_eq!(scope(&["read", "admin"], &claims()), lacks);
    assert_eq!(scope(&["admin"], &changed("scope", json!(["read", "admin"]))), ada);
    assert_eq!(scope(&["admin"], &changed("scope", Value::Null)), lacks);
    let by_mail = |rules: &mut TokenRules| rules.user_claim = "email".to_owned();
    let mail = changed("email", json!("ada@ships.example"));
    assert_eq!(with(&by_mail, &mail), Ok("ada@ships.example".to_owned()));
    // Who expects no audience is not the one a token names.
    let none = |rules: &mut TokenRules| rules.audiences.clear();
    assert_eq!(with(&none, &claims()), Err(TokenError::Audience));
    assert_eq!(with(&none, &changed("aud", Value::Null)), ada);
}

#[test]
fn sets_of_keys_that_are_none() {
    let complaint = |json: &str| KeySet::parse(json.as_bytes()).unwrap_err().to_string();
    assert!(complaint("{").contains("not JSON"));
    assert!(complaint("{}").contains("no list"));
    assert!(complaint("{\"keys\": []}").contains("of 0 keys"));
    assert!(
        complaint("{\"keys\": [{\"kty\": \"oct\", \"k\": \"c2VjcmV0\"}, 7]}").contains("of 2 keys")
    );
    let short = r#"{"keys": [{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}]}"#;
    assert!(complaint(short).contains("of 1 keys"));
    let mixed = r#"{"keys": [{"kty": "RSA", "alg": "ES256", "n": "AAAA", "e": "AQAB"}]}"#;
    assert!(complaint(mixed).contains("of 1 keys"));
    let many = format!("{{\"keys\": [{}1]}}", "1,".repeat(256));
    assert!(complaint(&many).contains("257 keys"));
}

#[test]
#[rustfmt::skip] // A table is read by columns.
fn first_messages() {
    let malformed = "the message is not one of OAUTHBEARER";
    type Case = (&'static str, Result<(&'static str, &'static str), &'static str>);
    let table: &[Case] = &[
        ("n,,\x01auth=Bearer a.b.c\x01\x01",              Ok(("", "a.b.c"))),
        ("n,,\x01auth=bEARER   a==\x01\x01",              Ok(("", "a=="))),
        ("n,a=ada,\x01auth=Bearer a\x01\x01",             Ok(("ada", "a"))),
        ("n,,\x01auth=Bearer a\x01key=va lue\x01\x01",    Ok(("", "a"))),
        ("n,,\x01key=value\x01auth=Bearer a\x01\x01",     Ok(("", "a"))),
        ("n,,\x01\x01",                                   Err("the message has no token")),
        ("n,,\x01key=value\x01\x01",                      Err("the message has no token")),
        ("n,,\x01auth=Bearer\x01\x01",                    Err("the token has no scheme")),
        ("n,,\x01auth=Basic a\x01\x01",                   Err("the token's scheme is not Bearer")),
        ("n,,\x01auth=Bearer a=b\x01\x01",                Err("the token has characters that no token has")),
        ("n,,\x01auth=Bearer =\x01\x01",                  Err("the token has characters that no token has")),
        ("n,,\x01auth=Bearer a\x01",                      Err(malformed)),
        ("n,,auth=Bearer a\x01\x01",                      Err(malformed)),
        ("n,ada,\x01auth=Bearer a\x01\x01",               Err(malformed)),
        ("n,a=a=b,\x01auth=Bearer a\x01\x01",             Err(malformed)),
        ("y,,\x01auth=Bearer a\x01\x01",                  Err(malformed)),
        ("n,,\x01auth=Bearer a\x01k1=v\x01\x01",          Err(malformed)),
        ("n,,\x01auth=Bearer a\x01k=\x01\x01",            Err(malformed)),
        ("n,,\x01auth=Bearer a\x01\x01\x01",              Err(malformed)),
        ("",                                              Err(malformed)),
    ];
    for (text, expected) in table {
        let read = read(text.as_bytes()).map(|it| (it.authorization_id, it.token));
        assert_eq!(read, expected.map_err(Rejection::Kept), "{text:?}");
    }
    let said = message(&Secret::new("a.b.c=")).unwrap();
    assert_eq!(read(&said).unwrap().token, "a.b.c=");
    assert_eq!(message(&Secret::new("a\x01b")), Err(TokenTextError));
}

proptest! {
    #[test]
    fn bytes_that_mean_nothing_are_read_to_their_end(bytes: Vec<u8>, text in "[ -~]{0,60}") {
        let _ = read(&bytes);
        let _ = KeySet::parse(&bytes);
        prop_assert!(check(&text).is_err());
    }

    #[test]
    fn a_token_with_any_letter_changed_is_refused(place: prop::sample::Index, letter in "[A-Za-z0-9_-]") {
        static TOKEN: LazyLock<String> =
            LazyLock::new(|| ISSUER.token(&json!({"alg": "ES256"}), &claims()));
        let mut token = TOKEN.clone();
        let place = place.index(token.len());
        token.replace_range(place..=place, &letter);
        prop_assume!(token != *TOKEN);
        prop_assert!(check(&token).is_err());
        prop_assert!(check(&TOKEN[..place]).is_err());
    }
}
