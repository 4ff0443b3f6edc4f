//! Rules about who may do what: created, listed, deleted.
//!
//! Each creation and each deletion is one request, tried again while that helps: a rule that is there already is as good as
//! created, and one that is gone as good as deleted.

use brooklet_types::{Acl, Operation, PatternType, Permission, ResourceType};
use brooklet_wire::message::{
    CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest, StrBytes,
    create_acls_request::AclCreation, delete_acls_request::DeleteAclsFilter,
    delete_acls_response::DeleteAclsMatchingAcl, describe_acls_response::DescribeAclsResource,
    make,
};

use super::{Admin, check, incomplete};
use crate::error::ApiError;

/// The wire's number for "any".
const ANY: i8 = 1;
/// The wire's number for "every pattern that matches the name".
const MATCH: i8 = 2;

/// Which rules are meant; what is none matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AclFilter {
    /// The kind of resource.
    pub resource: Option<ResourceType>,
    /// How the rule's name is meant.
    pub pattern: NamePattern,
    /// The name.
    pub name: Option<String>,
    /// `User:name`.
    pub principal: Option<String>,
    /// An address as text.
    pub host: Option<String>,
    /// What is done.
    pub operation: Option<Operation>,
    /// Whether it may be.
    pub permission: Option<Permission>,
}

/// How a filter's name is compared with those of rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamePattern {
    /// With the names of all rules, as they are written.
    #[default]
    Any,
    /// As the name of a resource: every rule about it.
    Matching,
    /// With those of rules of that pattern, as they are written.
    Of(PatternType),
}

impl NamePattern {
    fn to_wire(self) -> i8 {
        match self {
            NamePattern::Any => ANY,
            NamePattern::Matching => MATCH,
            NamePattern::Of(pattern) => pattern.to_wire(),
        }
    }
}

impl Admin {
    /// The rules that `filter` matches. Those that this client does not know the words of are left out.
    pub async fn acls(&self, filter: &AclFilter) -> Result<Vec<Acl>, ApiError> {
        let request = make::<DescribeAclsRequest>(|request| {
            request.resource_type_filter = filter.resource.map_or(ANY, ResourceType::to_wire);
            request.resource_name_filter = wire(&filter.name);
            request.pattern_type_filter = filter.pattern.to_wire();
            request.principal_filter = wire(&filter.principal);
            request.host_filter = wire(&filter.host);
            request.operation = filter.operation.map_or(ANY, Operation::to_wire);
            request.permission_type = filter.permission.map_or(ANY, Permission::to_wire);
        });
        let once = || async {
            let connection = self.client.any().await?;
            let response = connection.call(&request).await?;
            let message = &response.error_message;
            check::<DescribeAclsRequest>(&connection, "ACLs", response.error_code, message)?;
            Ok(response.resources)
        };
        let resources = self.client.retry(once).await?;
        Ok(resources.iter().flat_map(described).collect())
    }

    /// Creates a rule.
    pub async fn create_acl(&self, acl: &Acl) -> Result<(), ApiError> {
        let request = make::<CreateAclsRequest>(|request| {
            request.creations = vec![make(|it: &mut AclCreation| {
                it.resource_type = acl.resource.to_wire();
                it.resource_name = acl.name.as_str().into();
                it.resource_pattern_type = acl.pattern.to_wire();
                it.principal = acl.principal.as_str().into();
                it.host = acl.host.as_str().into();
                it.operation = acl.operation.to_wire();
                it.permission_type = acl.permission.to_wire();
            })];
        });
        let subject = format!("ACL of {} {}", acl.resource, acl.name);
        let once = || async {
            let connection = self.client.controller().await?;
            let response = connection.call(&request).await?;
            let result = response.results.first();
            let result =
                result.ok_or_else(|| incomplete::<CreateAclsRequest>(&connection, &subject))?;
            let (code, message) = (result.error_code, &result.error_message);
            check::<CreateAclsRequest>(&connection, &subject, code, message)
        };
        self.client.retry(once).await
    }

    /// Deletes the rules that `filter` matches, and hands them back.
    pub async fn delete_acls(&self, filter: &AclFilter) -> Result<Vec<Acl>, ApiError> {
        let request = make::<DeleteAclsRequest>(|request| {
            request.filters = vec![make(|it: &mut DeleteAclsFilter| {
                it.resource_type_filter = filter.resource.map_or(ANY, ResourceType::to_wire);
                it.resource_name_filter = wire(&filter.name);
                it.pattern_type_filter = filter.pattern.to_wire();
                it.principal_filter = wire(&filter.principal);
                it.host_filter = wire(&filter.host);
                it.operation = filter.operation.map_or(ANY, Operation::to_wire);
                it.permission_type = filter.permission.map_or(ANY, Permission::to_wire);
            })];
        });
        let once = || async {
            let connection = self.client.controller().await?;
            let response = connection.call(&request).await?;
            let result = response.filter_results.into_iter().next();
            let result =
                result.ok_or_else(|| incomplete::<DeleteAclsRequest>(&connection, "ACLs"))?;
            let (code, message) = (result.error_code, &result.error_message);
            check::<DeleteAclsRequest>(&connection, "ACLs", code, message)?;
            for acl in &result.matching_acls {
                let subject = format!("ACL of {}", acl.resource_name);
                let (code, message) = (acl.error_code, &acl.error_message);
                check::<DeleteAclsRequest>(&connection, subject, code, message)?;
            }
            Ok(result.matching_acls)
        };
        let deleted = self.client.retry(once).await?;
        Ok(deleted.iter().filter_map(removed).collect())
    }
}

fn wire(text: &Option<String>) -> Option<StrBytes> {
    text.as_deref().map(StrBytes::from)
}

fn described(resource: &DescribeAclsResource) -> impl Iterator<Item = Acl> {
    resource.acls.iter().filter_map(|acl| {
        Some(Acl {
            resource: ResourceType::from_wire(resource.resource_type)?,
            pattern: PatternType::from_wire(resource.pattern_type)?,
            name: resource.resource_name.to_string(),
            principal: acl.principal.to_string(),
            host: acl.host.to_string(),
            operation: Operation::from_wire(acl.operation)?,
            permission: Permission::from_wire(acl.permission_type)?,
        })
    })
}

fn removed(acl: &DeleteAclsMatchingAcl) -> Option<Acl> {
    Some(Acl {
        resource: ResourceType::from_wire(acl.resource_type)?,
        pattern: PatternType::from_wire(acl.pattern_type)?,
        name: acl.resource_name.to_string(),
        principal: acl.principal.to_string(),
        host: acl.host.to_string(),
        operation: Operation::from_wire(acl.operation)?,
        permission: Permission::from_wire(acl.permission_type)?,
    })
}
