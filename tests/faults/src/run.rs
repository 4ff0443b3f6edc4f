//! One run: a cluster, clients, faults, and what came of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use brooklet_client::Admin;
use brooklet_client::admin::NewTopic;
use brooklet_history::{Recording, Report as History, check};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cluster::{Cluster, HEAL_MAX};
use crate::failure::{Failure, context};
use crate::flights::Flights;
use crate::load::{PRODUCERS, Scene, TOPIC, client, produce, read_to_the_end, readers};
use crate::nemesis::{Done, carry_out};
use crate::network::{BROKERS, Network};
use crate::plan::Fault;
use crate::product::Product;
use crate::recorder::{Recorder, name};
use crate::replicas;
use crate::report::{Report, by_kind, line, without};

/// Where the history is, in a run's folder.
pub(crate) const HISTORY: &str = "history.jsonl";
/// After the last fault, for what is under way: a producer gives a record up after two minutes.
const FLUSH_MAX: Duration = Duration::from_secs(150);
const READ_MAX: Duration = Duration::from_secs(120);
/// Readers see that all is over after a poll, and take leave of their group.
const LEAVE_MAX: Duration = Duration::from_secs(60);

/// What is to be run.
pub(crate) struct Run {
    pub(crate) product: Product,
    pub(crate) network: Network,
    pub(crate) files: PathBuf,
    pub(crate) has_disks: bool,
    pub(crate) flights: Flights,
    pub(crate) partitions: u32,
    pub(crate) rate: u32,
    pub(crate) seed: u64,
    pub(crate) faults: Vec<Fault>,
}

/// Runs it. Whatever goes on is told on standard error.
pub(crate) async fn run(run: Run) -> Result<Report, Failure> {
    let Run { product, network, files, has_disks, flights, partitions, rate, seed, faults } = run;
    let namespaces = network.can_cut();
    let product_name = product.name();
    let recorder = Arc::new(Recorder::create(&files.join(HISTORY), partitions)?);
    let mut cluster = Cluster::prepare(product, network, &files, has_disks)?;
    begin(&mut cluster, partitions).await?;
    let recorder_of_scene = Arc::clone(&recorder);
    let next = AtomicU64::new(0);
    let scene = Arc::new(Scene { recorder: recorder_of_scene, flights, partitions, rate, next });
    let (done_sending, no_more) = watch::channel(false);
    let (done_reading, over) = watch::channel(false);
    let (mut producers, mut consumers) = (JoinSet::new(), JoinSet::new());
    for producer in 0..PRODUCERS {
        let client = client(&cluster.network, 2 * producer);
        producers.spawn(produce(Arc::clone(&scene), client, no_more.clone()));
    }
    readers(&scene, &cluster.network, &over, &mut consumers);
    let mut anomalies = Vec::new();
    let done = inflict(&mut cluster, &recorder, &faults).await?;
    done_sending.send_replace(true);
    if timeout(FLUSH_MAX, async { while producers.join_next().await.is_some() {} }).await.is_err() {
        anomalies.push(format!("producers are not done {FLUSH_MAX:?} after the last fault"));
        producers.shutdown().await;
    }
    let end = recorder.now();
    match read_to_the_end(&scene, client(&cluster.network, 0), READ_MAX).await {
        Ok(records) => eprintln!("read to the end: {records} records"),
        Err(error) => anomalies.push(error.to_string()),
    }
    done_reading.send_replace(true);
    if timeout(LEAVE_MAX, async { while consumers.join_next().await.is_some() {} }).await.is_err() {
        anomalies.push(format!("readers are not done within {LEAVE_MAX:?}"));
        consumers.shutdown().await;
    }
    recorder.finish()?;
    let batches_compared = finish(&mut cluster, partitions, &mut anomalies).await?;
    let acknowledged = recorder.acknowledged();
    let report = Report {
        product: product_name,
        seed,
        namespaces,
        history: Some(checked(&files.join(HISTORY))?),
        errors: recorder.errors(),
        batches_compared,
        without_leader: by_kind(&done, |it| without(it, &acknowledged, end, false)),
        anywhere: by_kind(&done, |it| without(it, &acknowledged, end, true)),
        healing: by_kind(&done, |it| Some((it.healed - it.over) as f64 / 1e6)),
        faults: done,
        anomalies,
    };
    if !report.is_bad() {
        for disk in cluster.disks {
            disk.remove()?;
        }
    }
    Ok(report)
}

/// Starts all brokers, and makes the topic.
async fn begin(cluster: &mut Cluster, partitions: u32) -> Result<(), Failure> {
    for place in 0..BROKERS {
        cluster.start(place)?;
    }
    for place in 0..BROKERS {
        cluster.answers(place).await?;
    }
    cluster.whole(HEAL_MAX).await.map_err(Failure)?;
    let new = NewTopic {
        name: TOPIC.to_owned(),
        partitions: Some(partitions),
        replication: Some(3),
        settings: vec![("min.insync.replicas".to_owned(), "2".to_owned())],
    };
    let admin = Admin::new(client(&cluster.network, 0));
    admin.create_topic(&new, false).await.map_err(context("make the topic"))?;
    cluster.partitions = partitions as usize;
    cluster.whole(HEAL_MAX).await.map_err(Failure)?;
    Ok(())
}

/// Carries the faults out, until one leaves something that should not be.
async fn inflict(
    cluster: &mut Cluster,
    recorder: &Recorder,
    faults: &[Fault],
) -> Result<Vec<Done>, Failure> {
    let mut all = Vec::with_capacity(faults.len());
    for (number, fault) in (1..).zip(faults) {
        let before = cluster.whole(HEAL_MAX).await.map_err(Failure)?;
        let done = carry_out(cluster, recorder, *fault, &before).await?;
        eprintln!("{}", line(number, &done, &recorder.acknowledged(), recorder.now()));
        let is_bad = !done.anomalies.is_empty();
        all.push(done);
        if is_bad {
            eprintln!("no more faults: what comes of this one is to be seen");
            break;
        }
    }
    Ok(all)
}

/// Ends all brokers, looks at what they said, and compares what is on their disks.
async fn finish(
    cluster: &mut Cluster,
    partitions: u32,
    anomalies: &mut Vec<String>,
) -> Result<usize, Failure> {
    for place in 0..BROKERS {
        match cluster.product {
            Product::Brooklet(_) => anomalies.extend(cluster.shut_down(place).await?),
            // Its last brokers would wait for minutes for a controller that has ended before them.
            Product::Kafka { .. } => cluster.kill(place),
        }
        let log = fs::read(cluster.log(place)).map_err(context("read a broker's log"))?;
        let log = String::from_utf8_lossy(&log);
        let panics = log.lines().filter(|line| line.contains("panicked at"));
        anomalies.extend(panics.map(|line| format!("broker {}: {line}", place + 1)));
    }
    let mut compared = 0;
    for partition in 0..partitions {
        let folder = |place: usize| {
            let topics = cluster.product.topics(&cluster.disks[place].data());
            topics.join(&*name(partition))
        };
        let folders: Vec<_> = (0..BROKERS).map(folder).collect();
        let (batches, differences) = replicas::compare(&folders)?;
        compared += batches;
        anomalies.extend(differences.into_iter().map(|it| format!("copies differ: {it}")));
    }
    Ok(compared)
}

fn checked(path: &Path) -> Result<History, Failure> {
    let file = fs::File::open(path).map_err(context("open the history"))?;
    let history = Recording::read(std::io::BufReader::new(file));
    Ok(check(&history.map_err(context("read the history"))?))
}
