//! Rules, users and quotas between `meta`'s records and `wire`'s.

use brooklet_meta::MetaRecord;
use brooklet_meta::decide::quota::names;
use brooklet_types::{
    Acl, Operation, PatternType, Permission, QuotaEntity, QuotaKey, QuotaLimit, QuotaName,
    ResourceType, ScramCredential, ScramHash,
};
use brooklet_wire::stored::metadata::{MetadataRecord, StoredAcl};
use bytes::Bytes;

pub(super) fn acl(acl: Acl) -> StoredAcl {
    StoredAcl {
        resource: acl.resource.to_wire(),
        pattern: acl.pattern.to_wire(),
        name: acl.name,
        principal: acl.principal,
        host: acl.host,
        operation: acl.operation.to_wire(),
        permission: acl.permission.to_wire(),
    }
}

pub(super) fn user(user: String, hash: ScramHash, credential: ScramCredential) -> MetadataRecord {
    MetadataRecord::UserSet {
        user,
        hash: hash.to_wire(),
        salt: credential.salt.into(),
        stored_key: credential.stored_key.into(),
        server_key: credential.server_key.into(),
        iterations: credential.iterations,
    }
}

pub(super) fn quota(
    entity: &QuotaEntity,
    key: QuotaKey,
    limit: Option<QuotaLimit>,
) -> MetadataRecord {
    let part = |(kind, name): (&str, &QuotaName)| {
        let name = match name {
            QuotaName::Default => None,
            QuotaName::Exactly(name) => Some(name.clone()),
        };
        (kind.to_owned(), name)
    };
    MetadataRecord::QuotaSet {
        entity: names(entity).into_iter().map(part).collect(),
        key: key.name().to_owned(),
        limit: limit.map(QuotaLimit::get),
    }
}

/// A rule, user or quota as it was stored; none if a part of it is not known here.
pub(super) fn read(record: MetadataRecord) -> Option<MetaRecord> {
    Some(match record {
        MetadataRecord::AclAdded { acl } => MetaRecord::AclAdded { acl: read_acl(acl)? },
        MetadataRecord::AclRemoved { acl } => MetaRecord::AclRemoved { acl: read_acl(acl)? },
        MetadataRecord::UserSet { user, hash, salt, stored_key, server_key, iterations } => {
            let owned = |bytes: Bytes| bytes.to_vec();
            let (salt, stored_key) = (owned(salt), owned(stored_key));
            let server_key = owned(server_key);
            let credential = ScramCredential { salt, stored_key, server_key, iterations };
            MetaRecord::UserSet { user, hash: ScramHash::from_wire(hash)?, credential }
        }
        MetadataRecord::UserRemoved { user, hash } => {
            MetaRecord::UserRemoved { user, hash: ScramHash::from_wire(hash)? }
        }
        MetadataRecord::QuotaSet { entity, key, limit } => MetaRecord::QuotaSet {
            entity: read_entity(entity)?,
            key: QuotaKey::from_name(&key)?,
            limit: match limit {
                Some(limit) => Some(QuotaLimit::new(limit)?),
                None => None,
            },
        },
        MetadataRecord::BrokerStarted { .. }
        | MetadataRecord::TopicCreated { .. }
        | MetadataRecord::PartitionsAdded { .. }
        | MetadataRecord::TopicDeleted { .. }
        | MetadataRecord::TopicSettingsChanged { .. }
        | MetadataRecord::BrokerSettingsChanged { .. }
        | MetadataRecord::ProducerIdsAllotted { .. }
        | MetadataRecord::Cluster(_) => return None,
    })
}

fn read_acl(stored: StoredAcl) -> Option<Acl> {
    Some(Acl {
        resource: ResourceType::from_wire(stored.resource)?,
        pattern: PatternType::from_wire(stored.pattern)?,
        name: stored.name,
        principal: stored.principal,
        host: stored.host,
        operation: Operation::from_wire(stored.operation)?,
        permission: Permission::from_wire(stored.permission)?,
    })
}

fn read_entity(parts: Vec<(String, Option<String>)>) -> Option<QuotaEntity> {
    let name = |name: &Option<String>| match name {
        None => QuotaName::Default,
        Some(name) => QuotaName::Exactly(name.clone()),
    };
    match parts.as_slice() {
        [(kind, user)] if kind == "user" => Some(QuotaEntity::User(name(user))),
        [(kind, client)] if kind == "client-id" => Some(QuotaEntity::ClientId(name(client))),
        [(kind, ip)] if kind == "ip" => Some(QuotaEntity::Ip(name(ip))),
        [(first, user), (second, client)] if first == "user" && second == "client-id" => {
            Some(QuotaEntity::UserClientId(name(user), name(client)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use brooklet_types::Offset;

    use super::super::{metadata_record, read_metadata_decision};
    use super::*;

    fn acl() -> Acl {
        Acl {
            resource: ResourceType::Topic,
            pattern: PatternType::Prefixed,
            name: "fl".to_owned(),
            principal: "User:ada".to_owned(),
            host: "*".to_owned(),
            operation: Operation::Read,
            permission: Permission::Deny,
        }
    }

    #[test]
    fn what_is_decided_is_read_back_as_it_was() {
        let name = || QuotaName::Exactly("a".to_owned());
        let credential = ScramCredential {
            salt: b"salt".to_vec(),
            stored_key: vec![1; 64],
            server_key: vec![2; 64],
            iterations: 5000,
        };
        let quota = |entity, key, limit| MetaRecord::QuotaSet { entity, key, limit };
        let limit = QuotaLimit::new(0.25);
        let records = [
            MetaRecord::AclAdded { acl: acl() },
            MetaRecord::AclRemoved { acl: acl() },
            MetaRecord::UserSet { user: "a".to_owned(), hash: ScramHash::Sha512, credential },
            MetaRecord::UserRemoved { user: "a".to_owned(), hash: ScramHash::Sha256 },
            quota(QuotaEntity::User(name()), QuotaKey::ProducerByteRate, limit),
            quota(QuotaEntity::ClientId(QuotaName::Default), QuotaKey::ConsumerByteRate, None),
            quota(
                QuotaEntity::UserClientId(name(), QuotaName::Default),
                QuotaKey::RequestPercentage,
                limit,
            ),
            quota(QuotaEntity::Ip(name()), QuotaKey::ConnectionCreationRate, limit),
        ];
        for record in records {
            let (key, value) = metadata_record(&record);
            assert_eq!(key, None);
            assert_eq!(read_metadata_decision(Offset::new(0), value).unwrap(), [record]);
        }
    }

    #[test]
    fn what_a_later_release_knows_is_refused() {
        let later = [
            MetadataRecord::AclAdded { acl: StoredAcl { operation: 99, ..super::acl(acl()) } },
            MetadataRecord::UserRemoved { user: "a".to_owned(), hash: 3 },
            MetadataRecord::QuotaSet {
                entity: vec![("group".to_owned(), None)],
                key: "producer_byte_rate".to_owned(),
                limit: None,
            },
        ];
        for record in later {
            let value = record.encode().unwrap();
            let refused = read_metadata_decision(Offset::new(7), Some(value)).unwrap_err();
            assert!(
                refused.to_string().contains("at offset 7: a rule, user or quota"),
                "{refused}"
            );
        }
    }
}
