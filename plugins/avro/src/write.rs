//! JSON as a datum.
//!
//! Problems begin with the path to where they are: `legs: 2: dest: expected a string, found a number`.

use std::collections::HashMap;

use apache_avro::schema::{Namespace, RecordSchema, UnionSchema};
use apache_avro::types::Value;
use apache_avro::{Decimal, Schema};
use num_bigint::BigInt;
use serde_json::Value as Json;

use crate::schema::{Known, within};

/// The datum that JSON stands for.
pub(crate) fn value(known: &Known, json: &Json) -> Result<Value, String> {
    of(known, &known.schema, &None, json)
}

fn of(known: &Known, schema: &Schema, namespace: &Namespace, json: &Json) -> Result<Value, String> {
    let schema = known.resolve(schema, namespace)?;
    match (schema, json) {
        (Schema::Union(union), json) => branch(known, union, namespace, json),
        (Schema::Record(record), Json::Object(members)) => {
            fields(known, record, namespace, members)
        }
        (Schema::Array(array), Json::Array(items)) => {
            let item = |(index, item): (usize, &Json)| {
                of(known, &array.items, namespace, item).map_err(|problem| at(index, &problem))
            };
            Ok(Value::Array(items.iter().enumerate().map(item).collect::<Result<_, _>>()?))
        }
        (Schema::Map(map), Json::Object(members)) => {
            let member = |(name, member): (&String, &Json)| {
                let value = of(known, &map.types, namespace, member);
                value.map(|value| (name.clone(), value)).map_err(|problem| at(name, &problem))
            };
            let members: Result<HashMap<_, _>, _> = members.iter().map(member).collect();
            Ok(Value::Map(members?))
        }
        (Schema::Enum(schema), Json::String(symbol)) => {
            let found = schema.symbols.iter().position(|known| known == symbol);
            let index = found.and_then(|index| u32::try_from(index).ok());
            let index = index.ok_or_else(|| format!("{} has no such symbol", schema.name.name))?;
            Ok(Value::Enum(index, symbol.clone()))
        }
        (Schema::Fixed(fixed), Json::String(text)) => {
            let bytes = bytes(text)?;
            if bytes.len() != fixed.size {
                return Err(format!("{} bytes, {} were due", bytes.len(), fixed.size));
            }
            Ok(Value::Fixed(fixed.size, bytes))
        }
        (Schema::Decimal(decimal), Json::String(text)) => {
            let unscaled = unscaled(text, decimal.scale, decimal.precision)?;
            Ok(Value::Decimal(Decimal::from(unscaled.to_signed_bytes_be())))
        }
        (leaf, json) => leaf_of(leaf, json),
    }
}

fn fields(
    known: &Known,
    record: &RecordSchema,
    namespace: &Namespace,
    members: &serde_json::Map<String, Json>,
) -> Result<Value, String> {
    if let Some(stranger) = members.keys().find(|name| !record.lookup.contains_key(*name)) {
        return Err(format!("{} has no field {stranger:?}", record.name.name));
    }
    let inner = within(&record.name, namespace);
    let mut fields = Vec::with_capacity(record.fields.len());
    for field in &record.fields {
        let member = members.get(&field.name).or(field.default.as_ref());
        let member = member.ok_or_else(|| at(&field.name, "missing, and has no default"))?;
        let value = of(known, &field.schema, &inner, member);
        fields.push((field.name.clone(), value.map_err(|problem| at(&field.name, &problem))?));
    }
    Ok(Value::Record(fields))
}

/// The first branch that fits. Of a union of null and one other thing, problems are that thing's.
fn branch(
    known: &Known,
    union: &UnionSchema,
    namespace: &Namespace,
    json: &Json,
) -> Result<Value, String> {
    let variants = union.variants();
    let mut problems = Vec::new();
    for (index, variant) in (0..).zip(variants) {
        if (*variant == Schema::Null) != json.is_null() {
            continue;
        }
        match of(known, variant, namespace, json) {
            Ok(value) => return Ok(Value::Union(index, Box::new(value))),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        return Err(format!("{} is none of the union's branches", kind(json)));
    }
    Err(problems.join(", or "))
}

fn leaf_of(schema: &Schema, json: &Json) -> Result<Value, String> {
    let wrong = |expected: &str| format!("expected {expected}, found {}", kind(json));
    let int = || {
        let number = json.as_i64().and_then(|number| i32::try_from(number).ok());
        number.ok_or_else(|| wrong("a whole number of 32 bits"))
    };
    let long = || json.as_i64().ok_or_else(|| wrong("a whole number of 64 bits"));
    let double = || match json {
        Json::String(text) if text == "NaN" => Ok(f64::NAN),
        Json::String(text) if text == "Infinity" => Ok(f64::INFINITY),
        Json::String(text) if text == "-Infinity" => Ok(f64::NEG_INFINITY),
        _ => json.as_f64().ok_or_else(|| wrong("a number")),
    };
    let text = || json.as_str().ok_or_else(|| wrong("a string"));
    Ok(match schema {
        Schema::Null if json.is_null() => Value::Null,
        Schema::Null => return Err(wrong("null")),
        Schema::Boolean => Value::Boolean(json.as_bool().ok_or_else(|| wrong("true or false"))?),
        Schema::Int => Value::Int(int()?),
        Schema::Date => Value::Date(int()?),
        Schema::TimeMillis => Value::TimeMillis(int()?),
        Schema::Long => Value::Long(long()?),
        Schema::TimeMicros => Value::TimeMicros(long()?),
        Schema::TimestampMillis => Value::TimestampMillis(long()?),
        Schema::TimestampMicros => Value::TimestampMicros(long()?),
        Schema::TimestampNanos => Value::TimestampNanos(long()?),
        Schema::LocalTimestampMillis => Value::LocalTimestampMillis(long()?),
        Schema::LocalTimestampMicros => Value::LocalTimestampMicros(long()?),
        Schema::LocalTimestampNanos => Value::LocalTimestampNanos(long()?),
        Schema::Double => Value::Double(double()?),
        #[expect(clippy::cast_possible_truncation, reason = "a float is the nearest one there is")]
        Schema::Float => Value::Float(double()? as f32),
        Schema::String => Value::String(text()?.to_owned()),
        Schema::Bytes => Value::Bytes(bytes(text()?)?),
        Schema::Uuid => Value::Uuid(text()?.parse().map_err(|_| wrong("a UUID"))?),
        Schema::BigDecimal => {
            Value::BigDecimal(text()?.parse().map_err(|_| wrong("a decimal number in a string"))?)
        }
        Schema::Duration => {
            let bytes = <[u8; 12]>::try_from(bytes(text()?)?);
            Value::Duration(bytes.map_err(|_| wrong("12 bytes as a string"))?.into())
        }
        Schema::Record(_) | Schema::Map(_) => return Err(wrong("an object")),
        Schema::Array(_) => return Err(wrong("an array")),
        Schema::Enum(_) | Schema::Fixed(_) => return Err(wrong("a string")),
        Schema::Decimal(_) => return Err(wrong("a decimal number in a string")),
        Schema::Union(_) | Schema::Ref { .. } => return Err("not a leaf".to_owned()),
    })
}

/// The bytes that characters from U+0000 to U+00FF stand for.
fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let byte = |character| u8::try_from(u32::from(character));
    let bytes: Result<Vec<u8>, _> = text.chars().map(byte).collect();
    bytes.map_err(|_| "bytes are characters from U+0000 to U+00FF".to_owned())
}

/// A decimal number as a whole one, its point moved by `scale` digits.
fn unscaled(text: &str, scale: usize, precision: usize) -> Result<BigInt, String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction:0<scale$}");
    let number: BigInt = digits.parse().map_err(|_| "not a decimal number".to_owned())?;
    if fraction.len() > scale || fraction.starts_with(['+', '-']) {
        return Err(format!("a decimal number with more than {scale} digits behind the point"));
    }
    if number.magnitude().to_string().len() > precision {
        return Err(format!("a decimal number of more than {precision} digits"));
    }
    Ok(number)
}

fn at(place: impl std::fmt::Display, problem: &str) -> String {
    format!("{place}: {problem}")
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}
