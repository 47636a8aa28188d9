//! What a camera offers, and which of it is recorded: the first picture track and the first sound
//! track whose codecs are known.

use bytes::Bytes;
use retina::client::Stream;
use retina::codec::ParametersRef;

use crate::frame::setup::MAX_EXTRA_LEN;
use crate::frame::{Codec, StreamSetup, TrackSetup};

/// A track that is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Track {
    /// Its index among all that the camera offers.
    pub(super) offer: usize,
    pub(super) codec: Codec,
    pub(super) clock_rate_hz: u32,
}

/// What is recorded, pictures first, and the names of what is not.
pub(super) fn choose(offers: &[Stream]) -> (Vec<Track>, Vec<String>) {
    let usable = |wanted: fn(Codec) -> bool| {
        let tracks = offers.iter().enumerate().filter_map(usable_track);
        tracks.into_iter().find(|track| wanted(track.codec))
    };
    let video = usable(Codec::is_video);
    let audio = usable(Codec::is_audio);
    let tracks: Vec<Track> = video.into_iter().chain(audio).collect();
    let is_left_out = |offer: &usize| !tracks.iter().any(|track| track.offer == *offer);
    let left_out = offers.iter().enumerate();
    let left_out = left_out
        .filter(|(offer, _)| is_left_out(offer))
        .map(|(_, stream)| format!("{}/{}", stream.media(), stream.encoding_name()))
        .collect();
    (tracks, left_out)
}

fn usable_track((offer, stream): (usize, &Stream)) -> Option<Track> {
    let codec = codec(stream.media(), stream.encoding_name())?;
    // Sound is described in full from the start, or retina does not understand it.
    if stream.clock_rate_hz() == 0 || (codec.is_audio() && stream.parameters().is_none()) {
        return None;
    }
    Some(Track {
        offer,
        codec,
        clock_rate_hz: stream.clock_rate_hz(),
    })
}

/// By the names that IANA gives media types.
fn codec(media: &str, encoding: &str) -> Option<Codec> {
    match (media, encoding) {
        ("video", "h264") => Some(Codec::H264),
        ("video", "h265") => Some(Codec::H265),
        ("video", "jpeg") => Some(Codec::Mjpeg),
        ("audio", "mpeg4-generic") => Some(Codec::Aac),
        ("audio", "pcmu") => Some(Codec::PcmMulaw),
        ("audio", "pcma") => Some(Codec::PcmAlaw),
        _ => None,
    }
}

/// How the tracks are decoded; none while the camera has not yet told it of all of them, or when
/// it tells more than a volume takes.
pub(super) fn setup(name: &str, tracks: &[Track], offers: &[Stream]) -> Option<StreamSetup> {
    let tracks = tracks
        .iter()
        .map(|track| track_setup(track, offers.get(track.offer)?))
        .collect::<Option<_>>()?;
    Some(StreamSetup {
        name: name.to_owned(),
        tracks,
    })
}

fn track_setup(track: &Track, offer: &Stream) -> Option<TrackSetup> {
    let mut setup = TrackSetup {
        codec: track.codec,
        clock_rate_hz: track.clock_rate_hz,
        width_px: 0,
        height_px: 0,
        channel_count: 0,
        extra: Bytes::new(),
    };
    match offer.parameters()? {
        ParametersRef::Video(video) => {
            let (width_px, height_px) = video.pixel_dimensions();
            setup.width_px = u16::try_from(width_px).unwrap_or(0);
            setup.height_px = u16::try_from(height_px).unwrap_or(0);
            setup.extra = Bytes::copy_from_slice(video.extra_data());
        }
        ParametersRef::Audio(audio) => {
            setup.channel_count = u8::try_from(audio.channels().get()).unwrap_or(0);
            if track.codec == Codec::Aac {
                setup.extra = Bytes::copy_from_slice(audio.extra_data());
            }
        }
        ParametersRef::Message(_) => return None,
    }
    (setup.extra.len() <= MAX_EXTRA_LEN).then_some(setup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_known_by_their_media_types() {
        assert_eq!(codec("video", "h265"), Some(Codec::H265));
        assert_eq!(codec("audio", "pcmu"), Some(Codec::PcmMulaw));
        assert_eq!(codec("video", "vp8"), None);
        assert_eq!(codec("application", "vnd.onvif.metadata"), None);
        assert_eq!(codec("audio", "h264"), None);
    }
}
