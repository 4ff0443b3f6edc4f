//! `plugin!`: the manifest as a section of the component, and the exports.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use serde_json::{Value, json};
use syn::parse::{Error, Parse, ParseStream, Result};
use syn::punctuated::Punctuated;
use syn::{Ident, LitBool, LitStr, Path, Token, braced};

use crate::json::Json;

/// The roles there are: as the manifest writes them, and as the host asks for an instance.
const ROLES: [(&str, &str); 6] = [
    ("partitioner", "partitioner"),
    ("serde", "serde"),
    ("transform", "transform"),
    ("compaction", "compaction-policy"),
    ("source", "source"),
    ("sink", "sink"),
];

pub(crate) fn expand(input: TokenStream) -> Result<TokenStream> {
    let plugin: Plugin = syn::parse2(input)?;
    let manifest = plugin.manifest()?.to_string();
    let bytes = syn::LitByteStr::new(manifest.as_bytes(), Span::call_site());
    let length = manifest.len();
    let slots = plugin.roles.iter().map(Role::slot);
    let inits = plugin.roles.iter().map(Role::init);
    let clears = plugin.roles.iter().map(|role| {
        let slot = role.slot_name();
        quote!(#slot.with(::brooklet::Slot::clear);)
    });
    let exports = plugin.roles.iter().map(Role::export);
    let uses = plugin.roles.iter().map(Role::uses);
    Ok(quote! {
        /// The plugin's manifest, as it stands in the component.
        pub const MANIFEST: &str = #manifest;

        /// Has the roles checked, and counts as their use, where nothing is exported.
        #[cfg(not(target_family = "wasm"))]
        #[doc(hidden)]
        pub fn __brooklet_roles() {
            #(#uses)*
        }

        #[cfg(target_family = "wasm")]
        const _: () = {
            #[unsafe(link_section = "brooklet:manifest")]
            #[used]
            static SECTION: [u8; #length] = *#bytes;

            ::std::thread_local! {
                #(#slots)*
            }

            struct Component;

            impl ::brooklet::bindings::lifecycle::exports::brooklet::plugin::lifecycle::Guest for Component {
                fn init(
                    context: ::brooklet::bindings::lifecycle::exports::brooklet::plugin::lifecycle::Context,
                    config: ::std::string::String,
                ) -> ::core::result::Result<
                    ::brooklet::bindings::lifecycle::exports::brooklet::plugin::lifecycle::Ready,
                    ::brooklet::bindings::types::PluginError,
                > {
                    ::brooklet::catch_panics();
                    let context = ::brooklet::Context::from(context);
                    match context.role.as_str() {
                        #(#inits)*
                        other => ::core::result::Result::Err(
                            ::brooklet::Error::Config(::std::format!("no role is called {other}")).into(),
                        ),
                    }
                }

                fn shutdown() {
                    #(#clears)*
                }
            }

            ::brooklet::bindings::lifecycle::export_lifecycle!(
                Component with_types_in ::brooklet::bindings::lifecycle
            );
            #(#exports)*
        };
    })
}

struct Plugin {
    name: Option<LitStr>,
    description: LitStr,
    roles: Vec<Role>,
    config: Option<Value>,
    wants: Option<Value>,
    merges: bool,
}

struct Role {
    /// Index in [`ROLES`].
    kind: usize,
    implementation: Path,
}

impl Plugin {
    fn manifest(&self) -> Result<Value> {
        // Cargo sets both while it compiles the plugin's crate, which is when this runs.
        let from_cargo = |variable: &str| {
            let missing = format!("{variable} is not set: built without cargo?");
            std::env::var(variable).map_err(|_| Error::new(Span::call_site(), missing))
        };
        let name = match &self.name {
            Some(name) => name.value(),
            None => from_cargo("CARGO_PKG_NAME")?,
        };
        let roles: Vec<&str> = self.roles.iter().map(|role| ROLES[role.kind].0).collect();
        let nothing = || json!({ "type": "object", "additionalProperties": false });
        Ok(json!({
            "name": name,
            "version": from_cargo("CARGO_PKG_VERSION")?,
            "description": self.description.value(),
            "roles": roles,
            "config": self.config.clone().unwrap_or_else(nothing),
            "wants": self.wants.clone().unwrap_or_else(|| json!({})),
            "merges": self.merges,
        }))
    }
}

impl Parse for Plugin {
    fn parse(input: ParseStream<'_>) -> Result<Plugin> {
        let (mut name, mut description, mut roles) = (None, None, None);
        let (mut config, mut wants, mut merges) = (None, None, None);
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            input.parse::<Token![:]>()?;
            let again = match key.to_string().as_str() {
                "name" => name.replace(input.parse::<LitStr>()?).is_some(),
                "description" => description.replace(input.parse::<LitStr>()?).is_some(),
                "roles" => roles.replace(read_roles(input)?).is_some(),
                "config" => config.replace(input.parse::<Json>()?.0).is_some(),
                "wants" => wants.replace(input.parse::<Json>()?.0).is_some(),
                "merges" => merges.replace(input.parse::<LitBool>()?.value).is_some(),
                _ => {
                    let known = "expected name, description, roles, config, wants or merges";
                    return Err(Error::new(key.span(), known));
                }
            };
            if again {
                return Err(Error::new(key.span(), "given twice"));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let missing = |what: &str| Error::new(Span::call_site(), format!("`{what}` is missing"));
        Ok(Plugin {
            name,
            description: description.ok_or_else(|| missing("description"))?,
            roles: roles.ok_or_else(|| missing("roles"))?,
            config,
            wants,
            merges: merges.unwrap_or(false),
        })
    }
}

fn read_roles(input: ParseStream<'_>) -> Result<Vec<Role>> {
    let content;
    let braces = braced!(content in input);
    let roles = Punctuated::<Role, Token![,]>::parse_terminated(&content)?;
    let roles: Vec<Role> = roles.into_iter().collect();
    if roles.is_empty() {
        return Err(Error::new(braces.span.join(), "a plugin has at least one role"));
    }
    for (index, role) in roles.iter().enumerate() {
        if roles[..index].iter().any(|earlier| earlier.kind == role.kind) {
            return Err(Error::new_spanned(&role.implementation, "this role is there already"));
        }
    }
    Ok(roles)
}

impl Parse for Role {
    fn parse(input: ParseStream<'_>) -> Result<Role> {
        let name: Ident = input.parse()?;
        let kind = ROLES.iter().position(|(known, _)| name == known).ok_or_else(|| {
            let known = ROLES.map(|(known, _)| known).join(", ");
            Error::new(name.span(), format!("the roles are {known}"))
        })?;
        input.parse::<Token![:]>()?;
        Ok(Role { kind, implementation: input.parse()? })
    }
}

impl Role {
    fn name(&self) -> &'static str {
        ROLES[self.kind].0
    }

    fn slot_name(&self) -> Ident {
        format_ident!("{}", self.name().to_uppercase())
    }

    /// What the slot holds: the implementation, or what keeps account for it.
    fn held(&self) -> TokenStream {
        let implementation = &self.implementation;
        if self.name() == "sink" {
            quote!(::brooklet::role::sink::Tracked<#implementation>)
        } else {
            quote!(#implementation)
        }
    }

    fn uses(&self) -> TokenStream {
        let (name, implementation) = (format_ident!("{}", self.trait_name()), &self.implementation);
        quote!(let _ = <#implementation as ::brooklet::#name>::new;)
    }

    fn trait_name(&self) -> &'static str {
        match self.name() {
            "partitioner" => "Partitioner",
            "serde" => "Serde",
            "transform" => "Transform",
            "compaction" => "CompactionPolicy",
            "source" => "Source",
            _ => "Sink",
        }
    }

    fn slot(&self) -> TokenStream {
        let (slot, held) = (self.slot_name(), self.held());
        quote!(static #slot: ::brooklet::Slot<#held> = const { ::brooklet::Slot::empty() };)
    }

    fn init(&self) -> TokenStream {
        let (slot, implementation) = (self.slot_name(), &self.implementation);
        let (plain, asked) = ROLES[self.kind];
        let pattern = if plain == asked { quote!(#plain) } else { quote!(#plain | #asked) };
        let name = format_ident!("{}", self.trait_name());
        let columns = match plain {
            // They are not given batches.
            "serde" | "source" => quote!(|_| ::brooklet::Columns::empty()),
            "sink" => quote!(::brooklet::role::sink::Tracked::columns),
            _ => quote!(::brooklet::#name::columns),
        };
        let make = if plain == "sink" {
            quote!(::brooklet::role::sink::Tracked::<#implementation>::new)
        } else {
            quote!(<#implementation as ::brooklet::#name>::new)
        };
        quote! {
            #pattern => {
                let plugin = ::brooklet::parse_config(&config)
                    .and_then(|config| #make(config, &context));
                #slot.with(|slot| slot.fill(plugin, #columns))
            }
        }
    }

    fn export(&self) -> TokenStream {
        let module = format_ident!("{}", self.name());
        let interface = format_ident!("{}", ROLES[self.kind].1.replace('-', "_"));
        let export = format_ident!("export_{}", self.name());
        let functions = functions(self.name(), &self.slot_name());
        quote! {
            const _: () = {
                use ::brooklet::bindings::#module::exports::brooklet::plugin::#interface as wire;
                use ::brooklet::bindings::types::{Batch, Blobs, PluginError, Reject};
                use ::brooklet::role::#module as role;
                use ::core::option::Option;
                use ::core::result::Result;
                use ::std::vec::Vec;

                impl wire::Guest for Component {
                    #functions
                }
            };
            ::brooklet::bindings::#module::#export!(
                Component with_types_in ::brooklet::bindings::#module
            );
        }
    }
}

/// What a role's interface consists of, each handed to the SDK.
fn functions(role: &str, slot: &Ident) -> TokenStream {
    let call = quote!(#slot.with);
    match role {
        "partitioner" => quote! {
            fn partition(input: Batch, partitions: u32) -> Result<Vec<u32>, PluginError> {
                #call(|slot| slot.call(|it, columns| role::run(it, columns, &input, partitions)))
            }
        },
        "serde" => quote! {
            fn deserialize(s: wire::Subject, data: Blobs) -> Result<wire::Converted, PluginError> {
                #call(|slot| slot.call(|it, _| role::deserialize(it, s, &data)))
            }
            fn serialize(s: wire::Subject, data: Blobs) -> Result<wire::Converted, PluginError> {
                #call(|slot| slot.call(|it, _| role::serialize(it, s, &data)))
            }
            fn check(s: wire::Subject, data: Blobs) -> Result<Option<Vec<Reject>>, PluginError> {
                #call(|slot| slot.call(|it, _| role::check(it, s, &data)))
            }
        },
        "transform" => quote! {
            fn transform(input: Batch) -> Result<wire::Transformed, PluginError> {
                #call(|slot| slot.call(|it, columns| role::run(it, columns, &input)))
            }
        },
        "compaction" => quote! {
            fn begin(info: wire::PassInfo) -> Result<(), PluginError> {
                #call(|slot| slot.call(|it, _| role::begin(it, info)))
            }
            fn observe(chunk: wire::Entries) -> Result<(), PluginError> {
                #call(|slot| slot.call(|it, _| role::observe(it, &chunk)))
            }
            fn decide(chunk: wire::Entries) -> Result<wire::Verdict, PluginError> {
                #call(|slot| slot.call(|it, _| role::decide(it, &chunk)))
            }
            fn end() {
                let _ended = #call(|slot| slot.call(|it, _| {
                    ::brooklet::CompactionPolicy::end(it);
                    Result::Ok(())
                }));
            }
        },
        "source" => quote! {
            fn plan(max_tasks: u32) -> Result<Vec<wire::Split>, PluginError> {
                #call(|slot| slot.call(|it, _| role::plan(it, max_tasks)))
            }
            fn start(splits: Vec<wire::Split>, position: Option<Vec<u8>>) -> Result<(), PluginError> {
                #call(|slot| slot.call(|it, _| role::start(it, splits, position.as_deref())))
            }
            fn poll(l: wire::Limits) -> Result<wire::Polled, PluginError> {
                #call(|slot| slot.call(|it, _| role::poll(it, l)))
            }
            fn committed(position: Vec<u8>) -> Result<(), PluginError> {
                #call(|slot| slot.call(|it, _| role::committed(it, &position)))
            }
            fn aborted(position: Vec<u8>) {
                let _aborted = #call(|slot| slot.call(|it, _| {
                    role::aborted(it, &position);
                    Result::Ok(())
                }));
            }
        },
        _ => quote! {
            fn start(assigned: Vec<wire::Assignment>) -> Result<Vec<wire::Progress>, PluginError> {
                #call(|slot| slot.call(|it, _| it.start(assigned)))
            }
            fn write(input: Batch) -> Result<wire::Accepted, PluginError> {
                #call(|slot| slot.call(|it, columns| it.write(columns, &input)))
            }
            fn flush() -> Result<Vec<wire::Progress>, PluginError> {
                #call(|slot| slot.call(|it, _| it.flush()))
            }
        },
    }
}
