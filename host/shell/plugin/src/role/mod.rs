//! The roles: how each is linked, introduced and called.

pub(crate) mod compaction;
pub(crate) mod partitioner;
pub(crate) mod serde;
pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod transform;

use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::bind;
use crate::bind::types::{Columns, PluginError};
use crate::guest::Guest;
use crate::manifest;

/// What a plugin is told first.
#[derive(Clone, Debug)]
pub(crate) struct Introduction {
    pub(crate) plugin: String,
    pub(crate) task: String,
    /// JSON.
    pub(crate) config: String,
}

/// The exports of one role.
pub(crate) trait Role: Sized + Send + Sync + 'static {
    const ROLE: manifest::Role;
    /// Linked code, from which instances are made.
    type Pre: Clone + Send + Sync + 'static;

    fn prepare(pre: InstancePre<Guest>) -> wasmtime::Result<Self::Pre>;

    fn instantiate(
        pre: &Self::Pre,
        store: &mut Store<Guest>,
    ) -> impl Future<Output = wasmtime::Result<Self>> + Send;

    /// Calls `init`; answers with the columns that the plugin wants.
    fn init(
        &self,
        store: &mut Store<Guest>,
        introduction: &Introduction,
    ) -> impl Future<Output = wasmtime::Result<Result<Columns, PluginError>>> + Send;

    /// Calls `shutdown`, after which nothing else is called.
    fn shutdown(
        &self,
        store: &mut Store<Guest>,
    ) -> impl Future<Output = wasmtime::Result<()>> + Send;
}

macro_rules! role {
    ($module:ident, $exports:ident, $pre:ident, $role:ident) => {
        impl Role for bind::$module::$exports {
            const ROLE: manifest::Role = manifest::Role::$role;
            type Pre = bind::$module::$pre<Guest>;

            fn prepare(pre: InstancePre<Guest>) -> wasmtime::Result<Self::Pre> {
                bind::$module::$pre::new(pre)
            }

            async fn instantiate(
                pre: &Self::Pre,
                store: &mut Store<Guest>,
            ) -> wasmtime::Result<Self> {
                pre.instantiate_async(store).await
            }

            async fn init(
                &self,
                store: &mut Store<Guest>,
                introduction: &Introduction,
            ) -> wasmtime::Result<Result<Columns, PluginError>> {
                use bind::$module::exports::brooklet::plugin::lifecycle::Context;
                let context = Context {
                    plugin_name: introduction.plugin.clone(),
                    role: Self::ROLE.interface().to_owned(),
                    task: introduction.task.clone(),
                    host_version: env!("CARGO_PKG_VERSION").to_owned(),
                    properties: Vec::new(),
                };
                let lifecycle = self.brooklet_plugin_lifecycle();
                let ready = lifecycle.call_init(store, &context, &introduction.config).await?;
                Ok(ready.map(|ready| ready.columns))
            }

            async fn shutdown(&self, store: &mut Store<Guest>) -> wasmtime::Result<()> {
                self.brooklet_plugin_lifecycle().call_shutdown(store).await
            }
        }
    };
}

role!(partitioner, PartitionerPlugin, PartitionerPluginPre, Partitioner);
role!(serde, SerdePlugin, SerdePluginPre, Serde);
role!(transform, TransformPlugin, TransformPluginPre, Transform);
role!(compaction, CompactionPlugin, CompactionPluginPre, Compaction);
role!(source, SourcePlugin, SourcePluginPre, Source);
role!(sink, SinkPlugin, SinkPluginPre, Sink);
