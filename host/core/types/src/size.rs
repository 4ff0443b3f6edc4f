//! Sizes of stored and sent data, in bytes.

use std::fmt;

/// A number of bytes on a disk or a wire. Memory is measured in `usize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// `count` times 1,024 bytes.
    pub const fn kib(count: u64) -> ByteSize {
        ByteSize(count << 10)
    }

    /// `count` times 1,048,576 bytes.
    pub const fn mib(count: u64) -> ByteSize {
        ByteSize(count << 20)
    }

    /// `count` times 1,073,741,824 bytes.
    pub const fn gib(count: u64) -> ByteSize {
        ByteSize(count << 30)
    }
}

/// The largest unit that leaves a short number: `17 B`, `1.5 KiB`, `2.0 GiB`.
impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        for (unit, name) in units {
            if self.0 >= unit {
                let whole = self.0 / unit;
                let tenths = (self.0 % unit) * 10 / unit;
                return write!(formatter, "{whole}.{tenths} {name}");
            }
        }
        write!(formatter, "{} B", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_written_in_its_largest_unit() {
        assert_eq!(ByteSize(17).to_string(), "17 B");
        assert_eq!(ByteSize(1536).to_string(), "1.5 KiB");
        assert_eq!(ByteSize::gib(2).to_string(), "2.0 GiB");
    }
}
