//! Fields of JSON texts, found without building a tree and without copying what is not looked at.
//!
//! A path is dotted: `passenger.name`; a dot within a name is written `\.`, a backslash `\\`. A field
//! that stands there twice is found twice, so that nothing hides behind its own double.

mod scan;

use std::borrow::Cow;

use scan::{Broken, Name, Scan};

/// A set of paths to look for.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    root: Node,
    through_arrays: bool,
}

/// What is wrong with a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing before, between or behind the dots.
    #[error("the path {0:?} has an empty name in it")]
    Empty(String),
    /// A backslash before something other than a dot or a backslash.
    #[error(
        "in the path {0:?} a backslash stands before something other than a dot or a backslash"
    )]
    Escape(String),
    /// The same path was given before.
    #[error("the path {0:?} is given twice")]
    Twice(String),
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// The index of the path that ends here.
    found: Option<usize>,
    children: Vec<(String, Node)>,
}

impl Paths {
    /// The paths in their order; what is found is named by its index.
    pub fn new<P: AsRef<str>>(paths: impl IntoIterator<Item = P>) -> Result<Paths, PathError> {
        let mut root = Node::default();
        for (index, path) in paths.into_iter().enumerate() {
            let mut node = &mut root;
            for name in split(path.as_ref())? {
                let known = node.children.iter().position(|(child, _)| *child == name);
                let at = known.unwrap_or_else(|| {
                    node.children.push((name, Node::default()));
                    node.children.len() - 1
                });
                node = &mut node.children[at].1;
            }
            if node.found.replace(index).is_some() {
                return Err(PathError::Twice(path.as_ref().to_owned()));
            }
        }
        Ok(Paths { root, through_arrays: false })
    }

    /// Has a path go on in each element where it meets an array.
    #[must_use]
    pub fn through_arrays(mut self) -> Paths {
        self.through_arrays = true;
        self
    }

    /// Calls `found` with the index of each path and the text of what it leads to, in the order of
    /// the text; `a` before `a.b`. The error says where the text is not JSON.
    pub fn find<'j>(
        &self,
        json: &'j [u8],
        mut found: impl FnMut(usize, &'j str),
    ) -> Result<(), serde_json::Error> {
        let text = std::str::from_utf8(json).map_err(serde::de::Error::custom)?;
        let mut scan = Scan::new(text);
        let walked = self.walk(&mut scan, &self.root, &mut found).and_then(|()| scan.end());
        walked.map_err(|Broken| scan::error(text))
    }

    fn walk<'j>(
        &self,
        scan: &mut Scan<'j>,
        node: &Node,
        found: &mut dyn FnMut(usize, &'j str),
    ) -> Result<(), Broken> {
        match scan.peek() {
            Some(b'{') => self.walk_members(scan, node, found),
            Some(b'[') if self.through_arrays => {
                scan.enter()?;
                let mut is_first = true;
                while scan.item(is_first)? {
                    is_first = false;
                    self.walk(scan, node, found)?;
                }
                Ok(())
            }
            _ => scan.pass(),
        }
    }

    fn walk_members<'j>(
        &self,
        scan: &mut Scan<'j>,
        node: &Node,
        found: &mut dyn FnMut(usize, &'j str),
    ) -> Result<(), Broken> {
        scan.enter()?;
        let mut is_first = true;
        while let Some(name) = scan.member(is_first)? {
            is_first = false;
            let Some(child) = node.child(name)? else {
                scan.pass()?;
                continue;
            };
            if let Some(index) = child.found {
                let mut below = *scan;
                found(index, scan.value()?);
                if !child.children.is_empty() {
                    self.walk(&mut below, child, found)?;
                }
            } else {
                self.walk(scan, child, found)?;
            }
        }
        Ok(())
    }
}

impl Node {
    /// The child of a name. Names are compared as they are meant, not as they are written: `"na\u006de"` is
    /// `name`.
    fn child(&self, name: Name<'_>) -> Result<Option<&Node>, Broken> {
        let name = meant(name)?;
        let child = self.children.iter().find(|(child, _)| *child == name);
        Ok(child.map(|(_, node)| node))
    }
}

/// A name without its escapes.
fn meant(name: Name<'_>) -> Result<Cow<'_, str>, Broken> {
    let Name { written, has_escapes } = name;
    if !has_escapes {
        return Ok(Cow::Borrowed(written));
    }
    serde_json::from_str(&format!("\"{written}\"")).map(Cow::Owned).map_err(|_| Broken)
}

/// Where a text that was [found](Paths::find) stands in the text it was found in.
pub fn position(json: &[u8], found: &str) -> std::ops::Range<usize> {
    let start = (found.as_ptr() as usize).checked_sub(json.as_ptr() as usize);
    let start = start.expect("it was found in this text");
    assert!(start + found.len() <= json.len(), "it was found in this text");
    start..start + found.len()
}

/// The whole member of an object whose value was found: from behind the brace or comma before its name up to the
/// comma or brace behind its value. Taken out together with one of its commas, it leaves JSON.
pub fn member(json: &[u8], found: &str) -> std::ops::Range<usize> {
    let value = position(json, found);
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let before = json[..value.start].trim_ascii_end();
    let name_end = before.strip_suffix(b":").expect("a member has a colon").trim_ascii_end().len();
    // Within the name no quote stands without a backslash before it, and before the name no backslash.
    let mut name_start = name_end - 1;
    loop {
        name_start -= 1;
        if json[name_start] == b'"' && json[name_start - 1] != b'\\' {
            break;
        }
    }
    let spaces_before = json[..name_start].iter().rev().take_while(|byte| is_space(byte)).count();
    let spaces_behind = json[value.end..].iter().take_while(|byte| is_space(byte)).count();
    name_start - spaces_before..value.end + spaces_behind
}

/// Calls `each` with the name of each member of an object and the text of its value. False, without a
/// call, if the text is no object.
pub fn members<'j>(
    text: &'j str,
    mut each: impl FnMut(&str, &'j str),
) -> Result<bool, serde_json::Error> {
    let mut scan = Scan::new(text);
    if scan.peek() != Some(b'{') {
        return Ok(false);
    }
    let mut read = || {
        scan.enter()?;
        let mut is_first = true;
        while let Some(name) = scan.member(is_first)? {
            is_first = false;
            each(&meant(name)?, scan.value()?);
        }
        scan.end()
    };
    read().map(|()| true).map_err(|Broken| scan::error(text))
}

/// Calls `each` with the text of each item of an array. False, without a call, if the text is none.
pub fn items<'j>(text: &'j str, mut each: impl FnMut(&'j str)) -> Result<bool, serde_json::Error> {
    let mut scan = Scan::new(text);
    if scan.peek() != Some(b'[') {
        return Ok(false);
    }
    let mut read = || {
        scan.enter()?;
        let mut is_first = true;
        while scan.item(is_first)? {
            is_first = false;
            each(scan.value()?);
        }
        scan.end()
    };
    read().map(|()| true).map_err(|Broken| scan::error(text))
}

/// The names of a path.
pub fn split(path: &str) -> Result<Vec<String>, PathError> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '.' => names.push(std::mem::take(&mut name)),
            '\\' => match characters.next() {
                Some(plain @ ('.' | '\\')) => name.push(plain),
                _ => return Err(PathError::Escape(path.to_owned())),
            },
            plain => name.push(plain),
        }
    }
    names.push(name);
    if names.iter().any(String::is_empty) {
        return Err(PathError::Empty(path.to_owned()));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(paths: &[&str], arrays: bool, json: &str) -> Result<Vec<(usize, String)>, String> {
        let mut paths = Paths::new(paths).map_err(|error| error.to_string())?;
        paths.through_arrays = arrays;
        let mut all = Vec::new();
        let outcome = paths.find(json.as_bytes(), |index, text| {
            assert_eq!(&json[position(json.as_bytes(), text)], text);
            all.push((index, text.to_owned()));
        });
        outcome.map(|()| all).map_err(|error| error.to_string())
    }

    #[test]
    fn fields_are_found_where_they_stand() {
        /// Paths, whether they go through arrays, the text, and what is found: by which path, and what.
        type Row<'a> = (&'a [&'a str], bool, &'a str, &'a [(usize, &'a str)]);
        let table: &[Row<'_>] = &[
            (&["a"], false, r#"{"b": 1, "a": [1, 2] }"#, &[(0, "[1, 2]")]),
            (
                &["a.b", "a.c"],
                false,
                r#"{"a":{"c":"x","d":0,"b":null}}"#,
                &[(1, "\"x\""), (0, "null")],
            ),
            (&["a", "a.b"], false, r#"{"a":{"b":1}}"#, &[(0, r#"{"b":1}"#), (1, "1")]),
            (&["a"], false, r#"{"a":1,"a":2}"#, &[(0, "1"), (0, "2")]),
            (&["a"], false, r#"{"\u0061":1}"#, &[(0, "1")]),
            (&[r"a\.b"], false, r#"{"a.b":1,"a":{"b":2}}"#, &[(0, "1")]),
            (&["a.b"], false, r#"{"a":[{"b":1}]}"#, &[]),
            (&["a.b"], true, r#"{"a":[{"b":1},2,[{"b":3}]]}"#, &[(0, "1"), (0, "3")]),
            (&["a.b"], false, r#"{"a":"text\n"}"#, &[]),
            (&["a"], true, r#"[{"a":1},{"a":2}]"#, &[(0, "1"), (0, "2")]),
            (&["a"], true, "17.5", &[]),
        ];
        for (paths, arrays, json, expected) in table {
            let expected = expected.iter().map(|(index, text)| (*index, (*text).to_owned()));
            assert_eq!(found(paths, *arrays, json), Ok(expected.collect()), "{paths:?} in {json}");
        }
    }

    #[test]
    fn what_is_not_json_is_an_error_wherever_it_stands() {
        let lone = r#"{"\ud800":1}"#;
        for json in
            ["", "{", r#"{"b":tru}"#, r#"{"a":1}x"#, r#"{"b":"\x"}"#, "{\"a\":\"\u{1}\"}", lone]
        {
            assert!(found(&["a"], true, json).is_err(), "{json:?}");
        }
        let paths = Paths::new(["a"]).unwrap();
        assert!(paths.find(b"{\"b\":\"\xff\"}", |_, _| {}).is_err());
    }

    #[test]
    fn a_member_is_found_with_what_surrounds_it() {
        for (json, expected) in [
            (r#"{"a":1}"#, r#""a":1"#),
            ("{ \"b\" : [] ,\n\t\"a\" : {\"a\": 2}\r\n}", "\n\t\"a\" : {\"a\": 2}\r\n"),
            (r#"{"x":"y\\", "a\"" :"z" ,"b":0}"#, r#" "a\"" :"z" "#),
            (r#"{"\\":1}"#, r#""\\":1"#),
        ] {
            let mut last = None;
            let named = |name: &str| name.starts_with('a') || name == "\\";
            members(json, |name, value| {
                if named(name) {
                    last = Some(value);
                }
            })
            .unwrap();
            assert_eq!(&json[member(json.as_bytes(), last.unwrap())], expected, "{json}");
        }
    }

    #[test]
    fn members_and_items_come_in_their_order() {
        let mut seen = Vec::new();
        let members = members(r#" {"b": [1 ],"\u0061":"x"}"#, |name, text| {
            seen.push(format!("{name}={text}"));
        });
        assert!(members.unwrap());
        assert_eq!(seen, ["b=[1 ]", "a=\"x\""]);
        let mut seen = Vec::new();
        assert!(items("[1, {} ,[2]]", |text| seen.push(text)).unwrap());
        assert_eq!(seen, ["1", "{}", "[2]"]);
        assert!(!super::members("[1]", |_, _| {}).unwrap() && !items("{}", |_| {}).unwrap());
        assert!(super::members("{} x", |_, _| {}).is_err() && items("[1,]", |_| {}).is_err());
    }

    #[test]
    fn paths_are_checked() {
        for path in ["", ".", "a..b", "a.", ".a", r"a\b", r"a\"] {
            assert!(Paths::new([path]).is_err(), "{path:?}");
        }
        assert_eq!(Paths::new(["a.b", "a.b"]).unwrap_err(), PathError::Twice("a.b".to_owned()));
    }
}
