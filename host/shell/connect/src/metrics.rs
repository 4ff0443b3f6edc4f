//! What is counted about connectors.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::config::TASKS_MAX;

/// Which task.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TaskLabels {
    connector: String,
    task: u32,
}

/// What is counted about all tasks.
#[derive(Clone, Debug, Default)]
pub struct ConnectMetrics {
    records: Family<TaskLabels, Counter>,
    rejected: Family<TaskLabels, Counter>,
    failures: Family<TaskLabels, Counter>,
    restarts: Family<TaskLabels, Counter>,
}

/// What is counted about one task.
#[derive(Clone, Debug)]
pub(crate) struct TaskMetrics {
    pub(crate) records: Counter,
    pub(crate) rejected: Counter,
    pub(crate) failures: Counter,
    pub(crate) restarts: Counter,
}

impl ConnectMetrics {
    /// Names them all.
    pub fn register(&self, registry: &mut Registry) {
        let mut family = |name: &str, help: &str, family: &Family<TaskLabels, Counter>| {
            registry.register(format!("brooklet_connector_{name}"), help, family.clone());
        };
        family("records", "Records delivered or written", &self.records);
        family("rejected_records", "Records that could not be handled", &self.rejected);
        family("failures", "Calls and deliveries that failed", &self.failures);
        family("restarts", "Starts of a task after a failure", &self.restarts);
    }

    pub(crate) fn of(&self, connector: &str, task: u32) -> TaskMetrics {
        let labels = TaskLabels { connector: connector.to_owned(), task };
        TaskMetrics {
            records: self.records.get_or_create_owned(&labels),
            rejected: self.rejected.get_or_create_owned(&labels),
            failures: self.failures.get_or_create_owned(&labels),
            restarts: self.restarts.get_or_create_owned(&labels),
        }
    }

    /// Forgets a connector that is gone.
    pub(crate) fn forget(&self, connector: &str) {
        for task in 0..TASKS_MAX {
            let labels = TaskLabels { connector: connector.to_owned(), task };
            for family in [&self.records, &self.rejected, &self.failures, &self.restarts] {
                family.remove(&labels);
            }
        }
    }
}
