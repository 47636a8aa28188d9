//! What must have come out by now.

use camring::base::time::TimeRange;
use camring::player::{State, StreamKey};

use crate::recording::{Due, Piece, Stream};
use crate::scenario::Scenario;

/// What has come of a stream since the player was sent somewhere.
#[derive(Debug, Default)]
pub(crate) struct Came {
    /// The time, or those at any of which it may have joined.
    pub(crate) targets: Vec<i64>,
    /// Whether it joins at the head as soon as it can.
    pub(crate) is_joining: bool,
    /// Whether it was sent there; it has only turned round there otherwise.
    is_sent: bool,
    /// Whether it has come from other places, too: only the head is looked at.
    pub(crate) is_mixed: bool,
    pub(crate) pieces: Vec<Piece>,
    /// What had come when it joined again.
    before: Vec<Piece>,
    /// What was told of what lies between.
    pub(crate) left_out: Option<TimeRange>,
}

impl Came {
    pub(crate) fn at(target: i64, is_sent: bool) -> Self {
        Self {
            targets: vec![target],
            is_joining: false,
            is_sent,
            is_mixed: false,
            pieces: Vec::new(),
            before: Vec::new(),
            left_out: None,
        }
    }

    pub(crate) fn has_frames(&self) -> bool {
        self.pieces.iter().any(|piece| piece.is_frame())
    }

    /// It goes on at one of `heads`, behind what has come. What is left out is told, and nothing
    /// else.
    pub(crate) fn rejoin(&mut self, stream: &Stream, heads: Vec<i64>) {
        self.before.append(&mut self.pieces);
        let told = self.left_out.take();
        let newest = self.newest_lead(stream);
        let goes_on = |head: &i64| {
            let next = self.expected(stream, *head).into_iter();
            let mut next = next.map(|due| due.piece.number());
            let next = next.find(|n| stream.leads(*n));
            let count = stream.frames.len();
            let to = next.unwrap_or(count);
            let mut between = newest.map_or(to, |newest| newest + 1)..to;
            let is_short = between.any(|n| stream.leads(n));
            let Some(told) = told else { return !is_short };
            let is_end = |time| told.end.0 == time;
            let is_next = next.is_some_and(|next| is_end(stream.frames[next].time));
            // Where no sound lies ahead, it is told up to the head.
            is_short && (is_next || !stream.has_pictures() && is_end(*head))
        };
        self.targets = heads.into_iter().filter(goes_on).collect();
    }

    /// The newest picture that had come; where there are none, the newest sound.
    fn newest_lead(&self, stream: &Stream) -> Option<usize> {
        let numbers = self.before.iter().filter(|piece| piece.is_frame());
        let numbers = numbers.map(|piece| piece.number());
        numbers.filter(|n| stream.leads(*n)).max()
    }

    /// What must come once it was sent to `target`, or has joined again there.
    fn expected(&self, stream: &Stream, target: i64) -> Vec<Due> {
        let mut expected = stream.expected(target);
        if self.before.is_empty() {
            return expected;
        }
        // Sound and pictures are not in the order in which they were recorded.
        let newest = self.newest_lead(stream);
        let came = |n: usize| self.before.iter().any(|b| b.is_frame() && b.number() == n);
        expected.retain(|due| {
            let number = due.piece.number();
            let is_old = stream.leads(number) && Some(number) <= newest;
            let is_gap_again = !due.piece.is_frame() && self.before.contains(&due.piece);
            !is_gap_again && !(due.piece.is_frame() && (is_old || came(number)))
        });
        expected
    }

    /// A stream that was mapped joins at the head; whether that is where it was then or where it
    /// is now is not known before its first frame.
    pub(crate) fn join(&mut self, head: i64) {
        if self.is_joining && self.pieces.is_empty() && self.targets.last() != Some(&head) {
            self.targets.push(head);
        }
    }
}

impl Scenario {
    pub(crate) fn check(&self) {
        let Some(head) = self.head() else { return };
        if matches!(self.player.state(), State::Seeking | State::Stopped) {
            return;
        }
        self.check_head(head);
        for (key, came) in self.mapped.iter().filter(|(_, came)| !came.is_mixed) {
            if self.is_backward {
                self.check_backward(*key, came, head);
            } else {
                self.check_forward(*key, came, head);
            }
        }
    }

    /// Whether the head is where steps and a loop let it be.
    fn check_head(&self, head: i64) {
        let context = &self.context;
        // In a cache that holds a few frames only, it is not known which picture is the next.
        let stepping = self
            .stepping
            .filter(|_| !self.is_tiny && self.is_satisfied() && self.were_broken.is_empty());
        if let Some((to, is_end)) = stepping {
            let is_there = to.is_none_or(|to| to == head) && is_end == self.has_ended;
            assert!(
                is_there,
                "{context}: stepped to {head}, not {to:?} {is_end}"
            );
        }
        let is_forward = self.player.state() == State::Playing && !self.is_backward;
        if let Some((_, end)) = self.looped.filter(|_| is_forward) {
            let is_inside = head <= end || self.last_head > end;
            assert!(is_inside, "{context}: at {head}, behind the loop to {end}");
        }
    }

    fn check_forward(&self, key: StreamKey, came: &Came, head: i64) {
        let stream = &self.streams[&key];
        let is_satisfied = self.is_satisfied() && !self.broken.contains(&key.source);
        let faults = came.targets.iter();
        let may_stall = self.were_stuck.contains(&key.source);
        let faults = faults.map(|target| {
            let expected = came.expected(stream, *target);
            let pieces = came.pieces.clone();
            if may_stall {
                // Where the head went on without pictures, it is open when sound comes.
                let is_sound = |n: usize| stream.has_pictures() && !stream.is_picture(n);
                let is_open = |piece: Piece| piece.is_frame() && is_sound(piece.number());
                let plain = |piece| self.plain(key, piece);
                let expected = expected.into_iter().filter(|due| !is_open(due.piece));
                let expected = expected.map(|due| Due {
                    piece: plain(due.piece),
                    ..due
                });
                let pieces = pieces.into_iter().filter(|piece| !is_open(*piece));
                return fault(
                    &expected.collect::<Vec<_>>(),
                    &pieces.map(plain).collect::<Vec<_>>(),
                    head,
                    is_satisfied,
                );
            }
            fault(&expected, &pieces, head, is_satisfied)
        });
        let faults: Option<Vec<_>> = faults.collect();
        if let Some(faults) = faults {
            panic!(
                "{}: {key:?} sent to {:?}, head {head}, {:?}: came {:?}, but {faults:?}",
                self.context,
                came.targets,
                self.player.state(),
                came.pieces
            );
        }
    }

    /// Where a read fails on the way, the newest picture that it brought is to be seen.
    fn plain(&self, key: StreamKey, piece: Piece) -> Piece {
        if self.were_broken.contains(&key.source) {
            piece.unmarked()
        } else {
            piece
        }
    }

    fn check_backward(&self, key: StreamKey, came: &Came, head: i64) {
        let stream = &self.streams[&key];
        // What it was sent to is shown first.
        let target = came.targets[0];
        let burst = stream.expected(target).into_iter();
        let burst = burst.take_while(|due| due.earliest <= target && came.is_sent);
        let burst: Vec<_> = burst.collect();
        let context = format!("{}: {key:?} backward from {target} to {head}", self.context);
        let came_of_it = came.pieces.iter().zip(&burst);
        let is_same = |came: Piece, due: &Due| self.plain(key, came) == self.plain(key, due.piece);
        let burst_count = came_of_it.take_while(|(a, b)| is_same(**a, b)).count();
        let pieces = &came.pieces[burst_count..];
        let is_satisfied = self.is_satisfied();
        let may_stall = self.were_stuck.contains(&key.source);
        if !may_stall && (is_satisfied || !pieces.is_empty()) {
            let missing = burst[burst_count..].iter();
            let missing: Vec<_> = missing.take_while(|due| due.latest <= target).collect();
            assert!(missing.is_empty(), "{context}: {missing:?} are missing");
        }
        let times = pieces.iter().map(|piece| match piece {
            Piece::Frame(n) if stream.frames[*n].key && stream.has_pictures() => {
                stream.frames[*n].time
            }
            _ => panic!("{context}: {piece:?} of {:?}", came.pieces),
        });
        let times: Vec<_> = times.collect();
        let is_falling = times.windows(2).all(|w| w[0] > w[1]);
        assert!(is_falling, "{context}: {times:?}");
        if may_stall {
            return;
        }
        let inside = |time: &i64| (head + 1..target).contains(time);
        let mut passed: Vec<_> = stream.key_times().filter(inside).collect();
        passed.reverse();
        let found: Vec<_> = times.into_iter().filter(inside).collect();
        let count = if is_satisfied {
            passed.len()
        } else {
            found.len().min(passed.len())
        };
        assert_eq!(found, passed[..count], "{context}");
    }
}

/// What is wrong with what came, if that was expected.
fn fault(expected: &[Due], came: &[Piece], head: i64, is_satisfied: bool) -> Option<String> {
    let may = expected.iter().take_while(|due| due.earliest <= head);
    let may: Vec<_> = may.map(|due| due.piece).collect();
    if !may.starts_with(came) {
        return Some(format!("expected {may:?}"));
    }
    let must = expected.iter().take_while(|due| due.latest <= head);
    let is_short = is_satisfied && came.len() < must.count();
    is_short.then(|| format!("some are missing of {may:?}"))
}
