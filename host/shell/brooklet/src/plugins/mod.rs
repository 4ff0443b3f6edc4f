//! Plugins in the program: the room beside the broker, what administrators reach of it, and the folder that
//! files are dropped into.

mod api;
mod folder;

use std::sync::Arc;

use brooklet_broker::Extensions;
use brooklet_broker::config::{Config, PluginConfig};
use brooklet_connect::Connectors;
use brooklet_plugin::{Ceiling, ConnectorTasks, Plugins, PluginsConfig, Stock, Trust, parse_key};

/// Opens the plugins and the connectors of a broker; the connectors are told when clients are served.
pub(crate) fn open(config: &Config) -> Result<(Extensions, Arc<Connectors>), String> {
    let folder = config.data.join("plugins");
    let opened = Plugins::open(&PluginsConfig {
        folder: folder.clone(),
        ceiling: ceiling(&config.plugins),
        trust: Trust {
            keys: config.plugins.trusted_keys.iter().filter_map(|key| parse_key(key)).collect(),
            required: config.plugins.require_signature,
        },
        stock: crate::stock::names().map(|name| Stock { name, bytes }).collect(),
    });
    let plugins = opened.map_err(|error| format!("plugins: {error}"))?;
    folder::watch(Arc::clone(&plugins), &folder)
        .map_err(|error| format!("plugins: watch {}: {error}", folder.display()))?;
    let tasks = Arc::new(ConnectorTasks::new(Arc::clone(&plugins)));
    let connectors =
        Connectors::open(&config.data.join("connectors"), tasks, Arc::clone(&plugins) as _);
    let connectors = Arc::new(connectors.map_err(|error| format!("connectors: {error}"))?);
    let (metrics, of_connectors) = (plugins.metrics().clone(), connectors.metrics().clone());
    let extensions = Extensions {
        hooks: Arc::clone(&plugins) as _,
        routes: api::routes(plugins, Arc::clone(&connectors))
            .merge(crate::connectors::routes(Arc::clone(&connectors))),
        register: Box::new(move |registry| {
            metrics.register(registry);
            of_connectors.register(registry);
        }),
    };
    Ok((extensions, connectors))
}

fn bytes(name: &'static str) -> Vec<u8> {
    crate::stock::component(name).expect("only plugins that come with the program are named")
}

fn ceiling(config: &PluginConfig) -> Ceiling {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Ceiling {
        time: config.call_time_max,
        memory: size(config.memory_max.0),
        output: size(config.output_max.0),
        instances: config.instances_max,
    }
}
