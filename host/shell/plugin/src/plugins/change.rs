//! How the plugins of topics change: with what is bound, and with what is installed.
//!
//! **Invariants.** New plugins are made ready while the old ones work. Nothing is waited for under the lock that every
//! change of the cluster takes, but the requests that are in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};

use brooklet_hook::TopicPlugins;
use brooklet_types::TopicName;

use super::{Candidate, Plugins, Start, users_of};
use crate::chain::Chain;
use crate::error::UseError;
use crate::spec;
use crate::topic::{Followed, Topic};

/// Chains that are kept from the check of a binding until it is made.
const CHECKED_MAX: usize = 16;

impl Plugins {
    /// Gets ready what is to come, everywhere, and only then puts it in place.
    pub(super) async fn exchange(&self, name: &str, digest: Option<&str>) -> Result<(), UseError> {
        let wanted = match digest {
            Some(digest) => digest.to_owned(),
            None => self.stock_digest(name)?,
        };
        let candidate = Candidate { name, digest: Some(&wanted) };
        let mut ready: BTreeMap<TopicName, (TopicPlugins, Arc<Chain>)> = BTreeMap::new();
        loop {
            let topics = self.topics.load_full();
            for Followed { said, .. } in users_of(&topics, name) {
                if ready.get(&said.name).is_none_or(|(known, _)| known != said) {
                    let chain = self.build(said, Some(&candidate), Start::Now).await?;
                    ready.insert(said.name.clone(), (said.clone(), Arc::new(chain)));
                }
            }
            if ready.is_empty() {
                self.compile(name, &wanted).await?;
            }
            let _bound = self.following.lock().await;
            let topics = self.topics.load_full();
            // Bound in the meantime, or bound otherwise: once more.
            let is_ready = |it: &Followed| {
                ready.get(&it.said.name).is_some_and(|(known, _)| *known == it.said)
            };
            if !users_of(&topics, name).all(is_ready) {
                continue;
            }
            self.checked().clear();
            self.library.select(name, digest)?;
            for Followed { said, topic, .. } in users_of(&topics, name) {
                if let Some((_, chain)) = ready.remove(&said.name) {
                    topic.exchange(chain).await;
                }
            }
            self.changed.add(self.users(name));
            return Ok(());
        }
    }

    /// Nobody uses it yet: that it compiles is shown now, and in the cache for later.
    async fn compile(&self, name: &str, digest: &str) -> Result<(), UseError> {
        let image = self.library.image(name, Some(digest))?;
        let engine = self.engine()?;
        let compiled = tokio::task::spawn_blocking(move || image.component(&engine).map(drop));
        let compiled = compiled.await.unwrap_or_else(|error| Err(error.to_string()));
        compiled.map_err(UseError::Component)
    }

    pub(super) async fn follow_all(&self, topics: Vec<TopicPlugins>) {
        let _bound = self.following.lock().await;
        let old = self.topics.load_full();
        let (mut new, mut changed) = (BTreeMap::new(), BTreeSet::new());
        for said in topics {
            let name = said.name.clone();
            let known = old.as_ref().as_ref().and_then(|old| old.get(&name));
            let is_bound_again = |known: &Followed| {
                known.topic.is_stopped() && self.checked().iter().any(|(it, _)| *it == said)
            };
            let same = |known: &&Followed| known.said == said && !is_bound_again(known);
            if let Some(known) = known.filter(same) {
                new.insert(name, known.clone());
                continue;
            }
            changed.insert(name.clone());
            let specs = spec::parse(&said.plugins).unwrap_or_default();
            let plugins = specs.into_iter().map(|spec| spec.plugin).collect();
            let chain = Arc::new(self.chain(&said).await);
            let topic = match known {
                Some(known) => {
                    known.topic.exchange(chain).await;
                    Arc::clone(&known.topic)
                }
                None => Arc::new(Topic::new(chain, Arc::clone(&self.workers))),
            };
            new.insert(name, Followed { said, topic, plugins });
        }
        // Requests that are in with plugins that are gone have their batches in line before this returns.
        for (name, gone) in old.iter().flatten() {
            if !new.contains_key(name) {
                gone.topic.exchange(Arc::default()).await;
                changed.insert(name.clone());
            }
        }
        self.topics.store(Arc::new(Some(new)));
        self.changed.add(changed);
    }

    /// A topic's plugins, as they were checked a moment ago if they were. Those of a broker that has just begun are
    /// started when they are needed.
    async fn chain(&self, said: &TopicPlugins) -> Chain {
        let checked = {
            let mut checked = self.checked();
            let found = checked.iter().position(|(known, _)| known == said);
            found.map(|at| checked.swap_remove(at).1)
        };
        match checked {
            Some(chain) => Ok(chain),
            None => self.build(said, None, Start::WhenNeeded).await,
        }
        .unwrap_or_else(|error| {
            tracing::error!(topic = %said.name, %error, "plugins of a topic can't be used");
            Chain::unusable(error.to_string())
        })
    }

    fn checked(&self) -> MutexGuard<'_, Vec<(TopicPlugins, Chain)>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A topic's plugins have been shown to start, and are perhaps about to be bound.
    pub(super) fn keep_checked(&self, said: &TopicPlugins, chain: Chain) {
        let mut checked = self.checked();
        checked.retain(|(known, _)| known.name != said.name);
        if checked.len() >= CHECKED_MAX {
            // What was checked and not bound, as in a dry run.
            checked.remove(0);
        }
        checked.push((said.clone(), chain));
    }
}
