//! How connectors and their tasks are, in Connect's words.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// How a connector or a task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// It has nothing to do yet.
    #[default]
    Unassigned,
    /// It works.
    Running,
    /// Somebody paused it.
    Paused,
    /// It waits before it is tried again.
    Restarting,
    /// It waits for a person.
    Failed,
}

/// A task as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// Its number.
    pub id: u32,
    /// How it is.
    pub state: State,
    /// Why it is not as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// How often it was started again by itself.
    pub restarts: u64,
    /// Records delivered or written since the connector was started.
    pub records: u64,
    /// Records it could not handle.
    pub rejected: u64,
}

/// The connector itself as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overall {
    /// How it is.
    pub state: State,
    /// Where it runs.
    pub worker_id: String,
    /// Why it is not as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// A connector and its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorStatus {
    /// Its name.
    pub name: String,
    /// How it is.
    pub connector: Overall,
    /// Its tasks.
    pub tasks: Vec<TaskStatus>,
    /// `source` or `sink`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Where tasks write how they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board(Arc<Mutex<(Overall, Vec<TaskStatus>)>>);

impl Board {
    pub(crate) fn connector(&self, state: State, trace: Option<String>) {
        self.change(|(overall, _)| {
            overall.state = state;
            overall.trace = trace;
        });
    }

    pub(crate) fn worker(&self, id: String) {
        self.change(|(overall, _)| overall.worker_id = id);
    }

    /// Begins anew with so many tasks.
    pub(crate) fn tasks(&self, count: u32) {
        let fresh = |id| TaskStatus { id, ..TaskStatus::default() };
        self.change(|(_, tasks)| *tasks = (0..count).map(fresh).collect());
    }

    pub(crate) fn task(&self, id: u32, change: impl FnOnce(&mut TaskStatus)) {
        self.change(|(_, tasks)| {
            if let Some(task) = tasks.iter_mut().find(|task| task.id == id) {
                change(task);
            }
        });
    }

    pub(crate) fn read(&self) -> (Overall, Vec<TaskStatus>) {
        self.change(|both| both.clone())
    }

    fn change<T>(&self, change: impl FnOnce(&mut (Overall, Vec<TaskStatus>)) -> T) -> T {
        // Each change is complete in itself.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
