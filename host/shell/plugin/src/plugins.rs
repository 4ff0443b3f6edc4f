//! Everything about plugins in one place: what is installed, what is bound where, and the changes of both.

mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use brooklet_hook::{Answer, FetchHook, Hooks, ProduceHook, TopicPlugins};
use brooklet_log::compaction::Policy;
use brooklet_types::{PartitionIndex, TopicName};
use tokio::runtime::Handle;

use crate::bind::compaction::CompactionPlugin;
use crate::cache::Cache;
use crate::chain::{Bound, Chain, FailureAnswer, Step};
use crate::engine::PluginEngine;
use crate::error::UseError;
use crate::guest::{Shared, Stop};
use crate::library::{Image, Installed, Library, Stock};
use crate::limits::Ceiling;
use crate::manifest::{Role, check_config};
use crate::metrics::PluginMetrics;
use crate::role;
use crate::role::compaction::PluginPolicy;
use crate::room::Room;
use crate::signature::Trust;
use crate::spec::{self, BindingSpec, Mode, OnFailure, Part};
use crate::topic::{Changed, Followed};
use crate::workers::Workers;

/// How the plugins of a broker are kept.
#[derive(Clone, Debug)]
pub struct PluginsConfig {
    /// The folder of plugins, `DATA/plugins`.
    pub folder: std::path::PathBuf,
    /// What any plugin may cost at most.
    pub ceiling: Ceiling,
    /// Which signatures are asked for.
    pub trust: Trust,
    /// The plugins that come with the program.
    pub stock: Vec<Stock>,
}

/// All plugins of a broker.
#[derive(Debug)]
pub struct Plugins {
    /// Made with the first plugin that is used: a broker without any has neither its memory nor its thread.
    engine: OnceLock<Arc<PluginEngine>>,
    /// Protects the making of it.
    making: std::sync::Mutex<Cache>,
    library: Library,
    ceiling: Ceiling,
    metrics: PluginMetrics,
    /// Topics that have plugins; read for every request.
    topics: ArcSwap<Topics>,
    /// What the shards were not told yet of other plugins.
    changed: Changed,
    /// Runs what is asked by threads that may wait.
    runtime: Handle,
    /// One change of what is installed at a time. It may take as long as a compiler takes.
    changing: tokio::sync::Mutex<()>,
    /// Protects that what is bound and what is in use fit each other; never held while a plugin is made ready: every
    /// change of the cluster passes here.
    following: tokio::sync::Mutex<()>,
    /// Protects chains that were shown to start and are about to be bound.
    checked: std::sync::Mutex<Vec<(TopicPlugins, Chain)>>,
    /// Where calls go on that take long.
    workers: Arc<Workers>,
}

/// When a topic's plugins are started.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// At once, which shows that they do.
    Now,
    /// With the first record.
    WhenNeeded,
}

type Topics = Option<BTreeMap<TopicName, Followed>>;

fn users_of<'t>(topics: &'t Topics, plugin: &'t str) -> impl Iterator<Item = &'t Followed> {
    let all = topics.iter().flat_map(BTreeMap::values);
    all.filter(move |it| it.plugins.iter().any(|name| name == plugin))
}

/// A plugin taken for one purpose, with another version than the current one if somebody wants to try it.
struct Candidate<'a> {
    name: &'a str,
    digest: Option<&'a str>,
}

impl Plugins {
    /// Opens the folder of plugins. Within a runtime.
    pub fn open(config: &PluginsConfig) -> Result<Arc<Plugins>, UseError> {
        let metrics = PluginMetrics::default();
        let trust = config.trust.clone();
        let library = Library::open(&config.folder, &config.stock, trust, metrics.clone())?;
        let cache = Cache::open(&config.folder.join("compiled"))?;
        Ok(Arc::new(Plugins {
            engine: OnceLock::new(),
            making: std::sync::Mutex::new(cache),
            library,
            ceiling: config.ceiling,
            metrics,
            topics: ArcSwap::default(),
            changed: Changed::default(),
            runtime: Handle::current(),
            changing: tokio::sync::Mutex::new(()),
            following: tokio::sync::Mutex::new(()),
            checked: std::sync::Mutex::default(),
            workers: Arc::default(),
        }))
    }

    fn engine(&self) -> Result<Arc<PluginEngine>, UseError> {
        let cache = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = self.engine.get() {
            return Ok(Arc::clone(engine));
        }
        let engine = Arc::new(PluginEngine::new(&self.ceiling, cache.clone())?);
        Ok(Arc::clone(self.engine.get_or_init(|| engine)))
    }

    /// What is counted about plugins.
    pub fn metrics(&self) -> &PluginMetrics {
        &self.metrics
    }

    /// What is installed.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// Topics that use a plugin, by name.
    pub fn users(&self, plugin: &str) -> Vec<TopicName> {
        let topics = self.topics.load();
        users_of(&topics, plugin).map(|it| it.said.name.clone()).collect()
    }

    /// Puts a component among the versions of its name and makes it the one in use, between two requests of
    /// every topic that uses it. An error leaves everything as it was.
    pub async fn install(&self, bytes: Vec<u8>, name: Option<&str>) -> Result<Installed, UseError> {
        let _one = self.changing.lock().await;
        let (name, version) = self.library.add(&bytes, name)?;
        drop(bytes);
        self.exchange(&name, Some(&version.digest)).await?;
        self.library.get(&name)
    }

    /// Makes another installed version the one in use. `word` is a digest, its beginning, or a version.
    pub async fn swap(&self, name: &str, word: &str) -> Result<Installed, UseError> {
        let _one = self.changing.lock().await;
        let version = self.library.resolve(name, word)?;
        let digest = (!version.stock).then_some(version.digest.as_str());
        self.exchange(name, digest).await?;
        self.library.get(name)
    }

    /// Goes back to the version that was in use before.
    pub async fn rollback(&self, name: &str) -> Result<Installed, UseError> {
        let _one = self.changing.lock().await;
        let previous = self.library.previous(name)?;
        self.exchange(name, previous.as_deref()).await?;
        self.library.get(name)
    }

    /// Forgets a plugin that nobody uses.
    pub async fn remove(&self, name: &str) -> Result<(), UseError> {
        let _one = self.changing.lock().await;
        let _bound = self.following.lock().await;
        let users = self.users(name);
        if !users.is_empty() {
            let users: Vec<&str> = users.iter().map(TopicName::as_str).collect();
            let problem = format!("plugin {name:?} is used by {}", users.join(", "));
            return Err(UseError::Refused(problem));
        }
        for digest in self.library.remove(name)? {
            self.engine()?.forget(&digest);
        }
        Ok(())
    }

    fn stock_digest(&self, name: &str) -> Result<String, UseError> {
        let versions = self.library.get(name)?.versions;
        let stock = versions.into_iter().find(|version| version.stock);
        stock.map(|it| it.digest).ok_or_else(|| UseError::Unknown(name.to_owned()))
    }

    /// Makes a topic's plugins.
    async fn build(
        &self,
        said: &TopicPlugins,
        candidate: Option<&Candidate<'_>>,
        start: Start,
    ) -> Result<Chain, UseError> {
        let specs = spec::parse(&said.plugins).map_err(UseError::Refused)?;
        let mut chain = Chain::default();
        let refuse = |problem: String| Err(UseError::Refused(problem));
        for spec in &specs {
            let digest = candidate.filter(|it| it.name == spec.plugin).and_then(|it| it.digest);
            let (image, role) = self.image_for(spec, digest)?;
            if said.is_view && !matches!(role, Role::Transform | Role::Serde) {
                return refuse(format!(
                    "a view shows records through transforms and serdes, not through a {}",
                    role.name()
                ));
            }
            if !said.is_view && role == Role::Transform {
                return refuse(format!(
                    "transform {:?} belongs to a view: brooklet view create NAME --of {}",
                    spec.plugin, said.name
                ));
            }
            match role {
                Role::Partitioner => {
                    let mode = mode(spec, &[Mode::Place, Mode::Verify])?;
                    if chain.partitioner.is_some() {
                        return refuse("a topic has one partitioner".to_owned());
                    }
                    chain.partitioner = Some((self.bind(spec, image, said, start).await?, mode));
                }
                Role::Serde => {
                    let mode = if said.is_view {
                        Mode::Check
                    } else {
                        mode(spec, &[Mode::Check, Mode::Encode])?
                    };
                    let part = spec.part.unwrap_or(Part::Value);
                    let bound = self.bind(spec, image, said, start).await?;
                    chain.steps.push(Step::Serde { bound, part, mode });
                }
                Role::Transform => {
                    chain.steps.push(Step::Transform(self.bind(spec, image, said, start).await?));
                }
                Role::Compaction => {
                    if spec.on_failure != OnFailure::Reject && spec.on_failure != OnFailure::Stop {
                        return refuse(
                            "a compaction that fails changes nothing: on_failure is reject or stop"
                                .to_owned(),
                        );
                    }
                    let room: Arc<Room<CompactionPlugin>> =
                        self.room(spec, image, said.name.as_str(), 1)?;
                    self.start(&room, start).await?;
                }
                Role::Source | Role::Sink => {
                    return refuse(format!(
                        "{:?} is a {}: it belongs to a connector, not to a topic",
                        spec.plugin,
                        role.name()
                    ));
                }
            }
        }
        Ok(chain)
    }

    async fn bind<R: role::Role>(
        &self,
        spec: &BindingSpec,
        image: Arc<Image>,
        said: &TopicPlugins,
        start: Start,
    ) -> Result<Bound<R>, UseError> {
        let at_once = std::thread::available_parallelism().map_or(2, usize::from).max(2);
        let room = self.room(spec, image, said.name.as_str(), at_once)?;
        self.start(&room, start).await?;
        let answer = FailureAnswer {
            on_failure: spec.on_failure,
            dead_letters: spec.dead_letters.clone(),
            stopped: std::sync::Mutex::default(),
        };
        Ok(Bound { room, answer })
    }

    async fn start<R: role::Role>(
        &self,
        room: &Arc<Room<R>>,
        start: Start,
    ) -> Result<(), UseError> {
        if start == Start::WhenNeeded {
            return Ok(());
        }
        let (plugin, room) = (room.plugin().to_owned(), Arc::clone(room));
        let habit = Arc::default();
        let started = self.workers.carry(&habit, Box::pin(async move { room.warm().await })).await;
        started.map_err(|failure| UseError::Start { plugin, failure })
    }

    fn image_for(
        &self,
        spec: &BindingSpec,
        digest: Option<&str>,
    ) -> Result<(Arc<Image>, Role), UseError> {
        let image = self.library.image(&spec.plugin, digest)?;
        let roles = &image.manifest.roles;
        let role = match (spec.role, roles.as_slice()) {
            (Some(role), roles) if roles.contains(&role) => role,
            (None, [only]) => *only,
            (wanted, roles) => {
                let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
                return Err(UseError::Role {
                    plugin: spec.plugin.clone(),
                    wanted: wanted
                        .map_or("single-minded plugin, say which role", Role::name)
                        .to_owned(),
                    roles: names.join(" and "),
                });
            }
        };
        check_config(&image.manifest, &spec.plugin, &spec.config)?;
        Ok((image, role))
    }

    pub(crate) fn room<R: role::Role>(
        &self,
        spec: &BindingSpec,
        image: Arc<Image>,
        task: &str,
        at_once: usize,
    ) -> Result<Arc<Room<R>>, UseError> {
        let budget = spec.limits.budget(R::ROLE.is_task(), &self.ceiling);
        let budget = budget.map_err(UseError::Refused)?;
        let (journal, custom) = self.library.shared(&spec.plugin);
        let shared = Shared {
            plugin: spec.plugin.clone(),
            task: task.to_owned(),
            grants: self.library.grants(&spec.plugin),
            schemas: spec.schemas.clone(),
            journal,
            custom,
            is_task: R::ROLE.is_task(),
            stop: Stop::default(),
        };
        let engine = self.engine()?;
        Ok(Room::new(engine, image, shared, &spec.config, budget, at_once))
    }
}

fn mode(spec: &BindingSpec, possible: &[Mode]) -> Result<Mode, UseError> {
    let mode = spec.mode.unwrap_or(possible[0]);
    if possible.contains(&mode) {
        return Ok(mode);
    }
    Err(UseError::Refused(format!("plugin {:?}: that mode is for another role", spec.plugin)))
}

impl Hooks for Plugins {
    fn on_produce(&self, topic: &TopicName) -> Option<Arc<dyn ProduceHook>> {
        let topics = self.topics.load();
        let found = topics.as_ref().as_ref()?.get(topic).filter(|it| !it.said.is_view)?;
        Some(Arc::clone(&found.topic) as Arc<dyn ProduceHook>)
    }

    fn on_fetch(&self, topic: &TopicName) -> Option<Arc<dyn FetchHook>> {
        let topics = self.topics.load();
        let found = topics.as_ref().as_ref()?.get(topic).filter(|it| it.said.is_view)?;
        Some(Arc::clone(&found.topic) as Arc<dyn FetchHook>)
    }

    fn compaction(&self, topic: &TopicName, partition: PartitionIndex) -> Option<Box<dyn Policy>> {
        let topics = self.topics.load();
        let policy = |room| {
            let (runtime, topic) = (self.runtime.clone(), topic.to_string());
            Some(Box::new(PluginPolicy::new(runtime, room, topic, partition.0)) as Box<dyn Policy>)
        };
        let Some(topics) = &**topics else {
            return policy(Err("which topics have a policy is not known yet".to_owned()));
        };
        let followed = topics.get(topic)?;
        let specs = spec::parse(&followed.said.plugins);
        let specs = match specs {
            Ok(specs) => specs,
            Err(problem) => return policy(Err(problem)),
        };
        for spec in &specs {
            match self.image_for(spec, None) {
                Ok((image, Role::Compaction)) => {
                    let merges = image.manifest.merges;
                    let header = spec.config.get("header").and_then(|it| it.as_str());
                    let header = header.map(str::to_owned);
                    let room = self.room(spec, image, topic.as_str(), 1);
                    return policy(
                        room.map(|room| (room, merges, header)).map_err(|error| error.to_string()),
                    );
                }
                Ok(_) => {}
                // It may have been the policy: another must not clean in its place.
                Err(error) => return policy(Err(error.to_string())),
            }
        }
        None
    }

    fn policies_changed(&self) -> Answer<'_, BTreeSet<TopicName>> {
        Box::pin(self.changed.take())
    }

    fn check<'a>(&'a self, topic: &'a TopicPlugins) -> Answer<'a, Result<(), String>> {
        Box::pin(async move {
            let built = self.build(topic, None, Start::Now).await;
            self.keep_checked(topic, built.map_err(|error| error.to_string())?);
            Ok(())
        })
    }

    fn follow(&self, topics: Vec<TopicPlugins>) -> Answer<'_, ()> {
        Box::pin(self.follow_all(topics))
    }
}
