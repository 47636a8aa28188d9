//! Threads that wait for each other: a consumer for items and their end, a producer for room.
//! The queues are made up; sleeping and waking are the code that ships.

use std::sync::Arc;

use camring::base::sync::AtomicBool as Flag;
use camring::io::wake::{Sleeper, Waker};
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;

/// A queue with room for one item, which is always 7.
#[derive(Default)]
struct Place(AtomicU64);

impl Place {
    fn try_push(&self) -> bool {
        let is_free = self.0.load(Ordering::Acquire) == 0;
        if is_free {
            self.0.store(7, Ordering::Release);
        }
        is_free
    }

    fn try_pop(&self) -> Option<u64> {
        let item = self.0.load(Ordering::Acquire);
        (item != 0).then(|| {
            self.0.store(0, Ordering::Release);
            item
        })
    }
}

/// How a consumer takes the next item of a queue, or learns that none comes any more.
type Next = fn(&Sleeper, &Flag, &Place) -> Option<u64>;

fn next(sleeper: &Sleeper, is_over: &Flag, queue: &Place) -> Option<u64> {
    sleeper.next(is_over, || queue.try_pop())
}

/// `Sleeper::next` with its two looks in the wrong order.
fn next_looking_for_the_end_last(sleeper: &Sleeper, is_over: &Flag, queue: &Place) -> Option<u64> {
    sleeper.wait_for(|| {
        let item = queue.try_pop();
        (item.is_some() || is_over.load(Ordering::Acquire)).then_some(item)
    })
}

/// One item comes, and the end of the queue. A lost wake-up leaves the consumer asleep for ever,
/// which loom reports as a deadlock.
fn check_end(next: Next, end: fn(&Flag, &Waker)) {
    loom::model(move || {
        let queue = Arc::new((Flag::new(false), Place::default()));
        let sleeper = Sleeper::new();
        let waker = sleeper.waker();
        let other = {
            let queue = queue.clone();
            thread::spawn(move || {
                assert!(queue.1.try_push());
                end(&queue.0, &waker);
            })
        };
        let (is_over, place) = &*queue;
        assert_eq!(next(&sleeper, is_over, place), Some(7), "an item is lost");
        assert_eq!(next(&sleeper, is_over, place), None);
        other.join().unwrap();
    });
}

fn end(is_over: &Flag, waker: &Waker) {
    is_over.store(true, Ordering::Release);
    waker.wake();
}

#[test]
fn a_consumer_gets_every_item_and_then_the_end() {
    check_end(next, end);
}

#[test]
#[should_panic(expected = "an item is lost")]
fn looking_for_the_end_last_is_caught() {
    check_end(next_looking_for_the_end_last, end);
}

#[test]
#[should_panic(expected = "an item is lost")]
fn ending_a_queue_without_release_is_caught() {
    check_end(next, |is_over, waker| {
        is_over.store(true, Ordering::Relaxed);
        waker.wake();
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn ending_a_queue_without_waking_is_caught() {
    check_end(next, |is_over, _| is_over.store(true, Ordering::Release));
}

#[test]
#[should_panic(expected = "deadlock")]
fn waking_before_the_end_is_told_is_caught() {
    check_end(next, |is_over, waker| {
        waker.wake();
        is_over.store(true, Ordering::Release);
    });
}

/// Two items go through a queue with room for one: each side sleeps until the other is done.
fn check_room(tells_room: bool) {
    let mut builder = loom::model::Builder::new();
    // Two sleepers are too many for all interleavings; few preemptions show the mistakes.
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let queue = Arc::new((Flag::new(false), Place::default()));
        let (consumer, producer) = (Sleeper::new(), Sleeper::new());
        let (for_items, for_room) = (consumer.waker(), producer.waker());
        let other = {
            let queue = queue.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    producer.wait_for(|| queue.1.try_push().then_some(()));
                    for_items.wake();
                }
                end(&queue.0, &for_items);
            })
        };
        let mut count = 0;
        while next(&consumer, &queue.0, &queue.1).is_some() {
            count += 1;
            if tells_room {
                for_room.wake();
            }
        }
        assert_eq!(count, 2);
        other.join().unwrap();
    });
}

#[test]
fn both_ends_of_a_full_queue_get_on() {
    check_room(true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn making_room_without_waking_is_caught() {
    check_room(false);
}

/// A producer waits for its quota, which is a Relaxed counter, or for the end of the recording;
/// the writer gives the quota back, or the end comes, or both.
fn check_quota(is_given_back: bool, is_ended: bool) {
    loom::model(move || {
        let used = Arc::new(AtomicU64::new(5));
        let is_refused = Arc::new(AtomicBool::new(false));
        let producer = Sleeper::new();
        let waker = producer.waker();
        let writer = {
            let (used, is_refused) = (used.clone(), is_refused.clone());
            thread::spawn(move || {
                if is_given_back {
                    used.fetch_sub(5, Ordering::Relaxed);
                    waker.wake();
                }
                if is_ended {
                    is_refused.store(true, Ordering::Release);
                    waker.wake();
                }
            })
        };
        let has_room = producer.wait_for(|| {
            if used.load(Ordering::Relaxed) == 0 {
                return Some(true);
            }
            is_refused.load(Ordering::Acquire).then_some(false)
        });
        assert!(has_room && is_given_back || is_ended);
        writer.join().unwrap();
    });
}

#[test]
fn a_producer_that_waits_for_its_quota_gets_it() {
    check_quota(true, false);
}

#[test]
fn a_producer_that_waits_is_told_that_the_recording_is_over() {
    check_quota(false, true);
    check_quota(true, true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_producer_that_nobody_tells_is_caught() {
    check_quota(false, false);
}
