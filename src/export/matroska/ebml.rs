//! EBML: the elements that Matroska files consist of (RFC 8794).
//!
//! An element is an identifier, the length of its body, and the body. This file writes elements
//! and knows the identifiers that we use (RFC 9559); which element goes where is `head`'s and
//! `cluster`'s business.
//!
//! The crate mkv-element could do the same, and was tried. It writes every body of 16383 bytes, or
//! of any other length that fills its bits with ones, as a body of unknown length, which damages
//! one file in ten thousand; it ends strings with a zero byte; and it writes every element that
//! has a default. Sixty lines of our own do not.

/// The identifier of an element, with its length marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(pub(super) u32);

pub(super) const EBML: Id = Id(0x1A45_DFA3);
pub(super) const EBML_VERSION: Id = Id(0x4286);
pub(super) const EBML_READ_VERSION: Id = Id(0x42F7);
pub(super) const EBML_MAX_ID_LENGTH: Id = Id(0x42F2);
pub(super) const EBML_MAX_SIZE_LENGTH: Id = Id(0x42F3);
pub(super) const DOC_TYPE: Id = Id(0x4282);
pub(super) const DOC_TYPE_VERSION: Id = Id(0x4287);
pub(super) const DOC_TYPE_READ_VERSION: Id = Id(0x4285);
pub(super) const VOID: Id = Id(0xEC);

pub(super) const SEGMENT: Id = Id(0x1853_8067);

pub(super) const SEEK_HEAD: Id = Id(0x114D_9B74);
pub(super) const SEEK: Id = Id(0x4DBB);
pub(super) const SEEK_ID: Id = Id(0x53AB);
pub(super) const SEEK_POSITION: Id = Id(0x53AC);

pub(super) const INFO: Id = Id(0x1549_A966);
pub(super) const TIMESTAMP_SCALE: Id = Id(0x2A_D7B1);
pub(super) const DURATION: Id = Id(0x4489);
pub(super) const DATE_UTC: Id = Id(0x4461);
pub(super) const TITLE: Id = Id(0x7BA9);
pub(super) const MUXING_APP: Id = Id(0x4D80);
pub(super) const WRITING_APP: Id = Id(0x5741);

pub(super) const TRACKS: Id = Id(0x1654_AE6B);
pub(super) const TRACK_ENTRY: Id = Id(0xAE);
pub(super) const TRACK_NUMBER: Id = Id(0xD7);
pub(super) const TRACK_UID: Id = Id(0x73C5);
pub(super) const TRACK_TYPE: Id = Id(0x83);
pub(super) const FLAG_LACING: Id = Id(0x9C);
pub(super) const LANGUAGE: Id = Id(0x22_B59C);
pub(super) const CODEC_ID: Id = Id(0x86);
pub(super) const CODEC_PRIVATE: Id = Id(0x63A2);
pub(super) const VIDEO: Id = Id(0xE0);
pub(super) const PIXEL_WIDTH: Id = Id(0xB0);
pub(super) const PIXEL_HEIGHT: Id = Id(0xBA);
pub(super) const AUDIO: Id = Id(0xE1);
pub(super) const SAMPLING_FREQUENCY: Id = Id(0xB5);
pub(super) const CHANNELS: Id = Id(0x9F);
pub(super) const BIT_DEPTH: Id = Id(0x6264);

pub(super) const CLUSTER: Id = Id(0x1F43_B675);
pub(super) const CLUSTER_TIMESTAMP: Id = Id(0xE7);
pub(super) const SIMPLE_BLOCK: Id = Id(0xA3);

pub(super) const CUES: Id = Id(0x1C53_BB6B);
pub(super) const CUE_POINT: Id = Id(0xBB);
pub(super) const CUE_TIME: Id = Id(0xB3);
pub(super) const CUE_TRACK_POSITIONS: Id = Id(0xB7);
pub(super) const CUE_TRACK: Id = Id(0xF7);
pub(super) const CUE_CLUSTER_POSITION: Id = Id(0xF1);

/// The greatest length that an element can have, in bytes.
const MAX_BODY_LEN: u64 = (1 << 56) - 2;
/// A length that is not known: the element ends where its parent, or the file, does.
const UNKNOWN_LEN: [u8; 8] = [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];

/// Appends an identifier.
pub(super) fn put_id(out: &mut Vec<u8>, id: Id) {
    let bytes = id.0.to_be_bytes();
    out.extend(bytes.iter().skip_while(|byte| **byte == 0));
}

/// Appends the length of a body in as few bytes as can hold it.
pub(super) fn put_len(out: &mut Vec<u8>, body_len: u64) {
    // A length of n bytes has 7 * n bits; all ones mean "unknown", so they are one value less.
    let count = (1..8_u32)
        .find(|count| body_len < (1 << (7 * count)) - 1)
        .unwrap_or(8);
    let marked = body_len | 1 << (7 * count);
    let bytes = marked.to_be_bytes();
    out.extend(bytes.iter().skip(8 - count as usize));
}

/// Appends the length of a body in eight bytes, so that another can replace it later.
pub(super) fn put_wide_len(out: &mut Vec<u8>, body_len: Option<u64>) {
    match body_len {
        Some(len) => out.extend((len.min(MAX_BODY_LEN) | 1 << 56).to_be_bytes()),
        None => out.extend(UNKNOWN_LEN),
    }
}

/// Appends an element with a body of bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, id: Id, body: &[u8]) {
    put_id(out, id);
    put_len(out, body.len() as u64);
    out.extend_from_slice(body);
}

/// Appends an element with a number, in as few bytes as can hold it.
pub(super) fn put_uint(out: &mut Vec<u8>, id: Id, value: u64) {
    let bytes = value.to_be_bytes();
    let zero_count = (value.leading_zeros() as usize / 8).min(7);
    put_bytes(out, id, bytes.get(zero_count..).unwrap_or(&bytes));
}

/// Appends an element with a number in eight bytes, so that another can replace it later.
pub(super) fn put_wide_uint(out: &mut Vec<u8>, id: Id, value: u64) {
    put_bytes(out, id, &value.to_be_bytes());
}

/// Appends an element with a floating-point number.
pub(super) fn put_float(out: &mut Vec<u8>, id: Id, value: f64) {
    put_bytes(out, id, &value.to_be_bytes());
}

/// Appends `len` bytes, at least 2 and at most 127, that mean nothing.
pub(super) fn put_void(out: &mut Vec<u8>, len: usize) {
    debug_assert!((2..=127).contains(&len), "needs another form of length");
    put_bytes(out, VOID, &vec![0; len.saturating_sub(2)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn len_bytes(body_len: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_len(&mut out, body_len);
        out
    }

    #[test]
    fn a_length_takes_as_few_bytes_as_can_hold_it_and_never_says_unknown() {
        assert_eq!(len_bytes(0), [0x80]);
        assert_eq!(len_bytes(126), [0xFE]);
        assert_eq!(len_bytes(127), [0x40, 127]);
        assert_eq!(len_bytes(16_382), [0x7F, 0xFE]);
        assert_eq!(len_bytes(16_383), [0x20, 0x3F, 0xFF]);
        assert_eq!(len_bytes((1 << 21) - 1), [0x10, 0x1F, 0xFF, 0xFF]);
        assert_eq!(
            len_bytes(MAX_BODY_LEN),
            [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE]
        );
    }

    #[test]
    fn numbers_have_no_leading_zero_bytes_and_zero_has_one() {
        let mut out = Vec::new();
        put_uint(&mut out, TRACK_NUMBER, 0);
        put_uint(&mut out, TRACK_NUMBER, 0x0102);
        put_uint(&mut out, TRACK_NUMBER, u64::MAX);
        let mut expected = vec![0xD7, 0x81, 0, 0xD7, 0x82, 1, 2, 0xD7, 0x88];
        expected.extend([0xFF; 8]);
        assert_eq!(out, expected);
    }

    #[test]
    fn the_bytes_that_mean_nothing_are_as_many_as_asked() {
        for len in [2, 11, 68, 127] {
            let mut out = Vec::new();
            put_void(&mut out, len);
            assert_eq!(out.len(), len);
        }
    }
}
