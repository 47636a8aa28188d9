//! Checksums: CRC-32C for contents, CRC-64/NVME for identity tags.

use crc_fast::{CrcAlgorithm, checksum};

/// CRC-32C (Castagnoli) of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    // A 32-bit CRC fills the low half of the result.
    (checksum(CrcAlgorithm::Crc32Iscsi, bytes) & 0xffff_ffff) as u32
}

/// CRC-64/NVME of `bytes`.
pub fn crc64(bytes: &[u8]) -> u64 {
    checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An independent implementation agrees, on every short length and some long ones.
    #[test]
    fn crc32c_agrees_with_another_implementation() {
        let bytes: Vec<u8> = (0..70_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        for len in (0..300).chain([4096, 65_535, 70_000]) {
            let part = bytes.get(..len).unwrap_or(&bytes);
            assert_eq!(crc32c(part), crc32c::crc32c(part), "length {len}");
        }
    }

    #[test]
    fn crc64_has_its_published_check_value() {
        assert_eq!(crc64(b"123456789"), 0xae8b_1486_0a79_9888);
    }
}
