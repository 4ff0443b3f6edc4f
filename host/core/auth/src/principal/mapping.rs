//! Rules that turn a certificate's subject into a user's name: Kafka's `ssl.principal.mapping.rules`.
//!
//! ```text
//! RULE:^CN=([a-z0-9.]+),OU=ships.*$/$1/L, DEFAULT
//! ```
//!
//! The first rule whose pattern matches the whole subject, written as RFC 2253 has it, makes the name;
//! `DEFAULT` is the subject as it is. Source: KIP-371, Kafka's `SslPrincipalMapper`.
//!
//! Patterns are those of the `regex` crate: in time linear in the subject, without look-around and
//! back references. A pattern is taken to match once, where Java's `replaceAll` may find a second, empty match
//! behind the first and repeat the replacement.

use regex::{Captures, Regex};

/// The rules of one listener, in order.
#[derive(Clone, Debug)]
pub struct PrincipalMapping {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
enum Rule {
    /// The subject as it is.
    Default,
    /// What `pattern` matches becomes `replacement`.
    Replace { pattern: Regex, replacement: Vec<Part>, case: Case },
}

/// A piece of a replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    AsItIs,
    Lower,
    Upper,
}

/// Why rules cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// Neither `DEFAULT` nor `RULE:pattern/replacement/`.
    #[error("{0:?} is neither DEFAULT nor RULE:pattern/replacement/[LU]")]
    NotARule(String),
    /// The pattern is none.
    #[error("pattern {pattern:?}: {problem}")]
    Pattern { pattern: String, problem: String },
    /// A `$` in the replacement that names no group.
    #[error("replacement {0:?}: a $ stands in front of a group's number; write \\$ for the sign")]
    Dollar(String),
    /// A `\` at the replacement's end.
    #[error("replacement {0:?} ends in the middle of an escape")]
    Escape(String),
}

/// No rule says who a subject is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no principal mapping rule applies to {subject}")]
pub struct NoMatchingRule {
    /// The subject, as RFC 2253 writes it.
    pub subject: String,
}

impl Default for PrincipalMapping {
    fn default() -> PrincipalMapping {
        PrincipalMapping { rules: vec![Rule::Default] }
    }
}

impl PrincipalMapping {
    /// Reads rules, separated by commas; empty ones are skipped.
    ///
    /// # Errors
    /// If one of them is not a rule, with what is wrong about it.
    pub fn parse(text: &str) -> Result<PrincipalMapping, MappingError> {
        let mut rules = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (rule, behind) = rule(rest)?;
            rules.extend(rule);
            let behind = behind.trim_start();
            rest = match behind.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if behind.is_empty() => behind,
                None => return Err(MappingError::NotARule(rest.to_owned())),
            };
        }
        Ok(PrincipalMapping { rules })
    }

    /// The user's name that `subject` stands for.
    ///
    /// # Errors
    /// If no rule applies: such a peer is nobody.
    pub fn name(&self, subject: &str) -> Result<String, NoMatchingRule> {
        let found = self.rules.iter().find_map(|rule| rule.apply(subject));
        found.ok_or_else(|| NoMatchingRule { subject: subject.to_owned() })
    }
}

/// The rule at the start of `text`, none where there is only a comma, and what is behind it.
fn rule(text: &str) -> Result<(Option<Rule>, &str), MappingError> {
    if text.starts_with(',') {
        return Ok((None, text));
    }
    if let Some(behind) = text.strip_prefix("DEFAULT") {
        return Ok((Some(Rule::Default), behind));
    }
    let not_a_rule = || MappingError::NotARule(text.to_owned());
    let body = text.strip_prefix("RULE:").ok_or_else(not_a_rule)?;
    let (pattern, body) = until_slash(body).ok_or_else(not_a_rule)?;
    let (replacement, behind) = until_slash(body).ok_or_else(not_a_rule)?;
    let (case, behind) = match behind.strip_prefix('L') {
        Some(behind) => (Case::Lower, behind),
        None => match behind.strip_prefix('U') {
            Some(behind) => (Case::Upper, behind),
            None => (Case::AsItIs, behind),
        },
    };
    let regex = Regex::new(&format!(r"\A(?:{pattern})\z")).map_err(|error| {
        MappingError::Pattern { pattern: pattern.to_owned(), problem: error.to_string() }
    })?;
    let groups = regex.captures_len().saturating_sub(1);
    let replacement = parts(replacement, groups)?;
    Ok((Some(Rule::Replace { pattern: regex, replacement, case }), behind))
}

/// What is in front of the first `/` that no `\` escapes, and what is behind it.
fn until_slash(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (place, character) in text.char_indices() {
        match character {
            '/' if !escaped => {
                return Some((text.get(..place)?, text.get(place.checked_add(1)?..)?));
            }
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

/// Reads a replacement for a pattern of so many groups. A number beyond them loses its last digits until it
/// fits, and stands for itself where it never does.
fn parts(text: &str, groups: usize) -> Result<Vec<Part>, MappingError> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\\' => plain.push(rest.next().ok_or_else(|| MappingError::Escape(text.to_owned()))?),
            '$' => {
                let mut digits = String::new();
                while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                    digits.push(digit);
                }
                let (group, left_over) =
                    group(&digits, groups).ok_or_else(|| MappingError::Dollar(text.to_owned()))?;
                match group {
                    Some(group) => {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                        parts.push(Part::Group(group));
                    }
                    None => plain.push('$'),
                }
                plain.push_str(left_over);
            }
            other => plain.push(other),
        }
    }
    parts.push(Part::Text(plain));
    parts.retain(|part| *part != Part::Text(String::new()));
    Ok(parts)
}

/// The longest group's number that `digits` begin with, and the digits behind it. None at all without digits.
fn group(digits: &str, groups: usize) -> Option<(Option<usize>, &str)> {
    if digits.is_empty() {
        return None;
    }
    for length in (1..=digits.len()).rev() {
        let (number, rest) = digits.split_at_checked(length)?;
        let number = number.parse().ok().filter(|number: &usize| *number <= groups);
        if number.is_some() {
            return Some((number, rest));
        }
    }
    Some((None, digits))
}

impl Rule {
    fn apply(&self, subject: &str) -> Option<String> {
        let (pattern, replacement, case) = match self {
            Rule::Default => return Some(subject.to_owned()),
            Rule::Replace { pattern, replacement, case } => (pattern, replacement, *case),
        };
        let captures = pattern.captures(subject)?;
        let name: String = replacement.iter().map(|part| part.of(&captures)).collect();
        Some(match case {
            Case::AsItIs => name,
            Case::Lower => name.to_lowercase(),
            Case::Upper => name.to_uppercase(),
        })
    }
}

impl Part {
    fn of<'a>(&'a self, captures: &Captures<'a>) -> &'a str {
        match self {
            Part::Text(text) => text,
            Part::Group(group) => captures.get(*group).map_or("", |found| found.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: &str = "CN=Ada.Lovelace,OU=Ships,O=Acme\\, Inc.,C=SE";

    /// What Kafka's `SslPrincipalMapperTest` asks, and the corners of replacements.
    #[test]
    #[rustfmt::skip] // A table is read by columns.
    fn the_first_rule_that_matches_makes_the_name() {
        let table: &[(&str, &str, Option<&str>)] = &[
            ("DEFAULT",                                          ADA,                   Some(ADA)),
            ("RULE:^CN=(.*?),OU=(.*?),O=.*$/$1@$2/",             ADA,                   Some("Ada.Lovelace@Ships")),
            ("RULE:^CN=(.*?),OU=(.*?),O=.*$/$1@$2/L",            ADA,                   Some("ada.lovelace@ships")),
            ("RULE:^CN=(.*?),OU=(.*?),O=.*$/$1/U",               ADA,                   Some("ADA.LOVELACE")),
            ("RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L, DEFAULT",  ADA,                   Some(ADA)),
            ("RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L",           ADA,                   None),
            ("RULE:^cn=(.*)$/$1/L, RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L", ADA,      Some("ada.lovelace")),
            // A pattern that matches in the middle does not match.
            ("RULE:Lovelace/x/",                                 ADA,                   None),
            // The number that fits, and the sign where none does.
            ("RULE:CN=(.*),OU=.*/$12/",                          "CN=a,OU=b",           Some("a2")),
            ("RULE:CN=(.*),OU=.*/$1@$4/",                        "CN=a,OU=b",           Some("a@$4")),
            ("RULE:CN=.*/$1/",                                   "CN=a",                Some("$1")),
            ("RULE:CN=.*/[$0]/",                                 "CN=a",                Some("[CN=a]")),
            (r"RULE:CN=(.*)/\$$1\\/",                            "CN=a",                Some(r"$a\")),
            (r"RULE:CN=(.*)\/(.*)/$2\/$1/",                      "CN=a/b",              Some("b/a")),
            ("RULE:CN=(.*)//",                                   "CN=a",                Some("")),
            (" ,, DEFAULT , ",                                   "CN=a",                Some("CN=a")),
            ("",                                                 "CN=a",                None),
        ];
        for (rules, subject, expected) in table {
            let mapping = PrincipalMapping::parse(rules).unwrap();
            assert_eq!(mapping.name(subject).ok().as_deref(), *expected, "{rules}");
        }
        let nobody = PrincipalMapping::parse("").unwrap().name("CN=a").unwrap_err();
        assert_eq!(nobody.to_string(), "no principal mapping rule applies to CN=a");
    }

    #[test]
    fn what_is_not_a_rule_is_named() {
        for (rules, complaint) in [
            ("default", "neither DEFAULT"),
            ("DEFAULTS", "neither DEFAULT"),
            ("RULE:a/b", "neither DEFAULT"),
            ("RULE:a", "neither DEFAULT"),
            ("RULE:a/b/LU", "neither DEFAULT"),
            ("RULE:a/b/Q", "neither DEFAULT"),
            ("RULE:(/b/", "pattern \"(\""),
            ("RULE:(a)\\1/b/", "pattern"),
            ("RULE:a/$x/", "a $ stands in front"),
            ("RULE:a/b$/", "a $ stands in front"),
        ] {
            let error = PrincipalMapping::parse(rules).unwrap_err().to_string();
            assert!(error.contains(complaint), "{rules}: {error}");
        }
    }
}
