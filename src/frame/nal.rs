//! NAL units of H.264 and H.265: finding them, naming them, and telling key pictures.
//!
//! Two framings exist. Recorded frames use the length-prefixed one (each NAL unit behind its length
//! as four bytes, most significant first); elementary streams use Annex B (each behind a start code,
//! `00 00 01` or `00 00 00 01`). Everything here takes any bytes without a panic. What parameter
//! sets say (picture size, profile) does not belong here.

use std::fmt;

use super::Codec;
use crate::base::error::{Error, Result};

/// Length of the prefix of a NAL unit in a recorded frame, in bytes.
pub const PREFIX_LEN: usize = 4;

const START_CODE: [u8; 3] = [0, 0, 1];
const LONG_START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The type of a NAL unit, as its header tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NalType {
    /// `nal_unit_type` of H.264, 0 to 31.
    H264(u8),
    /// `nal_unit_type` of H.265, 0 to 63.
    H265(u8),
}

impl NalType {
    /// The type of `nal` (without prefix or start code); none where it has no header, or where
    /// `codec` has no NAL units.
    pub fn of(codec: Codec, nal: &[u8]) -> Option<Self> {
        let first = *nal.first()?;
        match codec {
            Codec::H264 => Some(Self::H264(first & 0x1f)),
            Codec::H265 => Some(Self::H265((first >> 1) & 0x3f)),
            _ => None,
        }
    }

    /// The number that the standard gives the type.
    pub fn code(self) -> u8 {
        match self {
            Self::H264(code) | Self::H265(code) => code,
        }
    }

    /// Whether the NAL unit holds a part of a picture.
    pub fn is_slice(self) -> bool {
        match self {
            Self::H264(code) => matches!(code, 1..=5),
            Self::H265(code) => code < 32,
        }
    }

    /// Whether the NAL unit is a VPS, SPS or PPS.
    pub fn is_parameter_set(self) -> bool {
        match self {
            Self::H264(code) => matches!(code, 7 | 8),
            Self::H265(code) => matches!(code, 32..=34),
        }
    }

    /// Whether the NAL unit is a slice of a picture at which decoding can start: IDR of H.264;
    /// IDR, BLA and CRA of H.265.
    pub fn is_key(self) -> bool {
        match self {
            Self::H264(code) => code == 5,
            Self::H265(code) => matches!(code, 16..=21),
        }
    }

    /// Whether the NAL unit is a slice of a picture that cannot be decoded when decoding starts at
    /// the key picture before it: RASL. (RADL pictures lead too, and can be decoded.)
    pub fn is_leading(self) -> bool {
        matches!(self, Self::H265(8 | 9))
    }

    /// Whether the first of this type after a slice begins the next access unit.
    fn begins_access_unit(self) -> bool {
        match self {
            Self::H264(code) => matches!(code, 6..=9 | 14..=18),
            Self::H265(code) => matches!(code, 32..=35 | 39 | 41..=44 | 48..=55),
        }
    }

    /// A short name, as the standard has it; `?` where it has none.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::H264(code) => h264_name(code),
            Self::H265(code) => h265_name(code),
        }
    }
}

impl fmt::Display for NalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.as_str(), self.code())
    }
}

fn h264_name(code: u8) -> &'static str {
    match code {
        1 => "slice",
        2 => "slice A",
        3 => "slice B",
        4 => "slice C",
        5 => "IDR",
        6 => "SEI",
        7 => "SPS",
        8 => "PPS",
        9 => "AUD",
        10 => "end of sequence",
        11 => "end of stream",
        12 => "filler",
        13 => "SPS extension",
        14 => "prefix",
        15 => "subset SPS",
        19 => "auxiliary slice",
        20 | 21 => "slice extension",
        _ => "?",
    }
}

fn h265_name(code: u8) -> &'static str {
    match code {
        0 => "TRAIL_N",
        1 => "TRAIL_R",
        2 => "TSA_N",
        3 => "TSA_R",
        4 => "STSA_N",
        5 => "STSA_R",
        6 => "RADL_N",
        7 => "RADL_R",
        8 => "RASL_N",
        9 => "RASL_R",
        16 => "BLA_W_LP",
        17 => "BLA_W_RADL",
        18 => "BLA_N_LP",
        19 => "IDR_W_RADL",
        20 => "IDR_N_LP",
        21 => "CRA",
        32 => "VPS",
        33 => "SPS",
        34 => "PPS",
        35 => "AUD",
        36 => "end of sequence",
        37 => "end of stream",
        38 => "filler",
        39 => "SEI",
        40 => "suffix SEI",
        _ => "?",
    }
}

/// What the NAL units of an access unit say about decoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PictureFlags {
    /// Decoding can start here: IDR or recovery point (H.264); IDR, BLA or CRA (H.265).
    pub key: bool,
    /// The picture cannot be decoded when decoding starts at the key picture before it (RASL).
    pub leading: bool,
}

impl PictureFlags {
    /// The flags of one access unit in length-prefixed framing. Broken framing ends the look: what
    /// was seen before it counts. Pictures of codecs without NAL units are all key.
    pub fn of(codec: Codec, access_unit: &[u8]) -> Self {
        match codec {
            Codec::H264 | Codec::H265 => Self::of_nals(codec, LengthPrefixed::new(access_unit)),
            _ => Self {
                key: codec.is_all_key(),
                leading: false,
            },
        }
    }

    fn of_nals<'a>(codec: Codec, nals: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut flags = Self::default();
        for nal in nals {
            let Some(kind) = NalType::of(codec, nal) else {
                continue;
            };
            flags.key |= kind.is_key() || (kind == NalType::H264(6) && has_recovery_point(nal));
            flags.leading |= kind.is_leading();
            // All slices of a picture are of one kind, and nothing that counts comes after them.
            if kind.is_slice() {
                break;
            }
        }
        flags
    }
}

/// Whether an SEI NAL unit of H.264 holds a recovery point message.
fn has_recovery_point(sei: &[u8]) -> bool {
    const RECOVERY_POINT: usize = 6;
    let mut bytes = Unescaped::new(sei.get(1..).unwrap_or_default());
    loop {
        let (Some(kind), Some(len)) = (sei_number(&mut bytes), sei_number(&mut bytes)) else {
            return false;
        };
        // The stop bit after the last message reads as a message of kind 0x80 without a body.
        if kind == RECOVERY_POINT && len > 0 {
            return bytes.next().is_some();
        }
        if len > 0 && bytes.nth(len - 1).is_none() {
            return false;
        }
    }
}

/// A number of an SEI message: a run of 0xff, each worth 255, and a last byte.
fn sei_number(bytes: &mut Unescaped<'_>) -> Option<usize> {
    let mut sum = 0usize;
    loop {
        let byte = bytes.next()?;
        sum = sum.saturating_add(usize::from(byte));
        if byte != 0xff {
            return Some(sum);
        }
    }
}

/// The bytes of a NAL unit without the emulation prevention bytes (the 3 of `00 00 03`).
struct Unescaped<'a> {
    rest: std::slice::Iter<'a, u8>,
    zero_count: u8,
}

impl<'a> Unescaped<'a> {
    fn new(nal: &'a [u8]) -> Self {
        Self {
            rest: nal.iter(),
            zero_count: 0,
        }
    }
}

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let mut byte = *self.rest.next()?;
        if self.zero_count == 2 && byte == 3 {
            self.zero_count = 0;
            byte = *self.rest.next()?;
        }
        self.zero_count = if byte == 0 {
            (self.zero_count + 1).min(2)
        } else {
            0
        };
        Some(byte)
    }
}

/// The NAL units of length-prefixed data, without their prefixes. Ends at the first prefix that
/// reaches beyond the data; [`rest`](Self::rest) is then not empty.
#[derive(Clone, Debug)]
pub struct LengthPrefixed<'a> {
    rest: &'a [u8],
}

impl<'a> LengthPrefixed<'a> {
    /// Looks at `data` from its start.
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// What was not walked yet; after the end, what is not a NAL unit.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for LengthPrefixed<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (prefix, body) = self.rest.split_first_chunk::<PREFIX_LEN>()?;
        let len = usize::try_from(u32::from_be_bytes(*prefix)).ok()?;
        let (nal, rest) = body.split_at_checked(len)?;
        self.rest = rest;
        Some(nal)
    }
}

/// The NAL units of Annex B data, without start codes and without the zeros that may follow a NAL
/// unit. Bytes before the first start code are skipped, and so are empty NAL units.
#[derive(Clone, Debug)]
pub struct AnnexB<'a> {
    /// What lies behind the start code that was found last; none once there is none.
    rest: Option<&'a [u8]>,
}

impl<'a> AnnexB<'a> {
    /// Looks at `data` from its start.
    pub fn new(data: &'a [u8]) -> Self {
        Self {
            rest: split_at_start_code(data).1,
        }
    }
}

impl<'a> Iterator for AnnexB<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let (nal, rest) = split_at_start_code(self.rest?);
            self.rest = rest;
            let nal = without_trailing_zeros(nal);
            if !nal.is_empty() {
                return Some(nal);
            }
        }
    }
}

/// What lies before and behind the first start code.
fn split_at_start_code(data: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(at) = data.windows(START_CODE.len()).position(|w| w == START_CODE) else {
        return (data, None);
    };
    let (before, behind) = data.split_at(at);
    (before, behind.get(START_CODE.len()..))
}

fn without_trailing_zeros(nal: &[u8]) -> &[u8] {
    let len = nal.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
    nal.get(..len).unwrap_or_default()
}

/// Appends one NAL unit to length-prefixed data.
///
/// # Errors
///
/// [`Invalid`](crate::ErrorKind::Invalid) if the NAL unit has 4 GiB or more; `to` is unchanged.
pub fn push_length_prefixed(to: &mut Vec<u8>, nal: &[u8]) -> Result<()> {
    let len = u32::try_from(nal.len())
        .map_err(|_| Error::invalid(format!("a NAL unit of {} bytes is too long", nal.len())))?;
    to.extend_from_slice(&len.to_be_bytes());
    to.extend_from_slice(nal);
    Ok(())
}

/// Annex B data with a length before each NAL unit instead of start codes.
///
/// # Errors
///
/// [`Invalid`](crate::ErrorKind::Invalid) if a NAL unit has 4 GiB or more.
pub fn annex_b_to_length_prefixed(data: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len() + PREFIX_LEN);
    for nal in AnnexB::new(data) {
        push_length_prefixed(&mut out, nal)?;
    }
    Ok(out)
}

/// Length-prefixed data with a start code of four bytes before each NAL unit instead of lengths.
///
/// # Errors
///
/// [`Damaged`](crate::ErrorKind::Damaged) if a length reaches beyond the data.
pub fn length_prefixed_to_annex_b(data: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len());
    let mut nals = LengthPrefixed::new(data);
    for nal in nals.by_ref() {
        out.extend_from_slice(&LONG_START_CODE);
        out.extend_from_slice(nal);
    }
    if nals.rest().is_empty() {
        return Ok(out);
    }
    let at = data.len() - nals.rest().len();
    Err(Error::damaged(format!(
        "the NAL unit at byte {at} of {} reaches beyond the frame",
        data.len()
    )))
}

/// Cuts Annex B data into access units, each in Annex B. The rule is that of the standards for
/// streams of one layer: an access unit begins at the first delimiter, parameter set or SEI after
/// a slice, or at a slice that is the first of its picture.
#[derive(Clone, Debug)]
pub struct AccessUnits<'a> {
    codec: Codec,
    nals: std::iter::Peekable<AnnexB<'a>>,
}

impl<'a> AccessUnits<'a> {
    /// The access units of `data`, which is H.264 or H.265; there are none for other codecs.
    pub fn new(codec: Codec, data: &'a [u8]) -> Self {
        Self {
            codec,
            nals: AnnexB::new(data).peekable(),
        }
    }
}

impl<'a> Iterator for AccessUnits<'a> {
    /// The NAL units of one access unit, in order.
    type Item = Vec<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let codec = self.codec;
        let mut unit = Vec::new();
        let mut has_slice = false;
        while let Some(nal) = self.nals.next_if(|nal| {
            !has_slice || !NalType::of(codec, nal).is_some_and(|kind| begins(kind, nal))
        }) {
            has_slice |= NalType::of(codec, nal)?.is_slice();
            unit.push(nal);
        }
        (!unit.is_empty()).then_some(unit)
    }
}

/// Whether `nal`, coming after a slice, is the first of the next access unit.
fn begins(kind: NalType, nal: &[u8]) -> bool {
    if !kind.is_slice() {
        return kind.begins_access_unit();
    }
    // `first_mb_in_slice` is 0, that is, its code is the bit 1; `first_slice_segment_in_pic_flag`.
    let header_len = match kind {
        NalType::H264(_) => 1,
        NalType::H265(_) => 2,
    };
    nal.get(header_len).is_some_and(|byte| byte & 0x80 != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn prefixed(nals: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for nal in nals {
            push_length_prefixed(&mut out, nal).unwrap();
        }
        out
    }

    fn flags(codec: Codec, nals: &[&[u8]]) -> (bool, bool) {
        let flags = PictureFlags::of(codec, &prefixed(nals));
        (flags.key, flags.leading)
    }

    #[test]
    fn start_codes_of_three_and_four_bytes_are_found_and_zeros_between_are_not_kept() {
        let data = [
            9, 9, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0x65, 0, 0,
        ];
        let nals: Vec<&[u8]> = AnnexB::new(&data).collect();
        assert_eq!(nals, [&[0x67, 1][..], &[0x68, 0, 2], &[0x65]]);
    }

    #[test]
    fn a_length_that_reaches_beyond_the_frame_ends_the_walk_and_refuses_conversion() {
        let data = [0, 0, 0, 2, 0x67, 1, 0, 0, 0, 9, 0x65];
        let mut nals = LengthPrefixed::new(&data);
        assert_eq!(nals.next(), Some(&[0x67, 1][..]));
        assert_eq!(nals.next(), None);
        assert_eq!(nals.rest(), &data[6..]);
        let error = length_prefixed_to_annex_b(&data).unwrap_err().to_string();
        assert!(error.contains("byte 6 of 11"), "{error}");
    }

    #[test]
    fn h264_key_pictures_are_idr_and_recovery_points() {
        assert_eq!(
            flags(Codec::H264, &[&[9, 0xf0], &[0x65, 0x88]]),
            (true, false)
        );
        assert_eq!(flags(Codec::H264, &[&[0x41, 0x9a]]), (false, false));
        // SEI: user data (5) of 3 bytes, then a recovery point (6) of 1 byte, then the stop bit.
        let sei = [6, 5, 3, 1, 0, 2, 6, 1, 0xc4, 0x80];
        assert_eq!(flags(Codec::H264, &[&sei, &[0x41, 0x9a]]), (true, false));
        // The same, but the first message holds zeros, and so an emulation prevention byte.
        let escaped = [6, 5, 3, 0, 0, 3, 1, 6, 1, 0xc4, 0x80];
        assert_eq!(flags(Codec::H264, &[&escaped, &[0x41]]), (true, false));
        let other = [6, 5, 3, 6, 1, 2, 0x80];
        assert_eq!(flags(Codec::H264, &[&other, &[0x41]]), (false, false));
    }

    #[test]
    fn h265_key_pictures_are_all_irap_types_and_rasl_is_leading() {
        for code in 0..64u8 {
            let slice = [code << 1, 1, 0x80];
            let expected = ((16..=21).contains(&code), code == 8 || code == 9);
            assert_eq!(flags(Codec::H265, &[&slice]), expected, "type {code}");
        }
    }

    #[test]
    fn pictures_without_nal_units_are_key() {
        assert!(PictureFlags::of(Codec::Mjpeg, &[0xff, 0xd8]).key);
        assert!(PictureFlags::of(Codec::Aac, &[]).key);
        assert!(!PictureFlags::of(Codec::Private, &[5]).key);
    }

    #[test]
    fn access_units_begin_at_parameter_sets_and_at_first_slices() {
        let nals: [&[u8]; 8] = [
            &[9, 0x10],    // delimiter
            &[0x67, 1],    // SPS
            &[0x68, 1],    // PPS
            &[0x65, 0x88], // first slice of the picture
            &[0x65, 0x08], // second slice
            &[0x41, 0x9a], // next picture
            &[6, 5, 0x80], // SEI of the one after it
            &[0x41, 0x9b],
        ];
        let data = length_prefixed_to_annex_b(&prefixed(&nals)).unwrap();
        let units: Vec<_> = AccessUnits::new(Codec::H264, &data).collect();
        assert_eq!(units, [&nals[..5], &nals[5..6], &nals[6..]]);
    }

    /// A NAL unit as an encoder makes it: with emulation prevention, and not ending in zero.
    fn nal_unit() -> impl Strategy<Value = Vec<u8>> {
        vec(prop_oneof![Just(0u8), Just(1), Just(3), any::<u8>()], 1..60).prop_map(|raw| {
            let mut nal = Vec::new();
            for byte in raw {
                if nal.ends_with(&[0, 0]) && byte <= 3 {
                    nal.push(3);
                }
                nal.push(byte);
            }
            nal.push(0x80);
            nal
        })
    }

    proptest! {
        #[test]
        fn both_framings_carry_the_same_nal_units(nals in vec(nal_unit(), 0..8)) {
            let nals: Vec<&[u8]> = nals.iter().map(Vec::as_slice).collect();
            let prefixed = prefixed(&nals);
            let annex_b = length_prefixed_to_annex_b(&prefixed).unwrap();
            prop_assert_eq!(AnnexB::new(&annex_b).collect::<Vec<_>>(), &nals[..]);
            prop_assert_eq!(LengthPrefixed::new(&prefixed).collect::<Vec<_>>(), &nals[..]);
            prop_assert_eq!(annex_b_to_length_prefixed(&annex_b).unwrap(), prefixed);
        }

        #[test]
        fn any_bytes_are_walked_without_a_panic(data in vec(prop_oneof![0u8..4, any::<u8>()], 0..200)) {
            for codec in Codec::ALL {
                let _ = PictureFlags::of(codec, &data);
                let split: usize = AccessUnits::new(codec, &data).map(|unit| unit.len()).sum();
                prop_assert!(split <= AnnexB::new(&data).count());
            }
            let _ = annex_b_to_length_prefixed(&data).unwrap();
            let _ = length_prefixed_to_annex_b(&data);
        }
    }
}
