//! From `init` to the last call: configuration, the instance, panics.

use std::cell::RefCell;

use serde::de::DeserializeOwned;

use crate::bindings::lifecycle::exports::brooklet::plugin::lifecycle::{self, Ready};
use crate::bindings::types::{Columns, PluginError};
use crate::error::Error;

/// What an instance works for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Name under which the plugin was installed.
    pub plugin_name: String,
    /// The role it is asked for: `transform`, `source`, …
    pub role: String,
    /// A topic, a view, a task of a connector.
    pub task: String,
    /// Version of the host.
    pub host_version: String,
    /// What else the host says.
    pub properties: Vec<(String, String)>,
}

impl Context {
    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        let found = self.properties.iter().find(|(candidate, _)| candidate == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl From<lifecycle::Context> for Context {
    fn from(context: lifecycle::Context) -> Context {
        Context {
            plugin_name: context.plugin_name,
            role: context.role,
            task: context.task,
            host_version: context.host_version,
            properties: context.properties,
        }
    }
}

/// The configuration of plugins that have nothing to configure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Reads a configuration; what is wrong with it is the operator's to read.
#[doc(hidden)]
pub fn parse_config<C: DeserializeOwned>(config: &str) -> Result<C, Error> {
    serde_json::from_str(config).map_err(|error| Error::Config(error.to_string()))
}

/// Where the one instance of a role lives between calls. The host never enters an instance twice.
#[doc(hidden)]
#[derive(Debug)]
pub struct Slot<T>(RefCell<Option<(T, Columns)>>);

impl<T> Slot<T> {
    #[doc(hidden)]
    pub const fn empty() -> Slot<T> {
        Slot(RefCell::new(None))
    }

    /// Puts an instance in, and tells the host which columns it wants.
    #[doc(hidden)]
    pub fn fill(
        &self,
        plugin: Result<T, Error>,
        columns: impl FnOnce(&T) -> Columns,
    ) -> Result<Ready, PluginError> {
        let plugin = plugin?;
        let columns = columns(&plugin);
        *self.0.borrow_mut() = Some((plugin, columns));
        Ok(Ready { columns, properties: Vec::new() })
    }

    /// Calls the instance.
    #[doc(hidden)]
    pub fn call<R>(
        &self,
        call: impl FnOnce(&mut T, Columns) -> Result<R, PluginError>,
    ) -> Result<R, PluginError> {
        match &mut *self.0.borrow_mut() {
            Some((plugin, columns)) => call(plugin, *columns),
            None => {
                Err(PluginError::Fatal("called for a role that was not initialised".to_owned()))
            }
        }
    }

    /// Ends the instance, whatever it does when it is dropped.
    #[doc(hidden)]
    pub fn clear(&self) {
        *self.0.borrow_mut() = None;
    }
}

/// Has panics logged before they end the instance.
#[doc(hidden)]
pub fn catch_panics() {
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        crate::log::write(
            crate::log::Level::Error,
            &format!("panicked: {}", text.unwrap_or("for a reason without a text")),
            vec![("at".to_owned(), place)],
        );
    }));
}
