//! The folder that plugins are dropped into: a file that is complete is installed and taken away; one that
//! can't be stays, with the reason in a file beside it.
//!
//! **Invariants.** Nobody polls: the system tells when a file is closed or moved in. What is half copied is
//! looked at again when its writer closes it.

use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use brooklet_plugin::{COMPONENT_BYTES_MAX, Plugins};
use rustix::fs::inotify;

/// Many events at once.
const EVENTS_BYTES: usize = 16 << 10;

/// Installs what is there, and what comes.
pub(super) fn watch(plugins: Arc<Plugins>, folder: &Path) -> io::Result<()> {
    let watcher = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    let events = inotify::WatchFlags::CLOSE_WRITE | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&watcher, folder, events)?;
    let folder = folder.to_owned();
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new().name("plugin-folder".to_owned());
    // It ends with the process: it waits for the system and holds nothing that must be given back.
    let spawned = thread.spawn(move || {
        for file in dropped(&folder) {
            runtime.block_on(install(&plugins, &file));
        }
        let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
        let mut reader = inotify::Reader::new(&watcher, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => {
                    tracing::error!(%error, "the folder of plugins is not watched any more");
                    return;
                }
            };
            let Some(name) = event.file_name().and_then(|name| name.to_str().ok()) else {
                continue;
            };
            let file = folder.join(name);
            if is_component(&file) {
                runtime.block_on(install(&plugins, &file));
            }
        }
    });
    spawned.map(drop)
}

fn dropped(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| is_component(path)).collect();
    files.sort();
    files
}

fn is_component(path: &Path) -> bool {
    let named = path.extension().is_some_and(|extension| extension == "wasm");
    named && path.is_file()
}

async fn install(plugins: &Arc<Plugins>, file: &Path) {
    let reason = file.with_extension("wasm.refused");
    let installed = match read(file) {
        // Taken by an earlier event.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => Err(error.to_string()),
        Ok(bytes) => plugins.install(bytes, None).await.map_err(|error| error.to_string()),
    };
    match installed {
        Ok(installed) => {
            let (name, version) = (&installed.name, &installed.current.manifest.version);
            tracing::info!(plugin = name, version, "installed what was dropped into the folder");
            // It is in the store now. What can't be removed is installed again, which changes nothing.
            drop(std::fs::remove_file(file));
            drop(std::fs::remove_file(reason));
        }
        Err(problem) => {
            tracing::warn!(file = %file.display(), problem, "plugin not installed");
            if let Err(error) = std::fs::write(&reason, problem + "\n") {
                tracing::warn!(%error, file = %reason.display(), "reason not written");
            }
        }
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let length = usize::try_from(std::fs::metadata(file)?.len()).unwrap_or(usize::MAX);
    if length > COMPONENT_BYTES_MAX {
        let problem = format!("{length} bytes, at most {COMPONENT_BYTES_MAX} are taken");
        return Err(io::Error::other(problem));
    }
    std::fs::read(file)
}
