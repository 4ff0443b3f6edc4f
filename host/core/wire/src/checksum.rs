//! CRC-32C (Castagnoli), the checksum of Kafka's batches and of our own files.

use crc_fast::{CrcAlgorithm, Digest};

/// The checksum of `bytes`.
pub fn of(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The checksum of `parts` as if they stood back to back.
pub fn of_parts(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    u32::try_from(digest.finalize()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // The check value of the catalogue of parametrised CRC algorithms.
        assert_eq!(of(b"123456789"), 0xe306_9283);
        assert_eq!(of_parts(&[b"1234", b"", b"56789"]), 0xe306_9283);
    }
}
