//! Bindings: the list of plugins in a topic's `brooklet.plugins`, read, changed and written back.

use std::path::PathBuf;

use brooklet_client::Admin;
use brooklet_client::admin::{Change, Resource};
use brooklet_plugin::spec::{self, BindingSpec, Mode, OnFailure, Part};
use brooklet_plugin::{LimitsSpec, Role};

use crate::Context;
use crate::failure::Failure;

const SETTING: &str = "brooklet.plugins";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The plugin
    name: String,
    /// The topic or view
    #[arg(long)]
    topic: String,
    #[command(flatten)]
    how: How,
}

/// How a plugin is bound.
#[derive(clap::Args, Clone)]
pub(crate) struct How {
    /// Its configuration, JSON or RON, or @FILE
    #[arg(long, default_value = "{}")]
    config: String,
    /// What happens when it fails: reject, pass, dead-letter or stop
    #[arg(long, value_parser = word::<OnFailure>)]
    on_failure: OnFailure,
    /// The topic for records it can't handle, with --on-failure dead-letter
    #[arg(long)]
    dead_letters: Option<String>,
    /// What it is to do, of a plugin that can do several things
    #[arg(long, value_parser = word::<Role>)]
    role: Option<Role>,
    /// For a serde: key or value
    #[arg(long, value_parser = word::<Part>)]
    part: Option<Part>,
    /// For a serde check or encode, for a partitioner place or verify
    #[arg(long, value_parser = word::<Mode>)]
    mode: Option<Mode>,
    /// Milliseconds that a call may take
    #[arg(long)]
    time_ms: Option<u64>,
}

/// A word as settings have it.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
        .map_err(|error| error.to_string())
}

impl How {
    fn spec(&self, plugin: &str) -> Result<BindingSpec, Failure> {
        let text = match self.config.strip_prefix('@') {
            Some(path) => {
                let path = PathBuf::from(path);
                std::fs::read_to_string(&path)
                    .map_err(|error| Failure::file("read", &path, &error))?
            }
            None => self.config.clone(),
        };
        let config = spec::parse_any(&text)
            .map_err(|problem| Failure::usage(format!("--config: {problem}")))?;
        Ok(BindingSpec {
            plugin: plugin.to_owned(),
            role: self.role,
            config,
            on_failure: self.on_failure,
            dead_letters: self.dead_letters.clone(),
            part: self.part,
            mode: self.mode,
            limits: LimitsSpec { time_ms: self.time_ms, ..LimitsSpec::default() },
            schemas: Vec::new(),
        })
    }
}

/// The setting that binds these plugins, in this order, all in the same way.
pub(crate) fn plugins_setting(plugins: &[String], how: &How) -> Result<String, Failure> {
    let specs: Result<Vec<BindingSpec>, Failure> =
        plugins.iter().map(|plugin| how.spec(plugin)).collect();
    written(&specs?)
}

fn written(specs: &[BindingSpec]) -> Result<String, Failure> {
    serde_json::to_string(specs).map_err(|error| Failure::new(error.to_string()))
}

pub(super) async fn bind(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    let Arguments { name, topic, how } = arguments;
    let spec = how.spec(&name)?;
    let admin = Admin::new(context.client());
    let mut specs = bound(&admin, &topic).await?;
    specs.retain(|known| known.plugin != spec.plugin || known.role != spec.role);
    specs.push(spec);
    set(&admin, topic.clone(), &specs).await?;
    context.say(&name, &format!("bound to {topic}"))
}

pub(super) async fn unbind(context: &mut Context, name: &str, topic: &str) -> Result<(), Failure> {
    let admin = Admin::new(context.client());
    let mut specs = bound(&admin, topic).await?;
    let before = specs.len();
    specs.retain(|known| known.plugin != name);
    if specs.len() == before {
        return Err(Failure::missing(format!("plugin {name} is not bound to {topic}")));
    }
    set(&admin, topic.to_owned(), &specs).await?;
    context.say(name, &format!("taken off {topic}"))
}

async fn bound(admin: &Admin, topic: &str) -> Result<Vec<BindingSpec>, Failure> {
    let settings = admin.describe_settings(&Resource::Topic(topic.to_owned())).await?;
    let value = settings.into_iter().find(|one| one.name == SETTING).and_then(|one| one.value);
    spec::parse(&value.unwrap_or_default())
        .map_err(|problem| Failure::new(format!("{SETTING} of {topic}: {problem}")))
}

async fn set(admin: &Admin, topic: String, specs: &[BindingSpec]) -> Result<(), Failure> {
    let change = Change::Set(SETTING.to_owned(), written(specs)?);
    Ok(admin.alter_settings(&Resource::Topic(topic), &[change], false).await?)
}
