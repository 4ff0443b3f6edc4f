//! Settings: DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.
//!
//! **Decides** what cannot be asked of `meta` at all: kinds of resources that this broker has none
//! of, and operations that Kafka does not know.

use brooklet_meta::Cluster;
use brooklet_meta::decide::setting::{
    Alteration, Operation as ChangeOf, Resource, alter_settings, replace_settings,
};
use brooklet_meta::record::SettingChange;
use brooklet_meta::setting::topic::PLUGINS;
use brooklet_types::{ErrorCode, Operation, ResourceType};
use brooklet_wire::message::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, StrBytes,
    alter_configs_response, incremental_alter_configs_response, make,
};

use super::plugins;
use crate::access::May;
use crate::context::Call;
use crate::translate::configs as translate;

/// A code and a text, as responses carry them.
type Outcome = (i16, Option<StrBytes>);

/// Answers DescribeConfigs.
pub(crate) async fn describe(
    call: &Call,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let cluster = call.cluster();
    let may = call.may(&cluster);
    let permitted = |kind, name: &str| permitted(&may, Operation::DescribeConfigs, kind, name);
    translate::describe(&request, &cluster, call.context.node, permitted)
}

/// Whether the client may do this with the settings of that resource.
fn permitted(may: &May<'_>, operation: Operation, kind: i8, name: &str) -> Result<(), ErrorCode> {
    match translate::protected(kind) {
        Some(ResourceType::Cluster) => may.need_cluster(operation),
        Some(resource) => may.need(operation, resource, name),
        // What nobody knows is refused for that.
        None => Ok(()),
    }
}

/// Answers IncrementalAlterConfigs.
pub(crate) async fn alter(
    call: &Call,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let may = call.may(&call.cluster());
    let asked = request.resources.iter().map(|resource| {
        let (kind, name) = (resource.resource_type, &resource.resource_name);
        permitted(&may, Operation::AlterConfigs, kind, name)?;
        let target = translate::resource(kind, name).ok_or(ErrorCode::InvalidRequest)?;
        let changes = resource.configs.iter().map(|config| {
            translate::alteration(&config.name, config.config_operation, config.value.as_deref())
        });
        let changes: Option<Vec<Alteration>> = changes.collect();
        Ok((target, changes.ok_or(ErrorCode::InvalidRequest)?))
    });
    let new_plugins = |change: &Alteration| match change.operation {
        ChangeOf::Set if change.name == PLUGINS => change.value.clone(),
        ChangeOf::Set | ChangeOf::Delete | ChangeOf::Append | ChangeOf::Subtract => None,
    };
    let (wanted, mut outcomes) = part(call, asked, new_plugins).await;
    let validate_only = request.validate_only;
    let decide = move |cluster: &Cluster| alter_settings(cluster, &wanted, validate_only);
    fill(call, &mut outcomes, call.change(decide).await);
    make(|response: &mut IncrementalAlterConfigsResponse| {
        for (resource, outcome) in request.resources.iter().zip(outcomes) {
            response.responses.push(make(
                |it: &mut incremental_alter_configs_response::AlterConfigsResourceResponse| {
                    (it.error_code, it.error_message) = outcome.unwrap_or_default();
                    it.resource_type = resource.resource_type;
                    it.resource_name = resource.resource_name.clone();
                },
            ));
        }
    })
}

/// Answers AlterConfigs.
pub(crate) async fn replace(call: &Call, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let may = call.may(&call.cluster());
    let asked = request.resources.iter().map(|resource| {
        let (kind, name) = (resource.resource_type, &resource.resource_name);
        permitted(&may, Operation::AlterConfigs, kind, name)?;
        let target = translate::resource(kind, name).ok_or(ErrorCode::InvalidRequest)?;
        let changes = resource
            .configs
            .iter()
            .map(|config| (config.name.to_string(), config.value.as_deref().map(str::to_owned)));
        Ok((target, changes.collect::<Vec<_>>()))
    });
    let new_plugins = |(name, value): &SettingChange| value.clone().filter(|_| name == PLUGINS);
    let (wanted, mut outcomes) = part(call, asked, new_plugins).await;
    let validate_only = request.validate_only;
    let decide = move |cluster: &Cluster| replace_settings(cluster, &wanted, validate_only);
    fill(call, &mut outcomes, call.change(decide).await);
    make(|response: &mut AlterConfigsResponse| {
        for (resource, outcome) in request.resources.iter().zip(outcomes) {
            response.responses.push(make(
                |it: &mut alter_configs_response::AlterConfigsResourceResponse| {
                    (it.error_code, it.error_message) = outcome.unwrap_or_default();
                    it.resource_type = resource.resource_type;
                    it.resource_name = resource.resource_name.clone();
                },
            ));
        }
    })
}

/// Parts what can be asked of `meta` from what is refused here. An outcome is `None` where the
/// answer is still to come.
async fn part<Change>(
    call: &Call,
    asked: impl Iterator<Item = Result<(Resource, Vec<Change>), ErrorCode>>,
    new_plugins: impl Fn(&Change) -> Option<String>,
) -> (Vec<(Resource, Vec<Change>)>, Vec<Option<Outcome>>) {
    let mut wanted = Vec::new();
    let mut outcomes = Vec::new();
    for asked in asked {
        let (resource, changes) = match asked {
            Ok(one) => one,
            Err(code) => {
                outcomes.push(Some((call.code(code), Some(code.message().into()))));
                continue;
            }
        };
        let usable = match (&resource, changes.iter().find_map(&new_plugins)) {
            (Resource::Topic(topic), Some(text)) => {
                plugins::check_changed(call, topic, &text).await
            }
            (Resource::Topic(_) | Resource::Broker(_), _) => Ok(()),
        };
        match usable {
            Ok(()) => {
                wanted.push((resource, changes));
                outcomes.push(None);
            }
            Err(problem) => {
                let message = format!("{PLUGINS}: {problem}");
                let code = call.code(ErrorCode::InvalidConfig);
                outcomes.push(Some((code, Some(message.into()))));
            }
        }
    }
    (wanted, outcomes)
}

fn fill(
    call: &Call,
    outcomes: &mut [Option<Outcome>],
    results: Result<Vec<Result<(), brooklet_meta::decide::setting::AlterError>>, ErrorCode>,
) {
    let open = outcomes.iter_mut().filter(|outcome| outcome.is_none());
    match results {
        Ok(results) => {
            for (outcome, result) in open.zip(&results) {
                *outcome = Some(translate::altered(result));
            }
        }
        Err(code) => {
            for outcome in open {
                *outcome = Some((call.code(code), Some(code.message().into())));
            }
        }
    }
}
