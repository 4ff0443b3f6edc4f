//! Runs a built component under the broker's own plugin host, without a broker: compiled by the same engine,
//! within the same limits, with its configuration checked against its schema, and every answer verified.
//!
//! `brooklet plugin test` is made of this, and is what authors use, in whatever language they write. An author in
//! Rust has `brooklet-testing` besides, which compiles in a second because no engine is in it.
//!
//! **What it never does.** Show a record that the host would not: what comes out has gone through a view.

mod batch;
mod golden;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use brooklet_plugin::{Ceiling, Inspected, Line, Plugins, PluginsConfig, Trust, UseError, inspect};
use prometheus_client::registry::Registry;

pub use brooklet_plugin::LimitsSpec;
pub use golden::{Case, CaseError};
pub use view::View;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The component can't be used, or not so.
    #[error(transparent)]
    Use(#[from] UseError),
    /// The host refuses to bind it with this configuration.
    #[error("{0}")]
    Refused(String),
    /// A call of it ended without an answer.
    #[error("a call failed ({kind}): {message}")]
    Call {
        /// One word: `trap`, `timeout`, `memory`, `wrong`, …
        kind: String,
        /// What happened.
        message: String,
    },
    /// Records that no batch can hold.
    #[error("records: {0}")]
    Records(#[from] brooklet_wire::batch::BatchError),
    /// There is no room for its files.
    #[error("scratch folder: {0}")]
    Scratch(#[from] std::io::Error),
}

/// A component that has been installed in a host of its own.
#[derive(Debug)]
pub struct Runner {
    plugins: Arc<Plugins>,
    inspected: Inspected,
    compiled_in: Duration,
    /// Installed plugins and machine code; removed in the end.
    _folder: tempfile::TempDir,
}

impl Runner {
    /// Installs a component, which compiles it: that takes a moment, and seconds for an interpreter's. Within
    /// a tokio runtime.
    pub async fn open(component: Vec<u8>) -> Result<Runner, RunError> {
        let inspected = inspect(&component)?;
        let folder = tempfile::tempdir()?;
        let plugins = Plugins::open(&PluginsConfig {
            folder: folder.path().to_owned(),
            ceiling: Ceiling::default(),
            trust: Trust::default(),
            stock: Vec::new(),
        })?;
        let began = Instant::now();
        plugins.install(component, None).await?;
        Ok(Runner { plugins, inspected, compiled_in: began.elapsed(), _folder: folder })
    }

    /// What the component says about itself.
    pub fn inspected(&self) -> &Inspected {
        &self.inspected
    }

    /// How long compiling it took.
    pub fn compiled_in(&self) -> Duration {
        self.compiled_in
    }

    /// Binds it to a view with a configuration in JSON, as `brooklet plugin bind` would.
    pub async fn view(&self, config: &str, limits: LimitsSpec) -> Result<View, RunError> {
        View::bind(&self.plugins, &self.inspected.manifest.name, config, limits).await
    }

    /// What it has logged.
    pub fn log(&self) -> Vec<Line> {
        let journal = self.plugins.library().journal(&self.inspected.manifest.name);
        journal.map(|journal| journal.since(0)).unwrap_or_default()
    }

    /// What has been counted, by the host and by the plugin itself, as the broker exposes it.
    pub fn metrics(&self) -> String {
        let mut registry = Registry::default();
        self.plugins.metrics().register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)
            .expect("a string takes everything");
        text
    }

    /// One series of [`metrics`](Runner::metrics): the first whose line begins with `series`.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let metrics = self.metrics();
        let line = metrics.lines().find(|line| line.starts_with(series))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}
