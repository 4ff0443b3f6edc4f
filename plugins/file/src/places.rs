//! Which files there are, which are which, and how far each was read.
//!
//! A file is known by its identity, not by its name: a log that is renamed stays the same file, one that is
//! made anew under the old name is another.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use brooklet::{Error, files, task};

/// How far each file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Bytes read, by identity in hexadecimal digits.
    pub(crate) files: BTreeMap<String, u64>,
}

/// The files that the configuration names.
#[derive(Debug)]
pub(crate) struct Places {
    path: PathBuf,
    /// Of the names in a directory; none for a single file.
    pattern: Option<String>,
    quiet: Duration,
    pub(crate) position: Position,
    /// What was seen of each file.
    seen: BTreeMap<String, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    size: u64,
    /// Since when it has had that size.
    since: Duration,
    /// It ends in a record without an end: there is nothing to read until it grows or is quiet.
    waits: bool,
}

/// A file to read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) id: String,
    pub(crate) offset: u64,
    /// Nothing will be added: what has no end is whole.
    pub(crate) is_end: bool,
}

impl Places {
    pub(crate) fn new(path: PathBuf, pattern: String, quiet: Duration) -> Places {
        let pattern = path.is_dir().then_some(pattern);
        Places { path, pattern, quiet, position: Position::default(), seen: BTreeMap::new() }
    }

    pub(crate) fn start(&mut self, position: Position) {
        self.position = position;
        self.seen.clear();
    }

    /// The next file with something to read, in the order in which they are to be read.
    pub(crate) fn next(&mut self) -> Result<Option<Place>, Error> {
        let files = self.list()?;
        let now = task::now();
        let mut next = None;
        for (path, is_rotated) in &files {
            // Gone or renamed since it was listed: the next look will tell.
            let Ok((id, size)) = look(path) else { continue };
            let new = Seen { size, since: now, waits: false };
            let seen = self.seen.entry(id.clone()).or_insert(new);
            if seen.size != size {
                *seen = new;
            }
            let is_quiet = now.saturating_sub(seen.since) >= self.quiet;
            let is_end = is_quiet || *is_rotated;
            let is_due = !seen.waits || is_end;
            let offset = self.position.files.entry(id.clone()).or_insert(0);
            if size < *offset {
                brooklet::warn!(file = path.display(), "cut from {} to {size} bytes", *offset);
                *offset = 0;
            }
            if size > *offset && is_due && next.is_none() {
                next = Some(Place { path: path.clone(), id, offset: *offset, is_end });
            } else if size == *offset && *is_rotated && is_quiet {
                // Read to its end, and nobody writes to it any more.
                self.position.files.remove(&id);
            }
        }
        Ok(next)
    }

    /// A file was read up to there.
    pub(crate) fn read_to(&mut self, id: &str, offset: u64) {
        self.position.files.insert(id.to_owned(), offset);
    }

    /// A file ends in a record that has no end yet.
    pub(crate) fn wait_for_more(&mut self, id: &str) {
        if let Some(seen) = self.seen.get_mut(id) {
            seen.waits = true;
        }
    }

    /// What could be read, with whether it was rotated away from its name.
    fn list(&mut self) -> Result<Vec<(PathBuf, bool)>, Error> {
        let Some(pattern) = self.pattern.clone() else { return Ok(self.one_and_its_past()) };
        let mut files = Vec::new();
        for (name, path) in entries(&self.path).map_err(|error| self.unreadable(&error))? {
            if fits(&pattern, &name) {
                files.push((path, false));
            }
        }
        files.sort();
        self.forget_all_but(&files);
        Ok(files)
    }

    /// A single file, after those that had its name before and were not read to their end.
    fn one_and_its_past(&mut self) -> Vec<(PathBuf, bool)> {
        let current = look(&self.path).ok().map(|(id, _)| id);
        let others = self.position.files.keys().filter(|id| Some(*id) != current.as_ref());
        let others: Vec<String> = others.cloned().collect();
        let mut files = Vec::new();
        if !others.is_empty() {
            let folder = self.path.parent().unwrap_or(Path::new("/"));
            // A folder that can't be listed has no past to offer; the file itself may be readable.
            for (_, path) in entries(folder).unwrap_or_default() {
                if look(&path).is_ok_and(|(id, _)| others.contains(&id)) {
                    files.push((path, true));
                }
            }
            // Older ones have higher numbers by custom: `log.2` before `log.1`.
            files.sort_by(|(left, _), (right, _)| right.cmp(left));
        }
        if current.is_some() {
            files.push((self.path.clone(), false));
            self.forget_all_but(&files);
        }
        files
    }

    /// Files that are gone need not be remembered.
    fn forget_all_but(&mut self, files: &[(PathBuf, bool)]) {
        let there: Vec<String> =
            files.iter().filter_map(|(path, _)| look(path).ok()).map(|(id, _)| id).collect();
        self.position.files.retain(|id, _| there.contains(id));
        self.seen.retain(|id, _| there.contains(id));
    }

    fn unreadable(&self, error: &io::Error) -> Error {
        let problem = format!("{}: {error}", self.path.display());
        match error.kind() {
            io::ErrorKind::PermissionDenied => Error::Denied(problem),
            _ => Error::retriable(problem),
        }
    }
}

/// Identity and size of a file. A directory has none.
pub(crate) fn look(path: &Path) -> io::Result<(String, u64)> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    Ok((format!("{:x}", files::identity(path)?), metadata.len()))
}

fn entries(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            entries.push((name, entry.path()));
        }
    }
    Ok(entries)
}

/// Whether a name fits a pattern in which `*` stands for anything. Hidden files fit only patterns that
/// begin with a dot, as in a shell.
fn fits(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns() {
        let table = [
            ("*", "a.csv", true),
            ("*", ".hidden", false),
            (".*", ".hidden", true),
            ("*.csv", "a.csv", true),
            ("*.csv", "a.csv.gz", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXcYb", false),
            ("a", "ab", false),
            ("a*a", "a", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
