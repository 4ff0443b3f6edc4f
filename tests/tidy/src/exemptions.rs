//! What may be longer than the rule, and why. The list may only shrink.

/// Lines of production code a file may have (STYLE 6).
pub const FILE_LINES_MAX: usize = 500;

/// Files past the limit, with the reason and the length they may not grow beyond.
pub const LONG_FILES: &[(&str, usize, &str)] = &[];
