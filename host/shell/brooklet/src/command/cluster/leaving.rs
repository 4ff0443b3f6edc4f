//! `brooklet cluster decommission` and `remove`: brokers leave for good.
//!
//! **Decides** when a broker may be taken out: when it keeps nothing, or has ended and nothing depends on it. A broker that
//! runs would come back at once, so it is waited for until it has been stopped.

use std::collections::BTreeSet;

use brooklet_client::{Admin, ApiError};
use brooklet_types::{BrokerId, ErrorCode};
use serde_json::json;

use super::follow::{self, LOOK_EVERY};
use super::moving::known;
use super::picture::{Partition, Picture};
use super::plan::{self, TooFewBrokers};
use super::status::counted;
use crate::Context;
use crate::failure::Failure;

#[derive(clap::Args)]
pub(super) struct Decommission {
    /// The broker's number
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    node: i32,
    /// Only print which copies would be moved, as TOPIC-PARTITION [FROM] -> [TO]
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args)]
pub(super) struct Remove {
    /// The broker's number
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    node: i32,
    /// Also where it alone has acknowledged records, which are lost with it
    #[arg(long)]
    force: bool,
}

/// Gives all that a broker keeps to others, and takes it out once it has been stopped.
pub(super) async fn decommission(
    context: &mut Context,
    asked: Decommission,
) -> Result<(), Failure> {
    let admin = Admin::new(context.client());
    let mut picture = Picture::look(&admin).await?;
    let node = known(&picture, asked.node)?;
    if !picture.active().any(|other| other != node) {
        return Err(Failure::new(format!("no other broker than {node} takes part"))
            .hint("`brooklet cluster token` and `join` bring one in"));
    }
    let alone = led_by_nobody(&picture, node);
    if alone > 0 {
        let what = format!("{} of broker {node} has no leader to copy from", counted(alone));
        let hint = "start the brokers that have it in sync; `brooklet cluster remove --force` gives one up";
        return Err(Failure::new(what).hint(hint));
    }
    loop {
        let steps = plan::empty(&picture, node).map_err(|error| too_few(node, error))?;
        // What is on its way already is waited for as well.
        let kept: BTreeSet<Partition> = picture.kept_by(node).map(|(at, _)| at.clone()).collect();
        if asked.dry_run {
            return follow::print(context, &steps);
        }
        if kept.is_empty() {
            break;
        }
        follow::print(context, &steps)?;
        follow::begin(&admin, &steps).await?;
        follow::follow(context, &admin, &kept).await?;
        // A topic may have been created meanwhile.
        picture = Picture::look(&admin).await?;
    }
    wait_for_its_end(context, &admin, node).await?;
    let picture = Picture::look(&admin).await?;
    let kept = picture.kept_by(node).count();
    if kept > 0 {
        let what = format!("broker {node} was given {} meanwhile", counted(kept));
        return Err(Failure::new(what).hint("run this again"));
    }
    leave(&admin, node).await?;
    context.say(&format!("broker {node}"), "left the cluster")
}

fn too_few(node: BrokerId, error: TooFewBrokers) -> Failure {
    let TooFewBrokers { partitions, copies, others } = error;
    let what = counted(partitions);
    Failure::new(format!(
        "broker {node} cannot go: {what} with up to {copies} copies, and {others} other brokers take part"
    ))
    .hint("bring in another broker first, or `brooklet cluster move` what should have fewer copies")
}

/// Waits, as long as it takes, until somebody has stopped the broker.
async fn wait_for_its_end(
    context: &mut Context,
    admin: &Admin,
    node: BrokerId,
) -> Result<(), Failure> {
    let mut is_said = false;
    loop {
        let cluster = admin.describe_cluster().await?;
        if cluster.brokers.iter().all(|broker| broker.id != node) {
            return Ok(());
        }
        if !is_said {
            is_said = true;
            if context.is_json() {
                context.output.json(&json!({ "node": node.0, "result": "empty" }))?;
            } else {
                let line =
                    format!("broker {node} keeps nothing: stop it, and it leaves the cluster");
                context.output.line(&line)?;
            }
            context.output.flush()?;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Takes out a broker that has ended.
pub(super) async fn remove(context: &mut Context, asked: Remove) -> Result<(), Failure> {
    let admin = Admin::new(context.client());
    let picture = Picture::look(&admin).await?;
    let node = BrokerId(asked.node);
    if !picture.brokers.contains_key(&node) {
        // Its number may have been taken out and its vote not, if somebody was interrupted between the two.
        let quorum = admin.describe_quorum().await?;
        if !quorum.voters.iter().any(|voter| voter.broker == node) {
            known(&picture, asked.node)?;
        }
    }
    if picture.is_active(node) {
        return Err(Failure::new(format!("broker {node} takes part")).hint(
            "`brooklet cluster decommission` moves what it keeps; stop one that is to be given up",
        ));
    }
    let alone = led_by_nobody(&picture, node);
    if alone > 0 && !asked.force {
        let what = counted(alone);
        return Err(Failure::new(format!("without broker {node} nobody can lead {what}"))
            .hint("start it again, or give up what it alone has with --force"));
    }
    // Before it leaves: whoever is interrupted here finds it by its number again.
    if alone > 0 {
        abandon(&admin, &picture, node).await?;
    }
    leave(&admin, node).await?;
    context.say(&format!("broker {node}"), "left the cluster")?;
    let kept = Picture::look(&admin).await?.kept_by(node).count();
    if kept > 0 && !context.is_json() {
        let what = counted(kept);
        let line = format!("{what} lack its copies: `brooklet cluster balance` makes others");
        context.output.line(&line)?;
    }
    Ok(())
}

/// How many partitions nobody leads, of those that a broker keeps: what they acknowledged last it may have alone.
fn led_by_nobody(picture: &Picture, node: BrokerId) -> usize {
    picture.kept_by(node).filter(|(_, placed)| placed.leader.is_none()).count()
}

/// Has partitions go on without the broker that alone could have led them.
async fn abandon(admin: &Admin, picture: &Picture, node: BrokerId) -> Result<(), Failure> {
    let steps = plan::abandon(picture, node);
    follow::begin(admin, &steps).await?;
    let lost = picture.kept_by(node).filter(|(_, placed)| placed.leader.is_none());
    let lost: Vec<Partition> = lost.map(|(at, _)| at.clone()).collect();
    follow::give_up(admin, &lost).await?;
    // An election does not end a move; the same move over again is found to be done.
    follow::begin(admin, &steps).await
}

/// Takes the broker's vote, and then its registration. What was done before, by whoever was interrupted, is done.
async fn leave(admin: &Admin, node: BrokerId) -> Result<(), Failure> {
    let quorum = admin.describe_quorum().await?;
    for voter in quorum.voters.iter().filter(|voter| voter.broker == node) {
        let removed = admin.remove_voter(node, voter.directory).await;
        unless(removed, ErrorCode::VoterNotFound)?;
    }
    unless(admin.unregister_broker(node).await, ErrorCode::BrokerIdNotRegistered)?;
    Ok(())
}

fn unless(outcome: Result<(), ApiError>, done: ErrorCode) -> Result<(), ApiError> {
    outcome.or_else(|error| if error.code() == Some(done) { Ok(()) } else { Err(error) })
}
