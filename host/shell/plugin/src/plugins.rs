//! Everything about plugins in one place: what is installed, what is bound where, and the changes of both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

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
use crate::topic::{Changed, Followed, Topic};

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
    topics: ArcSwap<Option<BTreeMap<TopicName, Followed>>>,
    /// What the shards were not told yet of other plugins.
    changed: Changed,
    /// Runs what is asked by threads that may wait.
    runtime: Handle,
    /// One change at a time: what is bound and what is installed must fit each other.
    changing: tokio::sync::Mutex<()>,
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
        }))
    }

    fn engine(&self) -> Result<Arc<PluginEngine>, UseError> {
        let cache = self.making.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
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
        let using = topics
            .iter()
            .flat_map(BTreeMap::values)
            .filter(|it| it.plugins.iter().any(|name| name == plugin));
        using.map(|it| it.said.name.clone()).collect()
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

    /// Gets ready what is to come, everywhere, and only then puts it in place.
    async fn exchange(&self, name: &str, digest: Option<&str>) -> Result<(), UseError> {
        let topics = self.topics.load_full();
        let wanted = match digest {
            Some(digest) => digest.to_owned(),
            None => self.stock_digest(name)?,
        };
        let candidate = Candidate { name, digest: Some(&wanted) };
        let mut ready = Vec::new();
        for followed in topics.iter().flat_map(BTreeMap::values) {
            if followed.plugins.iter().any(|plugin| plugin == name) {
                let chain = self.build(&followed.said, Some(&candidate)).await?;
                ready.push((Arc::clone(&followed.topic), Arc::new(chain)));
            }
        }
        if ready.is_empty() {
            // Nobody uses it yet: that it compiles is shown now, and in the cache for later.
            let image = self.library.image(name, Some(&wanted))?;
            let engine = self.engine()?;
            let compiled = tokio::task::spawn_blocking(move || image.component(&engine).map(drop));
            let compiled = compiled.await.unwrap_or_else(|error| Err(error.to_string()));
            compiled.map_err(UseError::Component)?;
        }
        self.library.select(name, digest)?;
        for (topic, chain) in ready {
            topic.exchange(chain).await;
        }
        self.changed.add(self.users(name));
        Ok(())
    }

    fn stock_digest(&self, name: &str) -> Result<String, UseError> {
        let versions = self.library.get(name)?.versions;
        let stock = versions.into_iter().find(|version| version.stock);
        stock.map(|it| it.digest).ok_or_else(|| UseError::Unknown(name.to_owned()))
    }

    /// Makes a topic's plugins and shows that each starts.
    async fn build(
        &self,
        said: &TopicPlugins,
        candidate: Option<&Candidate<'_>>,
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
                    chain.partitioner = Some((self.bind(spec, image, said).await?, mode));
                }
                Role::Serde => {
                    let mode = if said.is_view {
                        Mode::Check
                    } else {
                        mode(spec, &[Mode::Check, Mode::Encode])?
                    };
                    let part = spec.part.unwrap_or(Part::Value);
                    let bound = self.bind(spec, image, said).await?;
                    chain.steps.push(Step::Serde { bound, part, mode });
                }
                Role::Transform => {
                    chain.steps.push(Step::Transform(self.bind(spec, image, said).await?));
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
                    started(&room).await?;
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
    ) -> Result<Bound<R>, UseError> {
        let at_once = std::thread::available_parallelism().map_or(2, usize::from).max(2);
        let room = self.room(spec, image, said.name.as_str(), at_once)?;
        started(&room).await?;
        let answer = FailureAnswer {
            on_failure: spec.on_failure,
            dead_letters: spec.dead_letters.clone(),
            stopped: std::sync::Mutex::default(),
        };
        Ok(Bound { room, answer })
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

    async fn follow_all(&self, topics: Vec<TopicPlugins>) {
        let _one = self.changing.lock().await;
        let old = self.topics.load_full();
        let (mut new, mut changed) = (BTreeMap::new(), BTreeSet::new());
        for said in topics {
            let name = said.name.clone();
            let known = old.as_ref().as_ref().and_then(|old| old.get(&name));
            if let Some(known) = known.filter(|known| known.said == said) {
                new.insert(name, known.clone());
                continue;
            }
            changed.insert(name.clone());
            let specs = spec::parse(&said.plugins).unwrap_or_default();
            let plugins = specs.into_iter().map(|spec| spec.plugin).collect();
            let chain = self.build(&said, None).await.unwrap_or_else(|error| {
                tracing::error!(topic = %name, %error, "plugins of a topic can't be used");
                Chain::unusable(error.to_string())
            });
            let topic = match known {
                Some(known) => {
                    known.topic.exchange(Arc::new(chain)).await;
                    Arc::clone(&known.topic)
                }
                None => Arc::new(Topic::new(chain)),
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
}

fn mode(spec: &BindingSpec, possible: &[Mode]) -> Result<Mode, UseError> {
    let mode = spec.mode.unwrap_or(possible[0]);
    if possible.contains(&mode) {
        return Ok(mode);
    }
    Err(UseError::Refused(format!("plugin {:?}: that mode is for another role", spec.plugin)))
}

async fn started<R: role::Role>(room: &Arc<Room<R>>) -> Result<(), UseError> {
    let plugin = room.plugin().to_owned();
    room.warm().await.map_err(|failure| UseError::Start { plugin, failure })
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
            let built = self.build(topic, None).await;
            built.map(drop).map_err(|error| error.to_string())
        })
    }

    fn follow(&self, topics: Vec<TopicPlugins>) -> Answer<'_, ()> {
        Box::pin(self.follow_all(topics))
    }
}
