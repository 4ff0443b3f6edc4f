//! Passing over JSON: where a value ends, without making anything of it.
//!
//! serde_json can do the same, at four to five nanoseconds a byte within WebAssembly, where its way of
//! handing back each byte goes through memory. Most bytes of most records are only passed over, so this
//! is what a transform of JSON costs.
//!
//! **Invariants.** What is passed is JSON as RFC 8259 has it. What isn't, is handed to serde_json, whose
//! words an error has, and where.

use serde::de::Error as _;

/// Values within values of those that are entered: as many as serde_json has in a tree. What is passed may be deeper.
const DEPTH_MAX: u32 = 127;

/// The text is not JSON, or is nested too deeply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

type Passed<T = ()> = Result<T, Broken>;

/// A name as it is written, without its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'j> {
    pub(super) written: &'j str,
    pub(super) has_escapes: bool,
}

/// Goes through a text from its beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan<'j> {
    text: &'j str,
    rest: &'j [u8],
    depth: u32,
}

impl<'j> Scan<'j> {
    pub(super) fn new(text: &'j str) -> Scan<'j> {
        Scan { text, rest: text.as_bytes(), depth: 0 }
    }

    /// How much was passed.
    fn at(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    /// The next byte that is no space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.rest = spaces(self.rest);
        self.rest.first().copied()
    }

    /// Passes a byte if it is the next one.
    fn passes(&mut self, wanted: u8) -> bool {
        self.rest = spaces(self.rest);
        match self.rest {
            [byte, rest @ ..] if *byte == wanted => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, wanted: u8) -> Passed {
        if self.passes(wanted) { Ok(()) } else { Err(Broken) }
    }

    /// Passes what begins an object or an array.
    pub(super) fn enter(&mut self) -> Passed {
        self.rest = self.rest.get(1..).ok_or(Broken)?;
        self.depth += 1;
        if self.depth <= DEPTH_MAX { Ok(()) } else { Err(Broken) }
    }

    /// The name of the next member of the object that was entered, up to its value; none behind the last.
    pub(super) fn member(&mut self, is_first: bool) -> Passed<Option<Name<'j>>> {
        if self.passes(b'}') {
            self.depth -= 1;
            return Ok(None);
        }
        if !is_first {
            self.expect(b',')?;
        }
        self.expect(b'"')?;
        let start = self.at();
        let (rest, has_escapes) = string(self.rest)?;
        self.rest = rest;
        let written = self.text.get(start..self.at() - 1).ok_or(Broken)?;
        self.expect(b':')?;
        Ok(Some(Name { written, has_escapes }))
    }

    /// Whether there is another item in the array that was entered.
    pub(super) fn item(&mut self, is_first: bool) -> Passed<bool> {
        if self.passes(b']') {
            self.depth -= 1;
            return Ok(false);
        }
        if !is_first {
            self.expect(b',')?;
        }
        Ok(true)
    }

    /// Passes a value and says how it is written.
    pub(super) fn value(&mut self) -> Passed<&'j str> {
        self.peek();
        let start = self.at();
        self.pass()?;
        self.text.get(start..self.at()).ok_or(Broken)
    }

    /// Passes a value, however deep.
    pub(super) fn pass(&mut self) -> Passed {
        self.rest = value(self.rest)?;
        Ok(())
    }

    /// Nothing follows.
    pub(super) fn end(&mut self) -> Passed {
        if self.peek().is_none() { Ok(()) } else { Err(Broken) }
    }
}

/// What follows a value, however deep others are nested in it. The text is handed from one function to the
/// next instead of a position in it: then there is no bound to check, and nothing that could overflow.
fn value(mut rest: &[u8]) -> Passed<&[u8]> {
    let mut open = Open::default();
    loop {
        rest = match *spaces(rest) {
            [b'"', ref behind @ ..] => string(behind)?.0,
            [b'-', ref behind @ ..] => number(behind)?,
            ref whole @ [b'0'..=b'9', ..] => number(whole)?,
            [b't', b'r', b'u', b'e', ref behind @ ..] => behind,
            [b'f', b'a', b'l', b's', b'e', ref behind @ ..] => behind,
            [b'n', b'u', b'l', b'l', ref behind @ ..] => behind,
            [first @ (b'{' | b'['), ref inner @ ..] => {
                let is_object = first == b'{';
                match (spaces(inner), is_object) {
                    ([b'}', behind @ ..], true) | ([b']', behind @ ..], false) => behind,
                    (inner, _) => {
                        open.enter(is_object);
                        rest = if is_object { name(inner)? } else { inner };
                        continue;
                    }
                }
            }
            _ => return Err(Broken),
        };
        // Behind a value: the next one, or the end of what it is in.
        loop {
            let Some(is_object) = open.is_object() else { return Ok(rest) };
            match (spaces(rest), is_object) {
                ([b',', behind @ ..], true) => {
                    rest = name(spaces(behind))?;
                    break;
                }
                ([b',', behind @ ..], false) => {
                    rest = behind;
                    break;
                }
                ([b'}', behind @ ..], true) | ([b']', behind @ ..], false) => {
                    rest = behind;
                    open.leave();
                }
                _ => return Err(Broken),
            }
        }
    }
}

/// The objects and arrays that a place is in.
#[derive(Default)]
struct Open {
    depth: usize,
    /// One bit for each of the innermost: whether it is an object.
    objects: u64,
    /// The bits of those further out, full words of them.
    outer: Vec<u64>,
}

impl Open {
    #[inline]
    fn is_object(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.objects & 1 == 1)
    }

    #[inline]
    fn enter(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.objects);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u64::from(is_object);
    }

    #[inline]
    fn leave(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.objects = self.outer.pop().unwrap_or_default();
        }
    }
}

#[inline]
fn spaces(mut rest: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', behind @ ..] = rest {
        rest = behind;
    }
    rest
}

/// A name and the colon behind it.
fn name(rest: &[u8]) -> Passed<&[u8]> {
    let [b'"', rest @ ..] = rest else { return Err(Broken) };
    match spaces(string(rest)?.0) {
        [b':', behind @ ..] => Ok(behind),
        _ => Err(Broken),
    }
}

/// A number without its sign.
#[inline]
fn number(rest: &[u8]) -> Passed<&[u8]> {
    let rest = match rest {
        [b'0', behind @ ..] => behind,
        _ => digits(rest)?,
    };
    let rest = match rest {
        [b'.', behind @ ..] => digits(behind)?,
        _ => rest,
    };
    match rest {
        [b'e' | b'E', b'+' | b'-', behind @ ..] | [b'e' | b'E', behind @ ..] => digits(behind),
        _ => Ok(rest),
    }
}

/// One digit or more. Within WebAssembly each round of a loop costs a look at the time that is left, so that there is
/// one only for numbers of more than eight.
#[inline]
fn digits(rest: &[u8]) -> Passed<&[u8]> {
    let [b'0'..=b'9', ..] = rest else { return Err(Broken) };
    let mut rest = rest;
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        let ends = no_digit(u64::from_le_bytes(*eight));
        if ends != 0 {
            return rest.get(ends.trailing_zeros() as usize / 8..).ok_or(Broken);
        }
        rest = behind;
    }
    while let [b'0'..=b'9', behind @ ..] = rest {
        rest = behind;
    }
    Ok(rest)
}

/// The rest of a string behind its first quote, and whether something in it is escaped.
#[inline]
fn string(mut rest: &[u8]) -> Passed<(&[u8], bool)> {
    let mut has_escapes = false;
    loop {
        while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
            let ends = special(u64::from_le_bytes(*eight));
            if ends != 0 {
                rest = rest.get(ends.trailing_zeros() as usize / 8..).ok_or(Broken)?;
                break;
            }
            rest = behind;
        }
        match *rest {
            [b'"', ref behind @ ..] => return Ok((behind, has_escapes)),
            [b'\\', ref escaped @ ..] => {
                rest = escape(escaped)?;
                has_escapes = true;
            }
            // One of the last seven of the text.
            [0x20..=0xff, ref behind @ ..] => rest = behind,
            _ => return Err(Broken),
        }
    }
}

fn escape(rest: &[u8]) -> Passed<&[u8]> {
    match rest {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', behind @ ..] => Ok(behind),
        [b'u', behind @ ..] => match behind.split_first_chunk::<4>() {
            Some((hex, behind)) if hex.iter().all(u8::is_ascii_hexdigit) => Ok(behind),
            _ => Err(Broken),
        },
        _ => Err(Broken),
    }
}

/// One in each byte of a word.
const ONES: u64 = 0x0101_0101_0101_0101;

/// The lowest bit that is set belongs to the first byte that is no digit. (A carry may set more, but only behind it.)
fn no_digit(word: u64) -> u64 {
    let value = word ^ (ONES * u64::from(b'0'));
    (value | value.wrapping_add(ONES * 0x76)) & (ONES << 7)
}

/// The lowest bit that is set belongs to the first byte that is a quote, a backslash or a control character. (The
/// borrow of a subtraction may set more, but only behind a byte that is one.)
fn special(word: u64) -> u64 {
    let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | is(b'"') | is(b'\\')) & (ONES << 7)
}

/// What serde_json says of a text that is broken.
pub(super) fn error(text: &str) -> serde_json::Error {
    let read = serde_json::from_str::<serde_json::Value>(text);
    read.err().unwrap_or_else(|| serde_json::Error::custom("not JSON"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn passes(text: &str) -> bool {
        let mut scan = Scan::new(text);
        scan.pass().and_then(|()| scan.end()).is_ok()
    }

    const GOOD: &[&str] = &[
        "0",
        "-0",
        "10",
        "-1.5",
        "1e5",
        "1E-5",
        "0.0e+1",
        "true",
        " null ",
        "\"\"",
        "\"12345678\"",
        "\"1234567\\\"\"",
        "\"\\u00e9\\n\\/\"",
        "\"ü€𝄞\"",
        "[]",
        "{}",
        "[[],{}]",
        "[ 1 , 2 ]",
        r#"{"a":{"b":[1,{"c":[]}]},"d":false}"#,
        "\n{\t\"a\"\r:\n1 }",
    ];

    const BAD: &[&str] = &[
        "",
        " ",
        "00",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "tru",
        "truee",
        "nul",
        "\"",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\u{1}\"",
        "\"12345678\n\"",
        "[",
        "]",
        "[1",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "{",
        "}",
        "{1:2}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1]",
        "[{]}",
        "{\"a\" 1}",
        "1 2",
        "{} x",
        "NaN",
        "'a'",
    ];

    #[test]
    fn what_is_json_passes_and_nothing_else() {
        for text in GOOD {
            assert!(passes(text), "{text:?}");
            assert!(serde_json::from_str::<IgnoredAny>(text).is_ok(), "{text:?}");
        }
        for text in BAD {
            assert!(!passes(text), "{text:?}");
            assert!(serde_json::from_str::<IgnoredAny>(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_passed_may_be_deep_and_what_is_entered_as_a_tree_may_be() {
        for depth in [1, 63, 64, 65, 127, 128, 129, 1000] {
            for (first, last) in [("[", "]"), (r#"{"a":"#, "}"), (r#"[{"a":"#, "}]")] {
                let text = first.repeat(depth) + "[0]" + &last.repeat(depth);
                assert!(passes(&text), "{first} {depth}");
                assert!(!passes(&text[..text.len() - 1]), "{first} {depth}");
                assert!(!passes(&format!("{}}}", &text[..text.len() - 1])) || last == "}");
            }
        }
        let enter = |depth: usize| {
            let text = "[".repeat(depth);
            let mut scan = Scan::new(&text);
            (0..depth).try_for_each(|_| scan.enter()).is_ok()
        };
        assert!(enter(127) && !enter(128));
        let deep = "[".repeat(128) + &"]".repeat(128);
        assert!(error(&deep).to_string().contains("recursion limit"));
        assert_eq!(error("[1,]").to_string(), "trailing comma at line 1 column 4");
    }

    #[test]
    fn the_first_byte_of_eight_that_ends_something_is_found() {
        for (index, byte) in (0..8).flat_map(|index| (0..=u8::MAX).map(move |byte| (index, byte))) {
            let found = |filled: u8, behind: u8, find: fn(u64) -> u64| {
                let mut eight = [filled; 8];
                eight[index] = byte;
                eight[index + 1..].fill(behind);
                find(u64::from_le_bytes(eight)).trailing_zeros() as usize / 8
            };
            let expected = |is_end: bool| if is_end { index } else { index + 1 };
            let is_special = byte < 0x20 || byte == b'"' || byte == b'\\';
            assert_eq!(found(b'x', b'"', special), expected(is_special), "{byte} at {index}");
            let is_end = !byte.is_ascii_digit();
            assert_eq!(found(b'9', b',', no_digit), expected(is_end), "{byte} at {index}");
        }
    }

    /// Texts that are JSON, and others that nearly are.
    fn text() -> impl Strategy<Value = String> {
        let token = prop_oneof![
            Just("{"),
            Just("}"),
            Just("["),
            Just("]"),
            Just(","),
            Just(":"),
            Just("\"a\""),
            Just("\"\\u00"),
            Just("\""),
            Just("\\"),
            Just("0"),
            Just("17"),
            Just("123456789"),
            Just("-"),
            Just("."),
            Just("e"),
            Just("true"),
            Just("null"),
            Just(" "),
            Just("ü"),
            Just("\u{1f}"),
            Just("\"b\":"),
        ];
        proptest::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn what_passes_is_what_serde_json_reads(text in text()) {
            prop_assert_eq!(passes(&text), serde_json::from_str::<IgnoredAny>(&text).is_ok());
        }
    }
}
