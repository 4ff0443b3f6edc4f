//! Sources and sinks for those who run connectors.

use std::sync::{Arc, Weak};

use brooklet_hook::Answer;
use brooklet_hook::task::{
    ConnectorClass, Direction, SinkTask, SourceTask, Split, TaskError, TaskErrorKind, TaskSpec,
    Tasks,
};

use crate::bind::sink::SinkPlugin;
use crate::bind::source::SourcePlugin;
use crate::error::{Failure, UseError};
use crate::grant::Grants;
use crate::library::{Image, Installed};
use crate::limits::LimitsSpec;
use crate::manifest::{Role, check_config};
use crate::plugins::Plugins;
use crate::role;
use crate::role::sink::Sink;
use crate::role::source::Source;
use crate::room::Room;
use crate::spec::{BindingSpec, OnFailure};

/// Whether a task runs what is in use, with what is granted.
#[derive(Debug)]
pub(crate) struct Freshness {
    plugins: Weak<Plugins>,
    plugin: String,
    digest: String,
    grants: Grants,
}

impl Freshness {
    pub(crate) fn is_outdated(&self) -> bool {
        let Some(plugins) = self.plugins.upgrade() else { return false };
        // One that is gone is not replaced by anything.
        plugins
            .library()
            .get(&self.plugin)
            .is_ok_and(|it| it.current.digest != self.digest || it.grants != self.grants)
    }
}

impl From<Failure> for TaskError {
    fn from(failure: Failure) -> TaskError {
        let kind = match &failure {
            Failure::Retriable { after, .. } => TaskErrorKind::Retry(*after),
            Failure::BadInput(_) => TaskErrorKind::BadInput,
            Failure::Config(_) | Failure::Denied(_) | Failure::Stopped(_) => TaskErrorKind::Person,
            Failure::Trap(_)
            | Failure::Timeout(_)
            | Failure::Memory(_)
            | Failure::Output { .. }
            | Failure::Wrong(_)
            | Failure::Fatal(_)
            | Failure::Busy(_)
            | Failure::Unusable(_) => TaskErrorKind::Restart,
        };
        TaskError { kind, message: failure.to_string() }
    }
}

fn person(error: &UseError) -> TaskError {
    TaskError { kind: TaskErrorKind::Person, message: error.to_string() }
}

/// All plugins of a broker, as those see them who run connectors.
#[derive(Clone, Debug)]
pub struct ConnectorTasks(Arc<Plugins>);

impl ConnectorTasks {
    /// The sources and sinks among these.
    pub fn new(plugins: Arc<Plugins>) -> ConnectorTasks {
        ConnectorTasks(plugins)
    }

    fn room<R: role::Role>(&self, task: &TaskSpec) -> Result<(Arc<Room<R>>, Freshness), UseError> {
        let config = serde_json::from_str(&task.config).map_err(|error| UseError::Config {
            plugin: task.plugin.clone(),
            problem: error.to_string(),
        })?;
        let image = self.image(&task.plugin, R::ROLE)?;
        check_config(&image.manifest, &task.plugin, &config)?;
        let spec = BindingSpec {
            plugin: task.plugin.clone(),
            role: Some(R::ROLE),
            config,
            // What becomes of records that it fails on is the connector's to say.
            on_failure: OnFailure::Reject,
            dead_letters: None,
            part: None,
            mode: None,
            limits: LimitsSpec::default(),
            schemas: Vec::new(),
        };
        let freshness = Freshness {
            plugins: Arc::downgrade(&self.0),
            plugin: task.plugin.clone(),
            digest: image.digest.clone(),
            grants: self.0.library().grants(&task.plugin),
        };
        let name = format!("{}-{}", task.connector, task.task);
        Ok((self.0.room(&spec, image, &name, 1)?, freshness))
    }

    fn image(&self, plugin: &str, role: Role) -> Result<Arc<Image>, UseError> {
        let image = self.0.library().image(plugin, None)?;
        let roles = &image.manifest.roles;
        if !roles.contains(&role) {
            let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
            return Err(UseError::Role {
                plugin: plugin.to_owned(),
                wanted: role.name().to_owned(),
                roles: names.join(" and "),
            });
        }
        Ok(image)
    }

    async fn source_of(&self, task: &TaskSpec) -> Result<Source, TaskError> {
        let (room, freshness) = self.room::<SourcePlugin>(task).map_err(|error| person(&error))?;
        Ok(Source::take(room, freshness).await?)
    }

    async fn sink_of(&self, task: &TaskSpec) -> Result<Sink, TaskError> {
        let (room, freshness) = self.room::<SinkPlugin>(task).map_err(|error| person(&error))?;
        Ok(Sink::take(room, freshness).await?)
    }
}

impl Tasks for ConnectorTasks {
    fn class(&self, plugin: &str) -> Result<ConnectorClass, String> {
        let Installed { current, .. } =
            self.0.library().get(plugin).map_err(|error| error.to_string())?;
        let manifest = current.manifest;
        Ok(ConnectorClass {
            version: manifest.version,
            is_source: manifest.roles.contains(&Role::Source),
            is_sink: manifest.roles.contains(&Role::Sink),
            schema: manifest.config.map(|schema| schema.to_string()),
        })
    }

    fn check<'a>(&'a self, task: &'a TaskSpec) -> Answer<'a, Result<(), TaskError>> {
        Box::pin(async move {
            match task.direction {
                Direction::Source => self.source_of(task).await.map(drop),
                Direction::Sink => self.sink_of(task).await.map(drop),
            }
        })
    }

    fn plan<'a>(
        &'a self,
        task: &'a TaskSpec,
        tasks_max: u32,
    ) -> Answer<'a, Result<Vec<Split>, TaskError>> {
        Box::pin(async move { Ok(self.source_of(task).await?.plan(tasks_max).await?) })
    }

    fn source<'a>(
        &'a self,
        task: &'a TaskSpec,
    ) -> Answer<'a, Result<Box<dyn SourceTask>, TaskError>> {
        Box::pin(async move {
            let source = self.source_of(task).await?;
            Ok(Box::new(source) as Box<dyn SourceTask>)
        })
    }

    fn sink<'a>(&'a self, task: &'a TaskSpec) -> Answer<'a, Result<Box<dyn SinkTask>, TaskError>> {
        Box::pin(async move {
            let sink = self.sink_of(task).await?;
            Ok(Box::new(sink) as Box<dyn SinkTask>)
        })
    }
}
