//! `brooklet plugin`: new, test, install, list, inspect, grant, bind, unbind, swap, rollback, logs, remove.

mod bind;
mod new;
mod test;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use brooklet_plugin::{Grants, Installed, inspect};
use clap::Subcommand;
use serde_json::{Value, json};

pub(crate) use bind::{How, plugins_setting};

use super::remote::{Admin, Remote};
use crate::Context;
use crate::failure::Failure;

/// How often `logs --follow` looks for new lines.
const FOLLOW: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a folder with a plugin in it that builds, is tested and can be installed
    New(new::Arguments),
    /// Run a component over golden files, under the host that a broker runs it under
    Test(test::Arguments),
    /// Install a component, and use it wherever one of its name is bound
    Install {
        file: PathBuf,
        /// Install it under this name instead of its own
        #[arg(long)]
        name: Option<String>,
        /// Show what it wants without installing it
        #[arg(long)]
        dry_run: bool,
    },
    /// List plugins
    List,
    /// Show a plugin: its roles, configuration, versions, what it wants and what it was granted
    Inspect { name: String },
    /// Let a plugin have what it wants; what is not named any more is taken away
    Grant {
        name: String,
        /// HTTP requests to HOST:PORT; may be repeated
        #[arg(long = "host", value_name = "HOST:PORT")]
        hosts: Vec<String>,
        /// A secret, NAME=file:PATH or NAME=env:VARIABLE; may be repeated
        #[arg(long = "secret", value_name = "NAME=SOURCE", value_parser = super::name_value)]
        secrets: Vec<(String, String)>,
        /// A folder to read, GUEST=HOST; may be repeated
        #[arg(long = "read", value_name = "GUEST=HOST", value_parser = super::name_value)]
        read: Vec<(String, String)>,
        /// A folder to read and write, GUEST=HOST; may be repeated
        #[arg(long = "write", value_name = "GUEST=HOST", value_parser = super::name_value)]
        write: Vec<(String, String)>,
        /// A variable of the environment, NAME=VALUE; may be repeated
        #[arg(long = "env", value_name = "NAME=VALUE", value_parser = super::name_value)]
        environment: Vec<(String, String)>,
    },
    /// Bind a plugin to a topic or a view
    Bind(bind::Arguments),
    /// Take a plugin off a topic or a view
    Unbind {
        name: String,
        #[arg(long)]
        topic: String,
    },
    /// Use another installed version, between two batches
    Swap {
        name: String,
        /// A version, a digest, or the beginning of one
        #[arg(long)]
        to: String,
    },
    /// Go back to the version that was used before
    Rollback { name: String },
    /// Show what a plugin logged
    Logs {
        name: String,
        /// Go on showing what comes
        #[arg(short, long)]
        follow: bool,
    },
    /// Forget a plugin that nothing uses
    Remove { name: String },
}

/// Carries out one of the verbs.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    let remote = arguments.admin.below("plugins", context.timeout());
    match arguments.verb {
        Verb::Install { file, name, dry_run } => {
            install(context, &remote, &file, name.as_deref(), dry_run)
        }
        Verb::New(new) => new::run(context, &new),
        Verb::Test(test) => test::run(context, &test).await,
        Verb::List => list(context, &remote),
        Verb::Inspect { name } => {
            let value = remote.get(&format!("/{name}"))?;
            show(context, &value)
        }
        Verb::Grant { name, hosts, secrets, read, write, environment } => {
            let folder = |write: bool| move |(guest, host): (String, String)| json!({ "guest": guest, "host": host, "write": write });
            let directories: Vec<Value> = read
                .into_iter()
                .map(folder(false))
                .chain(write.into_iter().map(folder(true)))
                .collect();
            let secrets: BTreeMap<String, String> = secrets.into_iter().collect();
            let environment: BTreeMap<String, String> = environment.into_iter().collect();
            let grants = json!({ "hosts": hosts, "secrets": secrets, "directories": directories, "environment": environment });
            // What makes no sense is found before the broker is asked.
            let grants: Grants = serde_json::from_value(grants)
                .map_err(|error| Failure::usage(error.to_string()))?;
            let grants =
                serde_json::to_value(&grants).map_err(|error| Failure::new(error.to_string()))?;
            let value = remote.put(&format!("/{name}/grants"), &grants)?;
            show(context, &value)
        }
        Verb::Bind(bind) => bind::bind(context, bind).await,
        Verb::Unbind { name, topic } => bind::unbind(context, &name, &topic).await,
        Verb::Swap { name, to } => {
            let value = remote.post(&format!("/{name}/swap"), &[("to", &to)], &[])?;
            said(context, &value, "now uses")
        }
        Verb::Rollback { name } => {
            let value = remote.post(&format!("/{name}/rollback"), &[], &[])?;
            said(context, &value, "went back to")
        }
        Verb::Logs { name, follow } => logs(context, &remote, &name, follow).await,
        Verb::Remove { name } => {
            remote.delete(&format!("/{name}"))?;
            context.say(&name, "removed")
        }
    }
}

fn install(
    context: &mut Context,
    remote: &Remote,
    file: &std::path::Path,
    name: Option<&str>,
    dry_run: bool,
) -> Result<(), Failure> {
    let bytes = std::fs::read(file).map_err(|error| Failure::file("read", file, &error))?;
    let inspected =
        inspect(&bytes).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    if dry_run {
        let manifest = serde_json::to_value(&inspected.manifest).unwrap_or_default();
        return context.output.line(&serde_json::to_string_pretty(&manifest).unwrap_or_default());
    }
    let query: Vec<(&str, &str)> = name.map(|name| ("name", name)).into_iter().collect();
    let value = remote.post("", &query, &bytes)?;
    said(context, &value, "installed")?;
    let wants = wants(&installed(&value)?);
    if !wants.is_empty() && !context.is_json() {
        context.output.line("it wants, and has only what brooklet plugin grant gives it:")?;
        wants.iter().try_for_each(|want| context.output.line(&format!("  {want}")))?;
    }
    Ok(())
}

fn installed(value: &Value) -> Result<Installed, Failure> {
    serde_json::from_value(value.clone())
        .map_err(|error| Failure::new(format!("the broker's answer makes no sense: {error}")))
}

/// What a plugin wants, a line each.
pub(crate) fn wants(installed: &Installed) -> Vec<String> {
    let wants = &installed.current.manifest.wants;
    let of = |kind: &'static str, list: &[brooklet_plugin::Want]| {
        list.iter()
            .map(move |want| format!("{kind} {}: {}", want.name, want.why))
            .collect::<Vec<_>>()
    };
    [
        of("host", &wants.hosts),
        of("secret", &wants.secrets),
        of("directory", &wants.directories),
        of("environment", &wants.environment),
    ]
    .concat()
}

fn said(context: &mut Context, value: &Value, what: &str) -> Result<(), Failure> {
    if context.is_json() {
        return context.output.json(value);
    }
    let installed = installed(value)?;
    let version = &installed.current;
    let line = format!(
        "{} {what} version {} ({})",
        installed.name,
        version.manifest.version,
        &version.digest[..12.min(version.digest.len())],
    );
    context.output.line(&line)
}

fn list(context: &mut Context, remote: &Remote) -> Result<(), Failure> {
    let value = remote.get("")?;
    if context.is_json() {
        return context.output.json(&value);
    }
    let mut rows = Vec::new();
    for value in value.as_array().into_iter().flatten() {
        let plugin = installed(value)?;
        let manifest = &plugin.current.manifest;
        let roles: Vec<&str> = manifest.roles.iter().map(|role| role.name()).collect();
        let used_by: Vec<&str> =
            value["used_by"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        rows.push(vec![
            plugin.name.clone(),
            manifest.version.clone(),
            roles.join(", "),
            if plugin.current.stock { "stock".to_owned() } else { "installed".to_owned() },
            used_by.join(", "),
        ]);
    }
    context.output.table(&["PLUGIN", "VERSION", "ROLES", "FROM", "USED BY"], rows)
}

fn show(context: &mut Context, value: &Value) -> Result<(), Failure> {
    if context.is_json() {
        return context.output.json(value);
    }
    let plugin = installed(value)?;
    let manifest = &plugin.current.manifest;
    let roles: Vec<&str> = manifest.roles.iter().map(|role| role.name()).collect();
    let out = &mut context.output;
    out.line(&format!("plugin {} {}  {}", plugin.name, manifest.version, roles.join(", ")))?;
    out.line(&format!("  {}", manifest.description))?;
    out.line(&format!("digest {}", plugin.current.digest))?;
    if let Some(key) = &plugin.current.signed_by {
        out.line(&format!("signed by {key}"))?;
    }
    let wants = wants(&plugin);
    out.line(if wants.is_empty() { "wants nothing" } else { "wants" })?;
    wants.iter().try_for_each(|want| out.line(&format!("  {want}")))?;
    let grants = serde_json::to_value(&plugin.grants).unwrap_or_default();
    let granted = grants.as_object().is_some_and(|it| !it.is_empty());
    out.line(&if granted { format!("granted {grants}") } else { "granted nothing".to_owned() })?;
    let used_by: Vec<&str> =
        value["used_by"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !used_by.is_empty() {
        out.line(&format!("used by {}", used_by.join(", ")))?;
    }
    if let Some(config) = &manifest.config {
        out.line("configuration")?;
        let text = serde_json::to_string_pretty(config).unwrap_or_default();
        text.lines().try_for_each(|line| out.line(&format!("  {line}")))?;
    }
    let rows = plugin.versions.iter().map(|version| {
        let mark = if version.digest == plugin.current.digest { "in use" } else { "" };
        vec![version.manifest.version.clone(), version.digest.clone(), mark.to_owned()]
    });
    out.line("")?;
    out.table(&["VERSION", "DIGEST", ""], rows.collect())
}

async fn logs(
    context: &mut Context,
    remote: &Remote,
    name: &str,
    follow: bool,
) -> Result<(), Failure> {
    let mut next = 0;
    loop {
        let lines = remote.get(&format!("/{name}/logs?since={next}"))?;
        for line in lines.as_array().into_iter().flatten() {
            next = line["number"].as_u64().unwrap_or(next) + 1;
            if context.is_json() {
                context.output.json(line)?;
                continue;
            }
            let word = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
            let fields = line["fields"].as_object();
            let fields = fields
                .into_iter()
                .flatten()
                .map(|(name, value)| format!(" {name}={}", value.as_str().unwrap_or_default()));
            let fields: String = fields.collect();
            let text = format!("{} {} {}{fields}", word("level"), word("task"), word("message"));
            context.output.line(&text)?;
        }
        context.output.flush()?;
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(FOLLOW).await;
    }
}
