//! Which quota holds for whom.

use std::collections::BTreeMap;

use brooklet_types::{QuotaEntity, QuotaKey, QuotaName};

use super::Taker;

/// Quotas by what is limited and for whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuotaTable {
    limits: BTreeMap<QuotaKey, BTreeMap<QuotaEntity, f64>>,
}

/// Whose takings are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    User(String),
    ClientId(String),
    UserClientId(String, String),
    Ip(String),
}

impl<'a> FromIterator<(&'a QuotaEntity, QuotaKey, f64)> for QuotaTable {
    fn from_iter<T: IntoIterator<Item = (&'a QuotaEntity, QuotaKey, f64)>>(
        quotas: T,
    ) -> QuotaTable {
        let mut table = QuotaTable::default();
        // What is not above zero limits nothing: the metadata has no such quota.
        for (entity, key, limit) in quotas.into_iter().filter(|(_, _, limit)| *limit > 0.0) {
            table.limits.entry(key).or_default().insert(entity.clone(), limit);
        }
        table
    }
}

impl QuotaTable {
    /// The quota of `taker` and who shares it. The first that is set of: the user with the client id, the user
    /// with any, the user; any user with the client id, any user with any, any user; the client id, any client id.
    /// Who falls under a default has one to themselves.
    pub(super) fn find(&self, key: QuotaKey, taker: Taker<'_>) -> Option<(Whose, f64)> {
        use QuotaEntity::{ClientId, User, UserClientId};
        use QuotaName::{Default, Exactly};
        let limits = self.limits.get(&key).filter(|limits| !limits.is_empty())?;
        let limit = |entity: QuotaEntity| limits.get(&entity).copied();
        let user = || Exactly(taker.user.to_owned());
        let client = || Exactly(taker.client_id.to_owned());
        let pair = || Whose::UserClientId(taker.user.to_owned(), taker.client_id.to_owned());
        let of_user = || Whose::User(taker.user.to_owned());
        let of_client = || Whose::ClientId(taker.client_id.to_owned());
        let find = |entity: QuotaEntity, whose: &dyn Fn() -> Whose| {
            limit(entity).map(|limit| (whose(), limit))
        };
        find(UserClientId(user(), client()), &pair)
            .or_else(|| find(UserClientId(user(), Default), &pair))
            .or_else(|| find(User(user()), &of_user))
            .or_else(|| find(UserClientId(Default, client()), &pair))
            .or_else(|| find(UserClientId(Default, Default), &pair))
            .or_else(|| find(User(Default), &of_user))
            .or_else(|| find(ClientId(client()), &of_client))
            .or_else(|| find(ClientId(Default), &of_client))
    }

    /// The quota of connections from `address`.
    pub(super) fn find_ip(&self, address: &str) -> Option<(Whose, f64)> {
        let limits = self.limits.get(&QuotaKey::ConnectionCreationRate)?;
        let own = limits.get(&QuotaEntity::Ip(QuotaName::Exactly(address.to_owned())));
        let limit = own.or_else(|| limits.get(&QuotaEntity::Ip(QuotaName::Default)))?;
        Some((Whose::Ip(address.to_owned()), *limit))
    }
}
