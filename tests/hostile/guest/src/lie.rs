//! Answers that are none: columns that contradict themselves, and pointers that lead nowhere.
//!
//! Values are made here that Rust itself would call undefined, and that is what they are for: the glue hands
//! their pointers and lengths on to the host without looking at what lies there.

use std::alloc::Layout;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::bindings::brooklet::plugin::types::{Blobs, OutBatch, Reject};
use crate::bindings::exports::brooklet::plugin::transform::Outcome;

/// Beyond the last byte that this instance may have.
const OUTSIDE: usize = 0xffff_0000;
/// Bytes of the large answer: more than a call may give back, less than an instance may have.
const LARGE: usize = 40 << 20;
/// The answer whose parts are all the same bytes.
const REJECTS: u32 = 2000;

/// What `cabi_realloc` does.
static REALLOC: AtomicU8 = AtomicU8::new(0);

/// From now on memory for arguments is given out in another way.
pub(crate) fn turn_realloc(deed: &str) {
    let mode = match deed {
        "realloc-outside" => 1,
        "realloc-unaligned" => 2,
        "realloc-loop" => 3,
        "realloc-grow" => 4,
        _ => 0,
    };
    REALLOC.store(mode, Ordering::Relaxed);
}

/// What the host calls for room for arguments. Takes the place of the glue's own.
#[unsafe(no_mangle)]
unsafe extern "C" fn cabi_realloc(
    old: *mut u8,
    old_size: usize,
    align: usize,
    size: usize,
) -> *mut u8 {
    match REALLOC.load(Ordering::Relaxed) {
        1 => return OUTSIDE as *mut u8,
        2 => return std::ptr::without_provenance_mut(align.max(2) + 1),
        3 => crate::bomb::run_for_ever(),
        4 => crate::bomb::eat(),
        _ => {}
    }
    if size == 0 {
        return std::ptr::without_provenance_mut(align);
    }
    // SAFETY: the host hands back what it was given, and alignments are powers of two.
    unsafe {
        if old_size == 0 {
            std::alloc::alloc(Layout::from_size_align_unchecked(size, align))
        } else {
            std::alloc::realloc(old, Layout::from_size_align_unchecked(old_size, align), size)
        }
    }
}

/// A list that lies where there is no memory.
pub(crate) fn outside<T>() -> Vec<T> {
    let count = (usize::MAX / 4) / size_of::<T>();
    // SAFETY: none. It is handed to the host, which must not believe it, and the instance ends before it is freed.
    unsafe { Vec::from_raw_parts(OUTSIDE as *mut T, count, count) }
}

/// A column of such.
pub(crate) fn outside_blobs(count: u32) -> Blobs {
    Blobs { data: outside(), ends: (0..count).collect(), nulls: None }
}

/// Bytes that are no text.
pub(crate) fn no_text() -> String {
    // SAFETY: none; the host must find out.
    unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe, b'x']) }
}

/// So many entries of equal size.
pub(crate) fn sized(entries: usize, bytes: usize) -> Blobs {
    let ends = (1..=entries).map(|entry| u32::try_from(entry * bytes).unwrap_or(u32::MAX));
    Blobs { data: vec![b'x'; entries * bytes], ends: ends.collect(), nulls: None }
}

/// A lawful column that is larger than may be.
pub(crate) fn large(entries: usize) -> Blobs {
    sized(entries, LARGE / entries.max(1))
}

/// An entry too many.
pub(crate) fn one_more(mut data: Blobs) -> Blobs {
    data.ends.push(data.ends.last().copied().unwrap_or(0));
    data
}

/// Entries that end before they begin.
pub(crate) fn backwards(mut data: Blobs) -> Blobs {
    data.ends.reverse();
    if data.ends.len() < 2 {
        data.ends = vec![u32::MAX];
    }
    data
}

/// Entries that end behind the last byte.
pub(crate) fn beyond(mut data: Blobs) -> Blobs {
    if let Some(last) = data.ends.last_mut() {
        *last += 1;
    }
    data
}

/// Nulls of entries that are not there, out of order.
pub(crate) fn nulls(mut data: Blobs) -> Blobs {
    data.nulls = Some(vec![u32::MAX, 0, 0]);
    data
}

/// More ends than anybody asked for.
pub(crate) fn many_ends(mut data: Blobs) -> Blobs {
    data.ends = vec![0; 4 << 20];
    data
}

/// One word about one record.
pub(crate) fn reject(index: u32) -> Reject {
    Reject { index, code: "no".to_owned(), message: "no".to_owned() }
}

/// A word about every record, each a megabyte long, and all in the same place: copied one by one they are
/// gigabytes.
pub(crate) fn rejects() -> Vec<Reject> {
    let message = vec![b'x'; 1 << 20].leak();
    let same = |index| {
        // SAFETY: none: they overlap. The instance ends before the first is freed.
        let message =
            unsafe { String::from_raw_parts(message.as_mut_ptr(), message.len(), message.len()) };
        Reject { index, code: String::new(), message }
    };
    (0..REJECTS).map(same).collect()
}

/// Records made of what came in.
pub(crate) fn emit(count: u32, sources: Option<Vec<u32>>, values: Option<Blobs>) -> Outcome {
    Outcome::Emit(OutBatch {
        count,
        sources,
        targets: None,
        partitions: None,
        keys: None,
        values,
        headers: None,
        timestamps: None,
    })
}
