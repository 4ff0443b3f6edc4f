//! The interfaces of `wit/plugin/0.1.0` as Rust: generated, and named here and nowhere else.
//!
//! [`host`] holds what plugins import. Each role has a module of its own with what its plugins export;
//! all of them share the types of `host`, so that a batch is one type whoever gets it.

/// What plugins import: our functions, and the types everybody shares.
pub(crate) mod host {
    wasmtime::component::bindgen!({
        path: "../../../wit/plugin/0.1.0",
        inline: "
            package brooklet:embedder;
            world imports {
                import brooklet:plugin/types@0.1.0;
                import brooklet:plugin/log@0.1.0;
                import brooklet:plugin/metrics@0.1.0;
                import brooklet:plugin/schemas@0.1.0;
                import brooklet:plugin/secrets@0.1.0;
                import brooklet:plugin/task-control@0.1.0;
            }
        ",
        imports: {
            "brooklet:plugin/task-control.sleep-ms": async | trappable,
            default: trappable,
        },
        with: {
            "brooklet:plugin/metrics.counter": crate::guest::instruments::Counter,
            "brooklet:plugin/metrics.gauge": crate::guest::instruments::Gauge,
            "brooklet:plugin/metrics.histogram": crate::guest::instruments::Histogram,
            "brooklet:plugin/secrets.secret": crate::guest::Secret,
        },
    });
}

macro_rules! role {
    ($module:ident, $world:literal $(, $interface:literal: $($path:ident)::+)*) => {
        pub(crate) mod $module {
            wasmtime::component::bindgen!({
                path: "../../../wit/plugin/0.1.0",
                world: $world,
                exports: { default: async },
                with: {
                    "brooklet:plugin/types": crate::bind::host::brooklet::plugin::types,
                    "brooklet:plugin/log": crate::bind::host::brooklet::plugin::log,
                    "brooklet:plugin/metrics": crate::bind::host::brooklet::plugin::metrics,
                    $($interface: crate::bind::host::brooklet::plugin::$($path)::+,)*
                },
            });
        }
    };
}

role!(partitioner, "partitioner-plugin");
role!(serde, "serde-plugin", "brooklet:plugin/schemas": schemas);
role!(transform, "transform-plugin", "brooklet:plugin/schemas": schemas);
role!(compaction, "compaction-plugin");
role!(
    source, "source-plugin",
    "brooklet:plugin/schemas": schemas,
    "brooklet:plugin/secrets": secrets,
    "brooklet:plugin/task-control": task_control
);
role!(
    sink, "sink-plugin",
    "brooklet:plugin/schemas": schemas,
    "brooklet:plugin/secrets": secrets,
    "brooklet:plugin/task-control": task_control
);

pub(crate) use host::brooklet::plugin::types;
