//! Three brokers: their processes, disks and network, and how all is well with them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use crate::broker::Process;
use crate::disk::Disk;
use crate::failure::Failure;
use crate::load::TOPIC;
use crate::network::{BROKERS, Network};
use crate::product::Product;
use crate::view::{self, View};

/// From the start of a process until it answers. A JVM on a loaded machine is slow, and a log is recovered first.
const START_MAX: Duration = Duration::from_secs(60);
/// From a fault's end until all copies are in sync.
pub(crate) const HEAL_MAX: Duration = Duration::from_secs(60);
/// A controlled shutdown.
pub(crate) const SHUTDOWN_MAX: Duration = Duration::from_secs(60);
/// How often brokers are asked for what is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// The cluster.
pub(crate) struct Cluster {
    pub(crate) product: Product,
    pub(crate) network: Network,
    pub(crate) disks: Vec<Disk>,
    running: Vec<Option<Process>>,
    /// Where logs and settings are.
    files: PathBuf,
    /// Partitions of the topic that is written to, once it was made.
    pub(crate) partitions: usize,
}

impl Cluster {
    /// Makes the folders of one, and starts nobody.
    pub(crate) fn prepare(
        product: Product,
        network: Network,
        files: &Path,
        has_disks: bool,
    ) -> Result<Cluster, Failure> {
        let disk = |place: usize| {
            let folder = files.join(format!("broker-{}", place + 1));
            match has_disks {
                true => Disk::mounted(files.join(format!("broker-{}.disk", place + 1)), folder),
                false => Disk::plain(folder),
            }
        };
        let disks = (0..BROKERS).map(disk).collect::<Result<Vec<_>, _>>()?;
        let data: Vec<PathBuf> = disks.iter().map(Disk::data).collect();
        product.prepare(&network, &data, files)?;
        let running = (0..BROKERS).map(|_| None).collect();
        let files = files.to_owned();
        Ok(Cluster { product, network, disks, running, files, partitions: 0 })
    }

    /// Starts the broker at `place`, without waiting for it.
    pub(crate) fn start(&mut self, place: usize) -> Result<(), Failure> {
        let data = self.disks[place].data();
        let command = self.product.command(&self.network, place, &data, &self.files);
        self.running[place] = Some(Process::start(command, &self.log(place))?);
        Ok(())
    }

    /// Waits until the broker at `place` answers.
    pub(crate) async fn answers(&mut self, place: usize) -> Result<(), Failure> {
        let deadline = Instant::now() + START_MAX;
        loop {
            let Err(error) = View::of(self.network.client_address(place)).await else {
                return Ok(());
            };
            let ended = self.ended(place)?;
            if let Some(how) = ended {
                return Err(Failure(format!("broker {} {how} when it was started", place + 1)));
            }
            if Instant::now() > deadline {
                let started = format!("broker {} was started {START_MAX:?} ago", place + 1);
                return Err(Failure(format!("{started}: {error}")));
            }
            sleep(LOOK).await;
        }
    }

    /// Ends the broker at `place` without a warning.
    pub(crate) fn kill(&mut self, place: usize) {
        self.running[place] = None;
    }

    /// Asks the broker at `place` to end, and waits until it has. Says what is wrong with how it did.
    pub(crate) async fn shut_down(&mut self, place: usize) -> Result<Option<String>, Failure> {
        let Some(process) = self.running[place].take() else { return Ok(None) };
        process.signal(Signal::TERM)?;
        let who = format!("broker {}", place + 1);
        let is_kafka = matches!(self.product, Product::Kafka { .. });
        Ok(match process.end(SHUTDOWN_MAX).await? {
            None => Some(format!("{who} did not end within {SHUTDOWN_MAX:?} of SIGTERM")),
            // A JVM that has done what there was to do ends by the signal all the same.
            Some(status) if status.success() || is_kafka => None,
            Some(status) => Some(format!("{who} ended with {status} after SIGTERM")),
        })
    }

    /// Signals the broker at `place`.
    pub(crate) fn signal(&self, place: usize, signal: Signal) -> Result<(), Failure> {
        self.running[place].as_ref().map_or(Ok(()), |process| process.signal(signal))
    }

    /// How the broker at `place` ended, if it has by itself.
    pub(crate) fn ended(&mut self, place: usize) -> Result<Option<String>, Failure> {
        let Some(process) = &mut self.running[place] else { return Ok(None) };
        let ended = process.ended()?.map(|status| format!("ended by itself with {status}"));
        if ended.is_some() {
            self.running[place] = None;
        }
        Ok(ended)
    }

    /// Whether the broker at `place` has a process.
    pub(crate) fn is_running(&self, place: usize) -> bool {
        self.running[place].is_some()
    }

    /// Where what the broker at `place` says is.
    pub(crate) fn log(&self, place: usize) -> PathBuf {
        self.files.join(format!("broker-{}.log", place + 1))
    }

    /// Who leads the metadata quorum.
    pub(crate) async fn controller(&self) -> Option<usize> {
        for place in 0..BROKERS {
            let address = self.network.client_address(place);
            if let Ok(Some(leader)) = view::quorum_leader(address).await {
                return Some(leader);
            }
        }
        None
    }

    /// Waits until all three brokers say the same of all partitions, and that all copies are in sync.
    ///
    /// What is missing, if it is still after `within`.
    pub(crate) async fn whole(&mut self, within: Duration) -> Result<View, String> {
        let deadline = Instant::now() + within;
        loop {
            let lacks = match self.lacks().await {
                Ok(view) => return Ok(view),
                Err(lacks) => lacks,
            };
            for place in 0..BROKERS {
                let ended = self.ended(place).map_err(|error| error.to_string())?;
                if let Some(how) = ended {
                    return Err(format!("broker {} {how}", place + 1));
                }
            }
            if Instant::now() > deadline {
                return Err(format!("not whole after {within:?}: {lacks}"));
            }
            sleep(LOOK).await;
        }
    }

    async fn lacks(&self) -> Result<View, String> {
        let mut lacking = Vec::new();
        let mut views = Vec::new();
        for place in 0..BROKERS {
            match View::of(self.network.client_address(place)).await {
                Ok(view) => {
                    let lacks = view.lacks(TOPIC, self.partitions);
                    lacking.extend(lacks.map(|it| format!("broker {}: {it}", place + 1)));
                    views.push(view);
                }
                Err(error) => lacking.push(format!("broker {}: {error}", place + 1)),
            }
        }
        if !lacking.is_empty() {
            return Err(lacking.join("; "));
        }
        let differ = views.iter().find(|view| **view != views[0]);
        match differ {
            Some(other) => Err(format!("brokers differ: {}", difference(&views[0], other))),
            None => Ok(views.swap_remove(0)),
        }
    }
}

/// The first partition of which two views say different things.
fn difference(one: &View, other: &View) -> String {
    let all: BTreeSet<_> = one.partitions.keys().chain(other.partitions.keys()).collect();
    let differs = all.into_iter().find(|it| one.partitions.get(it) != other.partitions.get(it));
    differs.map_or("in who is there".to_owned(), |it| {
        format!("{}-{}: {:?}, {:?}", it.0, it.1, one.partitions.get(it), other.partitions.get(it))
    })
}
