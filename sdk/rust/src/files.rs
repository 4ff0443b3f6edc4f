//! What `std::fs` cannot say about files in a component. For sources and sinks; only what lies in granted
//! directories is there.

use std::io;
use std::path::Path;

/// A number that stays the same while a file is renamed or written to, and that no other file in the same
/// directory has meanwhile: how a rotated log is told from its successor.
pub fn identity(path: &Path) -> io::Result<u128> {
    #[cfg(target_family = "wasm")]
    return wasi_identity(path);
    #[cfg(not(target_family = "wasm"))]
    return native_identity(path);
}

#[cfg(not(target_family = "wasm"))]
fn native_identity(path: &Path) -> io::Result<u128> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path)?;
    Ok((u128::from(metadata.dev()) << 64) | u128::from(metadata.ino()))
}

/// A digest of device and inode, by `wasi:filesystem`; `std` has no stable way to it.
#[cfg(target_family = "wasm")]
fn wasi_identity(path: &Path) -> io::Result<u128> {
    use wasip2::filesystem::preopens::get_directories;
    use wasip2::filesystem::types::{ErrorCode, PathFlags};

    let granted = get_directories();
    let below = |(directory, name): (_, String)| {
        let rest = path.strip_prefix(&name).ok()?.to_str()?.to_owned();
        Some((name.len(), directory, rest))
    };
    // Of directories within each other the innermost counts, as it does for `std`.
    let innermost = granted.into_iter().filter_map(below).max_by_key(|(length, ..)| *length);
    let Some((_, directory, rest)) = innermost else {
        let problem = format!("{}: not in a directory that was granted", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
    };
    let hash = directory.metadata_hash_at(PathFlags::SYMLINK_FOLLOW, &rest);
    let hash = hash.map_err(|code| match code {
        ErrorCode::NoEntry => io::Error::from(io::ErrorKind::NotFound),
        other => io::Error::other(format!("{}: {other:?}", path.display())),
    })?;
    Ok((u128::from(hash.upper) << 64) | u128::from(hash.lower))
}
