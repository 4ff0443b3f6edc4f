//! Carrying a plan out, and how far it is.
//!
//! **Decides** nothing about where anything goes. What was begun goes on by itself: whoever stops watching stops nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal};
use std::time::Duration;

use brooklet_client::Admin;
use brooklet_client::admin::{Election, Reassignment};
use brooklet_types::{BrokerId, ErrorCode};
use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::picture::Partition;
use super::plan::Step;
use super::status::counted;
use crate::Context;
use crate::failure::Failure;

/// Partitions in one request: the controller decides on a thousand or so at once.
const AT_ONCE: usize = 500;
/// How often it is looked how far everything is.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a broker may take to say how large its copies are. It is only for show.
const SIZES_WITHIN: Duration = Duration::from_secs(2);

/// One line that is rewritten on a terminal; elsewhere a line for whatever has changed.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    last: Option<String>,
}

impl Progress {
    pub(super) fn start(context: &Context) -> Progress {
        let is_watched = io::stdout().is_terminal() && io::stderr().is_terminal();
        let bar = (is_watched && !context.is_json()).then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {msg}");
            bar.set_style(style.expect("the template is well-formed"));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Progress { bar, last: None }
    }

    /// Says how far it is, in words or as a value.
    pub(super) fn show(
        &mut self,
        context: &mut Context,
        text: String,
        value: &Value,
    ) -> Result<(), Failure> {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            return Ok(());
        }
        if self.last.as_ref() == Some(&text) {
            return Ok(());
        }
        if context.is_json() {
            context.output.json(value)?;
        } else {
            context.output.line(&text)?;
        }
        self.last = Some(text);
        // Whoever reads along waits for this.
        context.output.flush()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Prints what is to be done.
pub(super) fn print(context: &mut Context, steps: &[Step]) -> Result<(), Failure> {
    for step in steps {
        if context.is_json() {
            let numbers = |brokers: &[BrokerId]| brokers.iter().map(|it| it.0).collect::<Vec<_>>();
            let (topic, partition) = &step.partition;
            let (from, to) = (numbers(&step.before), numbers(&step.after));
            let line = json!({ "topic": topic, "partition": partition, "from": from, "to": to });
            context.output.json(&line)?;
        } else {
            context.output.line(&step.line())?;
        }
    }
    if steps.is_empty() && !context.is_json() {
        context.output.line("nothing to move")?;
    }
    context.output.flush()
}

/// Has everything go where it is to go. It is on its way when this returns; what only changes its order is there.
pub(super) async fn begin(admin: &Admin, steps: &[Step]) -> Result<(), Failure> {
    let mut refused = Vec::new();
    for steps in steps.chunks(AT_ONCE) {
        let moves = steps.iter().map(|step| (step.partition.clone(), Some(step.after.clone())));
        let outcomes = admin.reassign(&moves.collect::<Vec<_>>()).await?;
        refused.extend(outcomes.into_iter().filter_map(|(_, result)| result.err()));
    }
    match refused.first() {
        None => Ok(()),
        Some(first) => {
            let (few, all) = (refused.len(), counted(steps.len()));
            Err(Failure::new(format!("{few} of {all} cannot be moved: {first}")))
        }
    }
}

/// Has the first replicas lead. Gives those that cannot.
pub(super) async fn lead(
    admin: &Admin,
    partitions: &[Partition],
) -> Result<Vec<Partition>, Failure> {
    let mut waiting = Vec::new();
    for partitions in partitions.chunks(AT_ONCE) {
        for (partition, result) in admin.elect_leaders(Election::Preferred, partitions).await? {
            match result {
                Ok(()) => {}
                Err(error) if error.code() == Some(ErrorCode::PreferredLeaderNotAvailable) => {
                    waiting.push(partition);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(waiting)
}

/// Has whoever is there lead partitions that nobody leads, at the price of the records that it lacks.
pub(super) async fn give_up(admin: &Admin, partitions: &[Partition]) -> Result<(), Failure> {
    for partitions in partitions.chunks(AT_ONCE) {
        for (_, result) in admin.elect_leaders(Election::Unclean, partitions).await? {
            result?;
        }
    }
    Ok(())
}

/// Waits until none of these partitions is on the move, and says how far it is. It takes as long as the copying does: each
/// request has its limit, and the whole has none.
pub(super) async fn follow(
    context: &mut Context,
    admin: &Admin,
    partitions: &BTreeSet<Partition>,
) -> Result<(), Failure> {
    let mut progress = Progress::start(context);
    loop {
        let mut moving = admin.reassignments().await?;
        moving.retain(|one| partitions.contains(&one.partition));
        if moving.is_empty() {
            return Ok(());
        }
        let bytes = bytes_left(admin, &moving).await;
        let (left, all) = (moving.len(), counted(partitions.len()));
        let known = bytes.map(|bytes| format!(", {} to copy", BinaryBytes(bytes)));
        let text = format!("{left} of {all} left{}", known.unwrap_or_default());
        let value = json!({ "partitions_left": left, "bytes_left": bytes });
        progress.show(context, text, &value)?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What the new copies lack, as far as brokers say: what their leaders have, and they have not.
async fn bytes_left(admin: &Admin, moving: &[Reassignment]) -> Option<u64> {
    let topics: BTreeSet<String> = moving.iter().map(|one| one.partition.0.clone()).collect();
    let topics: Vec<String> = topics.into_iter().collect();
    let metadata = admin.client().metadata(Some(&topics)).await.ok()?;
    let leader = |(topic, index): &Partition| {
        let partitions = &metadata.topics.get(topic)?.partitions;
        partitions.iter().find(|one| one.index == *index)?.leader
    };
    let leaders: Vec<Option<BrokerId>> = moving.iter().map(|one| leader(&one.partition)).collect();
    let mut sizes = BTreeMap::new();
    let asked: BTreeSet<BrokerId> = moving.iter().flat_map(|one| one.adding.clone()).collect();
    for broker in asked.into_iter().chain(leaders.iter().flatten().copied()) {
        if sizes.contains_key(&broker) {
            continue;
        }
        let said = tokio::time::timeout(SIZES_WITHIN, admin.log_sizes(broker)).await;
        sizes.insert(broker, said.ok()?.ok()?);
    }
    let size = |broker: &BrokerId, partition: &Partition| {
        sizes.get(broker).and_then(|sizes| sizes.get(partition)).copied().unwrap_or(0)
    };
    let mut left = 0;
    for (one, leader) in moving.iter().zip(leaders) {
        let whole = size(&leader?, &one.partition);
        let lacks = one.adding.iter().map(|it| whole.saturating_sub(size(it, &one.partition)));
        left += lacks.sum::<u64>();
    }
    Some(left)
}
