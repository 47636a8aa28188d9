//! The head of the file: everything before the first cluster.
//!
//! The head is written twice, with the same length: first with placeholders, and at the end of the
//! file with what is known only then. A file that was never finished is read by its first head.

use super::cluster::Millis;
use super::ebml::{
    self, Id, put_bytes, put_float, put_id, put_uint, put_void, put_wide_len, put_wide_uint,
};
use crate::base::error::{Error, Result};
use crate::frame::{Codec, StreamSetup, TrackSetup};

/// Nanoseconds in a tick of the file's clock: 1 ms.
const TIMESTAMP_SCALE_NS: u64 = 1_000_000;
/// The file's date counts from 2001-01-01 UTC; in milliseconds since 1970.
const DATE_EPOCH_MS: i64 = 978_307_200_000;
/// The length of a whole `SeekHead` of three entries with wide positions.
const SEEK_HEAD_LEN: usize = 68;
/// The length of a `Duration` element.
const DURATION_LEN: usize = 11;

/// What is known only when the file is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// Length of the segment's body in bytes.
    pub(super) segment_len: u64,
    /// Where the cues are, in bytes from the start of the segment's body.
    pub(super) cues_position: u64,
    /// From the earliest frame to the end of the latest.
    pub(super) duration_ms: i64,
}

/// The head, and how many bytes of it come before the segment's body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) bytes: Vec<u8>,
    pub(super) segment_start: u64,
}

/// Encodes the head of a file whose time begins at `zero`.
pub(super) fn encode(setup: &StreamSetup, zero: Millis, ending: Option<&Ending>) -> Head {
    let info = info(setup, zero, ending);
    let tracks = tracks(setup);

    let mut bytes = Vec::new();
    put_bytes(&mut bytes, ebml::EBML, &ebml_header());
    put_id(&mut bytes, ebml::SEGMENT);
    put_wide_len(&mut bytes, ending.map(|ending| ending.segment_len));
    let segment_start = bytes.len();

    match ending {
        None => put_void(&mut bytes, SEEK_HEAD_LEN),
        Some(ending) => {
            let info_position = SEEK_HEAD_LEN as u64;
            let tracks_position = info_position + info.len() as u64;
            put_seek_head(
                &mut bytes,
                &[
                    (ebml::INFO, info_position),
                    (ebml::TRACKS, tracks_position),
                    (ebml::CUES, ending.cues_position),
                ],
            );
        }
    }
    debug_assert_eq!(bytes.len(), segment_start + SEEK_HEAD_LEN);
    bytes.extend(info);
    bytes.extend(tracks);
    Head {
        bytes,
        segment_start: segment_start as u64,
    }
}

/// What a track of `setup` lacks for a file: nothing, once its camera has said all of it.
pub(super) fn missing(setup: &StreamSetup) -> Option<String> {
    let lack = |track: &TrackSetup| {
        let needs_extra = matches!(track.codec, Codec::H264 | Codec::H265 | Codec::Aac);
        if needs_extra && track.extra.is_empty() {
            Some("decoder configuration")
        } else if track.codec.is_video() && (track.width_px == 0 || track.height_px == 0) {
            Some("picture size")
        } else {
            None
        }
    };
    let mut tracks = setup.tracks.iter().enumerate();
    tracks.find_map(|(n, track)| {
        Some(format!(
            "track {n} ({}) has no {}",
            track.codec,
            lack(track)?
        ))
    })
}

/// Checks what no later setup can mend.
pub(super) fn check(setup: &StreamSetup) -> Result<()> {
    if setup.tracks.is_empty() {
        return Err(Error::invalid("the stream has no tracks to export"));
    }
    for (n, track) in setup.tracks.iter().enumerate() {
        let at = format!("track {n} ({})", track.codec);
        if codec_id(track.codec).is_none() {
            return Err(Error::invalid("Matroska has no form for its codec")
                .at(at)
                .with_remedy("Export the stream without this track"));
        }
        if nal_length_len(track).is_some_and(|len| len != 4) {
            return Err(Error::invalid(
                "its decoder configuration does not say that the lengths of NAL units have 4 bytes",
            )
            .at(at)
            .with_remedy("Set lengthSizeMinusOne to 3 in the track's setup"));
        }
        if track.codec.is_audio() && (track.clock_rate_hz == 0 || track.channel_count == 0) {
            return Err(Error::invalid("its sample rate or its number of channels is 0").at(at));
        }
    }
    Ok(())
}

/// How many bytes the length before a NAL unit has, by the decoder configuration.
fn nal_length_len(track: &TrackSetup) -> Option<u8> {
    let offset = match track.codec {
        Codec::H264 => 4,
        Codec::H265 => 21,
        _ => return None,
    };
    track.extra.get(offset).map(|byte| (byte & 3) + 1)
}

fn ebml_header() -> Vec<u8> {
    let mut body = Vec::new();
    put_uint(&mut body, ebml::EBML_VERSION, 1);
    put_uint(&mut body, ebml::EBML_READ_VERSION, 1);
    put_uint(&mut body, ebml::EBML_MAX_ID_LENGTH, 4);
    put_uint(&mut body, ebml::EBML_MAX_SIZE_LENGTH, 8);
    put_bytes(&mut body, ebml::DOC_TYPE, b"matroska");
    put_uint(&mut body, ebml::DOC_TYPE_VERSION, 4);
    put_uint(&mut body, ebml::DOC_TYPE_READ_VERSION, 2);
    body
}

fn put_seek_head(out: &mut Vec<u8>, entries: &[(Id, u64)]) {
    let mut body = Vec::new();
    for (id, position) in entries {
        let mut seek = Vec::new();
        put_bytes(&mut seek, ebml::SEEK_ID, &id.0.to_be_bytes());
        put_wide_uint(&mut seek, ebml::SEEK_POSITION, *position);
        put_bytes(&mut body, ebml::SEEK, &seek);
    }
    put_bytes(out, ebml::SEEK_HEAD, &body);
}

fn info(setup: &StreamSetup, zero: Millis, ending: Option<&Ending>) -> Vec<u8> {
    let app = concat!("camring ", env!("CARGO_PKG_VERSION"));
    let mut body = Vec::new();
    put_uint(&mut body, ebml::TIMESTAMP_SCALE, TIMESTAMP_SCALE_NS);
    match ending {
        None => put_void(&mut body, DURATION_LEN),
        Some(ending) => {
            #[expect(clippy::cast_precision_loss, reason = "exact for 285,000 years")]
            let ticks = ending.duration_ms as f64;
            put_float(&mut body, ebml::DURATION, ticks);
        }
    }
    if let Some(date_ns) = date_ns(zero) {
        put_bytes(&mut body, ebml::DATE_UTC, &date_ns.to_be_bytes());
    }
    if !setup.name.is_empty() {
        put_bytes(&mut body, ebml::TITLE, setup.name.as_bytes());
    }
    put_bytes(&mut body, ebml::MUXING_APP, app.as_bytes());
    put_bytes(&mut body, ebml::WRITING_APP, app.as_bytes());
    let mut out = Vec::new();
    put_bytes(&mut out, ebml::INFO, &body);
    out
}

/// Nanoseconds since 2001, if `zero` lies within the 292 years that they reach.
fn date_ns(zero: Millis) -> Option<i64> {
    zero.0.checked_sub(DATE_EPOCH_MS)?.checked_mul(1_000_000)
}

fn tracks(setup: &StreamSetup) -> Vec<u8> {
    let mut body = Vec::new();
    for (number, track) in (1_u64..).zip(&setup.tracks) {
        put_bytes(&mut body, ebml::TRACK_ENTRY, &track_entry(number, track));
    }
    let mut out = Vec::new();
    put_bytes(&mut out, ebml::TRACKS, &body);
    out
}

fn track_entry(number: u64, track: &TrackSetup) -> Vec<u8> {
    let mut body = Vec::new();
    put_uint(&mut body, ebml::TRACK_NUMBER, number);
    put_uint(&mut body, ebml::TRACK_UID, number);
    let track_type = if track.codec.is_video() { 1 } else { 2 };
    put_uint(&mut body, ebml::TRACK_TYPE, track_type);
    put_uint(&mut body, ebml::FLAG_LACING, 0);
    // Without it a track counts as English.
    put_bytes(&mut body, ebml::LANGUAGE, b"und");
    let codec_id = codec_id(track.codec).unwrap_or_default();
    put_bytes(&mut body, ebml::CODEC_ID, codec_id.as_bytes());
    let private = codec_private(track);
    if !private.is_empty() {
        put_bytes(&mut body, ebml::CODEC_PRIVATE, &private);
    }
    if track.codec.is_video() {
        let mut video = Vec::new();
        put_uint(&mut video, ebml::PIXEL_WIDTH, u64::from(track.width_px));
        put_uint(&mut video, ebml::PIXEL_HEIGHT, u64::from(track.height_px));
        put_bytes(&mut body, ebml::VIDEO, &video);
    } else {
        let mut audio = Vec::new();
        let rate_hz = f64::from(track.clock_rate_hz);
        put_float(&mut audio, ebml::SAMPLING_FREQUENCY, rate_hz);
        put_uint(&mut audio, ebml::CHANNELS, u64::from(track.channel_count));
        if acm_format(track.codec).is_some() {
            put_uint(&mut audio, ebml::BIT_DEPTH, 8);
        }
        put_bytes(&mut body, ebml::AUDIO, &audio);
    }
    body
}

/// The name that Matroska has for a codec, if it has one.
fn codec_id(codec: Codec) -> Option<&'static str> {
    match codec {
        Codec::H264 => Some("V_MPEG4/ISO/AVC"),
        Codec::H265 => Some("V_MPEGH/ISO/HEVC"),
        Codec::Mjpeg => Some("V_MJPEG"),
        Codec::Aac => Some("A_AAC"),
        Codec::PcmMulaw | Codec::PcmAlaw => Some("A_MS/ACM"),
        Codec::Private => None,
    }
}

/// The format tag of a codec that goes by the rules of Windows' audio compression manager.
fn acm_format(codec: Codec) -> Option<u16> {
    match codec {
        Codec::PcmAlaw => Some(6),
        Codec::PcmMulaw => Some(7),
        _ => None,
    }
}

/// The decoder configuration as Matroska wants it.
fn codec_private(track: &TrackSetup) -> Vec<u8> {
    let Some(format) = acm_format(track.codec) else {
        return match track.codec {
            Codec::H264 | Codec::H265 | Codec::Aac => track.extra.to_vec(),
            _ => Vec::new(),
        };
    };
    // A WAVEFORMATEX: a byte per sample and channel, and nothing behind it.
    let channel_count = u16::from(track.channel_count);
    let bytes_per_s = track.clock_rate_hz.saturating_mul(u32::from(channel_count));
    let mut out = Vec::new();
    out.extend(format.to_le_bytes());
    out.extend(channel_count.to_le_bytes());
    out.extend(track.clock_rate_hz.to_le_bytes());
    out.extend(bytes_per_s.to_le_bytes());
    out.extend(channel_count.to_le_bytes());
    out.extend(8_u16.to_le_bytes());
    out.extend(0_u16.to_le_bytes());
    out
}
