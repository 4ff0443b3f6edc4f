//! The attributes and the `plugin!` of `brooklet-plugin-sdk`, which re-exports and explains them.
//!
//! **What it never does.** Say anything in Rust that the SDK could say: what is generated here is
//! trait implementations that call it, and exports.

mod function;
mod json;
mod plugin;

use proc_macro::TokenStream;

/// Makes a transform of a function: `fn(Record<'_>) -> Action` or `fn(Record<'_>, &Config) -> Action`.
///
/// It may also return a `Change`, a `bool` (true keeps), or any of these in a `Result` whose error is a
/// `Reject`. `#[brooklet::transform(columns(keys, values))]` names the columns that it looks at; without
/// it gets all. Name the function in [`plugin!`] under `roles: { transform: … }`.
#[proc_macro_attribute]
pub fn transform(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(function::transform(arguments.into(), item.into()))
}

/// Makes a partitioner of a function: `fn(Record<'_>, u32) -> u32` or `fn(Record<'_>, u32, &Config) -> u32`,
/// the number being that of partitions.
///
/// It may also return a `Result` whose error is an `Error`. `#[brooklet::partitioner(columns(keys))]` names
/// the columns that it looks at; without it gets all. Name the function in [`plugin!`] under
/// `roles: { partitioner: … }`.
#[proc_macro_attribute]
pub fn partitioner(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(function::partitioner(arguments.into(), item.into()))
}

/// Makes a plugin of a crate: exports its roles and writes its manifest. Once per crate.
///
/// ```text
/// brooklet::plugin! {
///     name: "mask",                        // that of the package without it
///     description: "Hides fields.",
///     roles: { transform: Mask },          // partitioner, serde, transform, compaction, source, sink
///     config: { "type": "object", … },     // JSON Schema of the configuration; without it there is none
///     wants: { "hosts": [{ "name": "*", "why": "the endpoint in `url`" }] },
///     merges: false,                       // a compaction policy that gives records new values
/// }
/// ```
///
/// `config` and `wants` are JSON. The manifest is also there as `MANIFEST`, for tests.
#[proc_macro]
pub fn plugin(input: TokenStream) -> TokenStream {
    finish(plugin::expand(input.into()))
}

fn finish(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded.unwrap_or_else(|error| error.to_compile_error()).into()
}
