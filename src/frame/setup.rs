//! What a decoder must know before the first frame of a stream.

use std::fmt;

use bytes::Bytes;

/// The longest name of a stream, in bytes of UTF-8.
pub const MAX_NAME_LEN: usize = 255;
/// The longest decoder configuration of a track, in bytes.
pub const MAX_EXTRA_LEN: usize = 64 << 10;

/// How a track is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// H.264, MPEG-4 AVC.
    H264,
    /// H.265, HEVC.
    H265,
    /// JPEG pictures.
    Mjpeg,
    /// AAC.
    Aac,
    /// G.711 mu-law.
    PcmMulaw,
    /// G.711 A-law.
    PcmAlaw,
    /// The embedder's own data; camring stores it and does not look into it.
    Private,
}

impl Codec {
    /// All codecs, in the order of their codes on disk, from 1.
    pub const ALL: [Self; 7] = [
        Self::H264,
        Self::H265,
        Self::Mjpeg,
        Self::Aac,
        Self::PcmMulaw,
        Self::PcmAlaw,
        Self::Private,
    ];

    /// Whether the track holds pictures.
    pub fn is_video(self) -> bool {
        matches!(self, Self::H264 | Self::H265 | Self::Mjpeg)
    }

    /// Whether the track holds sound.
    pub fn is_audio(self) -> bool {
        matches!(self, Self::Aac | Self::PcmMulaw | Self::PcmAlaw)
    }

    /// Whether every frame can be decoded by itself.
    pub fn is_all_key(self) -> bool {
        !matches!(self, Self::H264 | Self::H265 | Self::Private)
    }

    /// The usual name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::H265 => "H.265",
            Self::Mjpeg => "MJPEG",
            Self::Aac => "AAC",
            Self::PcmMulaw => "G.711 mu-law",
            Self::PcmAlaw => "G.711 A-law",
            Self::Private => "private",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How one track is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackSetup {
    /// The codec.
    pub codec: Codec,
    /// Units per second of [`Frame::clock`](super::Frame::clock): 90000 for video, the sample
    /// rate for audio. Not 0.
    pub clock_rate_hz: u32,
    /// Width of the picture in pixels; 0 for audio or where unknown.
    pub width_px: u16,
    /// Height of the picture in pixels; 0 for audio or where unknown.
    pub height_px: u16,
    /// Sound channels; 0 for video.
    pub channel_count: u8,
    /// The decoder configuration: the body of `avcC` (H.264) or `hvcC` (H.265), the
    /// `AudioSpecificConfig` (AAC), empty for others.
    pub extra: Bytes,
}

/// What a decoder must know of a stream: sent before its first frame, and at every change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[doc(alias = "SetupFrame")]
pub struct StreamSetup {
    /// The name that people gave the stream; at most 255 bytes.
    pub name: String,
    /// One entry per track, at most 16. Track 0 is the video where there is one.
    pub tracks: Vec<TrackSetup>,
}

impl StreamSetup {
    /// The first track with pictures: decoding of the stream begins at its key frames. None where
    /// there are no pictures; then decoding can begin anywhere.
    pub fn video_track(&self) -> Option<u8> {
        let video = self.tracks.iter().position(|track| track.codec.is_video());
        video.and_then(|n| u8::try_from(n).ok())
    }
}
