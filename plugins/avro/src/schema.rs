//! A schema with its named types at hand.

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::schema::{Name, Namespace};
use brooklet::schemas;

/// A schema, and its named types by their full names.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) schema: Schema,
    names: BTreeMap<String, Schema>,
}

impl Known {
    pub(crate) fn parse(definition: &str) -> Result<Known, String> {
        let schema = Schema::parse_str(definition).map_err(|error| error.to_string())?;
        let mut names = BTreeMap::new();
        collect(&schema, &None, &mut names);
        Ok(Known { schema, names })
    }

    /// A schema that the host knows.
    pub(crate) fn fetched(schema: &schemas::Schema) -> Result<Known, String> {
        if schema.format != schemas::Format::Avro {
            return Err("it is not an Avro schema".to_owned());
        }
        Known::parse(&schema.definition)
    }

    /// What a reference refers to; anything else is itself.
    pub(crate) fn resolve<'s>(
        &'s self,
        schema: &'s Schema,
        namespace: &Namespace,
    ) -> Result<&'s Schema, String> {
        let Schema::Ref { name } = schema else { return Ok(schema) };
        let name = full(name, namespace);
        self.names.get(&name).ok_or_else(|| format!("no type is called {name}"))
    }
}

/// The namespace that names within a record have.
pub(crate) fn within(name: &Name, namespace: &Namespace) -> Namespace {
    name.fully_qualified_name(namespace).namespace
}

fn full(name: &Name, namespace: &Namespace) -> String {
    name.fully_qualified_name(namespace).fullname(None)
}

fn collect(schema: &Schema, namespace: &Namespace, names: &mut BTreeMap<String, Schema>) {
    if let (Some(name), false) = (schema.name(), matches!(schema, Schema::Ref { .. })) {
        names.insert(full(name, namespace), schema.clone());
    }
    match schema {
        Schema::Record(record) => {
            let inner = within(&record.name, namespace);
            record.fields.iter().for_each(|field| collect(&field.schema, &inner, names));
        }
        Schema::Array(array) => collect(&array.items, namespace, names),
        Schema::Map(map) => collect(&map.types, namespace, names),
        Schema::Union(union) => {
            union.variants().iter().for_each(|variant| collect(variant, namespace, names));
        }
        _ => {}
    }
}
