//! What goes into a chunk comes out of it, whatever its times, clocks and ordinals are.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const STREAM: StreamId = StreamId(42);

fn any_frame() -> impl Strategy<Value = PendingFrame> {
    let number = prop_oneof![
        any::<i64>(),
        -100_000_i64..100_000,
        Just(i64::MIN),
        Just(i64::MAX)
    ];
    let ordinal = prop_oneof![0_u64..50, any::<u64>()];
    let payload = proptest::collection::vec(any::<u8>(), 0..300);
    (
        ordinal,
        any::<i64>(),
        number.clone(),
        number,
        0_u8..16,
        any::<[bool; 3]>(),
        payload,
    )
        .prop_map(
            |(ordinal, arrival_us, time, clock, track, [key, leading, record], payload)| {
                PendingFrame {
                    ordinal,
                    arrival_us,
                    time: Timestamp(time),
                    clock,
                    track,
                    key,
                    leading,
                    record,
                    payload: Bytes::from(payload),
                }
            },
        )
}

fn encoded(frames: &[PendingFrame]) -> Vec<u8> {
    let mut bytes = vec![0xaa; chunk_len(frames.iter())];
    let summary = encode(&mut bytes, 7, STREAM, 4096, 0, frames.iter());
    assert_eq!(summary.len as usize, bytes.len());
    bytes
}

proptest! {
    #[test]
    fn frames_come_back_as_they_were(frames in proptest::collection::vec(any_frame(), 1..40)) {
        let bytes = encoded(&frames);
        let view = ChunkView::decode(&bytes, 7, STREAM, 4096).unwrap();
        prop_assert_eq!(view.frames.len(), frames.len());
        for (got, want) in view.frames.iter().zip(&frames) {
            prop_assert_eq!(
                (got.ordinal, got.time, got.clock, got.track, got.key, got.leading, got.record),
                (want.ordinal, want.time, want.clock, want.track, want.key, want.leading, want.record)
            );
            prop_assert_eq!(got.payload(&bytes).unwrap(), &want.payload[..]);
        }
    }

    /// Whatever bytes the disk returns, decoding ends with an answer.
    #[test]
    fn rubbish_is_refused_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Some(magic) = bytes.get_mut(..4) { magic.copy_from_slice(&MAGIC) }
        let _ = ChunkView::decode(&bytes, 7, STREAM, 4096);
    }

    /// Impossible entries behind a good checksum are refused, and never read outside the chunk.
    #[test]
    fn changed_entries_behind_a_good_checksum_never_panic(
        frames in proptest::collection::vec(any_frame(), 1..6),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = encoded(&frames);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let count = usize::from(u16::from_le_bytes([bytes[60], bytes[61]]));
        let header_len = (CHUNK_HEADER_LEN + count * FRAME_ENTRY_LEN).clamp(SUMMED_FROM, bytes.len());
        let crc = crc32c(&bytes[SUMMED_FROM..header_len]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        if let Ok(view) = ChunkView::decode(&bytes, 7, STREAM, 4096) {
            for frame in view.frames {
                let _ = frame.payload(&bytes);
            }
        }
    }
}

/// Every single-bit error is noticed: in the header and entries by the chunk's checksum, in a
/// payload by the frame's.
#[test]
fn bit_flips_are_noticed() {
    let frame = |i: u64| PendingFrame {
        ordinal: i,
        arrival_us: 0,
        time: Timestamp(40_000 * i.cast_signed()),
        clock: 3600 * i.cast_signed(),
        track: 0,
        key: i == 0,
        leading: false,
        record: false,
        payload: Bytes::from(vec![i as u8; 50]),
    };
    let frames: Vec<_> = (0..3).map(frame).collect();
    let mut bytes = encoded(&frames);
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let noticed = match ChunkView::decode(&bytes, 7, STREAM, 4096) {
            Err(_) => true,
            Ok(view) => view
                .frames
                .iter()
                .any(|frame| frame.payload(&bytes).is_err()),
        };
        assert!(noticed, "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

/// A chunk of another block, stream or place is refused, whole as it is.
#[test]
fn a_chunk_proves_where_it_belongs() {
    let frame = PendingFrame {
        ordinal: 1,
        arrival_us: 0,
        time: Timestamp(5),
        clock: 0,
        track: 0,
        key: true,
        leading: false,
        record: false,
        payload: Bytes::from_static(b"payload"),
    };
    let bytes = encoded(&[frame]);
    let refused = |tag, stream, offset| ChunkView::decode(&bytes, tag, stream, offset).unwrap_err();
    assert_eq!(refused(8, STREAM, 4096), DecodeError::Foreign);
    assert_eq!(refused(7, StreamId(43), 4096), DecodeError::Foreign);
    assert_eq!(refused(7, STREAM, 8192), DecodeError::Foreign);
}
