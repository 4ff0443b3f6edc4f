//! How the process takes memory from the system, and gives it back.

use std::ffi::c_void;
use std::path::Path;

use rustix::mm::{Advice, madvise};

/// Asks for pages of the usual size only. Allocators ask for large ones, of which each thread's first small allocation
/// then makes two mebibytes resident: of ten that an idle broker had, seven were of that kind.
pub fn take_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        // A kernel without them has nothing to disable.
        tracing::debug!(%error, "size of memory pages");
    }
}

/// Gives back the pages of the program's own file that only starting has needed, so that the system may use them.
/// What is run through again comes from the page cache, 64 KiB for a fault of a microsecond.
pub fn give_back_program() {
    let looked = std::env::current_exe()
        .and_then(|program| Ok((program, std::fs::read_to_string("/proc/self/smaps")?)));
    let (program, mappings) = match looked {
        Ok(found) => found,
        Err(error) => return tracing::debug!(%error, "pages of the program stay"),
    };
    for Mapping { start, bytes } in unchanged(&mappings, &program) {
        let start = std::ptr::with_exposed_provenance_mut::<c_void>(start);
        // SAFETY: the range is a whole mapping of this process, of a file, that nobody can write to and of which no page is
        // the process's own (`unchanged`): each that is dropped is read again from the file, the same as it was. Nobody
        // unmaps the program while it runs.
        #[expect(unsafe_code, reason = "the system call is about memory")]
        let given = unsafe { madvise(start, bytes, Advice::LinuxDontNeed) };
        if let Err(error) = given {
            tracing::debug!(%error, "pages of the program stay");
        }
    }
}

/// A piece of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mapping {
    start: usize,
    bytes: usize,
}

/// The mappings of `program` that are as its file is: not to be written to, and not written to before that was so, as a
/// linker does with addresses. `mappings` is what `/proc/PID/smaps` says.
fn unchanged(mappings: &str, program: &Path) -> Vec<Mapping> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in mappings.lines() {
        if let Some((mapping, rights, path)) = head(line) {
            candidate = (!rights.contains('w') && Path::new(path) == program).then_some(mapping);
        } else if let Some(own) = line.strip_prefix("Anonymous:") {
            found.extend(candidate.take().filter(|_| own.trim() == "0 kB"));
        }
    }
    found
}

/// Reads the first line of a mapping: `START-END RIGHTS OFFSET DEVICE INODE PATH`.
fn head(line: &str) -> Option<(Mapping, &str, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let [start, end] = [start, end].map(|it| usize::from_str_radix(it, 16).ok());
    let bytes = end?.checked_sub(start?)?;
    let (rights, rest) = rest.split_once(' ')?;
    let path = rest.splitn(4, ' ').nth(3)?.trim_start();
    Some((Mapping { start: start?, bytes }, rights, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
5500000000-5500001000 r--p 00000000 fe:00 1  /opt/a b/brooklet
Size:                  4 kB
Anonymous:             0 kB
VmFlags: rd mr mw me sd
5500001000-5500005000 r-xp 00001000 fe:00 1                              /opt/a b/brooklet
Anonymous:             0 kB
5500005000-5500006000 r--p 00005000 fe:00 1                              /opt/a b/brooklet
Anonymous:             4 kB
5500006000-5500007000 rw-p 00006000 fe:00 1                              /opt/a b/brooklet
Anonymous:             0 kB
5500008000-5500009000 r--p 00000000 00:00 0 
Anonymous:             0 kB
7f00000000-7f00001000 r-xp 00000000 fe:00 2                              /lib/libc.so.6
Anonymous:             0 kB
";

    #[test]
    fn only_what_can_be_read_again_from_the_program_is_given_back() {
        let found = unchanged(SMAPS, Path::new("/opt/a b/brooklet"));
        let expected = [(0x55_0000_0000, 0x1000), (0x55_0000_1000, 0x4000)];
        assert_eq!(found, expected.map(|(start, bytes)| Mapping { start, bytes }));
        assert_eq!(unchanged("", Path::new("/")), []);
    }

    #[test]
    fn a_program_runs_on_without_its_pages() {
        let mappings = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let program = std::env::current_exe().unwrap();
        assert!(!unchanged(&mappings, &program).is_empty(), "{mappings}");
        give_back_program();
        assert_eq!(i32::from_str_radix("7f", 16), Ok(127));
    }
}
