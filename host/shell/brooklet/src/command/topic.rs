//! `brooklet topic`: create, list, describe, alter, delete.

use brooklet_client::admin::{Change, NewTopic, Resource, SettingSource};
use brooklet_client::{Admin, TopicMetadata};
use brooklet_types::BrokerId;
use clap::Subcommand;
use serde_json::json;

use super::name_value;
use crate::Context;
use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Create a topic
    Create {
        name: String,
        /// How many partitions; the broker decides if not given
        #[arg(short, long)]
        partitions: Option<u32>,
        /// How many copies of each; the broker decides if not given
        #[arg(short, long)]
        replication: Option<u16>,
        /// A setting, NAME=VALUE; may be repeated
        #[arg(short = 'c', long = "config", value_parser = name_value)]
        settings: Vec<(String, String)>,
        /// Succeed if the topic is there already
        #[arg(long)]
        if_not_exists: bool,
        /// Only ask whether it could be created
        #[arg(long)]
        dry_run: bool,
    },
    /// List topics
    List {
        /// Kafka's own topics too
        #[arg(long)]
        internal: bool,
    },
    /// Show a topic's partitions and the settings that somebody has set
    Describe {
        name: String,
        /// All settings
        #[arg(long)]
        all: bool,
    },
    /// Change a topic's settings or grow it
    Alter {
        name: String,
        /// Set NAME=VALUE; may be repeated
        #[arg(short = 'c', long = "config", value_parser = name_value)]
        settings: Vec<(String, String)>,
        /// Go back to the default of NAME; may be repeated
        #[arg(long)]
        reset: Vec<String>,
        /// Grow to so many partitions
        #[arg(short, long)]
        partitions: Option<u32>,
    },
    /// Delete topics and all their records
    Delete {
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// Carries out one of the verbs.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    let admin = Admin::new(context.client());
    match arguments.verb {
        Verb::Create { name, partitions, replication, settings, if_not_exists, dry_run } => {
            let topic = NewTopic { name, partitions, replication, settings };
            create(context, &admin, &topic, if_not_exists, dry_run).await
        }
        Verb::List { internal } => list(context, &admin, internal).await,
        Verb::Describe { name, all } => describe(context, &admin, &name, all).await,
        Verb::Alter { name, settings, reset, partitions } => {
            let set = settings.into_iter().map(|(name, value)| Change::Set(name, value));
            let changes: Vec<Change> = set.chain(reset.into_iter().map(Change::Reset)).collect();
            alter(context, &admin, name, &changes, partitions).await
        }
        Verb::Delete { names } => {
            for name in names {
                admin.delete_topic(&name).await?;
                say(context, &name, "deleted")?;
            }
            Ok(())
        }
    }
}

async fn create(
    context: &mut Context,
    admin: &Admin,
    topic: &NewTopic,
    if_not_exists: bool,
    dry_run: bool,
) -> Result<(), Failure> {
    let exists = |error: &brooklet_client::ApiError| {
        error.code() == Some(brooklet_types::ErrorCode::TopicAlreadyExists)
    };
    match admin.create_topic(topic, dry_run).await {
        Ok(_) if dry_run => say(context, &topic.name, "could be created"),
        Ok(_) => say(context, &topic.name, "created"),
        Err(error) if if_not_exists && exists(&error) => say(context, &topic.name, "exists"),
        Err(error) => Err(error.into()),
    }
}

async fn list(context: &mut Context, admin: &Admin, internal: bool) -> Result<(), Failure> {
    let cluster = admin.client().metadata(None).await?;
    let topics = cluster.topics.values().filter(|topic| internal || !topic.internal);
    if context.is_json() {
        for topic in topics {
            context.output.json(&json!({
                "topic": topic.name,
                "id": topic.id.map(|id| id.to_string()),
                "partitions": topic.partitions.len(),
                "replication": replication(topic),
                "internal": topic.internal,
            }))?;
        }
        return Ok(());
    }
    let row = |topic: &std::sync::Arc<TopicMetadata>| {
        let partitions = topic.partitions.len().to_string();
        vec![topic.name.clone(), partitions, replication(topic).to_string()]
    };
    context.output.table(&["TOPIC", "PARTITIONS", "REPLICATION"], topics.map(row).collect())
}

async fn describe(
    context: &mut Context,
    admin: &Admin,
    name: &str,
    all: bool,
) -> Result<(), Failure> {
    let client = admin.client();
    let topic = client.retry_known(|| client.topic(name)).await?;
    let settings = admin.describe_settings(&Resource::Topic(name.to_owned())).await?;
    let shown = |source: SettingSource| all || source != SettingSource::Default;
    let settings: Vec<_> = settings.into_iter().filter(|one| shown(one.source)).collect();
    if context.is_json() {
        let partitions = topic.partitions.iter().map(|partition| {
            json!({
                "partition": partition.index,
                "leader": partition.leader.map(|id| id.0),
                "leader_epoch": partition.leader_epoch,
                "replicas": numbers(&partition.replicas),
                "in_sync": numbers(&partition.in_sync),
            })
        });
        let settings = settings.iter().map(|setting| {
            json!({
                "name": setting.name,
                "value": setting.value,
                "source": setting.source.name(),
            })
        });
        return context.output.json(&json!({
            "topic": topic.name,
            "id": topic.id.map(|id| id.to_string()),
            "internal": topic.internal,
            "partitions": partitions.collect::<Vec<_>>(),
            "settings": settings.collect::<Vec<_>>(),
        }));
    }
    let id = topic.id.map(|id| id.to_string()).unwrap_or_default();
    context.output.line(&format!("topic {name}  id {id}"))?;
    let rows = topic.partitions.iter().map(|partition| {
        let leader = partition.leader.map_or("none".to_owned(), |id| id.to_string());
        let texts = |ids| numbers(ids).iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        let (replicas, in_sync) = (texts(&partition.replicas), texts(&partition.in_sync));
        vec![partition.index.to_string(), leader, replicas, in_sync]
    });
    context.output.line("")?;
    context.output.table(&["PARTITION", "LEADER", "REPLICAS", "IN SYNC"], rows.collect())?;
    if settings.is_empty() {
        context.output.line("")?;
        return context.output.line("no settings of its own; --all shows those in effect");
    }
    let rows = settings.into_iter().map(|setting| {
        vec![setting.name, setting.value.unwrap_or_default(), setting.source.name()]
    });
    context.output.line("")?;
    context.output.table(&["SETTING", "VALUE", "SET BY"], rows.collect())
}

async fn alter(
    context: &mut Context,
    admin: &Admin,
    name: String,
    changes: &[Change],
    partitions: Option<u32>,
) -> Result<(), Failure> {
    if changes.is_empty() && partitions.is_none() {
        return Err(Failure::usage("nothing to change: give --config, --reset or --partitions"));
    }
    if !changes.is_empty() {
        check_names(admin, &name, changes).await?;
        admin.alter_settings(&Resource::Topic(name.clone()), changes, false).await?;
    }
    if let Some(count) = partitions {
        admin.create_partitions(&name, count).await?;
    }
    say(context, &name, "altered")
}

/// A reset of a setting that does not exist changes nothing, and Kafka's brokers accept it: what was
/// meant would stay as it is.
async fn check_names(admin: &Admin, topic: &str, changes: &[Change]) -> Result<(), Failure> {
    let known = admin.describe_settings(&Resource::Topic(topic.to_owned())).await?;
    for change in changes {
        if let Change::Reset(name) = change
            && !known.iter().any(|setting| setting.name == *name)
        {
            return Err(Failure::missing(format!("topics have no setting {name}"))
                .hint("`brooklet topic describe NAME --all` lists every setting of a topic"));
        }
    }
    Ok(())
}

fn say(context: &mut Context, topic: &str, what: &str) -> Result<(), Failure> {
    if context.is_json() {
        context.output.json(&json!({ "topic": topic, "result": what }))
    } else {
        context.output.line(&format!("topic {topic} {what}"))
    }
}

fn replication(topic: &TopicMetadata) -> usize {
    topic.partitions.first().map_or(0, |partition| partition.replicas.len())
}

fn numbers(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}
