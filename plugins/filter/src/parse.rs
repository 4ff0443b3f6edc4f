//! From tokens to an expression.
//!
//! ```text
//! or      = and  { ("or" | "||") and }
//! and     = not  { ("and" | "&&") not }
//! not     = ("not" | "!") not | simple
//! simple  = "(" or ")" | "exists" "(" operand ")" | FUNCTION "(" operand "," TEXT ")"
//!         | operand [ COMPARISON operand | ["not"] "in" "[" literal { "," literal } "]" ]
//! operand = literal | "key" | "timestamp" | "header" "(" TEXT ")" | PATH
//! ```
//!
//! A path is a field of the JSON value; `value.key` is a field that is called `key`.

use brooklet::Columns;

use crate::token::{Problem, Token, tokens};

/// Parentheses and `not` within each other; deeper ones are a mistake or an attack.
const DEPTH_MAX: usize = 64;

/// What is true or false of a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
    Compare(Operand, Comparison, Operand),
    In(Operand, Vec<Literal>),
    Exists(Operand),
    Text(Function, Operand, String),
    /// An operand by itself: whether it is `true`.
    True(Operand),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand {
    /// The index of a field.
    Field(usize),
    Key,
    Timestamp,
    Header(String),
    Literal(Literal),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Whole(i64),
    Number(f64),
    Text(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    StartsWith,
    EndsWith,
    Contains,
}

/// An expression and what it looks at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parsed {
    pub(crate) expression: Expression,
    pub(crate) columns: Columns,
    /// Paths of the fields, each once.
    pub(crate) fields: Vec<String>,
}

/// Understands an expression, or says where that ended.
pub(crate) fn parse(text: &str) -> Result<Parsed, Problem> {
    let tokens = tokens(text)?;
    let mut parser =
        Parser { tokens, at: 0, depth: 0, columns: Columns::empty(), fields: Vec::new() };
    let expression = parser.or()?;
    if *parser.peek() != Token::End {
        return Err(parser.unexpected("`and`, `or` or the end"));
    }
    Ok(Parsed { expression, columns: parser.columns, fields: parser.fields })
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
    columns: Columns,
    fields: Vec<String>,
}

impl Parser {
    fn or(&mut self) -> Result<Expression, Problem> {
        let mut parts = vec![self.and()?];
        while self.take_word("or") || self.take("||") {
            parts.push(self.and()?);
        }
        Ok(one_or(parts, Expression::Or))
    }

    fn and(&mut self) -> Result<Expression, Problem> {
        let mut parts = vec![self.not()?];
        while self.take_word("and") || self.take("&&") {
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Expression::And))
    }

    fn not(&mut self) -> Result<Expression, Problem> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.problem(format!("more than {DEPTH_MAX} within each other")));
        }
        let parsed = if self.take_word("not") || self.take("!") {
            self.not().map(|inner| Expression::Not(Box::new(inner)))
        } else {
            self.simple()
        };
        self.depth -= 1;
        parsed
    }

    fn simple(&mut self) -> Result<Expression, Problem> {
        if self.take("(") {
            let inner = self.or()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.take_call("exists") {
            let operand = self.operand()?;
            self.expect(")")?;
            return Ok(Expression::Exists(operand));
        }
        let functions = [
            ("starts_with", Function::StartsWith),
            ("ends_with", Function::EndsWith),
            ("contains", Function::Contains),
        ];
        for (name, function) in functions {
            if self.take_call(name) {
                let operand = self.operand()?;
                self.expect(",")?;
                let text = self.text()?;
                self.expect(")")?;
                return Ok(Expression::Text(function, operand, text));
            }
        }
        let left = self.operand()?;
        self.about(left)
    }

    /// What is said about an operand.
    fn about(&mut self, left: Operand) -> Result<Expression, Problem> {
        let comparisons = [
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        for (symbol, comparison) in comparisons {
            if self.take(symbol) {
                return Ok(Expression::Compare(left, comparison, self.operand()?));
            }
        }
        if *self.peek() == Token::Symbol("=") {
            return Err(self.problem("equality is written =="));
        }
        let negated = self.take_word("not");
        if self.take_word("in") {
            let within = Expression::In(left, self.list()?);
            return Ok(if negated { Expression::Not(Box::new(within)) } else { within });
        }
        if negated {
            return Err(self.unexpected("`in`"));
        }
        Ok(Expression::True(left))
    }

    fn list(&mut self) -> Result<Vec<Literal>, Problem> {
        self.expect("[")?;
        let mut literals = Vec::new();
        loop {
            let problem = self.unexpected("a text, a number, true, false or null");
            literals.push(self.literal().ok_or(problem)?);
            if self.take("]") {
                return Ok(literals);
            }
            self.expect(",")?;
        }
    }

    fn operand(&mut self) -> Result<Operand, Problem> {
        if let Some(literal) = self.literal() {
            return Ok(Operand::Literal(literal));
        }
        let Token::Word(word) = self.peek().clone() else {
            return Err(self.unexpected("a field, key, timestamp, header('…'), a text or a number"));
        };
        if ["and", "or", "not", "in"].contains(&word.as_str()) {
            return Err(self.unexpected("a field, key, timestamp, header('…'), a text or a number"));
        }
        if self.take_call("header") {
            let name = self.text()?;
            self.expect(")")?;
            self.columns |= Columns::HEADERS;
            return Ok(Operand::Header(name));
        }
        if matches!(&self.tokens[self.at + 1].1, Token::Symbol("(")) {
            let known = "exists, starts_with, ends_with, contains and header";
            return Err(self.problem(format!("{word} is not one of the functions {known}")));
        }
        match word.as_str() {
            "key" => {
                self.columns |= Columns::KEYS;
                self.at += 1;
                Ok(Operand::Key)
            }
            "timestamp" => {
                self.columns |= Columns::TIMESTAMPS;
                self.at += 1;
                Ok(Operand::Timestamp)
            }
            _ => self.field(&word),
        }
    }

    fn field(&mut self, word: &str) -> Result<Operand, Problem> {
        let path = word.strip_prefix("value.").unwrap_or(word);
        if let Err(error) = brooklet::json::split(path) {
            return Err(self.problem(error.to_string()));
        }
        self.at += 1;
        self.columns |= Columns::VALUES;
        let known = self.fields.iter().position(|field| field == path);
        Ok(Operand::Field(known.unwrap_or_else(|| {
            self.fields.push(path.to_owned());
            self.fields.len() - 1
        })))
    }

    fn literal(&mut self) -> Option<Literal> {
        let literal = match self.peek() {
            Token::Text(text) => Literal::Text(text.clone()),
            Token::Whole(number) => Literal::Whole(*number),
            Token::Number(number) => Literal::Number(*number),
            Token::Word(word) if word == "true" => Literal::Bool(true),
            Token::Word(word) if word == "false" => Literal::Bool(false),
            Token::Word(word) if word == "null" => Literal::Null,
            Token::Word(_) | Token::Symbol(_) | Token::End => return None,
        };
        self.at += 1;
        Some(literal)
    }

    fn text(&mut self) -> Result<String, Problem> {
        let Token::Text(text) = self.peek().clone() else {
            return Err(self.unexpected("a text in quotes"));
        };
        self.at += 1;
        Ok(text)
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at].1
    }

    fn take(&mut self, symbol: &str) -> bool {
        let is_here = matches!(self.peek(), Token::Symbol(here) if *here == symbol);
        self.at += usize::from(is_here);
        is_here
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_here = matches!(self.peek(), Token::Word(here) if here == word);
        self.at += usize::from(is_here);
        is_here
    }

    /// The name of a function with its parenthesis.
    fn take_call(&mut self, name: &str) -> bool {
        let is_here = matches!(self.peek(), Token::Word(here) if here == name);
        // The last token is the end, never a word: there is one more.
        let is_call = is_here && self.tokens[self.at + 1].1 == Token::Symbol("(");
        self.at += if is_call { 2 } else { 0 };
        is_call
    }

    fn expect(&mut self, symbol: &str) -> Result<(), Problem> {
        if self.take(symbol) { Ok(()) } else { Err(self.unexpected(&format!("{symbol:?}"))) }
    }

    fn unexpected(&self, expected: &str) -> Problem {
        self.problem(format!("expected {expected}, found {}", self.peek()))
    }

    fn problem(&self, message: impl Into<String>) -> Problem {
        Problem { column: self.tokens[self.at].0, message: message.into() }
    }
}

fn one_or(mut parts: Vec<Expression>, several: fn(Vec<Expression>) -> Expression) -> Expression {
    if parts.len() == 1 { parts.remove(0) } else { several(parts) }
}
