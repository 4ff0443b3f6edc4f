//! Quotas: how much users, clients and addresses may take. Set, listed, taken away (KIP-546).

use brooklet_types::{QuotaEntity, QuotaKey, QuotaName};
use brooklet_wire::message::{
    AlterClientQuotasRequest, DescribeClientQuotasRequest, alter_client_quotas_request as alter,
    describe_client_quotas_request::ComponentData,
    describe_client_quotas_response::{EntityData, EntryData},
    make,
};

use super::{Admin, check, incomplete};
use crate::error::ApiError;

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";

/// The wire's number for "of this name".
const EXACTLY: i8 = 0;
/// The wire's number for "the default".
const DEFAULT: i8 = 1;

/// Somebody's limits.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientQuota {
    /// Whose.
    pub entity: QuotaEntity,
    /// What is limited, and to how much.
    pub limits: Vec<(QuotaKey, f64)>,
}

/// Whose quotas are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaFilter {
    /// Of exactly this one; everybody's if it is none.
    pub entity: Option<QuotaEntity>,
}

impl Admin {
    /// The quotas that `filter` means, by whose they are. Those that this client has no words for are left out.
    pub async fn quotas(&self, filter: &QuotaFilter) -> Result<Vec<ClientQuota>, ApiError> {
        type Request = DescribeClientQuotasRequest;
        let request = make::<Request>(|request| {
            // With strictness it is only about those who have no other kinds.
            request.strict = filter.entity.is_some();
            request.components = filter.entity.iter().flat_map(components).collect();
        });
        let once = || async {
            let connection = self.client.any().await?;
            let response = connection.call(&request).await?;
            let (code, message) = (response.error_code, &response.error_message);
            check::<Request>(&connection, "quotas", code, message)?;
            Ok(response.entries.unwrap_or_default())
        };
        let entries = self.client.retry(once).await?;
        let mut quotas: Vec<ClientQuota> = entries.iter().filter_map(read).collect();
        quotas.sort_by(|one, other| one.entity.cmp(&other.entity));
        Ok(quotas)
    }

    /// Sets a limit, or takes it away.
    pub async fn set_quota(
        &self,
        entity: &QuotaEntity,
        key: QuotaKey,
        limit: Option<f64>,
    ) -> Result<(), ApiError> {
        type Request = AlterClientQuotasRequest;
        let request = make::<Request>(|request| {
            request.entries = vec![make(|entry: &mut alter::EntryData| {
                entry.entity = parts(entity)
                    .into_iter()
                    .map(|(kind, name)| {
                        make(|part: &mut alter::EntityData| {
                            part.entity_type = kind.into();
                            part.entity_name = exact(name).map(Into::into);
                        })
                    })
                    .collect();
                entry.ops = vec![make(|op: &mut alter::OpData| {
                    op.key = key.name().into();
                    op.value = limit.unwrap_or_default();
                    op.remove = limit.is_none();
                })];
            })];
        });
        let once = || async {
            let connection = self.client.controller().await?;
            let response = connection.call(&request).await?;
            let entry = response.entries.first();
            let entry = entry.ok_or_else(|| incomplete::<Request>(&connection, key.name()))?;
            check::<Request>(&connection, key.name(), entry.error_code, &entry.error_message)
        };
        self.client.retry(once).await
    }
}

/// An entity's kinds and names.
fn parts(entity: &QuotaEntity) -> Vec<(&'static str, &QuotaName)> {
    match entity {
        QuotaEntity::User(user) => vec![(USER, user)],
        QuotaEntity::ClientId(client) => vec![(CLIENT_ID, client)],
        QuotaEntity::UserClientId(user, client) => vec![(USER, user), (CLIENT_ID, client)],
        QuotaEntity::Ip(ip) => vec![(IP, ip)],
    }
}

fn exact(name: &QuotaName) -> Option<&str> {
    match name {
        QuotaName::Default => None,
        QuotaName::Exactly(name) => Some(name),
    }
}

fn components(entity: &QuotaEntity) -> Vec<ComponentData> {
    let component = |(kind, name): (&'static str, &QuotaName)| {
        make(|component: &mut ComponentData| {
            component.entity_type = kind.into();
            component.match_type = if exact(name).is_some() { EXACTLY } else { DEFAULT };
            component.match_ = exact(name).map(Into::into);
        })
    };
    parts(entity).into_iter().map(component).collect()
}

fn read(entry: &EntryData) -> Option<ClientQuota> {
    let (mut user, mut client, mut ip) = (None, None, None);
    for EntityData { entity_type, entity_name, .. } in &entry.entity {
        let name = match entity_name {
            None => QuotaName::Default,
            Some(name) => QuotaName::Exactly(name.to_string()),
        };
        match &**entity_type {
            USER => user = Some(name),
            CLIENT_ID => client = Some(name),
            IP => ip = Some(name),
            _ => return None,
        }
    }
    let entity = match (user, client, ip) {
        (Some(user), Some(client), None) => QuotaEntity::UserClientId(user, client),
        (Some(user), None, None) => QuotaEntity::User(user),
        (None, Some(client), None) => QuotaEntity::ClientId(client),
        (None, None, Some(ip)) => QuotaEntity::Ip(ip),
        _ => return None,
    };
    let limits = entry.values.iter();
    let limits = limits.filter_map(|it| Some((QuotaKey::from_name(&it.key)?, it.value)));
    Some(ClientQuota { entity, limits: limits.collect() })
}
