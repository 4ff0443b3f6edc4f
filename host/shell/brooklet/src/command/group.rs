//! `brooklet group`: list, describe with lag, reset, delete.

use std::collections::{BTreeMap, BTreeSet};

use brooklet_client::offsets::Partition;
use brooklet_client::{Admin, OffsetSpec};
use brooklet_types::{ErrorCode, Timestamp};
use clap::Subcommand;
use serde_json::json;

use super::consume::offsets;
use super::position::parse_time;
use crate::Context;
use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List groups
    List,
    /// Show where a group is, how far behind, and who is in it
    Describe { group: String },
    /// Move a group that has no members
    Reset(ResetArguments),
    /// Delete groups that have no members
    Delete {
        #[arg(required = true)]
        groups: Vec<String>,
    },
}

#[derive(clap::Args)]
struct ResetArguments {
    group: String,
    /// Which topics; all the group has committed if not given
    #[arg(short, long)]
    topic: Vec<String>,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    to: Target,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// To the oldest records
    #[arg(long)]
    to_earliest: bool,
    /// To the end
    #[arg(long)]
    to_latest: bool,
    /// To this offset, or the nearest there is
    #[arg(long)]
    to_offset: Option<i64>,
    /// To the first records of this time or later
    #[arg(long, value_parser = parse_time)]
    to_datetime: Option<Timestamp>,
    /// By so many records, back if negative
    #[arg(long, allow_hyphen_values = true)]
    shift_by: Option<i64>,
}

/// Carries out one of the verbs.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    let admin = Admin::new(context.client());
    match arguments.verb {
        Verb::List => list(context, &admin).await,
        Verb::Describe { group } => describe(context, &admin, &group).await,
        Verb::Reset(arguments) => reset(context, &admin, &arguments).await,
        Verb::Delete { groups } => {
            for group in groups {
                admin.delete_group(&group).await?;
                if context.is_json() {
                    context.output.json(&json!({ "group": group, "result": "deleted" }))?;
                } else {
                    context.output.line(&format!("group {group} deleted"))?;
                }
            }
            Ok(())
        }
    }
}

async fn list(context: &mut Context, admin: &Admin) -> Result<(), Failure> {
    let groups = admin.list_groups().await?;
    if context.is_json() {
        for group in groups {
            context.output.json(&json!({
                "group": group.id,
                "state": group.state,
                "protocol_type": group.protocol_type,
            }))?;
        }
        return Ok(());
    }
    let rows = groups.into_iter().map(|group| vec![group.id, group.state, group.protocol_type]);
    context.output.table(&["GROUP", "STATE", "TYPE"], rows.collect())
}

async fn describe(context: &mut Context, admin: &Admin, group: &str) -> Result<(), Failure> {
    let description = admin.describe_group(group).await?;
    let committed = admin.group_offsets(group).await?;
    if description.state == "Dead" && committed.is_empty() {
        return Err(unknown(group));
    }
    let owned = description.members.iter().flat_map(|member| {
        member.assigned.iter().map(move |partition| (partition.clone(), member))
    });
    let owners: BTreeMap<Partition, _> = owned.collect();
    let all: BTreeSet<Partition> = committed.keys().chain(owners.keys()).cloned().collect();
    let all = existing(admin, all).await?;
    let ends = offsets(admin.client(), &all, OffsetSpec::Latest).await?;
    let mut rows = Vec::new();
    let mut values = Vec::new();
    let mut lag_total = 0;
    for partition in &all {
        let at = committed.get(partition).map(|committed| committed.offset);
        let end = ends.get(partition).copied().unwrap_or(0);
        let lag = at.map(|at| end.saturating_sub(at).max(0));
        lag_total += lag.unwrap_or(0);
        let owner = owners.get(partition);
        let member = owner.map(|member| member.id.clone());
        values.push(json!({
            "topic": partition.0, "partition": partition.1, "offset": at, "end": end, "lag": lag,
            "member": member, "client_id": owner.map(|member| &member.client_id),
            "host": owner.map(|member| &member.host),
        }));
        let text = |number: Option<i64>| number.map_or("-".to_owned(), |it| it.to_string());
        let member = member.unwrap_or("-".to_owned());
        let index = partition.1.to_string();
        rows.push(vec![partition.0.clone(), index, text(at), end.to_string(), text(lag), member]);
    }
    if context.is_json() {
        return context.output.json(&json!({
            "group": group,
            "state": description.state,
            "protocol": description.protocol,
            "members": description.members.len(),
            "lag": lag_total,
            "partitions": values,
        }));
    }
    let (state, members) = (&description.state, description.members.len());
    let protocol = &description.protocol;
    let assignor =
        if protocol.is_empty() { String::new() } else { format!("  assignor {protocol}") };
    let head =
        format!("group {group}  state {state}  members {members}{assignor}  lag {lag_total}");
    context.output.line(&head)?;
    context.output.line("")?;
    context.output.table(&["TOPIC", "PARTITION", "OFFSET", "END", "LAG", "MEMBER"], rows)
}

async fn reset(
    context: &mut Context,
    admin: &Admin,
    arguments: &ResetArguments,
) -> Result<(), Failure> {
    let client = admin.client();
    let committed = admin.group_offsets(&arguments.group).await?;
    let mut partitions: BTreeSet<Partition> = BTreeSet::new();
    for topic in &arguments.topic {
        let metadata = client.retry_known(|| client.topic(topic)).await?;
        let indexes = metadata.partitions.iter().map(|partition| partition.index);
        partitions.extend(indexes.map(|index| (topic.clone(), index)));
    }
    if arguments.topic.is_empty() {
        partitions.extend(committed.keys().cloned());
    }
    let partitions = existing(admin, partitions).await?;
    if partitions.is_empty() {
        return Err(unknown(&arguments.group).hint("name topics with --topic"));
    }
    let starts = offsets(client, &partitions, OffsetSpec::Earliest).await?;
    let ends = offsets(client, &partitions, OffsetSpec::Latest).await?;
    let timed = match arguments.to.to_datetime {
        Some(time) => offsets(client, &partitions, OffsetSpec::At(time)).await?,
        None => BTreeMap::new(),
    };
    let mut targets = BTreeMap::new();
    let mut rows = Vec::new();
    for partition in partitions {
        let at = |offsets: &BTreeMap<Partition, i64>| offsets.get(&partition).copied().unwrap_or(0);
        let (start, end) = (at(&starts), at(&ends));
        let now = committed.get(&partition).map(|committed| committed.offset);
        let to = &arguments.to;
        let wanted = match (to.to_offset, to.shift_by) {
            (Some(offset), _) => offset,
            (None, Some(shift)) => now.unwrap_or(start).saturating_add(shift),
            (None, None) if to.to_datetime.is_some() => at(&timed),
            (None, None) if to.to_latest => end,
            (None, None) => start,
        };
        let target = wanted.clamp(start, end.max(start));
        rows.push((partition.clone(), now, target));
        targets.insert(partition, target);
    }
    if !arguments.dry_run {
        let outcome = admin.set_group_offsets(&arguments.group, &targets).await;
        outcome.map_err(|error| match error.code() {
            // Kafka's way to say that the group has members.
            Some(ErrorCode::UnknownMemberId | ErrorCode::NonEmptyGroup) => {
                Failure::new(format!("group {} has members", arguments.group))
                    .hint("stop them first: they would overwrite the new offsets")
            }
            Some(_) | None => error.into(),
        })?;
    }
    show_reset(context, arguments.dry_run, rows)
}

fn show_reset(
    context: &mut Context,
    dry_run: bool,
    rows: Vec<(Partition, Option<i64>, i64)>,
) -> Result<(), Failure> {
    if context.is_json() {
        for ((topic, partition), from, to) in rows {
            context.output.json(&json!({
                "topic": topic, "partition": partition, "from": from, "to": to, "dry_run": dry_run,
            }))?;
        }
        return Ok(());
    }
    let row = |((topic, partition), from, to): (Partition, Option<i64>, i64)| {
        let from = from.map_or("-".to_owned(), |from| from.to_string());
        vec![topic, partition.to_string(), from, to.to_string()]
    };
    let rows = rows.into_iter().map(row).collect();
    context.output.table(&["TOPIC", "PARTITION", "FROM", "TO"], rows)?;
    if dry_run { context.output.line("nothing was changed (--dry-run)") } else { Ok(()) }
}

/// Those partitions that are still there: a group remembers topics that are gone.
async fn existing(
    admin: &Admin,
    partitions: BTreeSet<Partition>,
) -> Result<Vec<Partition>, Failure> {
    let topics: BTreeSet<&String> = partitions.iter().map(|(topic, _)| topic).collect();
    let topics: Vec<String> = topics.into_iter().cloned().collect();
    let metadata = admin.client().metadata(Some(&topics)).await?;
    let exists = |(topic, index): &Partition| {
        let topic = metadata.topics.get(topic);
        topic.is_some_and(|topic| topic.partitions.iter().any(|one| one.index == *index))
    };
    Ok(partitions.into_iter().filter(exists).collect())
}

fn unknown(group: &str) -> Failure {
    Failure::missing(format!("group {group} does not exist, or has committed nothing"))
        .hint("`brooklet group list` shows what exists")
}
