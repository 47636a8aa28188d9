//! One connection to one camera, from the first request to the end of the stream.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use retina::UNIX_EPOCH;
use retina::client::{
    Demuxed, InitialSequenceNumberPolicy, InitialTimestampPolicy, PlayOptions, Session,
    SessionGroup, SessionOptions, SetupOptions, TcpTransportOptions, TeardownPolicy,
    UdpTransportOptions,
};
use retina::codec::{AudioFrame, CodecItem, FrameFormat, VideoFrame};
use retina::rtcp::ReceivedCompoundPacket;
use tokio::time::timeout;

use super::anchor::CameraTime;
use super::outlet::Outlet;
use super::retry::{Backoff, Watchdog};
use super::status::{CameraState, CameraStatus};
use super::tracks::{self, Track};
use super::{Options, RtspCamera, Transport};
use crate::base::error::Error;
use crate::base::sync::Arc;
use crate::base::time::{Clock, Now, US_PER_S};
use crate::frame::Frame;
use crate::frame::nal::PictureFlags;

const USER_AGENT: &str = concat!("camring/", env!("CARGO_PKG_VERSION"));

/// How many lost sessions of a camera are told goodbye at a time.
const MAX_GOODBYE_COUNT: usize = 4;

/// Why a session ended.
#[derive(Debug)]
pub(super) enum Failure {
    /// The camera, or the way to it.
    Camera(String),
    /// The camera does not accept the login.
    Login(String),
    /// The sink, for good.
    Sink(Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Camera(text) | Self::Login(text) => f.write_str(text),
            Self::Sink(error) => write!(f, "the sink failed: {error}"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sink(error)
    }
}

/// What all sessions of a camera share.
pub(super) struct Context<'a> {
    pub(super) camera: &'a RtspCamera,
    pub(super) options: &'a Options,
    pub(super) clock: &'a dyn Clock,
    pub(super) status: &'a CameraStatus,
    pub(super) group: &'a Arc<SessionGroup>,
}

/// Connects to the camera and records it until something fails.
pub(super) async fn record(
    context: &Context<'_>,
    outlet: &mut Outlet,
    backoff: &mut Backoff,
) -> Result<Infallible, Failure> {
    let limit = context.options.connect_timeout;
    let (tracks, demuxed) = timeout(limit, connect(context))
        .await
        .map_err(|_| Failure::Camera(format!("the camera did not answer within {limit:?}")))??;
    let mut playing = Playing {
        time: CameraTime::new(tracks.iter().map(|track| track.clock_rate_hz)),
        watchdog: Watchdog::new(context.options, context.clock.now().boot_us),
        is_described: false,
        context,
        tracks,
        outlet,
        backoff,
    };
    playing.pump(demuxed).await
}

async fn connect(context: &Context<'_>) -> Result<(Vec<Track>, Demuxed), Failure> {
    let Context { camera, group, .. } = *context;
    let fail = |error: retina::Error| failure(camera, &error);
    // Goodbyes to lost sessions go on in the background, for as long as the camera says.
    let is_polite = group.stale_sessions().num_sessions < MAX_GOODBYE_COUNT;
    let options = SessionOptions::default()
        .creds(camera.credentials().map(super::Credentials::to_retina))
        .teardown(if is_polite {
            TeardownPolicy::Auto
        } else {
            TeardownPolicy::Never
        })
        .session_group(Arc::clone(group))
        .user_agent(USER_AGENT.to_owned());
    let described = Session::describe(camera.url().clone(), options).await;
    let mut session = described.map_err(fail)?;
    let (tracks, left_out) = tracks::choose(session.streams());
    if tracks.is_empty() {
        let offered = left_out.join(", ");
        let text = format!("the camera offers nothing that can be recorded, only [{offered}]");
        return Err(Failure::Camera(printable(&text)));
    }
    if !left_out.is_empty() {
        tracing::info!(
            stream = camera.stream().0,
            ?left_out,
            "not all tracks are recorded"
        );
    }
    for track in &tracks {
        let transport = match camera.transport() {
            Transport::Tcp => retina::client::Transport::Tcp(TcpTransportOptions::default()),
            Transport::Udp => retina::client::Transport::Udp(UdpTransportOptions::default()),
        };
        let options = SetupOptions::default()
            .transport(transport)
            .frame_format(FrameFormat::MP4);
        session.setup(track.offer, options).await.map_err(fail)?;
    }
    // What cameras say of the first packet is often wrong, and not needed.
    let options = PlayOptions::default()
        .initial_timestamp(InitialTimestampPolicy::Ignore)
        .initial_seq(InitialSequenceNumberPolicy::Ignore);
    let playing = session.play(options).await.map_err(fail)?;
    Ok((tracks, playing.demuxed().map_err(fail)?))
}

/// Makes a short text of what retina says at length.
fn failure(camera: &RtspCamera, error: &retina::Error) -> Failure {
    let full = camera.without_secrets(&error.to_string());
    tracing::debug!(stream = camera.stream().0, error = full, "RTSP error");
    match (error.status_code(), camera.credentials()) {
        (Some(401 | 403), Some(_)) => {
            Failure::Login("the camera refuses the user name or the password".to_owned())
        }
        (Some(401 | 403), None) => {
            Failure::Login("the camera asks for a user name and a password".to_owned())
        }
        (Some(404), _) => Failure::Camera(
            "the camera has no stream there (404 Not Found). Check the path in its URL".to_owned(),
        ),
        _ => Failure::Camera(printable(full.lines().next().unwrap_or_default())),
    }
}

/// `text`, parts of which come from a camera, fit for a terminal: short, and without control
/// characters.
fn printable(text: &str) -> String {
    const MAX_CHAR_COUNT: usize = 300;
    let harmless = |c: char| if c.is_control() { '?' } else { c };
    text.chars().take(MAX_CHAR_COUNT).map(harmless).collect()
}

/// A session whose stream is running.
struct Playing<'a> {
    context: &'a Context<'a>,
    tracks: Vec<Track>,
    time: CameraTime,
    watchdog: Watchdog,
    /// Whether the setup of all tracks is known.
    is_described: bool,
    outlet: &'a mut Outlet,
    backoff: &'a mut Backoff,
}

/// A frame as retina gives it, without the differences between pictures and sound.
struct Arrived {
    offer: usize,
    clock: i64,
    lost_packet_count: u16,
    has_new_parameters: bool,
    payload: Bytes,
}

impl Playing<'_> {
    async fn pump(&mut self, mut demuxed: Demuxed) -> Result<Infallible, Failure> {
        loop {
            let patience_us = self.watchdog.patience_us(self.context.clock.now().boot_us);
            let patience = Duration::from_micros(patience_us.unsigned_abs());
            // Items that are no frames may always be at hand, so time is up whatever comes.
            let next = match timeout(patience, demuxed.next()).await {
                Ok(next) if patience_us > 0 => next,
                _ => return Err(self.silent()),
            };
            let item = next
                .ok_or_else(|| Failure::Camera("the camera ended the stream".to_owned()))?
                .map_err(|error| failure(self.context.camera, &error))?;
            let now = self.context.clock.now();
            match item {
                CodecItem::VideoFrame(frame) => self.frame(frame.into(), &demuxed, now)?,
                CodecItem::AudioFrame(frame) => self.frame(frame.into(), &demuxed, now)?,
                CodecItem::Rtcp(packet) => self.report(&packet),
                _ => {}
            }
        }
    }

    fn silent(&self) -> Failure {
        let limit = self.context.options.read_timeout;
        let has_pictures = self.tracks.iter().any(|track| track.codec.is_video());
        let what = if has_pictures { "picture" } else { "sound" };
        Failure::Camera(format!("the camera sent no {what} for {limit:?}"))
    }

    fn frame(&mut self, arrived: Arrived, demuxed: &Demuxed, now: Now) -> Result<(), Failure> {
        let Some((number, track)) = self.track(arrived.offer) else {
            return Ok(());
        };
        if (arrived.has_new_parameters || !self.is_described) && !self.describe(demuxed) {
            // Nobody could decode it. The camera will tell how, soon or never.
            return Ok(self.outlet.no_signal(now)?);
        }
        let stamp = self.time.stamp(number, arrived.clock, now);
        if stamp.moved_us != 0 {
            self.context.status.count_clock_move();
            tracing::warn!(
                stream = self.context.camera.stream().0,
                track = number,
                moved_us = stamp.moved_us,
                "camera clock and arrival had drifted apart"
            );
        }
        let flags = PictureFlags::of(track.codec, &arrived.payload);
        // Sound alone does not make up for pictures that have stopped: track 0 is the pictures,
        // where there are any.
        if number == 0 {
            self.watchdog.frame(now.boot_us);
        }
        self.backoff.frame(now.boot_us);
        self.context.status.set_state(CameraState::Recording);
        let frame = Frame {
            track: u8::try_from(number).unwrap_or(u8::MAX),
            key: flags.key,
            leading: flags.leading,
            time: stamp.time,
            clock: arrived.clock,
            payload: arrived.payload,
        };
        Ok(self.outlet.frame(frame, arrived.lost_packet_count)?)
    }

    /// The recorded track that the camera offers as number `offer`.
    fn track(&self, offer: usize) -> Option<(usize, Track)> {
        let tracks = self.tracks.iter().copied().enumerate();
        tracks.into_iter().find(|(_, track)| track.offer == offer)
    }

    /// Reads the setup from what the camera has told so far; false if that is not enough.
    fn describe(&mut self, demuxed: &Demuxed) -> bool {
        let name = self.context.camera.name();
        let setup = tracks::setup(name, &self.tracks, demuxed.streams());
        self.is_described = setup.is_some();
        if let Some(setup) = setup {
            self.outlet.set_setup(setup);
        }
        self.is_described
    }

    fn report(&mut self, packet: &ReceivedCompoundPacket) {
        let first = packet.pkts().next();
        let report = first.and_then(|first| first.as_sender_report().ok().flatten());
        let (Some(clock), Some(report), Some((number, _))) = (
            packet.rtp_timestamp(),
            report,
            self.track(packet.stream_id()),
        ) else {
            return;
        };
        let camera_us = ntp_to_utc_us(report.ntp_timestamp().0);
        let moved_us = self.time.report(number, clock.timestamp(), camera_us);
        if moved_us != 0 {
            let stream = self.context.camera.stream().0;
            tracing::debug!(stream, moved_us, "sound is moved beside the pictures");
        }
    }
}

/// 32 bits of seconds since 1900 and 32 bits of fraction, in microseconds since 1970.
fn ntp_to_utc_us(ntp: u64) -> i64 {
    let since_1970 = ntp.wrapping_sub(UNIX_EPOCH.0);
    let seconds = i64::try_from(since_1970 >> 32).unwrap_or(0);
    let fraction_us = ((since_1970 & 0xffff_ffff) * US_PER_S.unsigned_abs()) >> 32;
    seconds * US_PER_S + fraction_us.cast_signed()
}

impl From<VideoFrame> for Arrived {
    fn from(frame: VideoFrame) -> Self {
        Self {
            offer: frame.stream_id(),
            clock: frame.timestamp().timestamp(),
            lost_packet_count: frame.loss(),
            has_new_parameters: frame.has_new_parameters(),
            payload: frame.into_data().into(),
        }
    }
}

impl From<AudioFrame> for Arrived {
    fn from(frame: AudioFrame) -> Self {
        Self {
            offer: frame.stream_id(),
            clock: frame.timestamp().timestamp(),
            lost_packet_count: frame.loss(),
            has_new_parameters: false,
            payload: Bytes::from_owner(Sound(frame)),
        }
    }
}

/// A frame of sound as the owner of its bytes: retina lends them, and a copy would be one too many.
struct Sound(AudioFrame);

impl AsRef<[u8]> for Sound {
    fn as_ref(&self) -> &[u8] {
        self.0.data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_camera_says_cannot_command_the_terminal() {
        let said = format!("video/\u{1b}[2J\nvp8{}", "x".repeat(1_000));
        let shown = printable(&said);
        assert!(shown.starts_with("video/?[2J?vp8x"));
        assert_eq!(shown.chars().count(), 300);
    }

    #[test]
    fn ntp_time_becomes_microseconds_since_1970() {
        let seconds = |s: u64| s << 32;
        assert_eq!(ntp_to_utc_us(seconds(2_208_988_800)), 0);
        let half_past = seconds(2_208_988_800 + 1_700_000_000) + (1 << 31);
        assert_eq!(ntp_to_utc_us(half_past), 1_700_000_000_500_000);
        // Era 1 begins in 2036, where the seconds wrap.
        assert_eq!(ntp_to_utc_us(0), 2_085_978_496_000_000);
    }
}
