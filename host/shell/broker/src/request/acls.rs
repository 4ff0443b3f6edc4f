//! Rules about who may do what: DescribeAcls, CreateAcls, DeleteAcls.
//!
//! **Decides** what is answered where nobody asks for rules: that security is off. `meta` decides which rules there are.

use std::collections::BTreeMap;

use brooklet_meta::Cluster;
use brooklet_meta::decide::permission::{
    AclError, AclFilter, NewAcl, Removed, create_acls, delete_acls, matching,
};
use brooklet_types::{Acl, ErrorCode, Operation};
use brooklet_wire::message::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse,
    DescribeAclsRequest, DescribeAclsResponse, StrBytes, create_acls_request, create_acls_response,
    delete_acls_request, delete_acls_response, describe_acls_response, make,
};

use crate::context::Call;

/// Kafka's words for it.
const NO_AUTHORIZER: &str = "No Authorizer is configured.";

/// Why none is changed or described: a code and its text.
type Refused = (ErrorCode, &'static str);

/// Answers DescribeAcls; none if the request cannot be read.
pub(crate) async fn describe(
    call: &Call,
    request: DescribeAclsRequest,
) -> Option<DescribeAclsResponse> {
    let filter = AclFilter {
        resource: request.resource_type_filter,
        name: owned(&request.resource_name_filter),
        pattern: request.pattern_type_filter,
        principal: owned(&request.principal_filter),
        host: owned(&request.host_filter),
        operation: request.operation,
        permission: request.permission_type,
    };
    if filter.is_malformed() {
        return None;
    }
    let cluster = call.cluster();
    Some(match permitted(call, &cluster, Operation::Describe) {
        Ok(()) => described(matching(&cluster, &filter)),
        Err((code, message)) => make(|response: &mut DescribeAclsResponse| {
            response.error_code = call.code(code);
            response.error_message = Some(message.into());
        }),
    })
}

/// Answers CreateAcls; none if the request cannot be read.
pub(crate) async fn create(call: &Call, request: CreateAclsRequest) -> Option<CreateAclsResponse> {
    let wanted: Vec<NewAcl> = request.creations.iter().map(new_acl).collect();
    if wanted.iter().any(NewAcl::is_malformed) {
        return None;
    }
    let count = wanted.len();
    let results = match permitted(call, &call.cluster(), Operation::Alter) {
        Ok(()) => change(call, move |cluster| create_acls(cluster, &wanted)).await,
        Err((code, message)) => Err((code, message.to_owned())),
    };
    let lines: Vec<(i16, String)> = match results {
        Ok(results) => results.into_iter().map(|result| outcome(call, result)).collect(),
        Err((code, message)) => (0..count).map(|_| (call.code(code), message.clone())).collect(),
    };
    let line = |(code, message): (i16, String)| {
        make(|it: &mut create_acls_response::AclCreationResult| {
            it.error_code = code;
            it.error_message = Some(message.into());
        })
    };
    Some(make(|response: &mut CreateAclsResponse| {
        response.results = lines.into_iter().map(line).collect();
    }))
}

/// Answers DeleteAcls; none if the request cannot be read.
pub(crate) async fn delete(call: &Call, request: DeleteAclsRequest) -> Option<DeleteAclsResponse> {
    let filters: Vec<AclFilter> = request.filters.iter().map(filter_of).collect();
    if filters.iter().any(AclFilter::is_malformed) {
        return None;
    }
    let count = filters.len();
    let results = match permitted(call, &call.cluster(), Operation::Alter) {
        Ok(()) => change(call, move |cluster| delete_acls(cluster, &filters)).await,
        Err((code, message)) => Err((code, message.to_owned())),
    };
    let lines: Vec<delete_acls_response::DeleteAclsFilterResult> = match results {
        Ok(results) => results.into_iter().map(|removed| filter_result(call, removed)).collect(),
        Err((code, message)) => {
            (0..count).map(|_| refused_filter(call.code(code), &message)).collect()
        }
    };
    Some(make(|response: &mut DeleteAclsResponse| response.filter_results = lines))
}

/// Whether there are rules at all here, and the client may do this with them.
fn permitted(call: &Call, cluster: &Cluster, operation: Operation) -> Result<(), Refused> {
    if !call.context.access.is_on() {
        return Err((ErrorCode::SecurityDisabled, NO_AUTHORIZER));
    }
    let permitted = call.may(cluster).need_cluster(operation);
    permitted.map_err(|code| (code, code.message()))
}

type Decided<Reply> = Result<brooklet_meta::Decision<Reply>, AclError>;

/// Changes the rules: all that were asked for, or none.
async fn change<Reply: Send + 'static>(
    call: &Call,
    decide: impl FnOnce(&Cluster) -> Decided<Reply> + Send + 'static,
) -> Result<Reply, (ErrorCode, String)> {
    let decide = move |cluster: &Cluster| match decide(cluster) {
        Ok(decision) => {
            brooklet_meta::Decision { records: decision.records, reply: Ok(decision.reply) }
        }
        Err(error) => brooklet_meta::Decision { records: Vec::new(), reply: Err(error) },
    };
    match call.change(decide).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) => Err((error.code(), error.to_string())),
        Err(code) => Err((code, code.message().to_owned())),
    }
}

fn outcome(call: &Call, result: Result<(), AclError>) -> (i16, String) {
    match result {
        Ok(()) => (0, String::new()),
        Err(error) => (call.code(error.code()), error.to_string()),
    }
}

fn filter_result(call: &Call, removed: Removed) -> delete_acls_response::DeleteAclsFilterResult {
    match removed {
        Ok(acls) => make(|it: &mut delete_acls_response::DeleteAclsFilterResult| {
            // Kafka's word for "no error" is none here, and an empty text where rules are created.
            it.error_message = None;
            it.matching_acls = acls.iter().map(removed_acl).collect();
        }),
        Err(error) => refused_filter(call.code(error.code()), &error.to_string()),
    }
}

fn refused_filter(code: i16, message: &str) -> delete_acls_response::DeleteAclsFilterResult {
    make(|it: &mut delete_acls_response::DeleteAclsFilterResult| {
        it.error_code = code;
        it.error_message = Some(message.into());
    })
}

fn removed_acl(acl: &Acl) -> delete_acls_response::DeleteAclsMatchingAcl {
    make(|it: &mut delete_acls_response::DeleteAclsMatchingAcl| {
        it.error_message = None;
        it.resource_type = acl.resource.to_wire();
        it.resource_name = acl.name.as_str().into();
        it.pattern_type = acl.pattern.to_wire();
        it.principal = acl.principal.as_str().into();
        it.host = acl.host.as_str().into();
        it.operation = acl.operation.to_wire();
        it.permission_type = acl.permission.to_wire();
    })
}

/// Rules by what they protect.
fn described<'a>(acls: impl Iterator<Item = &'a Acl>) -> DescribeAclsResponse {
    let mut resources: BTreeMap<_, describe_acls_response::DescribeAclsResource> = BTreeMap::new();
    for acl in acls {
        let resource = resources.entry((acl.resource, acl.pattern, &acl.name));
        let resource = resource.or_insert_with(|| {
            make(|it: &mut describe_acls_response::DescribeAclsResource| {
                it.resource_type = acl.resource.to_wire();
                it.resource_name = acl.name.as_str().into();
                it.pattern_type = acl.pattern.to_wire();
            })
        });
        resource.acls.push(make(|it: &mut describe_acls_response::AclDescription| {
            it.principal = acl.principal.as_str().into();
            it.host = acl.host.as_str().into();
            it.operation = acl.operation.to_wire();
            it.permission_type = acl.permission.to_wire();
        }));
    }
    make(|response: &mut DescribeAclsResponse| {
        response.error_message = Some(StrBytes::default());
        response.resources = resources.into_values().collect();
    })
}

fn new_acl(wanted: &create_acls_request::AclCreation) -> NewAcl {
    NewAcl {
        resource: wanted.resource_type,
        name: wanted.resource_name.to_string(),
        pattern: wanted.resource_pattern_type,
        principal: wanted.principal.to_string(),
        host: wanted.host.to_string(),
        operation: wanted.operation,
        permission: wanted.permission_type,
    }
}

fn filter_of(filter: &delete_acls_request::DeleteAclsFilter) -> AclFilter {
    AclFilter {
        resource: filter.resource_type_filter,
        name: owned(&filter.resource_name_filter),
        pattern: filter.pattern_type_filter,
        principal: owned(&filter.principal_filter),
        host: owned(&filter.host_filter),
        operation: filter.operation,
        permission: filter.permission_type,
    }
}

fn owned(text: &Option<StrBytes>) -> Option<String> {
    text.as_ref().map(ToString::to_string)
}
