//! The parameter sets in a decoder configuration: for forms that carry them in the frames.

use crate::frame::nal::{LengthPrefixed, NalType};
use crate::frame::{Codec, Frame, TrackSetup};

/// The bytes of `avcC` before the number of its SPSs.
const AVCC_HEAD_LEN: usize = 5;
/// The bytes of `hvcC` before the number of its arrays.
const HVCC_HEAD_LEN: usize = 22;

/// The parameter sets in `extra`, the decoder configuration of a track of H.264 or H.265, in the
/// order in which a decoder wants them. Broken framing ends the list; other codecs have none.
fn of(codec: Codec, extra: &[u8]) -> Vec<&[u8]> {
    let mut sets = Vec::new();
    // What was found before the end of the bytes counts, so nobody asks for the end itself.
    let _ = match codec {
        Codec::H264 => read_avcc(extra, &mut sets),
        Codec::H265 => read_hvcc(extra, &mut sets),
        _ => None,
    };
    sets
}

/// Whether `frame`, of `track`, is a key frame that does not bring its parameter sets itself.
pub(super) fn are_missing(track: &TrackSetup, frame: &Frame) -> bool {
    let mut nals = LengthPrefixed::new(&frame.payload);
    let is_set = |nal| NalType::of(track.codec, nal).is_some_and(NalType::is_parameter_set);
    let has_sets = matches!(track.codec, Codec::H264 | Codec::H265);
    has_sets && frame.key && !nals.any(is_set)
}

/// Hands the NAL units of `frame`, a picture of `track`, to `put`; those parameter sets that
/// [`are_missing`] come before its slices. Returns what is not a NAL unit, at the end.
pub(super) fn walk<'f>(
    track: &TrackSetup,
    frame: &'f Frame,
    mut put: impl FnMut(&[u8]),
) -> &'f [u8] {
    let mut are_missing = are_missing(track, frame);
    let mut nals = LengthPrefixed::new(&frame.payload);
    for nal in nals.by_ref() {
        if are_missing && !is_delimiter(track.codec, nal) {
            of(track.codec, &track.extra).into_iter().for_each(&mut put);
            are_missing = false;
        }
        put(nal);
    }
    nals.rest()
}

/// Whether `nal` is an access unit delimiter, which is the first of its picture.
fn is_delimiter(codec: Codec, nal: &[u8]) -> bool {
    let kind = NalType::of(codec, nal);
    matches!(kind, Some(NalType::H264(9) | NalType::H265(35)))
}

fn read_avcc<'a>(extra: &'a [u8], sets: &mut Vec<&'a [u8]>) -> Option<()> {
    let (_, mut rest) = extra.split_at_checked(AVCC_HEAD_LEN)?;
    let sps_count = take_u8(&mut rest)? & 0x1f;
    take_sets(&mut rest, sps_count.into(), sets)?;
    let pps_count = take_u8(&mut rest)?;
    take_sets(&mut rest, pps_count.into(), sets)
}

fn read_hvcc<'a>(extra: &'a [u8], sets: &mut Vec<&'a [u8]>) -> Option<()> {
    let (_, mut rest) = extra.split_at_checked(HVCC_HEAD_LEN)?;
    for _ in 0..take_u8(&mut rest)? {
        let _kind = take_u8(&mut rest)?;
        let count = take_u16(&mut rest)?;
        take_sets(&mut rest, count, sets)?;
    }
    Some(())
}

fn take_sets<'a>(rest: &mut &'a [u8], count: u16, sets: &mut Vec<&'a [u8]>) -> Option<()> {
    for _ in 0..count {
        let len = take_u16(rest)?;
        let (set, behind) = rest.split_at_checked(len.into())?;
        sets.push(set);
        *rest = behind;
    }
    Some(())
}

fn take_u8(rest: &mut &[u8]) -> Option<u8> {
    let (first, behind) = rest.split_first()?;
    *rest = behind;
    Some(*first)
}

fn take_u16(rest: &mut &[u8]) -> Option<u16> {
    let (first, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(u16::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sps_and_pps_are_found_in_avcc() {
        let extra = [
            1, 100, 0, 31, 0xff, 0xe1, 0, 2, 0x67, 1, 2, 0, 1, 0x68, 0, 2, 0x68, 9,
        ];
        let sets = of(Codec::H264, &extra);
        assert_eq!(sets, [&[0x67, 1][..], &[0x68], &[0x68, 9]]);
    }

    #[test]
    fn all_arrays_of_hvcc_are_read() {
        let mut extra = vec![1; 22];
        extra.extend([2, 0xa0, 0, 1, 0, 2, 0x40, 1, 0xa1, 0, 2, 0, 1, 7, 0, 1, 8]);
        assert_eq!(of(Codec::H265, &extra), [&[0x40, 1][..], &[7], &[8]]);
    }

    #[test]
    fn what_is_cut_off_anywhere_gives_what_came_before() {
        let extra = [1, 100, 0, 31, 0xff, 0xe1, 0, 2, 0x67, 1, 1, 0, 1, 0x68];
        for len in 0..extra.len() {
            let (cut, _) = extra.split_at(len);
            let set_count = of(Codec::H264, cut).len();
            assert_eq!(set_count, usize::from(len >= 10), "{len} bytes");
        }
        assert_eq!(of(Codec::H264, &[0xff; 40]).len(), 0);
        assert_eq!(of(Codec::Aac, &extra).len(), 0);
    }
}
