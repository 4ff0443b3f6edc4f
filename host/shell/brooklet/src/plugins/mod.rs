//! Plugins in the program: the room beside the broker, what administrators reach of it, and the folder that
//! files are dropped into.

mod api;
mod folder;

use std::sync::Arc;

pub(crate) use api::HEADER;

use brooklet_broker::Extensions;
use brooklet_broker::config::{Config, PluginConfig};
use brooklet_plugin::{Ceiling, Plugins, PluginsConfig, Stock, Trust, parse_key};

/// Opens the plugins of a broker.
pub(crate) fn open(config: &Config) -> Result<Extensions, String> {
    let folder = config.data.join("plugins");
    let opened = Plugins::open(&PluginsConfig {
        folder: folder.clone(),
        ceiling: ceiling(&config.plugins),
        trust: Trust {
            keys: config.plugins.trusted_keys.iter().filter_map(|key| parse_key(key)).collect(),
            required: config.plugins.require_signature,
        },
        stock: crate::stock::usable().map(|name| Stock { name, bytes }).collect(),
    });
    let plugins = opened.map_err(|error| format!("plugins: {error}"))?;
    folder::watch(Arc::clone(&plugins), &folder)
        .map_err(|error| format!("plugins: watch {}: {error}", folder.display()))?;
    let metrics = plugins.metrics().clone();
    Ok(Extensions {
        hooks: Arc::clone(&plugins) as _,
        routes: api::routes(plugins),
        register: Box::new(move |registry| metrics.register(registry)),
    })
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
