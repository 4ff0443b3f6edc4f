//! An expression as a row of tokens, each with the place where it begins.

use std::fmt;

/// What is wrong with an expression, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The character at which it shows, counted from 1.
    pub(crate) column: usize,
    pub(crate) message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "character {}: {}", self.column, self.message)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// A name or a dotted path, `\.` within a name kept as it is.
    Word(String),
    Text(String),
    Whole(i64),
    Number(f64),
    /// One of [`SYMBOLS`].
    Symbol(&'static str),
    End,
}

/// Longest first: `<=` is not `<` and `=`.
const SYMBOLS: [&str; 15] =
    ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "=", "!", "(", ")", "[", "]", ","];

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Word(word) => write!(f, "{word:?}"),
            Token::Text(text) => write!(f, "the text {text:?}"),
            Token::Whole(number) => write!(f, "the number {number}"),
            Token::Number(number) => write!(f, "the number {number}"),
            Token::Symbol(symbol) => write!(f, "{symbol:?}"),
            Token::End => f.write_str("the end"),
        }
    }
}

/// Cuts an expression into tokens; the last one is [`Token::End`].
pub(crate) fn tokens(expression: &str) -> Result<Vec<(usize, Token)>, Problem> {
    let characters: Vec<char> = expression.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let rest = &characters[at..];
        let first = rest[0];
        let (token, length) = if first.is_whitespace() {
            at += 1;
            continue;
        } else if first == '\'' || first == '"' {
            text(rest, at)?
        } else if first.is_ascii_digit()
            || (first == '-' && rest.get(1).is_some_and(char::is_ascii_digit))
        {
            number(rest, at)?
        } else if starts_word(first) {
            word(rest)
        } else {
            symbol(rest, at)?
        };
        tokens.push((at + 1, token));
        at += length;
    }
    tokens.push((characters.len() + 1, Token::End));
    Ok(tokens)
}

fn starts_word(character: char) -> bool {
    character.is_alphabetic() || matches!(character, '_' | '$' | '@')
}

fn word(rest: &[char]) -> (Token, usize) {
    let mut word = String::new();
    let mut escaped = false;
    for character in rest {
        let goes_on = escaped || starts_word(*character) || character.is_numeric();
        if !goes_on && !matches!(character, '.' | '-' | '\\') {
            break;
        }
        escaped = !escaped && *character == '\\';
        word.push(*character);
    }
    let length = word.chars().count();
    (Token::Word(word), length)
}

fn text(rest: &[char], at: usize) -> Result<(Token, usize), Problem> {
    let quote = rest[0];
    let mut text = String::new();
    let mut index = 1;
    while let Some(character) = rest.get(index) {
        if *character == quote {
            return Ok((Token::Text(text), index + 1));
        }
        if *character == '\\' {
            index += 1;
            match rest.get(index) {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some(plain @ ('\\' | '\'' | '"')) => text.push(*plain),
                _ => {
                    let message = r#"\ is followed by n, t, ', " or \"#.to_owned();
                    return Err(Problem { column: at + index, message });
                }
            }
        } else {
            text.push(*character);
        }
        index += 1;
    }
    Err(Problem { column: at + 1, message: "this text has no end".to_owned() })
}

fn number(rest: &[char], at: usize) -> Result<(Token, usize), Problem> {
    let belongs = |(index, character): &(usize, &char)| {
        let after_e = *index > 0 && matches!(rest[index - 1], 'e' | 'E');
        character.is_alphanumeric()
            || **character == '.'
            || (matches!(character, '-' | '+') && (*index == 0 || after_e))
    };
    let digits: String = rest.iter().enumerate().take_while(belongs).map(|(_, c)| *c).collect();
    let length = digits.chars().count();
    // Whole numbers stay what they are: ids beyond 2^53 differ although their nearest floating-point
    // numbers do not.
    let whole = digits.parse().map(Token::Whole);
    match whole.or_else(|_| digits.parse().map(Token::Number)) {
        Ok(number) => Ok((number, length)),
        Err(_) => Err(Problem { column: at + 1, message: format!("{digits:?} is not a number") }),
    }
}

fn symbol(rest: &[char], at: usize) -> Result<(Token, usize), Problem> {
    let stands_here = |symbol: &&str| symbol.chars().eq(rest.iter().copied().take(symbol.len()));
    match SYMBOLS.iter().find(|symbol| stands_here(symbol)) {
        Some(symbol) => Ok((Token::Symbol(symbol), symbol.len())),
        None => {
            Err(Problem { column: at + 1, message: format!("{:?} has no meaning here", rest[0]) })
        }
    }
}
