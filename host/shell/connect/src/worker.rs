//! All connectors of this broker: made, paused, started again, taken away.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use brooklet_client::transport::Way;
use brooklet_client::{Address, Client, ClientConfig};
use brooklet_hook::Hooks;
use brooklet_hook::task::{ConnectorClass, Direction, Split, TaskErrorKind, TaskSpec, Tasks};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::{Mutex, OnceCell};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::config::{ConfigProblems, ConnectorConfig, check_name};
use crate::metrics::ConnectMetrics;
use crate::outbox::OutboxError;
use crate::status::{Board, ConnectorStatus, Overall, State, TaskStatus};
use crate::store::{Kept, Store};
use crate::task::{Task, World};

/// How long a task may take to end; then it is cut off, as in a crash.
const END_MAX: Duration = Duration::from_secs(2);
/// More connectors than that are not one broker's.
const CONNECTORS_MAX: usize = 1000;

/// Why something could not be done with a connector.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is none of that name.
    #[error("no connector {0:?}")]
    Unknown(String),
    /// There is one of that name.
    #[error("connector {0:?} exists")]
    Exists(String),
    /// Its configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigProblems),
    /// Its plugin does not start with it.
    #[error("plugin {plugin:?}: {problem}")]
    Plugin { plugin: String, problem: String },
    /// The disk says no.
    #[error("keep connector {name:?}: {error}")]
    Disk { name: String, error: std::io::Error },
    /// Not now.
    #[error("{0}")]
    Refused(String),
    /// How far it came can't be forgotten.
    #[error("{0}")]
    Outbox(String),
}

impl From<OutboxError> for ConnectError {
    fn from(error: OutboxError) -> ConnectError {
        ConnectError::Outbox(error.to_string())
    }
}

/// A connector as Connect's REST shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// What it was told.
    pub config: Map<String, Value>,
    /// `source` or `sink`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// All connectors of a broker.
pub struct Connectors {
    store: Store,
    tasks: Arc<dyn Tasks>,
    hooks: Arc<dyn Hooks>,
    metrics: ConnectMetrics,
    /// Known once clients are served.
    world: OnceCell<(Arc<World>, String)>,
    /// One change at a time; read for every answer.
    all: Mutex<BTreeMap<String, Connector>>,
    /// Which plugin each connector uses, for those who can't wait.
    users: std::sync::Mutex<BTreeMap<String, String>>,
}

struct Connector {
    kept: Kept,
    board: Board,
    running: Option<Running>,
}

struct Running {
    stop: CancellationToken,
    runner: JoinHandle<()>,
}

impl fmt::Debug for Connectors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connectors").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Connectors {
    /// Reads which connectors there are. None of them runs before [`start`](Connectors::start).
    pub fn open(
        folder: &Path,
        tasks: Arc<dyn Tasks>,
        hooks: Arc<dyn Hooks>,
    ) -> std::io::Result<Connectors> {
        let (store, kept) = Store::open(folder)?;
        let of = |(name, kept)| (name, Connector { kept, board: Board::default(), running: None });
        let all: BTreeMap<String, Connector> = kept.into_iter().map(of).collect();
        let users = all.iter().map(|(name, it)| (name.clone(), class_of(&it.kept))).collect();
        Ok(Connectors {
            store,
            tasks,
            hooks,
            metrics: ConnectMetrics::default(),
            world: OnceCell::new(),
            all: Mutex::new(all),
            users: std::sync::Mutex::new(users),
        })
    }

    /// What is counted about them.
    pub fn metrics(&self) -> &ConnectMetrics {
        &self.metrics
    }

    /// The connectors that use a plugin.
    pub fn users(&self, plugin: &str) -> Vec<String> {
        let users = self.classes();
        let of_it = users.iter().filter(|(_, class)| *class == plugin);
        of_it.map(|(name, _)| name.clone()).collect()
    }

    /// Starts all that are not paused. They reach the broker by `way`; `broker` is what it is called where their state is
    /// told.
    pub async fn start(&self, broker: Address, way: Arc<dyn Way>) {
        let worker = broker.to_string();
        let config = ClientConfig {
            client_id: "brooklet-connect".to_owned(),
            follow_advertised: false,
            way: Some(way),
            ..ClientConfig::new(vec![broker])
        };
        let world = World {
            tasks: Arc::clone(&self.tasks),
            hooks: Arc::clone(&self.hooks),
            client: Client::new(config),
            outbox: OnceCell::new(),
        };
        // Nobody starts twice.
        let _ = self.world.set((Arc::new(world), worker));
        for (name, connector) in self.all.lock().await.iter_mut() {
            self.set_going(name, connector);
        }
    }

    /// Ends all tasks: sinks are flushed, sources say how far they came.
    pub async fn stop(&self) {
        let mut all = self.all.lock().await;
        let ending: JoinSet<()> =
            all.values_mut().filter_map(|it| it.running.take()).map(end).collect();
        ending.join_all().await;
    }

    /// Makes a connector and starts it.
    pub async fn create(
        &self,
        name: &str,
        config: Map<String, Value>,
        paused: bool,
    ) -> Result<Info, ConnectError> {
        check_name(name)?;
        if let Some(said) = config.get("name").and_then(Value::as_str)
            && said != name
        {
            let problem = format!("name: {said:?} is not {name:?}");
            return Err(ConfigProblems(vec![problem]).into());
        }
        let checked = self.checked(&config)?;
        self.try_out(name, &checked).await?;
        let mut all = self.all.lock().await;
        if all.contains_key(name) {
            return Err(ConnectError::Exists(name.to_owned()));
        }
        if all.len() == CONNECTORS_MAX {
            return Err(ConnectError::Refused(format!("there are {CONNECTORS_MAX} already")));
        }
        let mut connector =
            Connector { kept: Kept { config, paused }, board: Board::default(), running: None };
        self.keep(name, &connector.kept)?;
        self.classes().insert(name.to_owned(), checked.class.clone());
        self.set_going(name, &mut connector);
        let info = self.info(name, &connector);
        all.insert(name.to_owned(), connector);
        Ok(info)
    }

    /// Their names.
    pub async fn names(&self) -> Vec<String> {
        self.all.lock().await.keys().cloned().collect()
    }

    /// What a connector was told.
    pub async fn get(&self, name: &str) -> Result<Info, ConnectError> {
        let all = self.all.lock().await;
        Ok(self.info(name, find(&all, name)?))
    }

    /// How a connector is.
    pub async fn status(&self, name: &str) -> Result<ConnectorStatus, ConnectError> {
        let all = self.all.lock().await;
        let connector = find(&all, name)?;
        let (mut overall, mut tasks): (Overall, Vec<TaskStatus>) = connector.board.read();
        if connector.kept.paused {
            overall.state = State::Paused;
            tasks.iter_mut().for_each(|task| task.state = State::Paused);
        }
        let kind = self.info(name, connector).kind;
        Ok(ConnectorStatus { name: name.to_owned(), connector: overall, tasks, kind })
    }

    /// Stops a connector until somebody resumes it; it stays stopped when the broker starts again.
    pub async fn pause(&self, name: &str) -> Result<(), ConnectError> {
        self.set_paused(name, true).await
    }

    /// Lets a paused connector go on.
    pub async fn resume(&self, name: &str) -> Result<(), ConnectError> {
        self.set_paused(name, false).await
    }

    /// Stops a connector and starts it again.
    pub async fn restart(&self, name: &str) -> Result<(), ConnectError> {
        let mut all = self.all.lock().await;
        let connector = find_mut(&mut all, name)?;
        if connector.kept.paused {
            return Err(ConnectError::Refused(format!("connector {name:?} is paused: resume it")));
        }
        if let Some(running) = connector.running.take() {
            end(running).await;
        }
        self.set_going(name, connector);
        Ok(())
    }

    /// Takes a connector away. How far it came is kept, as in Kafka, unless that is to be forgotten: a connector
    /// of the same name then begins anew. What a sink's group committed is the group's.
    pub async fn delete(&self, name: &str, forget: bool) -> Result<(), ConnectError> {
        let mut all = self.all.lock().await;
        let connector = find_mut(&mut all, name)?;
        if let Some(running) = connector.running.take() {
            end(running).await;
        }
        if forget {
            let (world, _) = self.world.get().ok_or_else(too_early)?;
            world.outbox().await?.forget(name).await?;
        }
        let removed = self.store.remove(name);
        removed.map_err(|error| ConnectError::Disk { name: name.to_owned(), error })?;
        all.remove(name);
        self.classes().remove(name);
        self.metrics.forget(name);
        Ok(())
    }

    async fn set_paused(&self, name: &str, paused: bool) -> Result<(), ConnectError> {
        let mut all = self.all.lock().await;
        let connector = find_mut(&mut all, name)?;
        if connector.kept.paused == paused {
            return Ok(());
        }
        let kept = Kept { paused, ..connector.kept.clone() };
        self.keep(name, &kept)?;
        connector.kept = kept;
        if let Some(running) = connector.running.take() {
            end(running).await;
        }
        self.set_going(name, connector);
        Ok(())
    }

    fn checked(&self, config: &Map<String, Value>) -> Result<ConnectorConfig, ConnectError> {
        Ok(checked(&*self.tasks, config)?)
    }

    /// Whether the plugin starts with what it is told. What may heal by itself is no reason to refuse.
    async fn try_out(&self, name: &str, config: &ConnectorConfig) -> Result<(), ConnectError> {
        match self.tasks.check(&spec(name, config)).await {
            Err(error) if error.kind == TaskErrorKind::Person => {
                let (plugin, problem) = (config.class.clone(), error.message);
                Err(ConnectError::Plugin { plugin, problem })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn keep(&self, name: &str, kept: &Kept) -> Result<(), ConnectError> {
        let put = self.store.put(name, kept);
        put.map_err(|error| ConnectError::Disk { name: name.to_owned(), error })
    }

    fn info(&self, name: &str, connector: &Connector) -> Info {
        let config = connector.kept.config.clone();
        let direction = checked(&*self.tasks, &config).ok().map(|it| it.direction);
        let kind = match direction {
            Some(Direction::Source) => "source",
            Some(Direction::Sink) => "sink",
            None => "unknown",
        };
        Info { name: name.to_owned(), config, kind: kind.to_owned() }
    }

    /// Starts a connector unless it is paused or nobody is served yet.
    fn set_going(&self, name: &str, connector: &mut Connector) {
        let Some((world, worker)) = self.world.get() else { return };
        connector.board.worker(worker.clone());
        if connector.kept.paused {
            return;
        }
        let stop = CancellationToken::new();
        let runner = Runner {
            name: name.to_owned(),
            config: connector.kept.config.clone(),
            world: Arc::clone(world),
            board: connector.board.clone(),
            metrics: self.metrics.clone(),
            stop: stop.clone(),
        };
        let runner = tokio::spawn(runner.run());
        connector.running = Some(Running { stop, runner });
    }

    fn classes(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.users.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn class_of(kept: &Kept) -> String {
    ConnectorConfig::class_of(&kept.config).unwrap_or_default().to_owned()
}

fn too_early() -> ConnectError {
    ConnectError::Refused("the broker does not serve yet".to_owned())
}

fn find<'a>(
    all: &'a BTreeMap<String, Connector>,
    name: &str,
) -> Result<&'a Connector, ConnectError> {
    all.get(name).ok_or_else(|| ConnectError::Unknown(name.to_owned()))
}

fn find_mut<'a>(
    all: &'a mut BTreeMap<String, Connector>,
    name: &str,
) -> Result<&'a mut Connector, ConnectError> {
    all.get_mut(name).ok_or_else(|| ConnectError::Unknown(name.to_owned()))
}

async fn end(running: Running) {
    running.stop.cancel();
    let mut runner = running.runner;
    if tokio::time::timeout(END_MAX, &mut runner).await.is_err() {
        // Its tasks are cut off with it.
        runner.abort();
    }
}

fn checked(
    tasks: &dyn Tasks,
    config: &Map<String, Value>,
) -> Result<ConnectorConfig, ConfigProblems> {
    let name = ConnectorConfig::class_of(config)?;
    let class: ConnectorClass = tasks
        .class(name)
        .map_err(|problem| ConfigProblems(vec![format!("connector.class: {problem}")]))?;
    ConnectorConfig::new(config.clone(), &class)
}

fn spec(name: &str, config: &ConnectorConfig) -> TaskSpec {
    TaskSpec {
        plugin: config.class.clone(),
        direction: config.direction,
        connector: name.to_owned(),
        task: 0,
        config: config.plugin.clone(),
    }
}

/// One connector at work.
struct Runner {
    name: String,
    config: Map<String, Value>,
    world: Arc<World>,
    board: Board,
    metrics: ConnectMetrics,
    stop: CancellationToken,
}

impl Runner {
    async fn run(self) {
        self.board.tasks(0);
        let config = match checked(&*self.world.tasks, &self.config) {
            Ok(config) => Arc::new(config),
            Err(problems) => {
                // It was right once: its plugin is gone, or another one now.
                self.board.connector(State::Failed, Some(problems.to_string()));
                return;
            }
        };
        let Some(parts) = self.plan(&config).await else { return };
        self.board.connector(State::Running, None);
        self.board.tasks(u32::try_from(parts.len()).unwrap_or(u32::MAX));
        let mut tasks = JoinSet::new();
        for (id, split) in (0..).zip(parts) {
            let task = Task {
                world: Arc::clone(&self.world),
                connector: self.name.clone(),
                id,
                config: Arc::clone(&config),
                split,
                board: self.board.clone(),
                metrics: self.metrics.of(&self.name, id),
                stop: self.stop.clone(),
            };
            tasks.spawn(task.run());
        }
        // They end when they are stopped, or wait for a person.
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(connector = self.name, %error, "a connector's task ended");
            }
        }
    }

    /// How the work divides: as the source says, or by the partitions of what a sink takes. None if it is not to
    /// be known before the end.
    async fn plan(&self, config: &ConnectorConfig) -> Option<Vec<Split>> {
        if config.direction == Direction::Sink {
            return Some((0..config.tasks_max).map(|_| Split::default()).collect());
        }
        let mut backoff = Backoff::up_to(config.errors.retry_delay_max);
        loop {
            let planned = self.world.tasks.plan(&spec(&self.name, config), config.tasks_max).await;
            let error = match planned {
                Ok(parts) => return Some(parts),
                Err(error) => error,
            };
            let connector = &self.name;
            if error.kind == TaskErrorKind::Person {
                tracing::error!(connector, problem = %error, "a connector needs a person");
                self.board.connector(State::Failed, Some(error.message));
                return None;
            }
            let wait = backoff.next();
            tracing::warn!(connector, problem = %error, ?wait, "a connector is planned again");
            self.board.connector(State::Restarting, Some(error.message));
            if tokio::time::timeout(wait, self.stop.cancelled()).await.is_ok() {
                return None;
            }
        }
    }
}
