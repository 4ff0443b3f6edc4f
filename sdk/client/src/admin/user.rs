//! Users: created, listed, given other passwords, removed (KIP-554).
//!
//! A password does not leave the client: what is sent is what SCRAM keeps of it. One request changes a user once, so
//! each hash is a request of its own, and tried again by itself.

use std::num::NonZeroU32;

use brooklet_auth::Secret;
use brooklet_auth::scram::{self, SALT_BYTES};
use brooklet_types::ScramHash;
use brooklet_wire::message::{
    AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest,
    alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion},
    describe_user_scram_credentials_request::UserName,
    describe_user_scram_credentials_response::DescribeUserScramCredentialsResult,
    make,
};

use super::{Admin, check, incomplete};
use crate::config::SaslMechanism;
use crate::error::ApiError;

/// Somebody who can log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// By which mechanisms, each with how often the password was hashed. PLAIN goes with any of them.
    pub mechanisms: Vec<(SaslMechanism, u32)>,
}

/// A password to be set, hashed for each of its mechanisms.
#[derive(Clone, Debug)]
pub struct NewPassword {
    /// Whose it is.
    pub user: String,
    /// The password.
    pub password: Secret,
    /// The mechanisms it is for, of SCRAM's.
    pub mechanisms: Vec<SaslMechanism>,
    /// How often it is hashed: 4,096 to 16,384 times.
    pub iterations: NonZeroU32,
}

impl NewPassword {
    /// For both of SCRAM's mechanisms, hashed as often as Kafka does.
    pub fn new(user: impl Into<String>, password: Secret) -> NewPassword {
        NewPassword {
            user: user.into(),
            password,
            mechanisms: vec![SaslMechanism::ScramSha256, SaslMechanism::ScramSha512],
            iterations: NonZeroU32::new(scram::ITERATIONS).expect("thousands"),
        }
    }
}

impl Admin {
    /// Everybody who can log in by a password, by name.
    pub async fn users(&self) -> Result<Vec<User>, ApiError> {
        let request = make::<DescribeUserScramCredentialsRequest>(|request| request.users = None);
        let described = self.client.retry(|| self.describe_users(&request)).await?;
        Ok(described.iter().map(User::from_wire).collect())
    }

    /// Sets a user's password, and with it makes the user where there is none.
    pub async fn set_password(&self, new: &NewPassword) -> Result<(), ApiError> {
        for mechanism in &new.mechanisms {
            // PLAIN is checked against what SCRAM keeps.
            let Some(hash) = mechanism.hash() else { continue };
            let upsertion = hashed(new.clone(), hash).await;
            let request = make::<AlterUserScramCredentialsRequest>(|request| {
                request.upsertions = vec![upsertion];
            });
            self.alter_user(&new.user, &request).await?;
        }
        Ok(())
    }

    /// Removes a user; an error if there is none. Connections that the user has stay open.
    pub async fn delete_user(&self, name: &str) -> Result<(), ApiError> {
        let request = make::<DescribeUserScramCredentialsRequest>(|request| {
            let named = make(|user: &mut UserName| user.name = name.into());
            request.users = Some(vec![named]);
        });
        let described = self.client.retry(|| self.describe_users(&request)).await?;
        for known in described.iter().flat_map(|user| &user.credential_infos) {
            let deletion = make(|deletion: &mut ScramCredentialDeletion| {
                deletion.name = name.into();
                deletion.mechanism = known.mechanism;
            });
            let request = make::<AlterUserScramCredentialsRequest>(|request| {
                request.deletions = vec![deletion];
            });
            self.alter_user(name, &request).await?;
        }
        Ok(())
    }

    async fn describe_users(
        &self,
        request: &DescribeUserScramCredentialsRequest,
    ) -> Result<Vec<DescribeUserScramCredentialsResult>, ApiError> {
        type Request = DescribeUserScramCredentialsRequest;
        let connection = self.client.any().await?;
        let response = connection.call(request).await?;
        check::<Request>(&connection, "users", response.error_code, &response.error_message)?;
        for user in &response.results {
            let subject = format!("user {}", user.user);
            check::<Request>(&connection, subject, user.error_code, &user.error_message)?;
        }
        Ok(response.results)
    }

    async fn alter_user(
        &self,
        name: &str,
        request: &AlterUserScramCredentialsRequest,
    ) -> Result<(), ApiError> {
        type Request = AlterUserScramCredentialsRequest;
        let once = || async {
            let connection = self.client.controller().await?;
            let response = connection.call(request).await?;
            let subject = format!("user {name}");
            let result = response.results.first();
            let result = result.ok_or_else(|| incomplete::<Request>(&connection, &subject))?;
            check::<Request>(&connection, subject, result.error_code, &result.error_message)
        };
        self.client.retry(once).await
    }
}

impl User {
    fn from_wire(described: &DescribeUserScramCredentialsResult) -> User {
        let mechanisms = described.credential_infos.iter().filter_map(|known| {
            let mechanism = match ScramHash::from_wire(known.mechanism)? {
                ScramHash::Sha256 => SaslMechanism::ScramSha256,
                ScramHash::Sha512 => SaslMechanism::ScramSha512,
            };
            Some((mechanism, u32::try_from(known.iterations).unwrap_or(0)))
        });
        User { name: described.user.to_string(), mechanisms: mechanisms.collect() }
    }
}

/// Hashing takes a while, so it has a thread of its own.
async fn hashed(new: NewPassword, hash: ScramHash) -> ScramCredentialUpsertion {
    let hashing = tokio::task::spawn_blocking(move || {
        let mut salt = vec![0; SALT_BYTES];
        aws_lc_rs::rand::fill(&mut salt).expect("the operating system has an entropy source");
        let iterations = new.iterations;
        let salted = scram::salted_password(hash, new.password.reveal(), &salt, iterations);
        make(|upsertion: &mut ScramCredentialUpsertion| {
            upsertion.name = new.user.into();
            upsertion.mechanism = hash.to_wire();
            upsertion.iterations = i32::try_from(iterations.get()).unwrap_or(i32::MAX);
            upsertion.salt = salt.into();
            upsertion.salted_password = salted.into();
        })
    });
    hashing.await.expect("hashing does not panic")
}
