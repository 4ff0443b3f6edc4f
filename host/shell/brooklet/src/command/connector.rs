//! `brooklet connector`: create, list, status, pause, resume, restart, delete.

use std::path::{Path, PathBuf};

use brooklet_connect::ConnectorStatus;
use brooklet_plugin::{Installed, spec};
use clap::Subcommand;
use serde_json::{Map, Value};

use super::plugin::wants;
use super::remote::{Admin, Remote};
use crate::Context;
use crate::connectors::{InitialState, NewConnector};
use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a connector from a file in JSON or RON with Connect's keys, and start it
    Create {
        /// `connector.class`, `topics`, `tasks.max`, `errors.*`, and what the plugin wants to know
        file: PathBuf,
        /// Its name, if the file does not say it
        #[arg(long)]
        name: Option<String>,
        /// Make it, but don't start it
        #[arg(long)]
        paused: bool,
    },
    /// List connectors
    List,
    /// Show how a connector and its tasks are
    Status { name: String },
    /// Stop a connector until it is resumed, also over restarts of the broker
    Pause { name: String },
    /// Let a paused connector go on
    Resume { name: String },
    /// Stop a connector and start it again, with all its tasks
    Restart { name: String },
    /// Take a connector away; how far it came is kept for one of the same name
    Delete {
        name: String,
        /// Forget how far a source came
        #[arg(long)]
        forget: bool,
    },
}

/// Carries out one of the verbs.
pub(crate) fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    let remote = arguments.admin.below("connectors", context.timeout());
    match arguments.verb {
        Verb::Create { file, name, paused } => {
            let new = read(&file, name, paused)?;
            let plugins = arguments.admin.below("plugins", context.timeout());
            create(context, &remote, &plugins, &new)
        }
        Verb::List => list(context, &remote),
        Verb::Status { name } => show(context, &remote.get(&format!("/{name}/status"))?),
        Verb::Pause { name } => {
            remote.put(&format!("/{name}/pause"), &Value::Null)?;
            context.say(&name, "paused")
        }
        Verb::Resume { name } => {
            remote.put(&format!("/{name}/resume"), &Value::Null)?;
            context.say(&name, "resumed")
        }
        Verb::Restart { name } => {
            remote.post(&format!("/{name}/restart"), &[], &[])?;
            context.say(&name, "restarted")
        }
        Verb::Delete { name, forget } => {
            let query = if forget { "?forget=true" } else { "" };
            remote.delete(&format!("/{name}{query}"))?;
            context.say(&name, "deleted")
        }
    }
}

/// A file as Connect's REST takes it, `{"name": …, "config": {…}}`, or the configuration alone.
fn read(file: &Path, name: Option<String>, paused: bool) -> Result<NewConnector, Failure> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| Failure::file("read", file, &error))?;
    let wrong = |problem: &str| Failure::new(format!("{}: {problem}", file.display()));
    let mut given: Map<String, Value> = spec::parse_any(&text).map_err(|error| wrong(&error))?;
    let said = given.get("name").and_then(Value::as_str).map(str::to_owned);
    let initial_state = if paused { InitialState::Paused } else { InitialState::Running };
    let config = match given.remove("config") {
        Some(Value::Object(config)) => config,
        Some(_) => return Err(wrong("config: must be an object")),
        None => given,
    };
    let name = name.or(said).ok_or_else(|| wrong("name: the connector needs one, or --name"))?;
    Ok(NewConnector { name, config, initial_state })
}

fn create(
    context: &mut Context,
    remote: &Remote,
    plugins: &Remote,
    new: &NewConnector,
) -> Result<(), Failure> {
    let body = serde_json::to_value(new).unwrap_or_default();
    let info = remote.post_json("", &body)?;
    if context.is_json() {
        return context.output.json(&info);
    }
    context.say(&new.name, "created")?;
    let class = new.config.get("connector.class").and_then(Value::as_str).unwrap_or_default();
    let plugin = plugins.get(&format!("/{class}"))?;
    let Ok(plugin) = serde_json::from_value::<Installed>(plugin) else { return Ok(()) };
    let wants = wants(&plugin);
    if wants.is_empty() {
        return Ok(());
    }
    let out = &mut context.output;
    out.line(&format!("{class} wants"))?;
    wants.iter().try_for_each(|want| out.line(&format!("  {want}")))?;
    let grants = serde_json::to_value(&plugin.grants).unwrap_or_default();
    let is_granted = grants.as_object().is_some_and(|it| !it.is_empty());
    let granted = if is_granted { grants.to_string() } else { "nothing".to_owned() };
    out.line(&format!("and has {granted}: brooklet plugin grant {class} …"))
}

fn status(value: &Value) -> Result<ConnectorStatus, Failure> {
    serde_json::from_value(value.clone())
        .map_err(|error| Failure::new(format!("the broker's answer makes no sense: {error}")))
}

fn word(state: brooklet_connect::State) -> String {
    serde_json::to_value(state)
        .ok()
        .and_then(|it| it.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn list(context: &mut Context, remote: &Remote) -> Result<(), Failure> {
    let value = remote.get("")?;
    if context.is_json() {
        return context.output.json(&value);
    }
    let mut rows = Vec::new();
    for value in value.as_array().into_iter().flatten() {
        let one = status(value)?;
        let running = one.tasks.iter().filter(|it| it.state == brooklet_connect::State::Running);
        let tasks = format!("{}/{}", running.count(), one.tasks.len());
        let records: u64 = one.tasks.iter().map(|task| task.records).sum();
        let state = word(one.connector.state);
        rows.push(vec![one.name, one.kind, state, tasks, records.to_string()]);
    }
    context.output.table(&["CONNECTOR", "TYPE", "STATE", "TASKS RUNNING", "RECORDS"], rows)
}

fn show(context: &mut Context, value: &Value) -> Result<(), Failure> {
    if context.is_json() {
        return context.output.json(value);
    }
    let one = status(value)?;
    let out = &mut context.output;
    let state = word(one.connector.state);
    out.line(&format!("{} {} {state} on {}", one.kind, one.name, one.connector.worker_id))?;
    if let Some(trace) = &one.connector.trace {
        out.line(&format!("  {trace}"))?;
    }
    let rows = one.tasks.into_iter().map(|task| {
        vec![
            task.id.to_string(),
            word(task.state),
            task.records.to_string(),
            task.rejected.to_string(),
            task.restarts.to_string(),
            task.trace.unwrap_or_default(),
        ]
    });
    out.table(&["TASK", "STATE", "RECORDS", "REJECTED", "RESTARTS", "WHY"], rows.collect())
}
