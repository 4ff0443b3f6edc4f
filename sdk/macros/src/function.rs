//! Functions with an attribute: a type of the same name that implements the role's trait. Functions and
//! types have names of different kinds, so both can be called the same, and are imported together.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Error, Parser as _, Result};
use syn::punctuated::Punctuated;
use syn::{FnArg, Ident, ItemFn, Token, Type};

pub(crate) fn transform(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let function = Function::read(arguments, item, 1)?;
    let (item, name) = (&function.item, &function.item.sig.ident);
    let extra = function.extra();
    let (declaration, common) = function.declaration();
    Ok(quote! {
        #item
        #declaration
        impl ::brooklet::Transform for #name {
            #common

            #[inline]
            fn transform(
                &mut self,
                batch: &::brooklet::Batch<'_>,
                out: &mut ::brooklet::Output<'_>,
            ) -> ::core::result::Result<(), ::brooklet::Error> {
                for record in batch {
                    out.act(#name(record #extra));
                }
                ::core::result::Result::Ok(())
            }
        }
    })
}

pub(crate) fn partitioner(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let function = Function::read(arguments, item, 2)?;
    let (item, name) = (&function.item, &function.item.sig.ident);
    let extra = function.extra();
    let (declaration, common) = function.declaration();
    Ok(quote! {
        #item
        #declaration
        impl ::brooklet::Partitioner for #name {
            #common

            #[inline]
            fn partition(
                &mut self,
                batch: &::brooklet::Batch<'_>,
                partitions: u32,
                chosen: &mut ::std::vec::Vec<u32>,
            ) -> ::core::result::Result<(), ::brooklet::Error> {
                for record in batch {
                    let partition = #name(record, partitions #extra);
                    chosen.push(::brooklet::IntoPartition::into_partition(partition)?);
                }
                ::core::result::Result::Ok(())
            }
        }
    })
}

struct Function {
    item: ItemFn,
    /// The type of its configuration, if it takes one.
    config: Option<TokenStream>,
    columns: TokenStream,
}

impl Function {
    /// Reads a function that takes `plain` arguments and perhaps a configuration.
    fn read(arguments: TokenStream, item: TokenStream, plain: usize) -> Result<Function> {
        let item: ItemFn = syn::parse2(item)?;
        let columns = columns(arguments)?;
        let inputs = &item.sig.inputs;
        let config = if inputs.len() == plain {
            None
        } else if inputs.len() == plain + 1 {
            let last = inputs.last().expect("there is at least one");
            let FnArg::Typed(argument) = last else {
                return Err(Error::new_spanned(last, "a function, not a method"));
            };
            let Type::Reference(reference) = &*argument.ty else {
                return Err(Error::new_spanned(
                    &argument.ty,
                    "the configuration comes as `&Config`",
                ));
            };
            let config = &reference.elem;
            Some(quote!(#config))
        } else {
            let problem = format!("takes {plain} arguments, and perhaps `&Config` behind them");
            return Err(Error::new_spanned(&item.sig, problem));
        };
        Ok(Function { item, config, columns })
    }

    /// The type, and the part of its trait that all roles have.
    fn declaration(&self) -> (TokenStream, TokenStream) {
        let Function { item, config, columns, .. } = self;
        let (visibility, name) = (&item.vis, &item.sig.ident);
        let text = format!("`{name}` as a plugin's role.");
        let (field, value) = match &self.config {
            Some(config) => (quote!(config: #config), quote!(config)),
            None => (quote!(), quote!()),
        };
        let config = config.clone().unwrap_or_else(|| quote!(::brooklet::NoConfig));
        let declaration = quote! {
            #[doc = #text]
            #[expect(non_camel_case_types, reason = "named like its function")]
            #visibility struct #name { #field }
        };
        let common = quote! {
            type Config = #config;

            #[expect(unused_variables, reason = "not every function takes a configuration")]
            fn new(
                config: #config,
                context: &::brooklet::Context,
            ) -> ::core::result::Result<Self, ::brooklet::Error> {
                ::core::result::Result::Ok(#name { #value })
            }

            fn columns(&self) -> ::brooklet::Columns {
                #columns
            }
        };
        (declaration, common)
    }

    /// The configuration as the last argument, if the function takes one.
    fn extra(&self) -> TokenStream {
        if self.config.is_some() { quote!(, &self.config) } else { quote!() }
    }
}

/// `columns(keys, values)` as a set.
fn columns(arguments: TokenStream) -> Result<TokenStream> {
    if arguments.is_empty() {
        return Ok(quote!(::brooklet::Columns::all()));
    }
    let parse = |input: syn::parse::ParseStream<'_>| {
        let word: Ident = input.parse()?;
        if word != "columns" {
            return Err(Error::new(word.span(), "expected `columns(…)`"));
        }
        let content;
        syn::parenthesized!(content in input);
        Punctuated::<Ident, Token![,]>::parse_terminated(&content)
    };
    let mut set = quote!(::brooklet::Columns::empty());
    for column in parse.parse2(arguments)? {
        let constant = match column.to_string().as_str() {
            "keys" => quote!(KEYS),
            "values" => quote!(VALUES),
            "headers" => quote!(HEADERS),
            "timestamps" => quote!(TIMESTAMPS),
            _ => {
                let problem = "the columns are keys, values, headers and timestamps";
                return Err(Error::new(column.span(), problem));
            }
        };
        set = quote!(#set.union(::brooklet::Columns::#constant));
    }
    Ok(set)
}
