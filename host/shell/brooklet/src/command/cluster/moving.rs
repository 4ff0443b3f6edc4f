//! `brooklet cluster drain`, `move` and `balance`: copies and leaders go to other brokers that stay.

use std::collections::BTreeSet;
use std::str::FromStr;

use brooklet_client::Admin;
use brooklet_types::BrokerId;
use serde_json::json;

use super::follow::{self, LOOK_EVERY, Progress};
use super::picture::{Partition, Picture};
use super::plan::{self, Step};
use super::spread;
use super::status::counted;
use crate::Context;
use crate::failure::Failure;

#[derive(clap::Args)]
pub(super) struct Drain {
    /// The broker's number
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    node: i32,
    #[command(flatten)]
    how: How,
}

#[derive(clap::Args)]
pub(super) struct Move {
    /// A topic, or one partition of it: TOPIC:PARTITION
    what: What,
    /// The brokers that are to have a copy, the one that is to lead first; the partitions of a whole topic begin with each in turn
    #[arg(long, value_delimiter = ',', required = true, value_name = "NODE,…")]
    to: Vec<i32>,
    #[command(flatten)]
    how: How,
}

#[derive(clap::Args)]
pub(super) struct Balance {
    #[command(flatten)]
    how: How,
}

/// How anything is moved.
#[derive(clap::Args)]
struct How {
    /// Only print what would be moved, as TOPIC-PARTITION [FROM] -> [TO]
    #[arg(long)]
    dry_run: bool,
    /// Wait until it is done, and say how far it is
    #[arg(long, conflicts_with = "dry_run")]
    follow: bool,
}

/// A topic, or one of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct What {
    topic: String,
    partition: Option<u32>,
}

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<What, String> {
        let Some((topic, partition)) = text.rsplit_once(':') else {
            return Ok(What { topic: text.to_owned(), partition: None });
        };
        let partition = partition.parse().map_err(|_| format!("{partition:?} is no partition"))?;
        Ok(What { topic: topic.to_owned(), partition: Some(partition) })
    }
}

/// Has others lead what a broker leads.
pub(super) async fn drain(context: &mut Context, asked: Drain) -> Result<(), Failure> {
    let admin = Admin::new(context.client());
    let picture = Picture::look(&admin).await?;
    let node = known(&picture, asked.node)?;
    let steps = plan::drain(&picture, node);
    if asked.how.dry_run {
        return follow::print(context, &steps);
    }
    follow::begin(&admin, &steps).await?;
    let mut progress = Progress::start(context);
    loop {
        let picture = Picture::look(&admin).await?;
        let led: Vec<Partition> = picture.led_by(node).cloned().collect();
        follow::lead(&admin, &led).await?;
        let picture = Picture::look(&admin).await?;
        let left: Vec<&Partition> = picture.led_by(node).collect();
        let is_alone = |at: &&&Partition| picture.partitions[**at].replicas.len() == 1;
        let alone = left.iter().filter(is_alone).count();
        if left.is_empty() {
            drop(progress);
            return context.say(&format!("broker {node}"), "leads nothing");
        }
        if !asked.how.follow || alone == left.len() {
            drop(progress);
            return Err(still_leads(node, left.len(), alone));
        }
        let text = format!("{} left to hand over", counted(left.len() - alone));
        let value = json!({ "partitions_left": left.len() - alone });
        progress.show(context, text, &value)?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn still_leads(node: BrokerId, left: usize, alone: usize) -> Failure {
    if alone == left {
        let what = format!("broker {node} leads {} that nobody else keeps", counted(left));
        return Failure::new(what)
            .hint("`brooklet cluster move` gives them to others, `decommission` all of them");
    }
    let what = format!("broker {node} leads {} of which no other copy is in sync", counted(left));
    Failure::new(what).hint("--follow waits for them; `brooklet cluster status` shows who lags")
}

/// Brings a topic, or a partition, to these brokers.
pub(super) async fn by_hand(context: &mut Context, asked: Move) -> Result<(), Failure> {
    let Move { what: What { topic, partition }, to, how } = asked;
    let distinct: BTreeSet<i32> = to.iter().copied().collect();
    if distinct.len() != to.len() {
        return Err(Failure::usage("a broker keeps one copy of a partition: --to names one twice"));
    }
    let admin = Admin::new(context.client());
    let picture = Picture::look(&admin).await?;
    let to: Result<Vec<BrokerId>, Failure> = to.iter().map(|node| known(&picture, *node)).collect();
    let steps = plan::by_hand(&picture, &topic, partition, &to?);
    let steps = steps.ok_or_else(|| {
        let of = partition.map(|one| format!("partition {one} of ")).unwrap_or_default();
        Failure::missing(format!("no {of}topic {topic} is stored")).hint(
            "`brooklet topic list` shows what exists; a view is where the topic is that it shows",
        )
    })?;
    carry_out(context, &admin, &steps, &how).await
}

/// Spreads copies and leaders.
pub(super) async fn balance(context: &mut Context, asked: Balance) -> Result<(), Failure> {
    let admin = Admin::new(context.client());
    let picture = Picture::look(&admin).await?;
    carry_out(context, &admin, &spread::balance(&picture), &asked.how).await
}

async fn carry_out(
    context: &mut Context,
    admin: &Admin,
    steps: &[Step],
    how: &How,
) -> Result<(), Failure> {
    follow::print(context, steps)?;
    if how.dry_run || steps.is_empty() {
        return Ok(());
    }
    follow::begin(admin, steps).await?;
    let partitions: BTreeSet<Partition> = steps.iter().map(|it| it.partition.clone()).collect();
    if how.follow {
        follow::follow(context, admin, &partitions).await?;
    }
    // What still has to be copied is led as it was; the controller sees to the rest when it balances leaders.
    let is_there = |step: &&Step| how.follow || step.copies() == 0;
    let there: Vec<Partition> =
        steps.iter().filter(is_there).map(|step| step.partition.clone()).collect();
    follow::lead(admin, &there).await?;
    let what = if how.follow || there.len() == steps.len() { "moved" } else { "on the way" };
    if context.is_json() {
        return context.output.json(&json!({ "partitions": steps.len(), "result": what }));
    }
    context.output.line(&format!("{} {what}", counted(steps.len())))
}

/// The broker of that number.
pub(super) fn known(picture: &Picture, node: i32) -> Result<BrokerId, Failure> {
    let broker = BrokerId(node);
    match picture.brokers.contains_key(&broker) {
        true => Ok(broker),
        false => Err(Failure::missing(format!("no broker {node} belongs to the cluster"))
            .hint("`brooklet cluster status` shows who does")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_with_or_without_a_partition() {
        let what = |topic: &str, partition| Ok(What { topic: topic.to_owned(), partition });
        assert_eq!("orders".parse(), what("orders", None));
        assert_eq!("orders:3".parse(), what("orders", Some(3)));
        assert_eq!("orders:x".parse::<What>(), Err("\"x\" is no partition".to_owned()));
        assert_eq!("orders:-1".parse::<What>(), Err("\"-1\" is no partition".to_owned()));
    }
}
