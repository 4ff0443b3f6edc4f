//! The plugins of a topic while requests come and go, and how they are exchanged.
//!
//! **Invariants.** A request that came in keeps the plugins it found until its batches are in line; new
//! plugins are put in place between two requests. Getting them ready happens before, while the old ones work.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use brooklet_hook::{
    Answer, Checked, DeadLetter, Entered, FetchHook, Place, Placed, ProduceHook, Shown,
    TopicPlugins,
};
use brooklet_types::{PartitionIndex, TopicName};
use bytes::Bytes;
use tokio::sync::{Notify, OwnedRwLockReadGuard, RwLock};

use crate::chain::Chain;
use crate::workers::{Habit, Workers};

/// One topic with plugins.
#[derive(Debug)]
pub(crate) struct Topic {
    /// Protects which plugins are in place: shared by requests until their batches are in line, taken
    /// alone for the moment of an exchange. Fair, so that an exchange waits for those who are in and no others.
    chain: Arc<RwLock<Arc<Chain>>>,
    workers: Arc<Workers>,
    habit: Arc<Habit>,
}

impl Topic {
    pub(crate) fn new(chain: Arc<Chain>, workers: Arc<Workers>) -> Topic {
        Topic { chain: Arc::new(RwLock::new(chain)), workers, habit: Arc::default() }
    }

    /// Puts other plugins in place.
    pub(crate) async fn exchange(&self, chain: Arc<Chain>) {
        *self.chain.write().await = chain;
    }
}

impl Topic {
    /// Whether one of its plugins failed and its binding says `stop`.
    pub(crate) fn is_stopped(&self) -> bool {
        self.chain.try_read().is_ok_and(|chain| chain.is_stopped())
    }
}

impl ProduceHook for Topic {
    fn enter(self: Arc<Self>) -> Answer<'static, Box<dyn Entered>> {
        Box::pin(async move {
            let chain = Arc::clone(&self.chain).read_owned().await;
            let (workers, habit) = (Arc::clone(&self.workers), Arc::clone(&self.habit));
            Box::new(In { chain, workers, habit }) as Box<dyn Entered>
        })
    }
}

/// A place that lasts as long as the work on it.
#[derive(Clone, Debug)]
struct Spot {
    topic: TopicName,
    partition: PartitionIndex,
    partitions: u32,
    is_placed: bool,
}

impl Spot {
    fn of(place: Place<'_>) -> Spot {
        let Place { topic, partition, partitions, is_placed } = place;
        Spot { topic: topic.clone(), partition, partitions, is_placed }
    }

    fn place(&self) -> Place<'_> {
        let Spot { topic, partition, partitions, is_placed } = self;
        let (partition, partitions, is_placed) = (*partition, *partitions, *is_placed);
        Place { topic, partition, partitions, is_placed }
    }
}

/// A request that is in.
#[derive(Debug)]
struct In {
    chain: OwnedRwLockReadGuard<Arc<Chain>>,
    workers: Arc<Workers>,
    habit: Arc<Habit>,
}

impl Entered for In {
    fn check<'a>(&'a self, place: Place<'a>, batch: &'a Bytes) -> Answer<'a, Checked> {
        let (chain, spot, batch) = (Arc::clone(&*self.chain), Spot::of(place), batch.clone());
        let work = async move { chain.check(spot.place(), &batch).await };
        Box::pin(self.workers.carry(&self.habit, Box::pin(work)))
    }

    fn has_partitioner(&self) -> bool {
        self.chain.partitioner.is_some()
    }

    fn place<'a>(&'a self, place: Place<'a>, batch: &'a Bytes) -> Answer<'a, Placed> {
        let (chain, spot, batch) = (Arc::clone(&*self.chain), Spot::of(place), batch.clone());
        let work = async move { chain.place(spot.place(), &batch).await };
        Box::pin(self.workers.carry(&self.habit, Box::pin(work)))
    }
}

impl FetchHook for Topic {
    fn show<'a>(
        &'a self,
        place: Place<'a>,
        batches: &'a [Bytes],
        bytes_max: usize,
    ) -> Answer<'a, Shown> {
        Box::pin(async move {
            // What is shown can be shown again, so nobody needs to wait for it.
            let chain = Arc::clone(&*self.chain.read().await);
            let (spot, batches) = (Spot::of(place), batches.to_vec());
            let work = async move { chain.show(spot.place(), &batches, bytes_max).await };
            self.workers.carry(&self.habit, Box::pin(work)).await
        })
    }

    fn buried(&self, place: Place<'_>, letters: &[DeadLetter]) {
        // An exchange that goes on forgets what was buried; a letter too many is better than one too few.
        if let Ok(chain) = self.chain.try_read() {
            chain.buried(place, letters);
        }
    }
}

/// A topic's plugins, and what they were made from.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    pub(crate) said: TopicPlugins,
    pub(crate) topic: Arc<Topic>,
    /// Names of the plugins, for a swap.
    pub(crate) plugins: Vec<String>,
}

/// Topics that have other plugins, until somebody takes their names.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// Protects the names; held to add some or to take them all.
    topics: Mutex<BTreeSet<TopicName>>,
    woken: Notify,
}

impl Changed {
    pub(crate) fn add(&self, topics: impl IntoIterator<Item = TopicName>) {
        self.lock().extend(topics);
        self.woken.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<TopicName>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for some. For one at a time.
    pub(crate) async fn take(&self) -> BTreeSet<TopicName> {
        loop {
            let taken = std::mem::take(&mut *self.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.woken.notified().await;
        }
    }
}
