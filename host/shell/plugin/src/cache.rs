//! Compiled plugins on the disk, so that a component is compiled once per machine.
//!
//! A file is machine code and is trusted as such: the folder is private to the broker's user, the file's own
//! digest stands beside it and is compared before it is used, and the name carries the component's digest and
//! a fingerprint of the engine, its settings and the processor.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::UseError;

/// Only the owner reads, writes and enters.
const PRIVATE_FOLDER: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

/// A private folder of compiled components.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Makes the folder if it is not there, and makes it private if it was not.
    pub(crate) fn open(folder: &Path) -> Result<Cache, UseError> {
        let what = || format!("folder of compiled plugins {}", folder.display());
        let made = std::fs::DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(folder);
        made.map_err(UseError::io(what()))?;
        let private = std::fs::Permissions::from_mode(PRIVATE_FOLDER);
        std::fs::set_permissions(folder, private).map_err(UseError::io(what()))?;
        Ok(Cache { folder: folder.to_owned() })
    }

    fn path(&self, engine: &Engine, digest: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.folder.join(format!("{digest}-{:016x}.cwasm", hasher.finish()))
    }

    /// A component that was compiled before. None if there is none, or if its bytes are not what was written.
    pub(crate) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(engine, digest);
        let expected = std::fs::read_to_string(beside(&path)).ok()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(std::fs::File::open(&path).ok()?).ok()?;
        if hasher.finalize().to_hex().as_str() != expected.trim() {
            tracing::warn!(path = %path.display(), "compiled plugin is damaged, compiling it again");
            return None;
        }
        load_trusted(engine, &path)
    }

    /// Keeps a compiled component. That it could not be kept costs a compilation later and nothing else.
    pub(crate) fn store(&self, engine: &Engine, digest: &str, code: &[u8]) {
        let path = self.path(engine, digest);
        let sum = blake3::hash(code).to_hex();
        let written = write(&path, code).and_then(|()| write(&beside(&path), sum.as_bytes()));
        if let Err(error) = written {
            tracing::warn!(%error, path = %path.display(), "compiled plugin not cached");
        }
    }

    /// Forgets a component, whatever engine it was compiled for.
    pub(crate) fn remove(&self, digest: &str) {
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(digest) {
                // One that is still there is found and used, or found damaged: no harm either way.
                drop(std::fs::remove_file(entry.path()));
            }
        }
    }
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("blake3")
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("tmp");
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.create(true).write(true).truncate(true).mode(PRIVATE_FILE).open(&fresh)?;
    file.write_all(bytes)?;
    std::fs::rename(&fresh, path)
}

/// Maps compiled code.
#[expect(unsafe_code, reason = "machine code is loaded as it is; see below why that is sound")]
fn load_trusted(engine: &Engine, path: &Path) -> Option<Component> {
    // SAFETY: the file was written by `store`, in a folder that only our user may enter, and its bytes have
    // just been compared with the digest that was written with them. wasmtime itself refuses what another
    // version, other settings or another processor made. Nobody truncates it while it is mapped: it is
    // replaced by renaming, and removed by unlinking.
    match unsafe { Component::deserialize_file(engine, path) } {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::info!(%error, path = %path.display(), "compiled plugin is not for this engine");
            None
        }
    }
}
