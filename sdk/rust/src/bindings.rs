//! What `wit-bindgen` makes of the interfaces. Nobody but this crate and its macros looks in here.
//!
//! **Invariants.** All roles share the types in [`brooklet::plugin::types`], so that a component may
//! have several. The `export_…!` macros are there to be expanded in the plugin's own crate, and only
//! for wasm: their symbols mean nothing elsewhere.

wit_bindgen::generate!({
    path: ["../../wit/plugin/0.1.0", "wit"],
    world: "brooklet:sdk/host",
    generate_all,
});

pub use self::brooklet::plugin::types;

macro_rules! role {
    ($module:ident, $world:literal, $export:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: ["../../wit/plugin/0.1.0", "wit"],
                world: $world,
                with: { "brooklet:plugin/types@0.1.0": crate::bindings::types },
                pub_export_macro: true,
                export_macro_name: $export,
            });
        }
    };
}

role!(lifecycle, "brooklet:sdk/lifecycle-export", "export_lifecycle");
role!(partitioner, "brooklet:sdk/partitioner-export", "export_partitioner");
role!(serde, "brooklet:sdk/serde-export", "export_serde");
role!(transform, "brooklet:sdk/transform-export", "export_transform");
role!(compaction, "brooklet:sdk/compaction-export", "export_compaction");
role!(source, "brooklet:sdk/source-export", "export_source");
role!(sink, "brooklet:sdk/sink-export", "export_sink");
