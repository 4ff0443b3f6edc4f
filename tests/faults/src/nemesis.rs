//! Faults, carried out: one broker at a time, one kind at a time, and in between all has to heal.
//!
//! **Decides** what is an anomaly of a fault itself: a broker that ended although nobody ended it (other than for a full disk), or did
//! not end when asked, and a cluster that is not whole again in time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::Serialize;
use tokio::time::sleep;

use crate::cluster::{Cluster, HEAL_MAX};
use crate::failure::Failure;
use crate::load::TOPIC;
use crate::plan::{Fault, Kind, Whom};
use crate::recorder::Recorder;
use crate::view::View;

/// A fault that has been.
#[derive(Debug, Serialize)]
pub(crate) struct Done {
    pub(crate) fault: Fault,
    /// Whom it hit: the broker's number.
    pub(crate) broker: usize,
    /// Whether that led the metadata quorum.
    pub(crate) controller: bool,
    /// The partitions that it led.
    pub(crate) led: BTreeSet<u32>,
    /// The time of day when it began, as brokers' logs have it (UTC).
    pub(crate) at: String,
    /// When it began, in nanoseconds since the history did.
    pub(crate) began: u64,
    /// When it was over, before anything was started again.
    pub(crate) over: u64,
    /// When all was well again; if it never was, when that was given up.
    pub(crate) healed: u64,
    /// What should not be.
    pub(crate) anomalies: Vec<String>,
}

/// Carries one out, and waits until all is well again.
pub(crate) async fn carry_out(
    cluster: &mut Cluster,
    recorder: &Recorder,
    fault: Fault,
    before: &View,
) -> Result<Done, Failure> {
    let controller = cluster.controller().await;
    let place = match fault.whom {
        Whom::Place(place) => place,
        Whom::Controller => controller.unwrap_or(0),
        Whom::Leader => {
            let led = |place: &usize| before.led_by(*place, TOPIC).len();
            before.brokers.iter().copied().max_by_key(led).unwrap_or(0)
        }
    };
    let led = before.led_by(place, TOPIC).into_iter();
    let led = led.filter_map(|partition| u32::try_from(partition).ok()).collect();
    let mut anomalies = Vec::new();
    let began = recorder.now();
    let act = async {
        let acted = act(cluster, place, fault, &mut anomalies).await?;
        let over = recorder.now();
        undo(cluster, place, fault.kind, acted, &mut anomalies).await?;
        Ok::<u64, Failure>(over)
    };
    let over = act.await?;
    if let Err(lacks) = cluster.whole(HEAL_MAX).await {
        anomalies.push(lacks);
    }
    let healed = recorder.now();
    if anomalies.is_empty() {
        if let Some(stuck) = goes_on(recorder).await {
            anomalies.push(stuck);
        }
        sleep(fault.calm).await;
    }
    let controller = controller == Some(place);
    let broker = place + 1;
    let at = recorder.time_of_day(began);
    Ok(Done { fault, broker, controller, led, at, began, over, healed, anomalies })
}

/// When it was brought about.
struct Acted {
    since: Instant,
}

async fn act(
    cluster: &mut Cluster,
    place: usize,
    fault: Fault,
    anomalies: &mut Vec<String>,
) -> Result<Acted, Failure> {
    match fault.kind {
        Kind::Kill => cluster.kill(place),
        Kind::Shutdown => anomalies.extend(cluster.shut_down(place).await?),
        Kind::Pause => cluster.signal(place, Signal::STOP)?,
        Kind::DiskFull => {
            cluster.disks[place].fill()?;
        }
        Kind::CutOff
        | Kind::Mute
        | Kind::Deaf
        | Kind::Apart
        | Kind::MuteToBrokers
        | Kind::DeafToBrokers => {
            cluster.network.cut(place, fault.kind.cut().expect("these are cuts"))?;
        }
    }
    let since = Instant::now();
    if let Some(useless) = has_no_effect(cluster, place, fault.kind).await {
        return Err(Failure(useless));
    }
    sleep(fault.lasts.saturating_sub(since.elapsed())).await;
    Ok(Acted { since })
}

/// A cut that cuts nothing would make every run a success.
async fn has_no_effect(cluster: &Cluster, place: usize, kind: Kind) -> Option<String> {
    let cuts = matches!(kind, Kind::CutOff | Kind::Mute | Kind::Deaf);
    if !cuts {
        return None;
    }
    let soon = Duration::from_millis(300);
    let asked = View::of(cluster.network.client_address(place));
    let answered = tokio::time::timeout(soon, asked).await.is_ok_and(|view| view.is_ok());
    answered.then(|| format!("broker {} still answers after {}", place + 1, kind.name()))
}

async fn undo(
    cluster: &mut Cluster,
    place: usize,
    kind: Kind,
    acted: Acted,
    anomalies: &mut Vec<String>,
) -> Result<(), Failure> {
    match kind {
        Kind::Kill | Kind::Shutdown => {}
        Kind::Pause => cluster.signal(place, Signal::CONT)?,
        Kind::DiskFull => cluster.disks[place].empty()?,
        Kind::CutOff
        | Kind::Mute
        | Kind::Deaf
        | Kind::Apart
        | Kind::MuteToBrokers
        | Kind::DeafToBrokers => {
            cluster.network.mend(place, kind.cut().expect("these are cuts"))?;
        }
    }
    let ended = cluster.ended(place)?;
    if let Some(how) = ended
        && kind != Kind::DiskFull
    {
        let after = acted.since.elapsed();
        anomalies.push(format!("broker {} {how}, {after:?} into {}", place + 1, kind.name()));
    }
    if !cluster.is_running(place) {
        cluster.start(place)?;
        if let Err(error) = cluster.answers(place).await {
            anomalies.push(error.to_string());
        }
    }
    Ok(())
}

/// Says which partition takes nothing although all is well.
async fn goes_on(recorder: &Recorder) -> Option<String> {
    let before = recorder.counts();
    let deadline = Instant::now() + HEAL_MAX;
    loop {
        let counts = recorder.counts();
        let stuck = counts.iter().zip(&before).position(|(count, before)| count <= before);
        let partition = stuck?;
        if Instant::now() > deadline {
            return Some(format!(
                "{TOPIC}-{partition} takes nothing, {HEAL_MAX:?} after all was well"
            ));
        }
        sleep(Duration::from_millis(10)).await;
    }
}
