#!/usr/bin/python3
"""RTSP cameras made of encoded clips, for tests and load measurements.

Needs Debian's python3-gi, gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-base, -good and -bad.
See README.md beside this file for the URLs and the log.
"""

import argparse
import json
import os
import random
import re
import sys
import threading
import time
import zlib
from dataclasses import dataclass, field

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

DEFAULT_CLIPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/data/clips")
SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class Codec:
    """How one codec is cut into access units, and packed into RTP."""

    parse: str
    pay: str


H26X = "stream-format=byte-stream,alignment=au"
CODECS = {
    "h264": Codec(f"h264parse ! video/x-h264,{H26X}", "rtph264pay pt=96 config-interval=-1"),
    "h265": Codec(f"h265parse ! video/x-h265,{H26X}", "rtph265pay pt=96 config-interval=-1"),
    "mjpeg": Codec("jpegparse", "rtpjpegpay pt=26"),
    "aac": Codec("aacparse ! audio/mpeg,stream-format=raw", "rtpmp4gpay pt=97"),
    "pcmu": Codec("audio/x-mulaw,rate=8000,channels=1", "rtppcmupay pt=0"),
    "pcma": Codec("audio/x-alaw,rate=8000,channels=1", "rtppcmapay pt=8"),
}
G711_FRAME_LEN = 160


@dataclass(frozen=True)
class Kind:
    """What one track of a camera sends."""

    codec: str
    clips: tuple  # played one after the other, in an endless loop
    rate: float  # access units per second
    vary: bool = False  # whether the time between access units varies
    pay_options: str = ""


VIDEO = {
    "h264_2M": Kind("h264", ("h264_720p25_2M.h264",), 25),
    "h264_4M": Kind("h264", ("h264_1080p25_4M.h264",), 25),
    "h264s": Kind("h264", ("h264_240p25_100k.h264",), 25),
    "h264b": Kind("h264", ("h264_360p25_bframes.mp4",), 25),
    "h264vfr": Kind("h264", ("h264_240p25_100k.h264",), 25, vary=True),
    # The parameter sets change every second or two.
    "h264switch": Kind("h264", ("h264_240p25_100k.h264", "h264_720p25_2M.h264"), 25),
    # RTP time begins two seconds (at 90 kHz) before it wraps.
    "h264wrap": Kind("h264", ("h264_240p25_100k.h264",), 25, pay_options="timestamp-offset=4294787296"),
    "h265": Kind("h265", ("h265_720p25_2M.h265",), 25),
    # Open GOPs: key pictures are CRA, and RASL pictures follow them.
    "h265cra": Kind("h265", ("h265_360p25_opengop.mp4",), 25),
    "mjpeg": Kind("mjpeg", ("mjpeg_240p10.mjpeg",), 10),
}
AUDIO = {
    "aac": Kind("aac", ("aac_48k.aac",), 48_000 / 1_024),
    "pcmu": Kind("pcmu", ("g711_8k.ul",), 50),
    "pcma": Kind("pcma", ("g711_8k.al",), 50),
}


@dataclass(frozen=True)
class AccessUnit:
    data: GLib.Bytes
    key: bool
    pts_after_dts_ns: int
    log: dict  # what the log says of it: length and checksums


def nal_units(annex_b):
    """The NAL units of Annex B data, without start codes and trailing zeros."""
    starts = [(m.start(), m.end()) for m in re.finditer(b"\x00\x00\x01", annex_b)]
    ends = [start for start, _ in starts[1:]] + [len(annex_b)]
    return [annex_b[begin:end].rstrip(b"\0") for (_, begin), end in zip(starts, ends)]


def is_slice(codec, nal):
    return 1 <= nal[0] & 0x1F <= 5 if codec == "h264" else (nal[0] >> 1) & 0x3F < 32


def parts(codec, data):
    """The pieces of an access unit that RTP must carry unchanged: the slices, or the coded scan of
    a JPEG (RTP rebuilds its headers), or all of it."""
    if codec in ("h264", "h265"):
        return [nal for nal in nal_units(data) if is_slice(codec, nal)]
    if codec == "mjpeg":
        scan = data.index(b"\xff\xda")
        scan += 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
        return [data[scan : data.rindex(b"\xff\xd9")]]
    return [data]


def access_unit(codec, data, key, pts_after_dts_ns):
    log = {"len": len(data), "parts": [zlib.crc32(part) for part in parts(codec, data)]}
    return AccessUnit(GLib.Bytes.new(data), key, pts_after_dts_ns, log)


def load_g711(path, codec):
    with open(path, "rb") as file:
        data = file.read()
    frames = [data[at : at + G711_FRAME_LEN] for at in range(0, len(data), G711_FRAME_LEN)]
    return [access_unit(codec, f, True, 0) for f in frames if len(f) == G711_FRAME_LEN]


def load_clip(path, codec):
    """Cuts a clip into access units. Returns them, and the caps they have."""
    if codec in ("pcmu", "pcma"):
        return load_g711(path, codec), CODECS[codec].parse
    demux = "qtdemux ! " if path.endswith(".mp4") else ""
    launch = f'filesrc location="{path}" ! {demux}{CODECS[codec].parse} ! appsink name=s sync=false'
    pipeline = Gst.parse_launch(launch)
    sink = pipeline.get_by_name("s")
    pipeline.set_state(Gst.State.PLAYING)
    units, caps = [], None
    while sample := sink.emit("try-pull-sample", 5 * SECOND_NS):
        caps, buffer = sample.get_caps().to_string(), sample.get_buffer()
        data = buffer.extract_dup(0, buffer.get_size())
        key = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
        has_times = demux and Gst.CLOCK_TIME_NONE not in (buffer.pts, buffer.dts)
        offset = max(0, buffer.pts - buffer.dts) if has_times else 0
        units.append(access_unit(codec, data, key, offset))
    pipeline.set_state(Gst.State.NULL)
    if not units:
        sys.exit(f"no access units in {path}")
    return units, caps


class Clips:
    """The clips of all kinds, each loaded when it is first wanted."""

    def __init__(self, folder):
        self.folder = folder
        self.loaded = {}

    def of(self, kind):
        """All access units of one turn of a kind, and the caps of the first."""
        loaded = [self.one(name, kind.codec) for name in kind.clips]
        caps = loaded[0][1]
        if len(loaded) > 1:  # the parameter sets in the stream say more than the caps
            caps = f"video/x-{kind.codec},{H26X}"
        return [unit for units, _ in loaded for unit in units], caps

    def one(self, name, codec):
        if name not in self.loaded:
            self.loaded[name] = load_clip(os.path.join(self.folder, name), codec)
        return self.loaded[name]


class Log:
    """One JSON line for each access unit that is handed to a client's pipeline."""

    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8") if path else None
        self.session_count = 0

    def next_session(self):
        self.session_count += 1
        return self.session_count

    def write(self, **fields):
        if self.file:
            self.file.write(json.dumps(fields) + "\n")

    def flush(self):
        if self.file:
            self.file.flush()


@dataclass
class Feed:
    """Feeds one track of one session at the speed of its kind, with growing times."""

    source: Gst.Element
    kind: Kind
    units: list
    log: Log
    session: int
    mount: str
    track: int
    index: int = 0
    start: float = None  # when index 0 was due, by the monotonic clock
    offset_ns: int = 0  # when the next access unit is due, since the start
    pts_base_ns: int = 0
    spacing: random.Random = field(default_factory=lambda: random.Random(7))

    def step(self, now):
        """Pushes what is due."""
        if self.start is None:
            self.begin(now)
        while self.start + self.offset_ns / SECOND_NS <= now:
            if not self.push(self.units[self.index % len(self.units)]):
                self.start = None  # not started yet: begin again, with fresh times
                return
            self.index += 1
            self.offset_ns += self.next_interval_ns()

    def begin(self, now):
        self.start, self.offset_ns = now, 0
        clock, base = self.source.get_clock(), self.source.get_base_time()
        self.pts_base_ns = clock.get_time() - base if clock and base else 0

    def next_interval_ns(self):
        even = SECOND_NS / self.kind.rate
        return int(even * self.spacing.uniform(0.5, 1.5)) if self.kind.vary else int(even)

    def push(self, unit):
        buffer = Gst.Buffer.new_wrapped_bytes(unit.data)
        buffer.dts = self.pts_base_ns + self.offset_ns
        buffer.pts = buffer.dts + unit.pts_after_dts_ns
        buffer.duration = int(SECOND_NS / self.kind.rate)
        if not unit.key:
            buffer.set_flags(Gst.BufferFlags.DELTA_UNIT)
        pts = buffer.pts
        if self.source.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
            return False
        where = {"session": self.session, "mount": self.mount, "track": self.track}
        self.log.write(**where, index=self.index, key=unit.key, pts_ns=pts, **unit.log)
        return True


class Feeder(threading.Thread):
    """The one thread that feeds all sessions."""

    def __init__(self, log):
        super().__init__(daemon=True)
        self.log = log
        self.feeds = []
        self.lock = threading.Lock()
        self.shall_rest, self.rests = threading.Event(), threading.Event()

    def rest(self):
        """Feeds nothing any more. When this returns, the log holds all that was fed."""
        self.shall_rest.set()
        self.rests.wait()

    def add(self, feeds):
        with self.lock:
            self.feeds = self.feeds + feeds

    def remove(self, feeds):
        with self.lock:
            self.feeds = [feed for feed in self.feeds if feed not in feeds]

    def run(self):
        while not self.shall_rest.is_set():
            now = time.monotonic()
            with self.lock:
                feeds = self.feeds
            for feed in feeds:
                feed.step(now)
            self.log.flush()
            time.sleep(max(0.002, 0.01 - (time.monotonic() - now)))
        self.rests.set()


class Camera(GstRtspServer.RTSPMediaFactory):
    """One URL. Each client that comes gets the camera from the start of its clips."""

    def __init__(self, mount, kinds, clips, feeder):
        super().__init__()
        self.mount, self.kinds, self.clips, self.feeder = mount, kinds, clips, feeder
        self.connect("media-configure", self.configure)

    def do_create_element(self, _url):
        tracks = []
        for number, kind in enumerate(self.kinds):
            _, caps = self.clips.of(kind)
            pay = f"{CODECS[kind.codec].pay} {kind.pay_options} name=pay{number}"
            source = f"appsrc name=src{number} is-live=true format=time max-bytes=8000000"
            tracks.append(f'{source} caps="{caps}" ! {pay}')
        return Gst.parse_launch("( " + " ".join(tracks) + " )")

    def configure(self, _factory, media):
        media.set_reusable(False)
        session, pipeline = self.feeder.log.next_session(), media.get_element()
        feeds = []
        for number, kind in enumerate(self.kinds):
            source, units = pipeline.get_by_name(f"src{number}"), self.clips.of(kind)[0]
            feeds.append(Feed(source, kind, units, self.feeder.log, session, self.mount, number))
        self.feeder.add(feeds)
        media.connect("unprepared", lambda _media: self.feeder.remove(feeds))


def mounts(count):
    """All URLs with their tracks."""
    for video, picture in VIDEO.items():
        for sound in [None, *AUDIO]:
            name = f"{video}+{sound}" if sound else video
            kinds = [picture, AUDIO[sound]] if sound else [picture]
            for number in range(count):
                yield f"/{name}/{number}", kinds


def add_login(server, args):
    """Lets in nobody but the one user."""
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    if args.auth == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(args.user, args.password, token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(args.user, args.password), token)
    server.set_auth(auth)


def obey_input(feeder):
    """Takes orders from standard input. Its end ends the program: the parent held the other end."""
    for line in sys.stdin.buffer:
        if line == b"rest\n":
            feeder.rest()
            print("resting", flush=True)
    os._exit(0)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", default="8554", help="0 takes any free port")
    parser.add_argument("--count", type=int, default=1, help="cameras of each kind")
    parser.add_argument("--clips", default=DEFAULT_CLIPS, help="folder of the clips")
    parser.add_argument("--user", help="ask for this user")
    parser.add_argument("--password", default="", help="and this password")
    parser.add_argument("--auth", choices=["digest", "basic"], default="digest")
    parser.add_argument("--log", help="file for one JSON line per access unit")
    parser.add_argument("--obey", action="store_true", help="take orders from standard input, and exit at its end")
    return parser.parse_args()


def main():
    args = arguments()
    Gst.init(None)
    clips, feeder = Clips(args.clips), Feeder(Log(args.log))
    feeder.start()
    if args.obey:
        threading.Thread(target=obey_input, args=[feeder], daemon=True).start()
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(args.port)
    if args.user:
        add_login(server, args)
    for mount, kinds in mounts(args.count):
        camera = Camera(mount, kinds, clips, feeder)
        if args.user:
            role = "user,media.factory.access=true,media.factory.construct=true"
            camera.add_role_from_structure(Gst.Structure.new_from_string(role))
        server.get_mount_points().add_factory(mount, camera)
    if not server.attach(None):
        sys.exit(f"cannot listen on port {args.port}")
    print("ready", server.get_bound_port(), flush=True)
    GLib.timeout_add_seconds(2, lambda: server.get_session_pool().cleanup() >= 0)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
