//! Whether an expression is true of a record.
//!
//! What is missing is null, and so is a key or a header that is not UTF-8. Numbers compare with
//! numbers, texts with texts by their characters; values of two kinds are unequal, and neither is less.

use std::borrow::Cow;
use std::cmp::Ordering;

use brooklet::Record;

use crate::parse::{Comparison, Expression, Function, Literal, Operand};

/// The fields of one value that were looked for, as they stand there.
#[derive(Debug, Default)]
pub(crate) struct Fields<'j>(Vec<Option<&'j str>>);

impl<'j> Fields<'j> {
    pub(crate) fn clear(&mut self, count: usize) {
        self.0.clear();
        self.0.resize(count, None);
    }

    /// The last of several that have the same name counts, as most readers of JSON have it.
    pub(crate) fn put(&mut self, index: usize, text: &'j str) {
        self.0[index] = Some(text);
    }
}

/// A value to compare.
#[derive(Clone, Debug, PartialEq)]
enum Value<'v> {
    Null,
    Bool(bool),
    Whole(i64),
    Number(f64),
    Text(Cow<'v, str>),
    /// An object or an array: it is there, and equal to nothing.
    Nested,
}

/// Whether the expression is true of the record.
pub(crate) fn holds(expression: &Expression, record: &Record<'_>, fields: &Fields<'_>) -> bool {
    match expression {
        Expression::And(parts) => parts.iter().all(|part| holds(part, record, fields)),
        Expression::Or(parts) => parts.iter().any(|part| holds(part, record, fields)),
        Expression::Not(inner) => !holds(inner, record, fields),
        // What most filters ask, and all that many do. A text that is not UTF-8 is equal to none that is.
        Expression::Compare(
            left @ (Operand::Key | Operand::Header(_)),
            comparison @ (Comparison::Equal | Comparison::Unequal),
            Operand::Literal(Literal::Text(text)),
        ) => {
            let found = match left {
                Operand::Header(name) => record.header(name),
                _ => record.key(),
            };
            (found == Some(text.as_bytes())) == (*comparison == Comparison::Equal)
        }
        Expression::Compare(left, comparison, right) => {
            let ordering = compare(&read(left, record, fields), &read(right, record, fields));
            match comparison {
                Comparison::Equal => ordering == Some(Ordering::Equal),
                Comparison::Unequal => ordering != Some(Ordering::Equal),
                Comparison::Less => ordering == Some(Ordering::Less),
                Comparison::LessOrEqual => ordering.is_some_and(Ordering::is_le),
                Comparison::Greater => ordering == Some(Ordering::Greater),
                Comparison::GreaterOrEqual => ordering.is_some_and(Ordering::is_ge),
            }
        }
        Expression::In(operand, list) => {
            let value = read(operand, record, fields);
            list.iter().any(|literal| compare(&value, &of(literal)) == Some(Ordering::Equal))
        }
        Expression::Exists(Operand::Field(index)) => fields.0[*index].is_some(),
        Expression::Exists(operand) => read(operand, record, fields) != Value::Null,
        Expression::Text(function, operand, text) => {
            let Value::Text(value) = read(operand, record, fields) else { return false };
            match function {
                Function::StartsWith => value.starts_with(text.as_str()),
                Function::EndsWith => value.ends_with(text.as_str()),
                Function::Contains => value.contains(text.as_str()),
            }
        }
        Expression::True(operand) => read(operand, record, fields) == Value::Bool(true),
    }
}

fn read<'v>(operand: &'v Operand, record: &Record<'v>, fields: &Fields<'v>) -> Value<'v> {
    match operand {
        Operand::Field(index) => fields.0[*index].map_or(Value::Null, json),
        Operand::Key => bytes(record.key()),
        Operand::Timestamp => Value::Whole(record.timestamp()),
        Operand::Header(name) => bytes(record.header(name)),
        Operand::Literal(literal) => of(literal),
    }
}

fn of(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(truth) => Value::Bool(*truth),
        Literal::Whole(number) => Value::Whole(*number),
        Literal::Number(number) => Value::Number(*number),
        Literal::Text(text) => Value::Text(Cow::Borrowed(text)),
    }
}

fn bytes(bytes: Option<&[u8]>) -> Value<'_> {
    let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.map_or(Value::Null, |text| Value::Text(Cow::Borrowed(text)))
}

/// A value out of its JSON text, which was read as JSON before.
fn json(text: &str) -> Value<'_> {
    match text.as_bytes().first() {
        Some(b'n') => Value::Null,
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'{' | b'[') => Value::Nested,
        Some(b'"') if !text.contains('\\') => Value::Text(Cow::Borrowed(&text[1..text.len() - 1])),
        Some(b'"') => {
            serde_json::from_str(text).map_or(Value::Null, |text| Value::Text(Cow::Owned(text)))
        }
        _ => text
            .parse()
            .map_or_else(|_| text.parse().map_or(Value::Null, Value::Number), Value::Whole),
    }
}

fn compare(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Whole(left), Value::Whole(right)) => Some(left.cmp(right)),
        _ => number(left)?.partial_cmp(&number(right)?),
    }
}

#[expect(clippy::cast_precision_loss, reason = "compared with a number that is not whole")]
fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Whole(whole) => Some(*whole as f64),
        Value::Number(number) => Some(*number),
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::Nested => None,
    }
}
