//! Settings of topics and brokers: read and changed.

use std::collections::BTreeMap;

use brooklet_wire::message::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    describe_configs_request::DescribeConfigsResource,
    describe_configs_response::DescribeConfigsResourceResult,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    make,
};

use super::{Admin, check, incomplete};
use crate::client::Lane;
use crate::connection::Connection;
use crate::error::{ApiError, Code};
use brooklet_types::{BrokerId, ErrorCode};

/// Topics whose settings are asked for in one request.
const TOPICS_AT_ONCE: usize = 1000;

/// Whose settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A topic's.
    Topic(String),
    /// One broker's.
    Broker(BrokerId),
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingSource {
    /// Set on the topic.
    Topic,
    /// Set on this broker while it runs.
    Broker,
    /// Set for all brokers while they run.
    AllBrokers,
    /// Set in the broker's file.
    File,
    /// Nobody set it.
    Default,
    /// Something newer than this client.
    Other(i8),
}

/// One setting and its value.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value in effect; none for secrets.
    pub value: Option<String>,
    /// Who set it.
    pub source: SettingSource,
    /// Whether it cannot be changed while the broker runs.
    pub read_only: bool,
    /// What it does, where the broker says.
    pub documentation: Option<String>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Give it this value.
    Set(String, String),
    /// Go back to the default.
    Reset(String),
    /// Add to a list.
    Append(String, String),
    /// Take from a list.
    Subtract(String, String),
}

impl Admin {
    /// All settings of `resource`.
    pub async fn describe_settings(&self, resource: &Resource) -> Result<Vec<Setting>, ApiError> {
        let once = || async {
            let connection = self.connection_for(resource).await?;
            let documented = connection.version::<DescribeConfigsRequest>()? >= 3;
            let request = make::<DescribeConfigsRequest>(|request| {
                request.include_documentation = documented;
                request.resources = vec![make(|wire: &mut DescribeConfigsResource| {
                    (wire.resource_type, wire.resource_name) = resource.to_wire();
                    wire.configuration_keys = None;
                })];
            });
            let response = connection.call(&request).await?;
            let subject = resource.to_string();
            let result = response.results.first();
            let result = result
                .ok_or_else(|| incomplete::<DescribeConfigsRequest>(&connection, &subject))?;
            let (code, message) = (result.error_code, &result.error_message);
            check::<DescribeConfigsRequest>(&connection, subject, code, message)?;
            Ok(result.configs.iter().map(setting).collect())
        };
        self.client.retry_known(once).await
    }

    /// One setting of many topics, by topic. Topics that are gone, and such as have no such setting, are left out.
    ///
    /// # Errors
    /// If the broker refuses for another reason, of any topic.
    pub async fn setting_of_topics(
        &self,
        topics: &[String],
        name: &str,
    ) -> Result<BTreeMap<String, Option<String>>, ApiError> {
        let mut found = BTreeMap::new();
        for topics in topics.chunks(TOPICS_AT_ONCE) {
            let topic = |topic: &String| {
                make(|wire: &mut DescribeConfigsResource| {
                    (wire.resource_type, wire.resource_name) =
                        Resource::Topic(topic.clone()).to_wire();
                    wire.configuration_keys = Some(vec![name.into()]);
                })
            };
            let request = make::<DescribeConfigsRequest>(|request| {
                request.resources = topics.iter().map(topic).collect();
            });
            found.extend(self.client.retry(|| self.setting_of_once(&request)).await?);
        }
        Ok(found)
    }

    async fn setting_of_once(
        &self,
        request: &DescribeConfigsRequest,
    ) -> Result<Vec<(String, Option<String>)>, ApiError> {
        let connection = self.client.any().await?;
        let response = connection.call(request).await?;
        let mut found = Vec::with_capacity(response.results.len());
        for result in &response.results {
            let topic = result.resource_name.to_string();
            if Code(result.error_code) == ErrorCode::UnknownTopicOrPartition {
                continue;
            }
            let (code, message) = (result.error_code, &result.error_message);
            check::<DescribeConfigsRequest>(&connection, format!("topic {topic}"), code, message)?;
            let value = result.configs.first().map(|one| setting(one).value);
            found.extend(value.map(|value| (topic, value)));
        }
        Ok(found)
    }

    /// Changes settings of `resource`, all or none.
    pub async fn alter_settings(
        &self,
        resource: &Resource,
        changes: &[Change],
        validate_only: bool,
    ) -> Result<(), ApiError> {
        let request = make::<IncrementalAlterConfigsRequest>(|request| {
            request.validate_only = validate_only;
            request.resources = vec![make(|wire: &mut AlterConfigsResource| {
                (wire.resource_type, wire.resource_name) = resource.to_wire();
                wire.configs = changes.iter().map(Change::to_wire).collect();
            })];
        });
        let once = || async {
            let connection = self.connection_for(resource).await?;
            let response = connection.call(&request).await?;
            let subject = resource.to_string();
            let result = response.responses.first();
            let result = result.ok_or_else(|| {
                incomplete::<IncrementalAlterConfigsRequest>(&connection, &subject)
            })?;
            let (code, message) = (result.error_code, &result.error_message);
            check::<IncrementalAlterConfigsRequest>(&connection, subject, code, message)
        };
        self.client.retry_known(once).await
    }

    /// A broker answers for its own settings only.
    async fn connection_for(&self, resource: &Resource) -> Result<Connection, ApiError> {
        match resource {
            Resource::Topic(_) => self.client.controller().await,
            Resource::Broker(id) => {
                // Asking for the controller is what makes the brokers known.
                self.client.controller().await?;
                self.client.broker(*id, &Lane::COMMON).await
            }
        }
    }
}

impl Resource {
    fn to_wire(&self) -> (i8, brooklet_wire::message::StrBytes) {
        match self {
            Resource::Topic(name) => (2, name.as_str().into()),
            Resource::Broker(id) => (4, id.to_string().into()),
        }
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Resource::Topic(name) => write!(formatter, "topic {name}"),
            Resource::Broker(id) => write!(formatter, "broker {id}"),
        }
    }
}

impl SettingSource {
    /// A word for it.
    pub fn name(self) -> String {
        match self {
            SettingSource::Topic => "topic".to_owned(),
            SettingSource::Broker => "broker".to_owned(),
            SettingSource::AllBrokers => "all-brokers".to_owned(),
            SettingSource::File => "file".to_owned(),
            SettingSource::Default => "default".to_owned(),
            SettingSource::Other(number) => format!("source-{number}"),
        }
    }

    fn from_wire(raw: i8) -> SettingSource {
        match raw {
            1 => SettingSource::Topic,
            2 => SettingSource::Broker,
            3 => SettingSource::AllBrokers,
            4 => SettingSource::File,
            5 => SettingSource::Default,
            other => SettingSource::Other(other),
        }
    }
}

impl Change {
    fn to_wire(&self) -> AlterableConfig {
        let (operation, name, value) = match self {
            Change::Set(name, value) => (0, name, Some(value)),
            Change::Reset(name) => (1, name, None),
            Change::Append(name, value) => (2, name, Some(value)),
            Change::Subtract(name, value) => (3, name, Some(value)),
        };
        make(|wire: &mut AlterableConfig| {
            wire.name = name.as_str().into();
            wire.config_operation = operation;
            wire.value = value.map(|value| value.as_str().into());
        })
    }
}

fn setting(wire: &DescribeConfigsResourceResult) -> Setting {
    Setting {
        name: wire.name.to_string(),
        value: wire.value.as_ref().map(ToString::to_string),
        source: SettingSource::from_wire(wire.config_source),
        read_only: wire.read_only,
        documentation: wire.documentation.as_ref().map(ToString::to_string),
    }
}
