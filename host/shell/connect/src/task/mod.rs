//! One task: started, and started again while that may help.

mod deliver;
mod place;
mod sink;
mod source;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use brooklet_client::{ApiError, Client, ConsumeError, ProduceError};
use brooklet_hook::Hooks;
use brooklet_hook::task::{Direction, Split, Stopper, TaskError, TaskErrorKind, TaskSpec, Tasks};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::config::ConnectorConfig;
use crate::dead::Lost;
use crate::metrics::TaskMetrics;
use crate::outbox::{Outbox, OutboxError};
use crate::status::{Board, State};

/// A task that ran for so long without trouble begins its waits anew.
const HEALTHY: Duration = Duration::from_secs(60);

/// What all tasks have in common.
pub(crate) struct World {
    pub(crate) tasks: Arc<dyn Tasks>,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) client: Client,
    /// Opened by the first source.
    pub(crate) outbox: OnceCell<Outbox>,
}

impl fmt::Debug for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("World").field("tasks", &self.tasks).finish_non_exhaustive()
    }
}

impl World {
    pub(crate) async fn outbox(&self) -> Result<&Outbox, OutboxError> {
        self.outbox.get_or_try_init(|| Outbox::open(self.client.clone())).await
    }
}

/// One task of a connector.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) world: Arc<World>,
    pub(crate) connector: String,
    pub(crate) id: u32,
    pub(crate) config: Arc<ConnectorConfig>,
    /// A source's part of the work.
    pub(crate) split: Split,
    pub(crate) board: Board,
    pub(crate) metrics: TaskMetrics,
    pub(crate) stop: CancellationToken,
}

/// How a run ended that had no trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was asked to.
    Stopped,
    /// Something changed: it begins again at once.
    Again,
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trouble {
    message: String,
    /// Whether only a person can help.
    is_final: bool,
    /// How long to wait at least.
    after: Option<Duration>,
}

impl Trouble {
    fn later(message: impl Into<String>) -> Trouble {
        Trouble { message: message.into(), is_final: false, after: None }
    }

    fn for_a_person(message: impl Into<String>) -> Trouble {
        Trouble { message: message.into(), is_final: true, after: None }
    }
}

impl From<TaskError> for Trouble {
    fn from(error: TaskError) -> Trouble {
        let after = match error.kind {
            TaskErrorKind::Retry(after) => after,
            TaskErrorKind::BadInput | TaskErrorKind::Restart | TaskErrorKind::Person => None,
        };
        let is_final = error.kind == TaskErrorKind::Person;
        Trouble { message: error.message, is_final, after }
    }
}

impl From<ApiError> for Trouble {
    fn from(error: ApiError) -> Trouble {
        Trouble::later(error.to_string())
    }
}

impl From<OutboxError> for Trouble {
    fn from(error: OutboxError) -> Trouble {
        let is_final = matches!(error, OutboxError::Unreadable(_));
        Trouble { message: error.to_string(), is_final, after: None }
    }
}

impl From<ConsumeError> for Trouble {
    fn from(error: ConsumeError) -> Trouble {
        Trouble::later(error.to_string())
    }
}

impl From<ProduceError> for Trouble {
    fn from(error: ProduceError) -> Trouble {
        Trouble::later(error.to_string())
    }
}

impl Task {
    /// Runs until it is stopped or needs a person.
    pub(crate) async fn run(self) {
        let longest = self.config.errors.retry_delay_max;
        let mut backoff = Backoff::up_to(longest);
        let mut pace = sink::Pace::default();
        loop {
            self.is(State::Running, None);
            let began = Instant::now();
            let ended = match self.config.direction {
                Direction::Source => Box::pin(source::run(&self)).await,
                Direction::Sink => Box::pin(sink::run(&self, &mut pace)).await,
            };
            let trouble = match ended {
                Ok(End::Stopped) => break,
                Ok(End::Again) => continue,
                Err(trouble) => trouble,
            };
            self.metrics.failures.inc();
            if self.stop.is_cancelled() {
                break;
            }
            let (connector, task, problem) = (&self.connector, self.id, &trouble.message);
            if trouble.is_final {
                tracing::error!(connector, task, problem, "a connector's task needs a person");
                self.is(State::Failed, Some(trouble.message));
                return;
            }
            if began.elapsed() > HEALTHY {
                backoff = Backoff::up_to(longest);
            }
            let wait = backoff.next().max(trouble.after.unwrap_or_default());
            tracing::warn!(connector, task, problem, ?wait, "a connector's task starts again");
            self.is(State::Restarting, Some(trouble.message));
            if self.pause(wait).await {
                break;
            }
            self.metrics.restarts.inc();
            self.board.task(self.id, |status| status.restarts += 1);
        }
        self.is(State::Unassigned, None);
    }

    fn is(&self, state: State, trace: Option<String>) {
        self.board.task(self.id, |status| {
            status.state = state;
            status.trace = trace;
        });
    }

    /// Waits; true if it was asked to stop.
    async fn pause(&self, time: Duration) -> bool {
        tokio::time::timeout(time, self.stop.cancelled()).await.is_ok()
    }

    fn spec(&self) -> TaskSpec {
        TaskSpec {
            plugin: self.config.class.clone(),
            direction: self.config.direction,
            connector: self.connector.clone(),
            task: self.id,
            config: self.config.plugin.clone(),
        }
    }

    /// Passes a stop on to the plugin while the guard is there.
    fn passing_on(&self, stopper: Stopper) -> tokio_util::task::AbortOnDropHandle<()> {
        let stop = self.stop.clone();
        tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
            stop.cancelled().await;
            stopper();
        }))
    }

    fn count(&self, records: usize) {
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        self.metrics.records.inc_by(records);
        self.board.task(self.id, |status| status.records += records);
    }

    /// What becomes of records that can't be handled: an error, unless that is tolerated.
    fn tolerate(&self, lost: &[Lost]) -> Result<(), Trouble> {
        let Some(first) = lost.first() else { return Ok(()) };
        let count = u64::try_from(lost.len()).unwrap_or(u64::MAX);
        self.metrics.rejected.inc_by(count);
        self.board.task(self.id, |status| status.rejected += count);
        let errors = &self.config.errors;
        if errors.logged {
            let (connector, task) = (&self.connector, self.id);
            for one in lost {
                tracing::warn!(connector, task, problem = one.told(), "a record was not handled");
            }
        }
        if errors.tolerated {
            return Ok(());
        }
        Err(Trouble::for_a_person(format!("{} (errors.tolerance=none)", first.told())))
    }
}
