//! Encoded clips held in memory: elementary streams cut into frames.
//!
//! An elementary stream has no times, so pictures are spaced evenly and shown in the order of
//! decoding: a clip with B-frames does not belong here. Clips are the built-in cameras' film and
//! the material of tests; what a camera sends is never read by this module.

use bytes::Bytes;
use shiguredo_mp4::Encode;
use shiguredo_mp4::bitstream::h264::LengthSize;
use shiguredo_mp4::bitstream::{aac, h264, h265};

use crate::base::error::{Error, Result};
use crate::frame::nal::{self, AccessUnits, NalType, PictureFlags};
use crate::frame::{Codec, TrackSetup};

const VIDEO_CLOCK_HZ: u32 = 90_000;
const G711_RATE_HZ: u32 = 8_000;
/// Bytes of 20 ms of G.711: what cameras send in one packet.
const G711_FRAME_LEN: usize = 160;
/// A sample of G.711 is a byte.
const G711_FRAME_SAMPLE_COUNT: i64 = 160;
/// Samples that an AAC frame decodes to.
const AAC_FRAME_SAMPLE_COUNT: i64 = 1_024;
/// Length of the header of a box of MP4, in bytes: what lies before the body.
const BOX_HEADER_LEN: usize = 8;

/// A clip of one track.
#[derive(Clone, Debug)]
pub struct Clip {
    /// How it is decoded.
    pub setup: TrackSetup,
    /// Its frames, in order; at least one.
    pub frames: Vec<ClipFrame>,
    /// Its length in units of the track's clock; positive.
    pub clock_len: i64,
}

/// A frame of a clip.
#[derive(Clone, Debug)]
pub struct ClipFrame {
    /// When it is shown, in units of the track's clock since the start of the clip.
    pub clock: i64,
    /// Whether decoding can start here.
    pub key: bool,
    /// Whether it is a leading picture that cannot be decoded from the key picture before it.
    pub leading: bool,
    /// The encoded bytes, as [`Frame::payload`](crate::frame::Frame::payload) has them.
    pub payload: Bytes,
}

impl Clip {
    /// Cuts a picture track: Annex B for H.264 and H.265, whole JPEG files back to back for
    /// MJPEG. The parameter sets of the first picture go into the setup, and none stay in the
    /// frames.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if `data` holds no picture or no parameter sets, if
    /// `codec` is not for pictures, or if `frames_per_s` is 0 or above 1,000.
    pub fn video(codec: Codec, data: &Bytes, frames_per_s: u32) -> Result<Self> {
        if !(1..=1_000).contains(&frames_per_s) {
            let message = format!("a clip cannot have {frames_per_s} pictures per second");
            return Err(Error::invalid(message));
        }
        let (setup, payloads) = match codec {
            Codec::H264 | Codec::H265 => (nal_setup(codec, data)?, nal_payloads(codec, data)?),
            Codec::Mjpeg => cut_mjpeg(data)?,
            _ => return Err(Error::invalid(format!("{codec} is not for pictures"))),
        };
        Self::new(setup, payloads, i64::from(VIDEO_CLOCK_HZ / frames_per_s))
    }

    /// Cuts AAC in ADTS framing; only AAC-LC is known.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if `data` is not whole ADTS frames, or none.
    pub fn aac(data: &Bytes) -> Result<Self> {
        let setup = aac_setup(&parse_adts(data)?.0)?;
        let mut payloads = Vec::new();
        let mut rest = data.clone();
        while !rest.is_empty() {
            let (header, raw) = parse_adts(&rest)?;
            payloads.push(rest.slice_ref(raw));
            rest = rest.slice(usize::from(header.frame_length)..);
        }
        Self::new(setup, payloads, AAC_FRAME_SAMPLE_COUNT)
    }

    /// Cuts G.711 at 8 kHz, one channel, into frames of 20 ms. A shorter rest is left out.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if `codec` is not G.711, or `data` is shorter than
    /// one frame.
    pub fn g711(codec: Codec, data: &Bytes) -> Result<Self> {
        if !matches!(codec, Codec::PcmMulaw | Codec::PcmAlaw) {
            return Err(Error::invalid(format!("{codec} is not G.711")));
        }
        let setup = TrackSetup {
            codec,
            clock_rate_hz: G711_RATE_HZ,
            width_px: 0,
            height_px: 0,
            channel_count: 1,
            extra: Bytes::new(),
        };
        let payloads = data
            .chunks_exact(G711_FRAME_LEN)
            .map(|frame| data.slice_ref(frame))
            .collect();
        Self::new(setup, payloads, G711_FRAME_SAMPLE_COUNT)
    }

    fn new(setup: TrackSetup, payloads: Vec<Bytes>, clock_step: i64) -> Result<Self> {
        if payloads.is_empty() {
            return Err(Error::invalid(format!("the {} clip is empty", setup.codec)));
        }
        let mut clock = 0;
        let frames = payloads
            .into_iter()
            .map(|payload| {
                let flags = PictureFlags::of(setup.codec, &payload);
                let frame = ClipFrame {
                    clock,
                    key: flags.key,
                    leading: flags.leading,
                    payload,
                };
                clock += clock_step;
                frame
            })
            .collect();
        Ok(Self {
            setup,
            frames,
            clock_len: clock,
        })
    }
}

fn nal_payloads(codec: Codec, data: &[u8]) -> Result<Vec<Bytes>> {
    AccessUnits::new(codec, data)
        .map(|unit| {
            let mut payload = Vec::new();
            for nal in unit {
                if !NalType::of(codec, nal).is_some_and(NalType::is_parameter_set) {
                    nal::push_length_prefixed(&mut payload, nal)?;
                }
            }
            Ok(payload.into())
        })
        .collect()
}

/// The setup that the parameter sets of the first access unit describe.
fn nal_setup(codec: Codec, data: &[u8]) -> Result<TrackSetup> {
    let first = AccessUnits::new(codec, data).next().unwrap_or_default();
    let sets = |wanted: &[u8]| -> Vec<Vec<u8>> {
        let is_wanted =
            |nal: &[u8]| NalType::of(codec, nal).is_some_and(|kind| wanted.contains(&kind.code()));
        let nals = first.iter().filter(|nal| is_wanted(nal));
        nals.map(|nal| nal.to_vec()).collect()
    };
    let length_size = LengthSize::FourBytes;
    let (visual, boxed) = if codec == Codec::H264 {
        let config = h264::H264SampleEntryConfig { length_size };
        let entry = h264::build_avc1_box(&sets(&[7]), &sets(&[8]), &config)
            .map_err(|e| unfit("parameter sets of H.264", &e))?;
        (entry.visual, entry.avcc_box.encode_to_vec())
    } else {
        let config = h265::H265SampleEntryConfig {
            length_size,
            avg_frame_rate: h265::H265SampleEntryConfig::AVG_FRAME_RATE_UNSPECIFIED,
            constant_frame_rate: h265::H265ConstantFrameRate::Unknown,
        };
        let entry = h265::build_hvc1_box(&sets(&[32]), &sets(&[33]), &sets(&[34]), &config)
            .map_err(|e| unfit("parameter sets of H.265", &e))?;
        (entry.visual, entry.hvcc_box.encode_to_vec())
    };
    let boxed = boxed.map_err(|e| unfit("decoder configuration", &e))?;
    let body = boxed.get(BOX_HEADER_LEN..).unwrap_or_default();
    Ok(TrackSetup {
        codec,
        clock_rate_hz: VIDEO_CLOCK_HZ,
        width_px: visual.width,
        height_px: visual.height,
        channel_count: 0,
        extra: Bytes::copy_from_slice(body),
    })
}

fn unfit(what: &str, error: &shiguredo_mp4::Error) -> Error {
    Error::invalid(format!("the {what} cannot be used: {error}"))
}

fn parse_adts(data: &[u8]) -> Result<(aac::AdtsHeader, &[u8])> {
    aac::parse_adts_frame(data).map_err(|e| unfit("ADTS frame", &e))
}

/// The decoder configuration that an ADTS header stands for: 5 bits object type, 4 bits index of the
/// sampling frequency, 4 bits channel configuration, 3 bits 0.
fn aac_setup(header: &aac::AdtsHeader) -> Result<TrackSetup> {
    let object_type = header.audio_object_type.as_u8();
    let frequency = header.sampling_frequency_index;
    let channels = header.channel_configuration;
    let extra = [
        (object_type << 3) | (frequency >> 1),
        ((frequency & 1) << 7) | (channels.as_u8() << 3),
    ];
    let config = aac::parse_audio_specific_config(&extra).map_err(|e| unfit("ADTS header", &e))?;
    Ok(TrackSetup {
        codec: Codec::Aac,
        clock_rate_hz: config.sampling_frequency.hz(),
        width_px: 0,
        height_px: 0,
        channel_count: u8::try_from(channels.channel_count()).unwrap_or(0),
        extra: Bytes::copy_from_slice(&extra),
    })
}

fn cut_mjpeg(data: &Bytes) -> Result<(TrackSetup, Vec<Bytes>)> {
    let mut payloads = Vec::new();
    let mut size = (0, 0);
    let mut at = 0;
    while at < data.len() {
        let rest = data.slice(at..);
        let picture = Jpeg::parse(&rest)
            .ok_or_else(|| Error::invalid(format!("there is no JPEG picture at byte {at}")))?;
        size = (picture.width_px, picture.height_px);
        payloads.push(rest.slice(..picture.len));
        at += picture.len;
    }
    let setup = TrackSetup {
        codec: Codec::Mjpeg,
        clock_rate_hz: VIDEO_CLOCK_HZ,
        width_px: size.0,
        height_px: size.1,
        channel_count: 0,
        extra: Bytes::new(),
    };
    Ok((setup, payloads))
}

/// A JPEG picture at the start of some bytes.
struct Jpeg {
    width_px: u16,
    height_px: u16,
    len: usize,
}

impl Jpeg {
    /// Walks the markers from the start of image to the end of image.
    fn parse(data: &[u8]) -> Option<Self> {
        let mut picture = Self {
            width_px: 0,
            height_px: 0,
            len: 0,
        };
        if !data.starts_with(&[0xff, 0xd8]) {
            return None;
        }
        let mut at = 2;
        loop {
            // Between markers lies nothing, or, behind a start of scan, the coded picture.
            while *data.get(at)? != 0xff {
                at += 1;
            }
            let marker = *data.get(at + 1)?;
            at += 2;
            match marker {
                // An escaped 0xff and a restart stand alone.
                0x00 | 0xd0..=0xd7 => {}
                // A fill byte: the second 0xff may begin the marker.
                0xff => at -= 1,
                0xd9 => {
                    picture.len = at;
                    return Some(picture);
                }
                _ => {
                    let segment = data.get(at..)?;
                    // Start of frame, but for DHT (c4), JPG (c8) and DAC (cc).
                    if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
                        picture.height_px = be16(segment.get(3..)?)?;
                        picture.width_px = be16(segment.get(5..)?)?;
                    }
                    at += usize::from(be16(segment)?);
                }
            }
        }
    }
}

fn be16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|pair| u16::from_be_bytes(*pair))
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]
mod tests {
    use super::*;

    const GATE: &[u8] = include_bytes!("clips/gate.h264");
    const YARD: &[u8] = include_bytes!("clips/yard.h265");
    const SOUND: &[u8] = include_bytes!("clips/door.aac");
    const LIFT: &[u8] = include_bytes!("clips/lift.mjpeg");

    fn keys(clip: &Clip) -> Vec<usize> {
        let keys = clip.frames.iter().enumerate().filter(|(_, f)| f.key);
        keys.map(|(number, _)| number).collect()
    }

    // The numbers that these tests expect are ffprobe's.

    #[test]
    fn an_h264_clip_is_cut_into_its_pictures() {
        let clip = Clip::video(Codec::H264, &Bytes::from_static(GATE), 25).unwrap();
        assert_eq!((clip.setup.width_px, clip.setup.height_px), (320, 240));
        assert_eq!((clip.frames.len(), keys(&clip)), (50, vec![0, 25]));
        assert_eq!(clip.clock_len, 2 * 90_000);
        assert_eq!(clip.setup.extra.first(), Some(&1), "avcC has version 1");
        for frame in &clip.frames {
            let mut nals = nal::LengthPrefixed::new(&frame.payload);
            assert!(
                nals.by_ref()
                    .all(|nal| nal[0] & 0x1f != 7 && nal[0] & 0x1f != 8)
            );
            assert!(nals.rest().is_empty());
        }
    }

    #[test]
    fn an_h265_clip_is_cut_into_its_pictures() {
        let clip = Clip::video(Codec::H265, &Bytes::from_static(YARD), 25).unwrap();
        assert_eq!((clip.setup.width_px, clip.setup.height_px), (640, 360));
        assert_eq!((clip.frames.len(), keys(&clip)), (50, vec![0, 25]));
    }

    #[test]
    fn an_mjpeg_clip_is_cut_into_whole_files() {
        let clip = Clip::video(Codec::Mjpeg, &Bytes::from_static(LIFT), 10).unwrap();
        assert_eq!((clip.setup.width_px, clip.setup.height_px), (320, 240));
        assert_eq!(clip.frames.len(), 20);
        let whole = |p: &Bytes| p.starts_with(&[0xff, 0xd8]) && p.ends_with(&[0xff, 0xd9]);
        assert!(clip.frames.iter().all(|f| f.key && whole(&f.payload)));
        let total: usize = clip.frames.iter().map(|f| f.payload.len()).sum();
        assert_eq!(total, LIFT.len());
    }

    #[test]
    fn an_adts_clip_loses_its_headers() {
        let clip = Clip::aac(&Bytes::from_static(SOUND)).unwrap();
        assert_eq!(clip.setup.clock_rate_hz, 16_000);
        assert_eq!(clip.setup.channel_count, 1);
        // AAC-LC (2), 16 kHz (8), mono (1), in 5, 4 and 4 bits.
        assert_eq!(clip.setup.extra.as_ref(), [0x14, 0x08]);
        assert_eq!(clip.frames.len(), 33);
        let total: usize = clip.frames.iter().map(|f| f.payload.len() + 7).sum();
        assert_eq!(total, SOUND.len());
    }

    #[test]
    fn what_is_not_a_clip_is_refused() {
        let junk = Bytes::from_static(b"this is no clip at all");
        for codec in Codec::ALL {
            assert!(Clip::video(codec, &junk, 25).is_err(), "{codec}");
        }
        assert!(Clip::aac(&junk).is_err());
        assert!(Clip::g711(Codec::PcmAlaw, &junk).is_err());
        assert!(Clip::g711(Codec::Aac, &junk).is_err());
        assert!(Clip::video(Codec::H264, &Bytes::from_static(GATE), 0).is_err());
        for cut in [1, 100, LIFT.len() - 1] {
            let cut = Bytes::from_static(&LIFT[..cut]);
            assert!(Clip::video(Codec::Mjpeg, &cut, 10).is_err());
        }
    }
}
