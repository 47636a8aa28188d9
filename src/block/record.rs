//! Records: what a stream stores between its frames, setups and gaps.
//!
//! A record travels in a chunk like a frame, with the record flag, and is repeated in the index of
//! its block. Encoded by hand, because its parts have variable lengths.

use bytes::Bytes;

use super::DecodeError;
use crate::base::time::Timestamp;
use crate::frame::setup::{MAX_EXTRA_LEN, MAX_NAME_LEN};
use crate::frame::{Codec, Gap, GapCause, MAX_TRACK_COUNT, StreamSetup, TrackSetup};

const KIND_SETUP: u8 = 1;
const KIND_GAP: u8 = 2;

/// A gap, and the ordinals that it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapRecord {
    /// The gap.
    pub gap: Gap,
    /// The first ordinal that is missing.
    pub first_ordinal: u64,
    /// The ordinal after the last one that is missing; `first_ordinal` where none was given out.
    pub end_ordinal: u64,
}

/// What is stored between frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// How to decode what follows.
    Setup(StreamSetup),
    /// Frames are missing here.
    Gap(GapRecord),
}

/// The code of a codec on disk.
fn codec_code(codec: Codec) -> u8 {
    Codec::ALL
        .iter()
        .position(|c| *c == codec)
        .map_or(0, |at| at as u8 + 1)
}

fn cause_code(cause: GapCause) -> u8 {
    GapCause::STORED
        .iter()
        .position(|c| *c == cause)
        .map_or(0, |at| at as u8 + 1)
}

impl Record {
    /// The record as bytes.
    ///
    /// A setup that is over its limits (255 bytes of name, 16 tracks, 64 KiB per configuration)
    /// is cut to them; the producer refuses such a setup before it comes here.
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::new();
        match self {
            Self::Setup(setup) => encode_setup(setup, &mut bytes),
            Self::Gap(record) => encode_gap(record, &mut bytes),
        }
        Bytes::from(bytes)
    }

    /// Whether an encoded record is a setup.
    pub fn is_setup(bytes: &[u8]) -> bool {
        bytes.first() == Some(&KIND_SETUP)
    }

    /// Reads a record; bytes behind it are ignored.
    ///
    /// # Errors
    ///
    /// [`Range`](DecodeError::Range) when a length, code or count is impossible,
    /// [`Version`](DecodeError::Version) when a later release wrote the kind, codec or cause.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Cursor(bytes);
        match from.u8()? {
            KIND_SETUP => decode_setup(&mut from).map(Self::Setup),
            KIND_GAP => decode_gap(&mut from).map(Self::Gap),
            kind => Err(DecodeError::Version(kind.into())),
        }
    }
}

fn encode_setup(setup: &StreamSetup, to: &mut Vec<u8>) {
    let name = cut_to_char(&setup.name, MAX_NAME_LEN);
    to.extend([
        KIND_SETUP,
        name.len() as u8,
        setup.tracks.len().min(MAX_TRACK_COUNT) as u8,
    ]);
    to.extend(name.as_bytes());
    for track in setup.tracks.iter().take(MAX_TRACK_COUNT) {
        to.extend([codec_code(track.codec), track.channel_count]);
        to.extend(track.clock_rate_hz.to_le_bytes());
        to.extend(track.width_px.to_le_bytes());
        to.extend(track.height_px.to_le_bytes());
        let extra = track.extra.get(..MAX_EXTRA_LEN).unwrap_or(&track.extra);
        to.extend((extra.len() as u32).to_le_bytes());
        to.extend(extra);
    }
}

fn cut_to_char(text: &str, max_len: usize) -> &str {
    let end = (0..=max_len.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

fn encode_gap(record: &GapRecord, to: &mut Vec<u8>) {
    let gap = &record.gap;
    to.extend([KIND_GAP, cause_code(gap.cause)]);
    to.extend([
        u8::from(gap.end.is_some()),
        u8::from(gap.lost_count.is_some()),
    ]);
    to.extend(gap.start.0.to_le_bytes());
    to.extend(gap.end.unwrap_or_default().0.to_le_bytes());
    to.extend(gap.lost_count.unwrap_or_default().to_le_bytes());
    to.extend(record.first_ordinal.to_le_bytes());
    to.extend(record.end_ordinal.to_le_bytes());
}

/// Takes values off the front of untrusted bytes.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(DecodeError::Range("length of a record"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?
            .try_into()
            .map_err(|_| DecodeError::Range("length of a record"))
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Result<Timestamp, DecodeError> {
        self.array()
            .map(|bytes| Timestamp(i64::from_le_bytes(bytes)))
    }
}

fn decode_setup(from: &mut Cursor<'_>) -> Result<StreamSetup, DecodeError> {
    let name_len = usize::from(from.u8()?);
    let track_count = usize::from(from.u8()?);
    if track_count > MAX_TRACK_COUNT {
        return Err(DecodeError::Range("number of tracks"));
    }
    let name = from.take(name_len)?;
    let name = std::str::from_utf8(name).map_err(|_| DecodeError::Range("name of a stream"))?;
    let tracks = (0..track_count)
        .map(|_| decode_track(from))
        .collect::<Result<_, _>>()?;
    Ok(StreamSetup {
        name: name.to_owned(),
        tracks,
    })
}

fn decode_track(from: &mut Cursor<'_>) -> Result<TrackSetup, DecodeError> {
    let code = from.u8()?;
    let codec = Codec::ALL.get(usize::from(code).wrapping_sub(1)).copied();
    let codec = codec.ok_or(DecodeError::Version(code.into()))?;
    let channel_count = from.u8()?;
    let clock_rate_hz = from.u32()?;
    let (width_px, height_px) = (from.u16()?, from.u16()?);
    let extra_len = from.u32()? as usize;
    if extra_len > MAX_EXTRA_LEN || clock_rate_hz == 0 {
        return Err(DecodeError::Range("setup of a track"));
    }
    let extra = Bytes::copy_from_slice(from.take(extra_len)?);
    Ok(TrackSetup {
        codec,
        clock_rate_hz,
        width_px,
        height_px,
        channel_count,
        extra,
    })
}

fn decode_gap(from: &mut Cursor<'_>) -> Result<GapRecord, DecodeError> {
    let code = from.u8()?;
    let cause = GapCause::STORED
        .get(usize::from(code).wrapping_sub(1))
        .copied();
    let cause = cause.ok_or(DecodeError::Version(code.into()))?;
    let (has_end, has_count) = (from.u8()? != 0, from.u8()? != 0);
    let start = from.time()?;
    let end = Some(from.time()?).filter(|_| has_end);
    let lost_count = Some(from.u64()?).filter(|_| has_count);
    let gap = Gap {
        cause,
        start,
        end,
        lost_count,
    };
    let (first_ordinal, end_ordinal) = (from.u64()?, from.u64()?);
    if end_ordinal < first_ordinal {
        return Err(DecodeError::Range("ordinals of a gap"));
    }
    Ok(GapRecord {
        gap,
        first_ordinal,
        end_ordinal,
    })
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]
mod tests {
    use super::*;

    fn samples() -> Vec<Record> {
        let video = TrackSetup {
            codec: Codec::H264,
            clock_rate_hz: 90_000,
            width_px: 1920,
            height_px: 1080,
            channel_count: 0,
            extra: Bytes::from_static(b"avcC body"),
        };
        let audio = TrackSetup {
            codec: Codec::PcmAlaw,
            channel_count: 1,
            extra: Bytes::new(),
            ..video.clone()
        };
        let gap = Gap {
            cause: GapCause::QueueFull,
            start: Timestamp(-5),
            end: Some(Timestamp(7)),
            lost_count: Some(12),
        };
        let open = Gap {
            cause: GapCause::Idle,
            end: None,
            lost_count: None,
            ..gap
        };
        vec![
            Record::Setup(StreamSetup {
                name: "Tor \u{e4}".into(),
                tracks: vec![video, audio],
            }),
            Record::Setup(StreamSetup::default()),
            Record::Gap(GapRecord {
                gap,
                first_ordinal: 3,
                end_ordinal: 15,
            }),
            Record::Gap(GapRecord {
                gap: open,
                first_ordinal: 3,
                end_ordinal: 3,
            }),
        ]
    }

    #[test]
    fn records_come_back_as_they_were() {
        for record in samples() {
            assert_eq!(Record::decode(&record.encode()).unwrap(), record);
        }
    }

    #[test]
    fn cut_records_are_refused() {
        for record in samples() {
            let bytes = record.encode();
            for len in 0..bytes.len() {
                assert!(
                    Record::decode(&bytes[..len]).is_err(),
                    "{record:?} cut to {len}"
                );
            }
        }
    }

    #[test]
    fn a_name_is_cut_between_characters() {
        let name = "\u{e4}".repeat(200);
        let record = Record::Setup(StreamSetup {
            name,
            tracks: vec![],
        });
        let Record::Setup(setup) = Record::decode(&record.encode()).unwrap() else {
            panic!()
        };
        assert_eq!(setup.name, "\u{e4}".repeat(127));
    }
}
