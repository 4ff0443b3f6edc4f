//! The keys of an issuer: a JSON Web Key Set (RFC 7517), and the algorithms they are used with (RFC 7518).
//!
//! Only keys that others may have: a symmetric key in a set is skipped, so that nobody's public key can be taken
//! for a shared secret, and there is no algorithm `none`.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// More keys than any issuer publishes; what a set may cost.
const KEYS_MAX: usize = 256;

/// How a token may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// RSA with PKCS #1 v1.5 padding and SHA-256.
    Rs256,
    /// RSA with PKCS #1 v1.5 padding and SHA-384.
    Rs384,
    /// RSA with PKCS #1 v1.5 padding and SHA-512.
    Rs512,
    /// RSA with PSS padding and SHA-256.
    Ps256,
    /// RSA with PSS padding and SHA-384.
    Ps384,
    /// RSA with PSS padding and SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
}

/// Who may have signed a token.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    id: Option<String>,
    /// The only algorithm it is for, if it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
}

/// Why a key set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Not JSON.
    #[error("the key set is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// No list of keys in it.
    #[error("the key set has no list \"keys\"")]
    NoKeys,
    /// None that a token can be checked with.
    #[error("of {0} keys in the set none is a public RSA, P-256 or P-384 key for signatures")]
    NoneUsable(usize),
    /// Too many.
    #[error("the key set has {0} keys, the limit is {KEYS_MAX}")]
    TooMany(usize),
}

impl Algorithm {
    /// All there are.
    pub const ALL: [Algorithm; 8] = [
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
    ];

    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Ps384 => "PS384",
            Algorithm::Ps512 => "PS512",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|known| known.name() == name)
    }

    /// How the library calls it, if it is one of RSA's.
    fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Algorithm::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => Some(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => Some(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => Some(&RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => Some(&RSA_PSS_2048_8192_SHA512),
            Algorithm::Es256 | Algorithm::Es384 => None,
        }
    }
}

impl KeySet {
    /// Reads a JSON Web Key Set. Keys that are of no use here are skipped: an issuer may publish others.
    ///
    /// # Errors
    /// If it is none, or has no key that is of use.
    pub fn parse(json: &[u8]) -> Result<KeySet, KeySetError> {
        let set: Value = serde_json::from_slice(json)?;
        let all = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoKeys)?;
        if all.len() > KEYS_MAX {
            return Err(KeySetError::TooMany(all.len()));
        }
        let keys: Vec<Key> = all.iter().filter_map(Key::read).collect();
        if keys.is_empty() { Err(KeySetError::NoneUsable(all.len())) } else { Ok(KeySet { keys }) }
    }

    /// The one key that may have made a signature of that algorithm: the one of that id, else the only
    /// one that fits. One token costs one check, whoever sends it.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let fits =
            |key: &&Key| key.fits(algorithm) && id.is_none_or(|id| key.id.as_deref() == Some(id));
        let mut fitting = self.keys.iter().filter(fits);
        let first = fitting.next();
        first.filter(|_| fitting.next().is_none())
    }
}

impl Key {
    fn read(value: &Value) -> Option<Key> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let algorithm = match text("alg") {
            Some(name) => Some(Algorithm::from_name(name)?),
            None => None,
        };
        let point = |bytes_each: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            let whole = x.len() == bytes_each && y.len() == bytes_each;
            whole.then(|| [&[4][..], &x, &y].concat())
        };
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => Material::Rsa { modulus: bytes("n")?, exponent: bytes("e")? },
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            _ => return None,
        };
        let key = Key { id: text("kid").map(str::to_owned), algorithm, material };
        key.algorithm.is_none_or(|algorithm| key.fits(algorithm)).then_some(key)
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let family = match &self.material {
            Material::Rsa { .. } => algorithm.rsa().is_some(),
            Material::P256(_) => algorithm == Algorithm::Es256,
            Material::P384(_) => algorithm == Algorithm::Es384,
        };
        family && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Whether `signature` is this key's of `message`. RSA keys of less than 2,048 or more than 8,192 bits
    /// sign nothing.
    pub(super) fn signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let verified = match (&self.material, algorithm.rsa()) {
            (Material::Rsa { modulus, exponent }, Some(parameters)) => {
                let components = RsaPublicKeyComponents { n: modulus, e: exponent };
                components.verify(parameters, message, signature)
            }
            (Material::P256(point), None) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Material::P384(point), None) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature)
            }
            (Material::Rsa { .. }, None) | (Material::P256(_) | Material::P384(_), Some(_)) => {
                return false;
            }
        };
        verified.is_ok()
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Material::Rsa { .. } => "RSA",
            Material::P256(_) => "P-256",
            Material::P384(_) => "P-384",
        })
    }
}
