//! Users: DescribeUserScramCredentials, AlterUserScramCredentials (KIP-554), and what SASL's own requests are told where
//! nobody asks who a client is.
//!
//! **Decides** nothing: `auth` makes the keys that are kept, `meta` what becomes of users.

use brooklet_auth::scram;
use brooklet_meta::Cluster;
use brooklet_meta::decide::user::{Deletion, Upsertion, alter_users, describe_users};
use brooklet_types::{ErrorCode, Operation, ScramHash};
use brooklet_wire::message::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
    StrBytes, alter_user_scram_credentials_request as alter_request,
    alter_user_scram_credentials_response as alter_response,
    describe_user_scram_credentials_response as describe_response, make,
};

use crate::context::Call;

/// Answers DescribeUserScramCredentials.
pub(crate) async fn describe(
    call: &Call,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let cluster = call.cluster();
    if let Err(code) = call.may(&cluster).need_cluster(Operation::Describe) {
        return refused(call, code);
    }
    let names = request.users.unwrap_or_default();
    let names: Vec<String> = names.into_iter().map(|user| user.name.to_string()).collect();
    make(|response: &mut DescribeUserScramCredentialsResponse| {
        // Kafka says no null here, but in the answer to a change.
        response.error_message = Some(StrBytes::default());
        for (name, described) in describe_users(&cluster, &names) {
            response.results.push(make(
                |it: &mut describe_response::DescribeUserScramCredentialsResult| {
                    it.user = name.into();
                    it.error_message = Some(StrBytes::default());
                    match described {
                        Ok(hashes) => {
                            it.credential_infos = hashes.into_iter().map(info).collect();
                        }
                        Err(error) => {
                            it.error_code = call.code(error.code());
                            it.error_message = Some(error.to_string().into());
                        }
                    }
                },
            ));
        }
    })
}

/// As Kafka says it: the answer has an error, and so has a line of its own for nobody.
fn refused(call: &Call, code: ErrorCode) -> DescribeUserScramCredentialsResponse {
    make(|response: &mut DescribeUserScramCredentialsResponse| {
        response.error_code = call.code(code);
        response.error_message = Some(code.message().into());
        response.results =
            vec![make(|it: &mut describe_response::DescribeUserScramCredentialsResult| {
                it.error_code = code.to_wire();
                it.error_message = Some(code.message().into());
            })];
    })
}

fn info((hash, iterations): (ScramHash, u32)) -> describe_response::CredentialInfo {
    make(|info: &mut describe_response::CredentialInfo| {
        info.mechanism = hash.to_wire();
        info.iterations = i32::try_from(iterations).unwrap_or(i32::MAX);
    })
}

/// Answers AlterUserScramCredentials.
pub(crate) async fn alter(
    call: &Call,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let named: Vec<StrBytes> = (request.deletions.iter().map(|it| it.name.clone()))
        .chain(request.upsertions.iter().map(|it| it.name.clone()))
        .collect();
    let deletions: Vec<Deletion> = (request.deletions.iter())
        .map(|it| Deletion { user: it.name.to_string(), mechanism: it.mechanism })
        .collect();
    let upsertions: Vec<Upsertion> = request.upsertions.into_iter().map(upsertion).collect();
    let decide = move |cluster: &Cluster| alter_users(cluster, &deletions, &upsertions);
    let permitted = call.may(&call.cluster()).need_cluster(Operation::Alter);
    let altered = match permitted {
        Ok(()) => call.change(decide).await,
        Err(code) => Err(code),
    };
    let results: Vec<_> = match altered {
        Ok(altered) => (altered.into_iter())
            .map(|(user, result)| match result {
                Ok(()) => result_of(user.into(), 0, None),
                Err(error) => {
                    result_of(user.into(), call.code(error.code()), Some(error.to_string()))
                }
            })
            .collect(),
        Err(code) => (named.into_iter())
            .map(|user| result_of(user, call.code(code), Some(code.message().to_owned())))
            .collect(),
    };
    make(|response: &mut AlterUserScramCredentialsResponse| response.results = results)
}

fn result_of(
    user: StrBytes,
    code: i16,
    message: Option<String>,
) -> alter_response::AlterUserScramCredentialsResult {
    make(|result: &mut alter_response::AlterUserScramCredentialsResult| {
        result.user = user;
        result.error_code = code;
        result.error_message = message.map(Into::into);
    })
}

/// Keeps keys in place of the salted password, which is as good as the password.
fn upsertion(wanted: alter_request::ScramCredentialUpsertion) -> Upsertion {
    let hash = ScramHash::from_wire(wanted.mechanism);
    let keys = hash.filter(|_| !wanted.salted_password.is_empty()).map(|hash| {
        let made = scram::credential_of(hash, &wanted.salted_password, Vec::new(), 0);
        (made.stored_key, made.server_key)
    });
    let (stored_key, server_key) = keys.unwrap_or_default();
    Upsertion {
        user: wanted.name.to_string(),
        mechanism: wanted.mechanism,
        iterations: wanted.iterations,
        salt: wanted.salt.to_vec(),
        stored_key,
        server_key,
    }
}

/// Answers SaslHandshake on a listener without SASL: the gate takes it on others.
pub(crate) async fn no_handshake(
    call: &Call,
    _request: SaslHandshakeRequest,
) -> SaslHandshakeResponse {
    let code = call.code(ErrorCode::IllegalSaslState);
    make(|response: &mut SaslHandshakeResponse| response.error_code = code)
}

/// Answers SaslAuthenticate on a listener without SASL.
pub(crate) async fn no_authentication(
    call: &Call,
    _request: SaslAuthenticateRequest,
) -> SaslAuthenticateResponse {
    let code = call.code(ErrorCode::IllegalSaslState);
    make(|response: &mut SaslAuthenticateResponse| {
        response.error_code = code;
        let message = "SaslAuthenticate request received after successful authentication";
        response.error_message = Some(message.into());
    })
}
