//! `brooklet cluster status`: who is there, what each has, and whether all is well.
//!
//! **Decides** what is called healthy: every broker takes part, every partition has a leader and all its copies, and
//! a voter of the metadata's quorum can be spared.

use std::collections::BTreeSet;
use std::time::Duration;

use brooklet_client::Admin;
use brooklet_client::admin::{Quorum, QuorumMember};
use brooklet_types::BrokerId;
use serde_json::{Value, json};

use super::picture::{Partition, Picture, Placed};
use crate::Context;
use crate::failure::Failure;

/// How long somebody may take to lead the metadata before it is said that nobody does. An election takes a second or two.
const LED_WITHIN: Duration = Duration::from_secs(10);

/// What there is to say of one broker.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    id: BrokerId,
    address: Option<String>,
    rack: Option<String>,
    /// `active`, `fenced`, or `gone` where others still count on one that does not belong to the cluster.
    state: &'static str,
    /// What it is to the metadata's quorum.
    role: &'static str,
    /// Entries that the leader has of the metadata, and it is not known to have.
    behind: Option<i64>,
    leads: usize,
    keeps: usize,
    not_in_sync: usize,
}

/// Shows it.
pub(super) async fn run(context: &mut Context) -> Result<(), Failure> {
    let admin = Admin::new(context.client());
    let picture = Picture::look(&admin).await?;
    let quorum = tokio::time::timeout(LED_WITHIN, admin.describe_quorum()).await;
    let quorum = quorum.ok().transpose()?;
    let lines = lines(&picture, quorum.as_ref());
    let problems = problems(&picture, quorum.as_ref());
    if context.is_json() {
        return context.output.json(&json!({
            "cluster": picture.cluster_id,
            "metadata": quorum.map(|quorum| json!({
                "leader": quorum.leader.map(|id| id.0),
                "epoch": quorum.epoch,
                "high_watermark": quorum.high_watermark,
            })),
            "brokers": lines.iter().map(Line::to_json).collect::<Vec<_>>(),
            "moving": picture.moving.len(),
            "healthy": problems.is_empty(),
            "problems": problems,
        }));
    }
    context.output.line(&format!("cluster {}", picture.cluster_id))?;
    context.output.line("")?;
    let head = [
        "BROKER",
        "ADDRESS",
        "RACK",
        "STATE",
        "METADATA",
        "BEHIND",
        "LEADS",
        "KEEPS",
        "NOT IN SYNC",
    ];
    context.output.table(&head, lines.iter().map(Line::to_row).collect())?;
    context.output.line("")?;
    if !picture.moving.is_empty() {
        context.output.line(&format!("{} on the move", counted(picture.moving.len())))?;
    }
    match problems.is_empty() {
        true => context.output.line("healthy"),
        false => context.output.line(&format!("not healthy: {}", problems.join("; "))),
    }
}

impl Line {
    fn to_row(&self) -> Vec<String> {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        vec![
            self.id.to_string(),
            or_none(self.address.clone()),
            or_none(self.rack.clone()),
            self.state.to_owned(),
            self.role.to_owned(),
            or_none(self.behind.map(|behind| behind.to_string())),
            self.leads.to_string(),
            self.keeps.to_string(),
            self.not_in_sync.to_string(),
        ]
    }

    fn to_json(&self) -> Value {
        json!({
            "id": self.id.0,
            "address": self.address,
            "rack": self.rack,
            "state": self.state,
            "metadata": self.role,
            "behind": self.behind,
            "leads": self.leads,
            "keeps": self.keeps,
            "not_in_sync": self.not_in_sync,
        })
    }
}

/// Everybody who belongs to the cluster, to its quorum, or to a partition.
fn lines(picture: &Picture, quorum: Option<&Quorum>) -> Vec<Line> {
    let members = quorum.iter().flat_map(|quorum| quorum.voters.iter().chain(&quorum.observers));
    let replicas = picture.partitions.values().flat_map(|placed| &placed.replicas);
    let mut all: BTreeSet<BrokerId> = picture.brokers.keys().copied().collect();
    all.extend(members.map(|member| member.broker));
    all.extend(replicas);
    all.into_iter().map(|id| line(picture, quorum, id)).collect()
}

fn line(picture: &Picture, quorum: Option<&Quorum>, id: BrokerId) -> Line {
    let known = picture.brokers.get(&id);
    let (role, behind) = quorum.map_or(("-", None), |quorum| role(quorum, id));
    let state = match known.map(|known| known.fenced) {
        Some(false) => "active",
        Some(true) => "fenced",
        None => "gone",
    };
    let lacks = |(_, placed): &(&Partition, &Placed)| !placed.in_sync.contains(&id);
    Line {
        id,
        address: known.map(|known| known.address.to_string()),
        rack: known.and_then(|known| known.rack.clone()),
        state,
        role,
        behind,
        leads: picture.led_by(id).count(),
        keeps: picture.kept_by(id).count(),
        not_in_sync: picture.kept_by(id).filter(lacks).count(),
    }
}

fn role(quorum: &Quorum, id: BrokerId) -> (&'static str, Option<i64>) {
    let find = |members: &[QuorumMember]| members.iter().find(|it| it.broker == id).copied();
    let behind = |member: QuorumMember| Some((quorum.log_end() - member.log_end).max(0));
    match (find(&quorum.voters), find(&quorum.observers)) {
        (Some(voter), _) if quorum.leader == Some(id) => ("leader", behind(voter)),
        (Some(voter), _) => ("voter", behind(voter)),
        (None, Some(observer)) => ("observer", behind(observer)),
        (None, None) => ("none", None),
    }
}

/// What is wrong, as phrases.
fn problems(picture: &Picture, quorum: Option<&Quorum>) -> Vec<String> {
    let mut problems = Vec::new();
    let fenced = picture.brokers.iter().filter(|(_, broker)| broker.fenced);
    problems.extend(fenced.map(|(id, _)| format!("broker {id} takes no part")));
    let mut say = |count: usize, what: &str| {
        problems.extend((count > 0).then(|| format!("{} {what}", counted(count))));
    };
    let count = |is: &dyn Fn(&Partition, &Placed) -> bool| {
        picture.partitions.iter().filter(|(at, placed)| is(at, placed)).count()
    };
    say(count(&|_, placed| placed.leader.is_none()), "without a leader");
    let is_gone = |id: &BrokerId| !picture.brokers.contains_key(id);
    say(count(&|at, placed| lacks_copies(picture, at, placed)), "not in sync everywhere");
    say(
        count(&|_, placed| placed.wanted.iter().any(is_gone)),
        "with copies on brokers that are gone",
    );
    match quorum {
        None => problems.push("nobody leads the metadata".to_owned()),
        Some(quorum) => problems.extend(no_voter_to_spare(picture, quorum)),
    }
    problems
}

/// Whether somebody who has a copy, and not just gets it, is not in sync.
fn lacks_copies(picture: &Picture, at: &Partition, placed: &Placed) -> bool {
    let gets = picture.moving.get(at).map_or(&[][..], |it| it.adding.as_slice());
    let mut has = placed.wanted.iter().filter(|id| !gets.contains(id));
    has.any(|id| !placed.in_sync.contains(id))
}

/// A broker that is alone has none, and is not called ill for it.
fn no_voter_to_spare(picture: &Picture, quorum: &Quorum) -> Option<String> {
    let voters = quorum.voters.len();
    let there = quorum.voters.iter().filter(|it| picture.is_active(it.broker)).count();
    let needed = voters / 2 + 1;
    let is_ill = picture.brokers.len() > 1 && there <= needed;
    is_ill.then(|| {
        format!("no voter of the metadata to spare: {there} of {voters} there, {needed} needed")
    })
}

/// `1 partition`, `2 partitions`.
pub(super) fn counted(partitions: usize) -> String {
    let plural = if partitions == 1 { "" } else { "s" };
    format!("{partitions} partition{plural}")
}

#[cfg(test)]
mod tests;
