//! JSON out of Rust's tokens: the two agree on strings, numbers, brackets and words.

use serde_json::{Map, Value};
use syn::parse::{Error, Parse, ParseStream, Result};
use syn::punctuated::Punctuated;
use syn::{Lit, LitStr, Token, braced, bracketed, token};

/// A JSON value, as it stands between tokens. A trailing comma is forgiven.
pub(crate) struct Json(pub(crate) Value);

struct Member(String, Value);

impl Parse for Json {
    fn parse(input: ParseStream<'_>) -> Result<Json> {
        let content;
        if input.peek(token::Brace) {
            braced!(content in input);
            let members = Punctuated::<Member, Token![,]>::parse_terminated(&content)?;
            let members = members.into_iter().map(|Member(name, value)| (name, value));
            return Ok(Json(Value::Object(members.collect::<Map<_, _>>())));
        }
        if input.peek(token::Bracket) {
            bracketed!(content in input);
            let items = Punctuated::<Json, Token![,]>::parse_terminated(&content)?;
            return Ok(Json(Value::Array(items.into_iter().map(|Json(item)| item).collect())));
        }
        if let Ok(word) = input.parse::<syn::Ident>() {
            let null = if word == "null" { Ok(Json(Value::Null)) } else { Err(word) };
            return null.map_err(|word| Error::new(word.span(), "JSON has no such word"));
        }
        let minus = input.parse::<Option<Token![-]>>()?.map_or("", |_| "-");
        let literal: Lit = input.parse()?;
        match &literal {
            Lit::Str(text) => Ok(Json(Value::String(text.value()))),
            Lit::Bool(truth) => Ok(Json(Value::Bool(truth.value))),
            Lit::Int(digits) => number(&format!("{minus}{}", digits.base10_digits()), &literal),
            Lit::Float(digits) => number(&format!("{minus}{}", digits.base10_digits()), &literal),
            _ => Err(Error::new(literal.span(), "JSON has strings, numbers, true, false and null")),
        }
    }
}

impl Parse for Member {
    fn parse(input: ParseStream<'_>) -> Result<Member> {
        let name: LitStr = input.parse()?;
        input.parse::<Token![:]>()?;
        let Json(value) = input.parse()?;
        Ok(Member(name.value(), value))
    }
}

fn number(digits: &str, literal: &Lit) -> Result<Json> {
    let parsed = serde_json::from_str(digits);
    parsed.map(Json).map_err(|error| Error::new(literal.span(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_json_between_tokens_too() {
        let texts = [
            r#"{"a": [1, -2, 0.5, -1e3, true, false, null, "x\"y\\d"], "b": {}, "c": []}"#,
            r#"[[], {"": {"$ref": "\n"}}]"#,
        ];
        for text in texts {
            let Json(parsed) = syn::parse_str(text).unwrap();
            assert_eq!(parsed, serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_said_where_it_stands() {
        for text in ["{a: 1}", "undefined", "'x'", "[1 2]", "{\"a\" 1}"] {
            assert!(syn::parse_str::<Json>(text).is_err(), "{text}");
        }
    }
}
