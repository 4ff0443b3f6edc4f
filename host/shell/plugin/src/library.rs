//! The plugins that are installed: their bytes by digest, their names, versions and grants.
//!
//! On the disk: `plugins/store/DIGEST.wasm`, written once and never changed, and `plugins/index.json`, replaced
//! as a whole. Stock plugins come with the program and need no file.
//!
//! **Invariants.** What the index names is in the store, with just that digest. A name's current version is
//! among its versions.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use serde::{Deserialize, Serialize};
use wasmtime::component::Component;

use crate::engine::PluginEngine;
use crate::error::UseError;
use crate::grant::Grants;
use crate::journal::Journal;
use crate::manifest::{Inspected, Manifest, check_name, inspect};
use crate::metrics::{Custom, PluginMetrics};
use crate::signature::Trust;

/// Versions of one plugin that are kept for a rollback.
const VERSIONS_MAX: usize = 10;

/// A plugin that comes with the program.
#[derive(Clone, Copy)]
pub struct Stock {
    /// Its name.
    pub name: &'static str,
    /// The component.
    pub bytes: fn(&'static str) -> Vec<u8>,
}

impl std::fmt::Debug for Stock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stock").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One version of one plugin, ready to be compiled.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) digest: String,
    pub(crate) manifest: Manifest,
    pub(crate) metrics: PluginMetrics,
    source: Source,
    /// Protects its machine code, while anybody has it: who compiles or maps it first does it for all.
    loaded: Mutex<Weak<Component>>,
}

#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Stock(Stock),
}

impl Image {
    /// Its machine code. May take seconds.
    pub(crate) fn component(&self, engine: &PluginEngine) -> Result<Arc<Component>, String> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(component) = loaded.upgrade() {
            return Ok(component);
        }
        let component = match engine.cached(&self.digest) {
            Some(component) => component,
            None => self.compile(engine)?,
        };
        let component = Arc::new(component);
        *loaded = Arc::downgrade(&component);
        Ok(component)
    }

    fn compile(&self, engine: &PluginEngine) -> Result<Component, String> {
        let bytes = match &self.source {
            Source::File(path) => {
                std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?
            }
            Source::Stock(stock) => (stock.bytes)(stock.name),
        };
        if blake3::hash(&bytes).to_hex().as_str() != self.digest {
            return Err(format!("the stored component is not the one with digest {}", self.digest));
        }
        engine.compile(&self.digest, &bytes).map_err(|error| error.to_string())
    }
}

/// One version in the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Digest of the component.
    pub digest: String,
    /// Its size in bytes.
    pub bytes: usize,
    /// What it says about itself.
    pub manifest: Manifest,
    /// The key it is signed with, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// Whether it came with the program.
    #[serde(default)]
    pub stock: bool,
}

/// One name in the index.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Entry {
    /// In the order they were installed.
    versions: Vec<Version>,
    /// The digest in use; none for the stock plugin of that name.
    current: Option<String>,
    /// What was in use before, for a rollback: none if nothing was, some(none) for the stock plugin.
    #[serde(default)]
    previous: Option<Option<String>>,
    #[serde(default)]
    grants: Grants,
}

type Index = BTreeMap<String, Entry>;

/// What all uses of one plugin have in common: its journal and the metrics it makes itself.
type Common = (Arc<Journal>, Arc<Custom>);

/// All installed plugins.
#[derive(Debug)]
pub struct Library {
    folder: PathBuf,
    trust: Trust,
    metrics: PluginMetrics,
    stock: Vec<(Stock, OnceLock<Version>)>,
    /// Protects the index; held while it is read, changed and written.
    index: Mutex<Index>,
    /// Protects what is shared by all uses of a plugin.
    shared: Mutex<BTreeMap<String, Common>>,
    /// Protects the images that are in use.
    images: Mutex<BTreeMap<String, Arc<Image>>>,
}

/// One plugin, as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// The version in use.
    pub current: Version,
    /// Every version there is.
    pub versions: Vec<Version>,
    /// What it was granted.
    pub grants: Grants,
}

impl Library {
    /// Opens the folder, which is made if it is not there.
    pub fn open(
        folder: &Path,
        stock: &[Stock],
        trust: Trust,
        metrics: PluginMetrics,
    ) -> Result<Library, UseError> {
        let store = folder.join("store");
        std::fs::create_dir_all(&store)
            .map_err(UseError::io(format!("folder of plugins {}", store.display())))?;
        let path = folder.join("index.json");
        let index = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| UseError::Component(format!("{}: {error}", path.display())))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Index::new(),
            Err(error) => return Err(UseError::io(path.display())(error)),
        };
        Ok(Library {
            folder: folder.to_owned(),
            trust,
            metrics,
            stock: stock.iter().map(|stock| (*stock, OnceLock::new())).collect(),
            index: Mutex::new(index),
            shared: Mutex::default(),
            images: Mutex::default(),
        })
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stock(&self, name: &str) -> Option<(&Stock, &Version)> {
        let (stock, version) = self.stock.iter().find(|(stock, _)| stock.name == name)?;
        let version = version.get_or_init(|| {
            let inspected = inspect(&(stock.bytes)(stock.name));
            let inspected =
                inspected.expect("the build checks the plugins that come with the program");
            let mut version = version_of(inspected);
            version.stock = true;
            version
        });
        Some((stock, version))
    }

    /// The names of all plugins.
    pub fn names(&self) -> Vec<String> {
        let stock = self.stock.iter().map(|(stock, _)| stock.name.to_owned());
        let mut names: Vec<String> = self.index().keys().cloned().chain(stock).collect();
        names.sort();
        names.dedup();
        names
    }

    /// What is known of one plugin.
    pub fn get(&self, name: &str) -> Result<Installed, UseError> {
        let stock = self.stock(name).map(|(_, version)| version.clone());
        let entry = self.index().get(name).cloned().unwrap_or_default();
        let chosen = |digest: &String| entry.versions.iter().find(|it| it.digest == *digest);
        let current = match &entry.current {
            Some(digest) => chosen(digest).cloned(),
            None => stock.clone(),
        };
        let current = current.ok_or_else(|| UseError::Unknown(name.to_owned()))?;
        let versions = stock.into_iter().chain(entry.versions.iter().cloned()).collect();
        Ok(Installed { name: name.to_owned(), current, versions, grants: entry.grants })
    }

    /// Puts a component among the versions of a name, without using it yet.
    pub fn add(&self, bytes: &[u8], name: Option<&str>) -> Result<(String, Version), UseError> {
        let inspected = inspect(bytes)?;
        self.trust.check(inspected.signed)?;
        let name = name.unwrap_or(&inspected.manifest.name).to_owned();
        check_name(&name)?;
        let path = self.store_path(&inspected.digest);
        if !path.exists() {
            write(&path, bytes).map_err(UseError::io(path.display()))?;
        }
        let version = version_of(inspected);
        let mut index = self.index();
        let mut next = index.clone();
        let entry = next.entry(name.clone()).or_default();
        if !entry.versions.iter().any(|known| known.digest == version.digest) {
            entry.versions.push(version.clone());
        }
        while entry.versions.len() > VERSIONS_MAX {
            let in_use = |digest: &str| {
                entry.current.as_deref() == Some(digest)
                    || matches!(&entry.previous, Some(Some(previous)) if previous == digest)
                    || version.digest == digest
            };
            match entry.versions.iter().position(|old| !in_use(&old.digest)) {
                Some(oldest) => drop(entry.versions.remove(oldest)),
                None => break,
            }
        }
        self.save(&next)?;
        *index = next;
        Ok((name, version))
    }

    /// Makes a version the one in use. Who uses the plugin is not told here.
    pub(crate) fn select(&self, name: &str, digest: Option<&str>) -> Result<(), UseError> {
        self.change(name, |entry| {
            let digest = digest.map(str::to_owned);
            if entry.current != digest {
                let had_any = entry.current.is_some() || self.stock(name).is_some();
                entry.previous = had_any.then(|| entry.current.take());
            }
            entry.current = digest;
            Ok(())
        })
    }

    /// The digest that a rollback goes to; none for the stock plugin.
    pub(crate) fn previous(&self, name: &str) -> Result<Option<String>, UseError> {
        let previous = self.index().get(name).and_then(|entry| entry.previous.clone());
        previous.ok_or_else(|| UseError::Refused(format!("plugin {name:?} has no earlier version")))
    }

    /// Resolves what an operator calls a version: a digest, its beginning, or the version of a manifest.
    pub(crate) fn resolve(&self, name: &str, word: &str) -> Result<Version, UseError> {
        let installed = self.get(name)?;
        let fits = |it: &&Version| it.digest.starts_with(word) || it.manifest.version == word;
        // The newest of those that fit.
        let found = installed.versions.iter().rev().find(fits).cloned();
        found.ok_or_else(|| UseError::Refused(format!("plugin {name:?} has no version {word:?}")))
    }

    /// One version of a plugin, whether or not any is in use yet.
    fn version(&self, name: &str, digest: &str) -> Result<Version, UseError> {
        let stock = self.stock(name).map(|(_, version)| version.clone());
        let added = self.index().get(name).map(|entry| entry.versions.clone()).unwrap_or_default();
        let found = stock.into_iter().chain(added).find(|version| version.digest == digest);
        found.ok_or_else(|| UseError::Refused(format!("plugin {name:?} has no version {digest:?}")))
    }

    /// What a plugin was granted, if anything.
    pub(crate) fn grants(&self, name: &str) -> Grants {
        self.index().get(name).map(|entry| entry.grants.clone()).unwrap_or_default()
    }

    /// Replaces what a plugin was granted.
    pub fn grant(&self, name: &str, grants: Grants) -> Result<(), UseError> {
        self.get(name)?;
        self.change(name, |entry| {
            entry.grants = grants;
            Ok(())
        })
    }

    /// Forgets a plugin and its versions, and says which components are gone with it. A stock plugin of that
    /// name is what remains.
    pub(crate) fn remove(&self, name: &str) -> Result<Vec<String>, UseError> {
        let mut index = self.index();
        let mut next = index.clone();
        let Some(entry) = next.remove(name) else {
            let problem = match self.stock(name) {
                Some(_) => UseError::Refused(format!("plugin {name:?} comes with the program")),
                None => UseError::Unknown(name.to_owned()),
            };
            return Err(problem);
        };
        self.save(&next)?;
        *index = next;
        let mut gone = Vec::new();
        for version in entry.versions {
            let used = |entry: &Entry| entry.versions.iter().any(|it| it.digest == version.digest);
            if !index.values().any(used) {
                // What can't be removed is found again by its digest.
                drop(std::fs::remove_file(self.store_path(&version.digest)));
                gone.push(version.digest);
            }
        }
        Ok(gone)
    }

    fn change(
        &self,
        name: &str,
        change: impl FnOnce(&mut Entry) -> Result<(), UseError>,
    ) -> Result<(), UseError> {
        let mut index = self.index();
        let mut next = index.clone();
        change(next.entry(name.to_owned()).or_default())?;
        self.save(&next)?;
        *index = next;
        Ok(())
    }

    fn save(&self, index: &Index) -> Result<(), UseError> {
        let path = self.folder.join("index.json");
        let text = serde_json::to_vec_pretty(index).expect("an index is plain data");
        write(&path, &text).map_err(UseError::io(path.display()))
    }

    fn store_path(&self, digest: &str) -> PathBuf {
        self.folder.join("store").join(format!("{digest}.wasm"))
    }

    /// The folder that files are dropped into.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// One version of a plugin, to be run.
    pub(crate) fn image(&self, name: &str, digest: Option<&str>) -> Result<Arc<Image>, UseError> {
        let version = match digest {
            Some(digest) => self.version(name, digest)?,
            None => self.get(name)?.current,
        };
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.retain(|_, image| Arc::strong_count(image) > 1);
        if let Some(image) = images.get(&version.digest) {
            return Ok(Arc::clone(image));
        }
        let source = match self.stock(name) {
            Some((stock, stocked)) if stocked.digest == version.digest => Source::Stock(*stock),
            Some(_) | None => Source::File(self.store_path(&version.digest)),
        };
        let image = Arc::new(Image {
            digest: version.digest.clone(),
            manifest: version.manifest,
            metrics: self.metrics.clone(),
            source,
            loaded: Mutex::default(),
        });
        images.insert(version.digest, Arc::clone(&image));
        Ok(image)
    }

    /// What all uses of a plugin share: its journal and the metrics it makes itself.
    pub(crate) fn shared(&self, name: &str) -> Common {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || (Arc::new(Journal::new(name)), Arc::new(self.metrics.custom(name)));
        shared.entry(name.to_owned()).or_insert_with(made).clone()
    }

    /// The last lines of a plugin's log.
    pub fn journal(&self, name: &str) -> Result<Arc<Journal>, UseError> {
        self.get(name)?;
        Ok(self.shared(name).0)
    }
}

fn version_of(inspected: Inspected) -> Version {
    use crate::signature::{Signed, hex};
    let signed_by = match inspected.signed {
        Signed::By(key) => Some(hex(&key)),
        Signed::No => None,
    };
    Version {
        digest: inspected.digest,
        bytes: inspected.bytes,
        manifest: inspected.manifest,
        signed_by,
        stock: false,
    }
}

/// Writes a file whole, or not at all.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("tmp");
    let mut file = std::fs::File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    match path.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
