//! `brooklet acl`: create, list, delete.

use brooklet_client::Admin;
use brooklet_client::admin::{AclFilter, NamePattern};
use brooklet_types::permission::{CLUSTER_NAME, WILDCARD};
use brooklet_types::{Acl, Operation, PatternType, Permission, ResourceType};
use clap::Subcommand;
use serde_json::json;

use crate::Context;
use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Create rules: one for each operation
    Create {
        #[command(flatten)]
        resource: Resource,
        /// Who: a user's name, or User:NAME; User:* is everybody
        #[arg(long, value_parser = principal)]
        principal: String,
        /// From where; every address unless said
        #[arg(long, default_value = WILDCARD, value_name = "ADDRESS")]
        host: String,
        /// What: read, write, create, delete, alter, describe, describe-configs, alter-configs, …, or all
        #[arg(long, required = true, value_delimiter = ',', value_parser = operation)]
        operation: Vec<Operation>,
        /// Forbid, whatever other rules allow
        #[arg(long)]
        deny: bool,
    },
    /// List rules, those about a resource if one is given
    List {
        #[command(flatten)]
        resource: Resource,
        /// Only those about this user
        #[arg(long, value_parser = principal)]
        principal: Option<String>,
    },
    /// Delete the rules that are about exactly this
    Delete {
        #[command(flatten)]
        resource: Resource,
        /// Only those about this user
        #[arg(long, value_parser = principal)]
        principal: Option<String>,
        /// Only those for this address
        #[arg(long, value_name = "ADDRESS")]
        host: Option<String>,
        /// Only those about this operation
        #[arg(long, value_parser = operation)]
        operation: Option<Operation>,
        /// All rules there are
        #[arg(long, conflicts_with_all = ["topic", "group", "transactional_id", "cluster"])]
        all: bool,
    },
}

/// What is protected.
#[derive(clap::Args)]
struct Resource {
    /// A topic; * is every topic
    #[arg(long, group = "what")]
    topic: Option<String>,
    /// A group of consumers; * is every group
    #[arg(long, group = "what")]
    group: Option<String>,
    /// A transactional id; * is every one
    #[arg(long, group = "what", value_name = "ID")]
    transactional_id: Option<String>,
    /// The cluster itself
    #[arg(long, group = "what")]
    cluster: bool,
    /// The name is what names begin with
    #[arg(long, requires = "what", conflicts_with = "cluster")]
    prefix: bool,
}

impl Resource {
    /// Kind, pattern and name; none if none was given.
    fn named(self) -> Option<(ResourceType, PatternType, String)> {
        let pattern = if self.prefix { PatternType::Prefixed } else { PatternType::Literal };
        let named = [
            (ResourceType::Topic, self.topic),
            (ResourceType::Group, self.group),
            (ResourceType::TransactionalId, self.transactional_id),
            (ResourceType::Cluster, self.cluster.then(|| CLUSTER_NAME.to_owned())),
        ];
        let mut named = named.into_iter().filter_map(|(kind, name)| Some((kind, pattern, name?)));
        named.next()
    }
}

/// Carries out one of the verbs.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    let admin = Admin::new(context.client());
    match arguments.verb {
        Verb::Create { resource, principal, host, operation, deny } => {
            let Some((resource, pattern, name)) = resource.named() else {
                return Err(Failure::usage(
                    "give --topic, --group, --transactional-id or --cluster",
                ));
            };
            let permission = if deny { Permission::Deny } else { Permission::Allow };
            for operation in operation {
                let (name, principal, host) = (name.clone(), principal.clone(), host.clone());
                let acl = Acl { resource, pattern, name, principal, host, operation, permission };
                admin.create_acl(&acl).await?;
                context.say(&shown(&acl), "created")?;
            }
            Ok(())
        }
        Verb::List { resource, principal } => {
            let filter = AclFilter { principal, ..about(resource, NamePattern::Matching) };
            for acl in admin.acls(&filter).await? {
                tell(context, &acl)?;
            }
            Ok(())
        }
        Verb::Delete { resource, principal, host, operation, all } => {
            let filter =
                AclFilter { principal, host, operation, ..about(resource, NamePattern::Any) };
            if filter == AclFilter::default() && !all {
                let hint = "name what they are about or for whom, or give --all";
                return Err(Failure::usage("this would delete all rules").hint(hint));
            }
            for acl in admin.delete_acls(&filter).await? {
                context.say(&shown(&acl), "deleted")?;
            }
            Ok(())
        }
    }
}

/// A filter for the rules about a resource; `loosely` where it names no prefix.
fn about(resource: Resource, loosely: NamePattern) -> AclFilter {
    let Some((resource, pattern, name)) = resource.named() else { return AclFilter::default() };
    let pattern = match (loosely, pattern) {
        (NamePattern::Matching, PatternType::Literal) => NamePattern::Matching,
        (_, pattern) => NamePattern::Of(pattern),
    };
    AclFilter { resource: Some(resource), pattern, name: Some(name), ..AclFilter::default() }
}

fn tell(context: &mut Context, acl: &Acl) -> Result<(), Failure> {
    if !context.is_json() {
        return context.output.line(&shown(acl));
    }
    let value = json!({
        "resource": acl.resource.name(),
        "pattern": acl.pattern.name(),
        "name": acl.name,
        "principal": acl.principal,
        "host": acl.host,
        "operation": acl.operation.name(),
        "permission": acl.permission.name(),
    });
    context.output.json(&value)
}

/// `ALLOW User:ada READ TOPIC flights`, with `…` behind a prefix and the host if it is not every one.
fn shown(acl: &Acl) -> String {
    let Acl { resource, name, principal, operation, permission, .. } = acl;
    let more = if acl.pattern == PatternType::Prefixed { "…" } else { "" };
    let from = if acl.host == WILDCARD { String::new() } else { format!(" from {}", acl.host) };
    format!("{permission} {principal} {operation} {resource} {name}{more}{from}")
}

/// `ada`, or `User:ada`.
fn principal(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some(("", _)) | Some((_, "")) => Err(format!("{text:?} is not KIND:NAME")),
        Some(_) => Ok(text.to_owned()),
        None if text.is_empty() => Err("a user has a name".to_owned()),
        None => Ok(format!("User:{text}")),
    }
}

/// Kafka's name of an operation, in any case, with `-` or `_`.
fn operation(text: &str) -> Result<Operation, String> {
    let name = text.to_uppercase().replace('-', "_");
    let known = Operation::ALL.iter().find(|it| it.name() == name);
    known.copied().ok_or_else(|| {
        let names: Vec<_> = Operation::ALL.iter().map(|it| it.name().to_lowercase()).collect();
        format!("there are {}", names.join(", ").replace('_', "-"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_shown_in_one_line_and_its_words_are_read_back() {
        let acl = Acl {
            resource: ResourceType::Topic,
            pattern: PatternType::Prefixed,
            name: "flights".to_owned(),
            principal: principal("ada").unwrap(),
            host: "10.0.0.1".to_owned(),
            operation: operation("describe-configs").unwrap(),
            permission: Permission::Deny,
        };
        assert_eq!(shown(&acl), "DENY User:ada DESCRIBE_CONFIGS TOPIC flights… from 10.0.0.1");
        assert_eq!(principal("User:*").unwrap(), "User:*");
        assert!(
            principal(":ada").is_err() && principal("").is_err() && principal("User:").is_err()
        );
        assert!(operation("reed").unwrap_err().contains("read, write"));
    }
}
