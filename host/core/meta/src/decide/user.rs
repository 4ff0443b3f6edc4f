//! Users come, get other passwords and go (KIP-554).
//!
//! Nobody's password is here, and no hash is made here: `auth` makes the keys of what the client sent. Source:
//! Kafka's `ScramControlManager` and `ScramImage`.

use std::collections::BTreeMap;

use brooklet_types::credential::{SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN};
use brooklet_types::{ErrorCode, ScramCredential, ScramHash};

use super::{Decision, Draft, RECORDS_MAX};
use crate::cluster::Cluster;
use crate::record::MetaRecord;

/// More users than this are refused.
pub const USERS_MAX: usize = 100_000;

/// A credential that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    pub user: String,
    /// The wire's number of the hash, unchecked.
    pub mechanism: i8,
}

/// A credential that is to be.
#[derive(Clone, PartialEq, Eq)]
pub struct Upsertion {
    pub user: String,
    /// The wire's number of the hash, unchecked.
    pub mechanism: i8,
    /// As the client says it, unchecked.
    pub iterations: i32,
    pub salt: Vec<u8>,
    /// Made of the salted password, if the mechanism is known and there is one; else empty.
    pub stored_key: Vec<u8>,
    /// Made of the salted password, if the mechanism is known.
    pub server_key: Vec<u8>,
}

/// Why a credential was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterUserError {
    /// The request names the user twice.
    #[error("A user credential cannot be altered twice in the same request")]
    Twice,
    /// A user has a name.
    #[error("Username must not be empty")]
    NoName,
    /// Neither hash.
    #[error("Unknown SCRAM mechanism")]
    Mechanism,
    /// Guessing would be too cheap.
    #[error("Too few iterations")]
    TooFewIterations,
    /// Logging in would be too dear.
    #[error("Too many iterations")]
    TooManyIterations,
    /// Nothing to hash: Kafka says UNKNOWN_SERVER_ERROR.
    #[error("Salted password must not be empty")]
    NoPassword,
    /// There is none.
    #[error("Attempt to delete a user credential that does not exist")]
    Unknown,
    /// There are too many, or too many at once.
    #[error("Unable to perform excessively large batch operation.")]
    TooMany,
}

/// Why a user is not described.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescribeUserError {
    /// The request names the user twice.
    #[error("Cannot describe SCRAM credentials for the same user twice in a single request: {0}")]
    Twice(String),
    /// There is none.
    #[error("Attempt to describe a user credential that does not exist: {0}")]
    Unknown(String),
}

impl AlterUserError {
    /// What the client is told.
    pub fn code(self) -> ErrorCode {
        match self {
            AlterUserError::Twice => ErrorCode::DuplicateResource,
            AlterUserError::NoName
            | AlterUserError::NoPassword
            | AlterUserError::TooFewIterations
            | AlterUserError::TooManyIterations => ErrorCode::UnacceptableCredential,
            AlterUserError::Mechanism => ErrorCode::UnsupportedSaslMechanism,
            AlterUserError::Unknown => ErrorCode::ResourceNotFound,
            AlterUserError::TooMany => ErrorCode::PolicyViolation,
        }
    }
}

impl DescribeUserError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            DescribeUserError::Twice(_) => ErrorCode::DuplicateResource,
            DescribeUserError::Unknown(_) => ErrorCode::ResourceNotFound,
        }
    }
}

/// Users with what became of the request for each.
pub type Altered = Vec<(String, Result<(), AlterUserError>)>;

/// AlterUserScramCredentials: changes each user by itself. One answer for each user, those that were changed first,
/// as Kafka has it.
pub fn alter_users(
    cluster: &Cluster,
    deletions: &[Deletion],
    upsertions: &[Upsertion],
) -> Decision<Altered> {
    let mut draft = Draft::of(cluster);
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let deleted = deletions.iter().map(|deletion| deletion.user.as_str());
    for user in deleted.chain(upsertions.iter().map(|upsertion| upsertion.user.as_str())) {
        *times.entry(user).or_default() += 1;
    }
    // The first thing that is wrong about a user counts, and the first thing is to come twice.
    let (mut done, mut refused) = (Altered::new(), BTreeMap::new());
    let mut note = |user: &str, result: Result<(), AlterUserError>| match result {
        Ok(()) => done.push((user.to_owned(), Ok(()))),
        Err(error) => {
            refused.entry(user.to_owned()).or_insert(Err(error));
        }
    };
    for deletion in deletions {
        let known = deletion.check(cluster);
        let known = once(&times, &deletion.user, known);
        note(&deletion.user, known.and_then(|hash| draft.remove_user(&deletion.user, hash)));
    }
    for upsertion in upsertions {
        let checked = once(&times, &upsertion.user, upsertion.check());
        let set = checked
            .and_then(|(hash, credential)| draft.set_user(&upsertion.user, hash, credential));
        note(&upsertion.user, set);
    }
    done.extend(refused);
    draft.decide(false, done)
}

/// A user that is named twice is refused for that, unless what is first said of it is wrong already.
fn once<T>(
    times: &BTreeMap<&str, usize>,
    user: &str,
    checked: Result<T, AlterUserError>,
) -> Result<T, AlterUserError> {
    let twice = times.get(user).is_some_and(|times| *times > 1);
    checked.and_then(|checked| if twice { Err(AlterUserError::Twice) } else { Ok(checked) })
}

impl Draft {
    fn remove_user(&mut self, user: &str, hash: ScramHash) -> Result<(), AlterUserError> {
        if self.records.len() == RECORDS_MAX {
            return Err(AlterUserError::TooMany);
        }
        self.push(MetaRecord::UserRemoved { user: user.to_owned(), hash });
        Ok(())
    }

    fn set_user(
        &mut self,
        user: &str,
        hash: ScramHash,
        credential: ScramCredential,
    ) -> Result<(), AlterUserError> {
        let users = &self.cluster.users;
        let full = users.len() >= USERS_MAX && !users.contains_key(user);
        if full || self.records.len() == RECORDS_MAX {
            return Err(AlterUserError::TooMany);
        }
        self.push(MetaRecord::UserSet { user: user.to_owned(), hash, credential });
        Ok(())
    }
}

fn check_name(user: &str, mechanism: i8) -> Result<ScramHash, AlterUserError> {
    if user.is_empty() {
        return Err(AlterUserError::NoName);
    }
    ScramHash::from_wire(mechanism).ok_or(AlterUserError::Mechanism)
}

impl Deletion {
    fn check(&self, cluster: &Cluster) -> Result<ScramHash, AlterUserError> {
        let hash = check_name(&self.user, self.mechanism)?;
        let known = cluster.credential(&self.user, hash).is_some();
        if known { Ok(hash) } else { Err(AlterUserError::Unknown) }
    }
}

impl Upsertion {
    fn check(&self) -> Result<(ScramHash, ScramCredential), AlterUserError> {
        let hash = check_name(&self.user, self.mechanism)?;
        let iterations = u32::try_from(self.iterations).unwrap_or(0);
        if iterations < SCRAM_ITERATIONS_MIN {
            return Err(AlterUserError::TooFewIterations);
        }
        if iterations > SCRAM_ITERATIONS_MAX {
            return Err(AlterUserError::TooManyIterations);
        }
        if self.stored_key.is_empty() {
            return Err(AlterUserError::NoPassword);
        }
        let credential = ScramCredential {
            salt: self.salt.clone(),
            stored_key: self.stored_key.clone(),
            server_key: self.server_key.clone(),
            iterations,
        };
        Ok((hash, credential))
    }
}

/// A user's hashes, each with its iterations.
pub type Described = Vec<(ScramHash, u32)>;

/// DescribeUserScramCredentials: the users of these names, each once; all of them where none is named.
pub fn describe_users(
    cluster: &Cluster,
    names: &[String],
) -> Vec<(String, Result<Described, DescribeUserError>)> {
    let mut times: BTreeMap<&String, usize> = BTreeMap::new();
    let everybody = names.is_empty().then(|| cluster.users.keys());
    for name in names.iter().chain(everybody.into_iter().flatten()) {
        *times.entry(name).or_default() += 1;
    }
    let describe = |name: &String, times: usize| {
        if times > 1 {
            return Err(DescribeUserError::Twice(name.clone()));
        }
        let credentials = cluster.users.get(name);
        let credentials = credentials.ok_or_else(|| DescribeUserError::Unknown(name.clone()))?;
        Ok(credentials.iter().map(|(hash, credential)| (*hash, credential.iterations)).collect())
    };
    times.into_iter().map(|(name, times)| (name.clone(), describe(name, times))).collect()
}
