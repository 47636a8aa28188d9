//! Cameras that speak RTSP just well enough to be listened to, and then misbehave as told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use camring::frame::Codec;
use camring::frame::nal::AccessUnits;

use super::bench::LONG;

/// What an actor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Random bytes instead of the first answer.
    NoRtsp,
    /// An answer whose description is random bytes.
    BadDescription,
    /// A description of tracks that nobody knows.
    UnknownTracks,
    /// Plays, and sends packets with random contents.
    BadPackets,
    /// Plays, and sends random bytes between the packets.
    BadFraming,
    /// Never answers.
    Mute,
    /// Plays good H.264, but three packets, of one picture each, are missing after the tenth.
    LosesPackets,
    /// Plays H.264 and G.711. Sound is sent together with pictures that were taken 300 ms later;
    /// sender reports say so, by a clock that believes it is 1970.
    LateSound,
    /// Plays H.264 and G.711; after some pictures only the sound goes on.
    PicturesStop,
}

/// A camera that misbehaves for as long as the process lives.
pub(crate) struct Actor {
    port: u16,
    clients: Arc<(Mutex<u32>, Condvar)>,
}

impl Actor {
    pub(crate) fn start(manner: Manner, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let actor = Self {
            port: listener.local_addr().unwrap().port(),
            clients: Arc::default(),
        };
        let clients = Arc::clone(&actor.clients);
        thread::spawn(move || {
            for (number, client) in (0..).zip(listener.incoming().flatten()) {
                // The client hangs up when it has had enough.
                thread::spawn(move || answer(&client, manner, &mut Random(seed + number)));
                *clients.0.lock().unwrap() += 1;
                clients.1.notify_all();
            }
        });
        actor
    }

    pub(crate) fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/", self.port)
    }

    /// How many connections there have been.
    pub(crate) fn client_count(&self) -> u32 {
        *self.clients.0.lock().unwrap()
    }

    /// Waits until there have been `count` connections.
    pub(crate) fn wait_for_clients(&self, count: u32) {
        let clients = self.clients.0.lock().unwrap();
        let wait = self
            .clients
            .1
            .wait_timeout_while(clients, LONG, |now| *now < count);
        assert!(
            !wait.unwrap().1.timed_out(),
            "waited in vain for {count} connections"
        );
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

/// Answers one client until it hangs up.
fn answer(mut client: &TcpStream, manner: Manner, random: &mut Random) -> std::io::Result<()> {
    let mut lines = BufReader::new(client).lines();
    let mut channels = (0u8..).step_by(2);
    while let Some((method, cseq)) = read_request(&mut lines)? {
        match (manner, method.as_str()) {
            (Manner::Mute, _) => {}
            (Manner::NoRtsp, _) => return client.write_all(&random.bytes(5_000)),
            (_, "DESCRIBE") => {
                let body = description(manner, random);
                let kind = "Content-Type: application/sdp\r\n";
                client.write_all(&response(&cseq, kind, &body))?;
            }
            (_, "SETUP") => {
                let first = channels.next().unwrap_or(0);
                let channels = format!("{first}-{}", first + 1);
                let headers = format!(
                    "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved={channels}\r\n"
                );
                client.write_all(&response(&cseq, &headers, &[]))?;
            }
            (Manner::LosesPackets | Manner::LateSound | Manner::PicturesStop, "PLAY") => {
                client.write_all(&response(&cseq, "Session: 1\r\n", &[]))?;
                match manner {
                    Manner::LosesPackets => send_pictures(client, 10..13)?,
                    Manner::PicturesStop => send_pictures_then_sound(client)?,
                    _ => send_late_sound(client)?,
                }
                return client.read_to_end(&mut Vec::new()).map(drop);
            }
            _ => {
                client.write_all(&response(&cseq, "Session: 1\r\n", &[]))?;
                send_packets(client, manner, random)?;
            }
        }
    }
    Ok(())
}

/// The method and the number of the next request; none at the end.
fn read_request(
    lines: &mut impl Iterator<Item = std::io::Result<String>>,
) -> std::io::Result<Option<(String, String)>> {
    let Some(first) = lines.next().transpose()? else {
        return Ok(None);
    };
    let method = first.split(' ').next().unwrap_or_default().to_owned();
    let mut cseq = String::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(number) = line.strip_prefix("CSeq: ") {
            number.clone_into(&mut cseq);
        }
    }
    Ok(Some((method, cseq)))
}

fn response(cseq: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let head = format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n{headers}Content-Length: {len}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn description(manner: Manner, random: &mut Random) -> Vec<u8> {
    let head = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=actor\r\nt=0 0\r\na=control:*\r\n";
    let media = match manner {
        Manner::BadDescription => return random.bytes(400),
        Manner::UnknownTracks => {
            "m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=control:a\r\n\
             m=audio 0 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=control:b\r\n"
        }
        Manner::LateSound | Manner::PicturesStop => {
            "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:a\r\n\
             m=audio 0 RTP/AVP 0\r\na=control:b\r\n"
        }
        _ => "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:a\r\n",
    };
    [head, media].concat().into_bytes()
}

/// Sends packets of random contents until the client hangs up.
fn send_packets(
    mut client: &TcpStream,
    manner: Manner,
    random: &mut Random,
) -> std::io::Result<()> {
    let mut sequence = 0u16;
    loop {
        let len = 8 + random.next() % 1_000;
        let mut payload = random.bytes(usize::try_from(len).unwrap());
        // The forbidden bit would end the session at once.
        payload[0] &= 0x7f;
        let is_last = random.next().is_multiple_of(2);
        send_packet(client, sequence, sequence / 4, is_last, &payload)?;
        if manner == Manner::BadFraming && sequence == 50 {
            client.write_all(&random.bytes(500))?;
        }
        sequence = sequence.wrapping_add(1);
    }
}

/// Sends each NAL unit of some pictures as a packet, but not of those numbered `lost`. Sequence
/// numbers wrap on the way.
fn send_pictures(client: &TcpStream, lost: Range<u16>) -> std::io::Result<()> {
    let clip = include_bytes!("../../src/ingest/clips/gate.h264");
    let mut sequence = 65_530u16;
    for (number, unit) in (0u16..).zip(AccessUnits::new(Codec::H264, clip)) {
        for (index, nal) in unit.iter().enumerate() {
            let is_last = index + 1 == unit.len();
            if !lost.contains(&number) {
                send_packet(client, sequence, number, is_last, nal)?;
            }
            sequence = sequence.wrapping_add(1);
        }
    }
    Ok(())
}

/// Sends pictures, one packet of sound, sender reports for both, and more sound.
fn send_late_sound(client: &TcpStream) -> std::io::Result<()> {
    send_pictures(client, 20..50)?;
    let sound = |sequence, clock| send_sound(client, sequence, clock);
    // 8,000 per second: the sound began 20 ms before the picture with RTP time 0.
    sound(0, 7_000)?;
    interleave(client, 1, &sender_report(0, 86_400))?;
    interleave(client, 3, &sender_report(7_000 + 160, 86_400))?;
    (1..40).try_for_each(|number| sound(number, 7_000 + 160 * u32::from(number)))
}

/// Sends 20 ms of G.711.
fn send_sound(client: &TcpStream, sequence: u16, clock: u32) -> std::io::Result<()> {
    let (sequence, clock) = (sequence.to_be_bytes(), clock.to_be_bytes());
    let packet = [&[0x80, 0][..], &sequence, &clock, &[0; 4], &[0xff; 160]];
    interleave(client, 2, &packet.concat())
}

/// Sends pictures at once, and then sound at its own speed until the client hangs up.
fn send_pictures_then_sound(client: &TcpStream) -> std::io::Result<()> {
    send_pictures(client, 0..0)?;
    for number in 0.. {
        send_sound(client, number, 160 * u32::from(number))?;
        // As long as the sound lasts.
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// RTCP: source 0 shows RTP time `clock` when its own clock shows `utc_s`.
fn sender_report(clock: u32, utc_s: u32) -> Vec<u8> {
    let since_1900_s = utc_s + 2_208_988_800;
    let words = [0x80c8_0006, 0, since_1900_s, 0, clock, 0, 0];
    words.into_iter().flat_map(u32::to_be_bytes).collect()
}

/// Sends an RTP packet: version 2, payload type 96, 40 ms for each picture, source 0.
fn send_packet(
    client: &TcpStream,
    sequence: u16,
    picture: u16,
    is_last: bool,
    payload: &[u8],
) -> std::io::Result<()> {
    let marker = if is_last { 0x80 } else { 0 };
    let head = [
        &[0x80, marker | 0x60][..],
        &sequence.to_be_bytes(),
        &(u32::from(picture) * 3_600).to_be_bytes(),
        &[0; 4],
    ];
    interleave(client, 0, &[&head.concat(), payload].concat())
}

/// Sends a packet within the RTSP connection.
fn interleave(mut client: &TcpStream, channel: u8, packet: &[u8]) -> std::io::Result<()> {
    let [high, low] = u16::try_from(packet.len()).unwrap().to_be_bytes();
    client.write_all(&[&[b'$', channel, high, low], packet].concat())
}
