//! Quotas: DescribeClientQuotas, AlterClientQuotas (KIP-546).
//!
//! **Decides** nothing: `meta` says which quotas there may be, `auth` what they come to.

use brooklet_meta::Cluster;
use brooklet_meta::decide::quota::{
    EntityParts, QuotaAlteration, QuotaCondition, QuotaError, alter_quotas, describe_quotas, names,
};
use brooklet_types::{ErrorCode, Operation, QuotaName};
use brooklet_wire::message::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse, StrBytes, alter_client_quotas_request as alter_request,
    alter_client_quotas_response as alter_response,
    describe_client_quotas_response as describe_response, make,
};

use crate::context::Call;

/// Answers DescribeClientQuotas.
pub(crate) async fn describe(
    call: &Call,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let cluster = call.cluster();
    let refused = |code: ErrorCode, message: Option<String>| {
        make(|response: &mut DescribeClientQuotasResponse| {
            response.error_code = call.code(code);
            response.error_message = message.map(Into::into);
            response.entries = None;
        })
    };
    if let Err(code) = call.may(&cluster).need_cluster(Operation::DescribeConfigs) {
        return refused(code, None);
    }
    let conditions = request.components.iter().map(|component| QuotaCondition {
        kind: component.entity_type.to_string(),
        match_type: component.match_type,
        name: component.match_.as_ref().map(ToString::to_string),
    });
    let conditions: Vec<QuotaCondition> = conditions.collect();
    let described = match describe_quotas(&cluster, &conditions, request.strict) {
        Ok(described) => described,
        Err(error) => return refused(error.code(), Some(error.to_string())),
    };
    let entries = described.into_iter().map(|(entity, limits)| {
        make(|entry: &mut describe_response::EntryData| {
            entry.entity = names(entity).into_iter().map(described_part).collect();
            entry.entity.sort_by_key(|part| rank(&part.entity_type));
            entry.values = limits
                .iter()
                .map(|(key, limit)| {
                    make(|value: &mut describe_response::ValueData| {
                        value.key = key.name().into();
                        value.value = limit.get();
                    })
                })
                .collect();
        })
    });
    let entries = entries.collect();
    make(|response: &mut DescribeClientQuotasResponse| response.entries = Some(entries))
}

fn described_part((kind, name): (&'static str, &QuotaName)) -> describe_response::EntityData {
    make(|part: &mut describe_response::EntityData| {
        part.entity_type = kind.into();
        part.entity_name = match name {
            QuotaName::Default => None,
            QuotaName::Exactly(name) => Some(name.as_str().into()),
        };
    })
}

/// Answers AlterClientQuotas.
pub(crate) async fn alter(
    call: &Call,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let alterations: Vec<QuotaAlteration> = request.entries.iter().map(alteration).collect();
    let asked: Vec<EntityParts> = alterations.iter().map(|it| it.entity.clone()).collect();
    let validate_only = request.validate_only;
    let decide = move |cluster: &Cluster| alter_quotas(cluster, &alterations, validate_only);
    let altered = match call.may(&call.cluster()).need_cluster(Operation::AlterConfigs) {
        Ok(()) => call.change(decide).await,
        Err(code) => Err(code),
    };
    let entries = match altered {
        Ok(altered) => altered.into_iter().map(|it| altered_entry(call, it)).collect(),
        Err(code) => asked
            .into_iter()
            .map(|parts| entry(parts, call.code(code), Some(code.message().to_owned())))
            .collect(),
    };
    make(|response: &mut AlterClientQuotasResponse| response.entries = entries)
}

fn altered_entry(
    call: &Call,
    (parts, result): (EntityParts, Result<(), QuotaError>),
) -> alter_response::EntryData {
    match result {
        Ok(()) => entry(parts, 0, None),
        Err(error) => entry(parts, call.code(error.code()), Some(error.to_string())),
    }
}

/// Where Kafka tells of an entity's kind: the order of a hash.
fn rank(kind: &str) -> usize {
    const KINDS: [&str; 3] = ["client-id", "user", "ip"];
    KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len())
}

fn entry(parts: EntityParts, code: i16, message: Option<String>) -> alter_response::EntryData {
    make(|entry: &mut alter_response::EntryData| {
        entry.error_code = code;
        entry.error_message = message.map(StrBytes::from);
        let part = |(kind, name): (String, Option<String>)| {
            make(|part: &mut alter_response::EntityData| {
                part.entity_type = kind.into();
                part.entity_name = name.map(Into::into);
            })
        };
        entry.entity = parts.into_iter().map(part).collect();
        entry.entity.sort_by_key(|part| rank(&part.entity_type));
    })
}

fn alteration(entry: &alter_request::EntryData) -> QuotaAlteration {
    let part = |part: &alter_request::EntityData| {
        (part.entity_type.to_string(), part.entity_name.as_ref().map(ToString::to_string))
    };
    let change =
        |op: &alter_request::OpData| (op.key.to_string(), (!op.remove).then_some(op.value));
    QuotaAlteration {
        entity: entry.entity.iter().map(part).collect(),
        changes: entry.ops.iter().map(change).collect(),
    }
}
