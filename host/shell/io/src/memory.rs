//! How the process takes memory from the system.

/// Asks for pages of the usual size only. Allocators ask for large ones, of which each thread's first small allocation
/// then makes two mebibytes resident: of ten that an idle broker had, seven were of that kind.
pub fn take_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        // A kernel without them has nothing to disable.
        tracing::debug!(%error, "size of memory pages");
    }
}
