//! Rules, users and quotas: what is asked, and what becomes of it, in Kafka's words.

use brooklet_types::{ErrorCode, QuotaEntity, QuotaKey, QuotaName, ScramHash};
use proptest::prelude::*;

use super::permission::{AclError, AclFilter, NewAcl, create_acls, delete_acls, matching};
use super::quota::{QuotaAlteration, QuotaCondition, alter_quotas, describe_quotas};
use super::user::{Deletion, Upsertion, alter_users, describe_users};
use super::*;

const ANY: AclFilter = AclFilter {
    resource: 1,
    name: None,
    pattern: 1,
    principal: None,
    host: None,
    operation: 1,
    permission: 1,
};

/// `User:ada` may read topic `t`.
fn acl() -> NewAcl {
    NewAcl {
        resource: 2,
        name: "t".to_owned(),
        pattern: 3,
        principal: "User:ada".to_owned(),
        host: "*".to_owned(),
        operation: 3,
        permission: 3,
    }
}

fn named(name: &str, pattern: i8) -> NewAcl {
    NewAcl { name: name.to_owned(), pattern, ..acl() }
}

fn live(cluster: &mut Cluster, records: &[MetaRecord]) {
    records.iter().for_each(|record| cluster.apply(record));
}

/// A cluster with these rules.
fn ruled(acls: &[NewAcl]) -> Cluster {
    let mut cluster = Cluster::default();
    let created = create_acls(&cluster, acls).unwrap();
    assert!(created.reply.iter().all(Result::is_ok));
    live(&mut cluster, &created.records);
    cluster
}

#[test]
fn a_rule_is_refused_in_kafkas_words() {
    let table = [
        (NewAcl { resource: 1, ..acl() }, "Invalid resourceType ANY"),
        (NewAcl { resource: 99, ..acl() }, "Invalid resourceType UNKNOWN"),
        (NewAcl { pattern: 2, ..acl() }, "Invalid patternType MATCH"),
        (NewAcl { pattern: 1, ..acl() }, "Invalid patternType ANY"),
        (NewAcl { operation: 1, ..acl() }, "Invalid operation ANY"),
        (NewAcl { operation: 2, permission: 1, ..acl() }, "Invalid permissionType ANY"),
        (NewAcl { name: String::new(), ..acl() }, "Invalid empty resource name"),
        (
            NewAcl { resource: 4, ..acl() },
            "The only valid name for the CLUSTER resource is kafka-cluster",
        ),
        (
            NewAcl { principal: "ada".to_owned(), ..acl() },
            "Could not parse principal from `ada` (no colon is present separating the principal \
             type from the principal name)",
        ),
    ];
    for (wanted, message) in table {
        let decision = create_acls(&Cluster::default(), std::slice::from_ref(&wanted)).unwrap();
        let error = decision.reply[0].clone().unwrap_err();
        assert_eq!(
            (error.code(), error.to_string().as_str()),
            (ErrorCode::InvalidRequest, message)
        );
        assert!(decision.records.is_empty());
    }
    assert!(NewAcl { operation: 0, ..acl() }.is_malformed());
    assert!(!acl().is_malformed());
}

#[test]
fn a_rule_that_is_there_is_created_and_nothing_is_written() {
    let cluster = ruled(&[acl()]);
    let again = create_acls(&cluster, &[acl(), named("u", 3), named("u", 3)]).unwrap();
    assert_eq!((again.reply.len(), again.records.len()), (3, 1));
    assert!(again.reply.iter().all(Result::is_ok));
}

#[test]
fn filters() {
    let cluster = ruled(&[named("t", 3), named("te", 4), named("*", 3), named("other", 3)]);
    let found = |filter: &AclFilter| -> Vec<String> {
        matching(&cluster, filter).map(|acl| format!("{}:{}", acl.pattern, acl.name)).collect()
    };
    let by_name = |name: &str, pattern| AclFilter { name: Some(name.to_owned()), pattern, ..ANY };
    assert_eq!(found(&ANY).len(), 4);
    assert_eq!(found(&by_name("t", 1)), ["LITERAL:t"]);
    assert_eq!(found(&by_name("te", 3)), [""; 0]);
    assert_eq!(found(&by_name("te", 4)), ["PREFIXED:te"]);
    assert_eq!(found(&by_name("test", 2)), ["LITERAL:*", "PREFIXED:te"]);
    assert_eq!(found(&by_name("*", 2)), ["LITERAL:*"]);
    assert_eq!(found(&AclFilter { pattern: 4, ..ANY }), ["PREFIXED:te"]);
    assert_eq!(found(&AclFilter { operation: 4, ..ANY }), [""; 0]);
    assert_eq!(found(&AclFilter { principal: Some("User:*".to_owned()), ..ANY }), [""; 0]);
    assert_eq!(found(&AclFilter { resource: 99, ..ANY }), [""; 0]);
}

#[test]
fn several_filters_may_mean_the_same_rule() {
    let cluster = ruled(&[named("t", 3), named("u", 3)]);
    let t = AclFilter { name: Some("t".to_owned()), ..ANY };
    let unknown = AclFilter { resource: 99, ..ANY };
    let entry = AclFilter { operation: 99, ..ANY };
    let decision = delete_acls(&cluster, &[t, ANY, unknown, entry]).unwrap();
    let counts: Vec<_> =
        decision.reply.iter().map(|it| it.clone().map(|acls| acls.len())).collect();
    let expected = [Ok(1), Ok(2), Err(AclError::UnknownPattern), Err(AclError::UnknownEntry)];
    assert_eq!(counts, expected);
    assert_eq!(decision.records.len(), 2);
}

#[test]
fn what_is_more_than_one_batch_is_refused_whole() {
    let many: Vec<NewAcl> = (0..=RECORDS_MAX).map(|number| named(&number.to_string(), 3)).collect();
    let refused = create_acls(&Cluster::default(), &many).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::PolicyViolation);
    let mut cluster = ruled(&many[1..]);
    let one_more = create_acls(&cluster, &many[..1]).unwrap();
    live(&mut cluster, &one_more.records);
    let refused = delete_acls(&cluster, &[ANY]).unwrap_err();
    assert_eq!(refused, AclError::TooManyRemoved);
    assert_eq!(
        refused.to_string(),
        "Cannot remove more than 10000 acls in a single delete operation."
    );
}

fn upsertion(user: &str, mechanism: i8, iterations: i32) -> Upsertion {
    let (salt, stored_key, server_key) = (vec![1], vec![2], vec![3]);
    let user = user.to_owned();
    Upsertion { user, mechanism, iterations, salt, stored_key, server_key }
}

fn deletion(user: &str, mechanism: i8) -> Deletion {
    Deletion { user: user.to_owned(), mechanism }
}

/// `ada` with both hashes, `bob` with one.
fn peopled() -> Cluster {
    let mut cluster = Cluster::default();
    for (user, mechanism) in [("ada", 1), ("ada", 2), ("bob", 1)] {
        let decision = alter_users(&cluster, &[], &[upsertion(user, mechanism, 4096)]);
        live(&mut cluster, &decision.records);
    }
    cluster
}

#[test]
fn users_are_changed_each_by_itself() {
    let cluster = peopled();
    let deletions = [deletion("bob", 1), deletion("eve", 1), deletion("", 1), deletion("dan", 7)];
    let upsertions = [
        upsertion("ada", 1, 16_384),
        upsertion("few", 1, 4095),
        upsertion("many", 2, 16_385),
        upsertion("minus", 2, -1),
        upsertion("hash", 3, 4096),
        upsertion("twice", 1, 4096),
        upsertion("twice", 2, 4096),
        upsertion("flawed", 1, 1),
        upsertion("flawed", 1, 4096),
        Upsertion { stored_key: Vec::new(), ..upsertion("none", 1, 4096) },
        upsertion("mixed", 1, 4096),
        upsertion("mixed", 1, 1),
    ];
    let decision = alter_users(&cluster, &deletions, &upsertions);
    let shown: Vec<String> = decision
        .reply
        .iter()
        .map(|(user, result)| match result {
            Ok(()) => format!("{user}: done"),
            Err(error) => format!("{user}: {} {error}", error.code().name()),
        })
        .collect();
    assert_eq!(
        shown,
        [
            "bob: done",
            "ada: done",
            ": UNACCEPTABLE_CREDENTIAL Username must not be empty",
            "dan: UNSUPPORTED_SASL_MECHANISM Unknown SCRAM mechanism",
            "eve: RESOURCE_NOT_FOUND Attempt to delete a user credential that does not exist",
            "few: UNACCEPTABLE_CREDENTIAL Too few iterations",
            "flawed: UNACCEPTABLE_CREDENTIAL Too few iterations",
            "hash: UNSUPPORTED_SASL_MECHANISM Unknown SCRAM mechanism",
            "many: UNACCEPTABLE_CREDENTIAL Too many iterations",
            "minus: UNACCEPTABLE_CREDENTIAL Too few iterations",
            "mixed: DUPLICATE_RESOURCE A user credential cannot be altered twice in the same request",
            "none: UNACCEPTABLE_CREDENTIAL Salted password must not be empty",
            "twice: DUPLICATE_RESOURCE A user credential cannot be altered twice in the same request",
        ]
    );
    let mut cluster = cluster;
    live(&mut cluster, &decision.records);
    assert_eq!(cluster.users().keys().collect::<Vec<_>>(), ["ada"]);
    assert_eq!(cluster.credential("ada", ScramHash::Sha256).unwrap().iterations, 16_384);
}

#[test]
fn users_are_described_without_their_keys() {
    let cluster = peopled();
    let name = |text: &str| text.to_owned();
    let all = describe_users(&cluster, &[]);
    let both = vec![(ScramHash::Sha256, 4096), (ScramHash::Sha512, 4096)];
    assert_eq!(all, [(name("ada"), Ok(both)), (name("bob"), Ok(vec![(ScramHash::Sha256, 4096)]))]);
    let some = describe_users(&cluster, &[name("eve"), name("ada"), name("ada")]);
    let errors: Vec<String> =
        some.iter().map(|(_, result)| result.as_ref().unwrap_err().to_string()).collect();
    assert_eq!(
        errors,
        [
            "Cannot describe SCRAM credentials for the same user twice in a single request: ada",
            "Attempt to describe a user credential that does not exist: eve",
        ]
    );
}

fn parts(entity: &str) -> Vec<(String, Option<String>)> {
    let part = |text: &str| {
        let (kind, name) = text.split_once('=').unwrap_or((text, "*"));
        (kind.to_owned(), (name != "*").then(|| name.to_owned()))
    };
    entity.split(' ').filter(|text| !text.is_empty()).map(part).collect()
}

fn alteration(entity: &str, changes: &[(&str, Option<f64>)]) -> QuotaAlteration {
    let changes = changes.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    QuotaAlteration { entity: parts(entity), changes }
}

#[test]
#[rustfmt::skip] // A table is read by columns.
fn a_quota_is_refused_in_kafkas_words() {
    let bytes = "producer_byte_rate";
    let table: &[(&str, &str, f64, &str)] = &[
        ("",                 bytes, 1.0,   "Invalid empty client quota entity"),
        ("group=g",          bytes, 1.0,   "Unhandled client quota entity type: group"),
        ("user=a user=b",    bytes, 1.0,   "Invalid client quota entity, duplicate entity entry user"),
        ("user=",            bytes, 1.0,   "Empty user not supported"),
        ("user=a ip=::1",    bytes, 1.0,   "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId"),
        ("ip=nowhere",       "connection_creation_rate", 1.0, "nowhere is not a valid IP or resolvable host."),
        ("ip=::1",           bytes, 1.0,   "Invalid configuration key producer_byte_rate"),
        ("ip=::1",           "controller_mutation_rate", 1.0, "Invalid configuration key controller_mutation_rate"),
        ("user=a",           "connection_creation_rate", 1.0, "Invalid configuration key connection_creation_rate"),
        ("user=a",           "bytes", 1.0, "Invalid configuration key bytes"),
        ("user=a",           bytes, 0.0,   "Quota producer_byte_rate must be greater than 0"),
        ("user=a",           bytes, -1.0,  "Quota producer_byte_rate must be greater than 0"),
        ("user=a",           bytes, f64::NAN, "Quota producer_byte_rate must be greater than 0"),
        ("user=a",           bytes, 1.5,   "producer_byte_rate cannot be a fractional value."),
        ("user=a",           bytes, 1e19,  "Proposed value for producer_byte_rate is too large for a LONG."),
        ("ip",               "connection_creation_rate", 3e9, "Proposed value for connection_creation_rate is too large for an INT."),
    ];
    for (entity, key, value, message) in table {
        let asked = alteration(entity, &[(key, Some(*value))]);
        let decision = alter_quotas(&Cluster::default(), &[asked], false);
        let (_, result) = &decision.reply[0];
        let error = result.clone().unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (ErrorCode::InvalidRequest, *message));
        assert!(decision.records.is_empty());
    }
}

#[test]
fn quotas_are_set_and_taken_away_all_of_an_entity_or_none() {
    let mut cluster = Cluster::default();
    let (bytes, percent) = ("producer_byte_rate", "request_percentage");
    let asked = [
        alteration("user=ada client-id", &[(bytes, Some(1000.0)), (percent, Some(0.5))]),
        alteration("ip=0:0::1", &[("connection_creation_rate", Some(5.0))]),
        alteration("user=bob", &[(bytes, Some(1.0)), ("bytes", Some(1.0))]),
        alteration("user", &[(bytes, Some(1.0)), (bytes, Some(2.0))]),
    ];
    let only_asked = alter_quotas(&cluster, &asked, true);
    let decision = alter_quotas(&cluster, &asked, false);
    assert_eq!(only_asked.reply, decision.reply);
    assert!(only_asked.records.is_empty());
    let done: Vec<bool> = decision.reply.iter().map(|(_, result)| result.is_ok()).collect();
    assert_eq!(done, [true, true, false, false]);
    live(&mut cluster, &decision.records);
    let ip = QuotaEntity::Ip(QuotaName::Exactly("::1".to_owned()));
    let pair = QuotaEntity::UserClientId(QuotaName::Exactly("ada".to_owned()), QuotaName::Default);
    assert_eq!(cluster.quotas().keys().collect::<Vec<_>>(), [&pair, &ip]);
    assert_eq!(cluster.quotas()[&pair][&QuotaKey::RequestPercentage].get(), 0.5);

    let gone =
        [alteration("client-id user=ada", &[(bytes, None), (percent, None), ("bytes", None)])];
    let decision = alter_quotas(&cluster, &gone, false);
    assert_eq!(decision.records.len(), 2);
    live(&mut cluster, &decision.records);
    assert!(!cluster.quotas().contains_key(&pair), "no entity without a quota");

    let twice = [
        alteration("user=ada", &[(bytes, Some(1.0))]),
        alteration("user=ada", &[(bytes, Some(2.0))]),
    ];
    let decision = alter_quotas(&cluster, &twice, false);
    let [(_, Err(error))] = &decision.reply[..] else { panic!("{:?}", decision.reply) };
    assert_eq!(
        error.to_string(),
        "Ignoring duplicate entity ClientQuotaEntity(entries={user=ada})"
    );
}

#[test]
fn quotas_are_described_by_what_they_are_for() {
    let mut cluster = Cluster::default();
    for entity in ["user=ada", "user", "client-id=app", "user=ada client-id=app", "user client-id"]
    {
        let asked = [alteration(entity, &[("consumer_byte_rate", Some(1.0))])];
        let decision = alter_quotas(&cluster, &asked, false);
        live(&mut cluster, &decision.records);
    }
    let condition = |kind: &str, match_type, name: Option<&str>| QuotaCondition {
        kind: kind.to_owned(),
        match_type,
        name: name.map(str::to_owned),
    };
    let count = |conditions: &[QuotaCondition], strict| {
        describe_quotas(&cluster, conditions, strict).map(|found| found.len())
    };
    assert_eq!(count(&[], false), Ok(5));
    assert_eq!(count(&[], true), Ok(0));
    assert_eq!(count(&[condition("user", 2, None)], false), Ok(4));
    assert_eq!(count(&[condition("user", 2, None)], true), Ok(2));
    assert_eq!(count(&[condition("user", 0, Some("ada"))], false), Ok(2));
    assert_eq!(count(&[condition("user", 1, None)], true), Ok(1));
    let both = [condition("user", 2, None), condition("client-id", 1, None)];
    assert_eq!(count(&both, true), Ok(1));
    for (conditions, message) in [
        (vec![condition("", 2, None)], "Invalid empty entity type."),
        (vec![condition("group", 2, None)], "Unsupported entity type group"),
        (vec![condition("user", 3, None)], "Unknown match type 3"),
        (
            vec![condition("user", 0, None)],
            "Request specified MATCH_TYPE_EXACT, but set match string to null.",
        ),
        (
            vec![condition("user", 1, Some("a"))],
            "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.",
        ),
        (
            vec![condition("user", 2, None), condition("user", 2, None)],
            "Entity type user cannot appear more than once in the filter.",
        ),
        (
            vec![condition("user", 2, None), condition("ip", 2, None)],
            "Invalid entity filter component combination. IP filter component should not be used \
             with user or clientId filter component.",
        ),
    ] {
        let error = describe_quotas(&cluster, &conditions, false).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

proptest! {
    /// Whatever is asked, replaying what was written rebuilds what was lived.
    #[test]
    fn replaying_the_records_rebuilds_the_live_state(
        steps in proptest::collection::vec((0..5u8, 0..3u8, 0..3u8), 0..40),
    ) {
        let mut cluster = Cluster::default();
        let mut log = Vec::new();
        for (kind, what, who) in steps {
            let name = ["a", "b", "*"][usize::from(who)];
            let mechanism = i8::try_from(what).unwrap();
            let records = match kind {
                0 => create_acls(&cluster, &[named(name, 3 + mechanism % 2)]).unwrap().records,
                1 => {
                    let filter = AclFilter { name: Some(name.to_owned()), pattern: 2, ..ANY };
                    delete_acls(&cluster, &[filter]).unwrap().records
                }
                2 => alter_users(&cluster, &[], &[upsertion(name, mechanism, 4096)]).records,
                3 => alter_users(&cluster, &[deletion(name, mechanism)], &[]).records,
                _ => {
                    let value = Some(f64::from(what)).filter(|value| *value > 0.0);
                    let entity = format!("user={name}");
                    let asked = [alteration(&entity, &[("producer_byte_rate", value)])];
                    alter_quotas(&cluster, &asked, false).records
                }
            };
            live(&mut cluster, &records);
            log.extend(records);
        }
        let mut replayed = Cluster::default();
        live(&mut replayed, &log);
        prop_assert_eq!(replayed, cluster);
    }
}
