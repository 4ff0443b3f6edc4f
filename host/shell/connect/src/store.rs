//! Which connectors there are: a file for each, `DATA/connectors/NAME.json`, replaced as a whole.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::check_name;

/// A connector as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) config: Map<String, Value>,
    pub(crate) paused: bool,
}

/// The folder of connectors.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    folder: PathBuf,
}

impl Store {
    /// Opens the folder and reads what is there. A file that is none is an error: a connector that is silently
    /// gone is worse than a broker that does not start.
    pub(crate) fn open(folder: &Path) -> io::Result<(Store, BTreeMap<String, Kept>)> {
        std::fs::create_dir_all(folder)?;
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(name) = name.strip_suffix(".json").filter(|name| check_name(name).is_ok())
            else {
                continue;
            };
            let kept = serde_json::from_slice(&std::fs::read(&path)?).map_err(|error| {
                let problem = format!("{}: {error}", path.display());
                io::Error::new(io::ErrorKind::InvalidData, problem)
            })?;
            all.insert(name.to_owned(), kept);
        }
        Ok((Store { folder: folder.to_owned() }, all))
    }

    /// Keeps a connector; it is on the disk when this returns.
    pub(crate) fn put(&self, name: &str, kept: &Kept) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(kept)?;
        // A name never begins with a dot, so this is nobody's.
        let new = self.folder.join(format!(".{name}.new"));
        let mut file = std::fs::File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&new, self.path(name))?;
        self.sync()
    }

    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))?;
        self.sync()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    fn sync(&self) -> io::Result<()> {
        std::fs::File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_there_again_and_what_was_removed_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (store, all) = Store::open(folder.path()).unwrap();
        assert!(all.is_empty());
        let mut config = Map::new();
        config.insert("connector.class".to_owned(), "http".into());
        let kept = Kept { config, paused: true };
        store.put("a.b", &kept).unwrap();
        store.put("c", &Kept { paused: false, ..kept.clone() }).unwrap();
        store.remove("c").unwrap();
        let (_, all) = Store::open(folder.path()).unwrap();
        assert_eq!(all, [("a.b".to_owned(), kept)].into());
        std::fs::write(folder.path().join("d.json"), "{").unwrap();
        let error = Store::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("d.json"), "{error}");
    }
}
