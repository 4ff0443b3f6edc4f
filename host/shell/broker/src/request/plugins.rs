//! The plugins of topics, between the settings that name them and the hook that runs them.
//!
//! **Decides** nothing: the hook says whether plugins can be used.

use brooklet_hook::TopicPlugins;
use brooklet_meta::decide::topic::NewTopic;
use brooklet_meta::setting::topic::{PLUGINS, VIEW_OF};
use brooklet_meta::{Cluster, Topic};
use brooklet_types::TopicName;

use crate::context::Call;

/// Whether a topic that is to be created may have the plugins it asks for.
pub(super) async fn check_new(call: &Call, topic: &NewTopic) -> Result<(), String> {
    let setting = |wanted: &str| {
        let found = topic.settings.iter().find(|(name, _)| name == wanted);
        found.and_then(|(_, value)| value.clone())
    };
    let Some(plugins) = setting(PLUGINS).filter(|text| !text.trim().is_empty()) else {
        return Ok(());
    };
    // What is wrong with a name is told elsewhere.
    let Ok(name) = TopicName::new(&topic.name) else { return Ok(()) };
    let is_view = setting(VIEW_OF).is_some();
    call.context.hooks.check(&TopicPlugins { name, is_view, plugins }).await
}

/// Whether a topic may get other plugins.
pub(super) async fn check_changed(call: &Call, topic: &str, plugins: &str) -> Result<(), String> {
    let cluster = call.cluster();
    // What is wrong with a topic is told elsewhere.
    let Some(topic) = cluster.topic(topic) else { return Ok(()) };
    let mut said = said(topic);
    plugins.clone_into(&mut said.plugins);
    call.context.hooks.check(&said).await
}

/// All topics that have plugins, and all views.
pub(crate) fn of_cluster(cluster: &Cluster) -> Vec<TopicPlugins> {
    let with_plugins = |topic: &&std::sync::Arc<Topic>| {
        topic.view_of.is_some()
            || topic.settings.get(PLUGINS).is_some_and(|it| !it.trim().is_empty())
    };
    cluster.topics().filter(with_plugins).map(|topic| said(topic)).collect()
}

fn said(topic: &Topic) -> TopicPlugins {
    TopicPlugins {
        name: topic.name.clone(),
        is_view: topic.view_of.is_some(),
        plugins: topic.settings.get(PLUGINS).cloned().unwrap_or_default(),
    }
}
