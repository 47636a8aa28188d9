//! A trial: up to four lives of one disk, each on what the power cut before has left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use camring::io::sim::Image;

use crate::SLOT_COUNT;
use crate::camera::Random;
use crate::counts::Counts;
use crate::life::{Hazard, Life};
use crate::model::Model;
use crate::simulated;

/// How often a disk is opened, whole lives and cut openings together.
const OPENING_COUNT: u64 = 12;

/// Length of a page in bytes.
const PAGE_LEN: usize = 4096;

/// An image with an empty volume.
pub(crate) fn fresh_image() -> Image {
    simulated::disk(SLOT_COUNT).crash(0)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Runs trials on all processors until `state_count` states were looked at, or as many as
/// `CAMRING_STATES` asks for; from `CAMRING_SEED` on.
pub(crate) fn trials(hazard: Hazard, state_count: u64) -> Counts {
    let state_count = number("CAMRING_STATES").unwrap_or(state_count);
    let first = number("CAMRING_SEED").unwrap_or(1);
    let started = Instant::now();
    let next = AtomicU64::new(first);
    let done = AtomicU64::new(0);
    let work = || {
        let mut counts = Counts::default();
        while done.load(Ordering::Relaxed) < state_count {
            let before = counts.state_count;
            trial(next.fetch_add(1, Ordering::Relaxed), hazard, &mut counts);
            done.fetch_add(counts.state_count - before, Ordering::Relaxed);
        }
        counts
    };
    let thread_count = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut all = Counts::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..thread_count).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok(counts) => all.merge(counts),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    let rate = all.state_count * 1000 / started.elapsed().as_millis().max(1) as u64;
    println!("{hazard:?}, from seed {first}: {all}, {rate} states/s");
    all
}

/// One trial.
pub(crate) fn trial(seed: u64, hazard: Hazard, counts: &mut Counts) {
    let mut random = Random::new(seed);
    let mut model = Model::default();
    let mut image = fresh_image();
    let life_count = 1 + random.below(4);
    let mut lives = 0;
    for opening in 0..OPENING_COUNT {
        let context = format!("{hazard:?}, seed {seed}, opening {opening}");
        let name = (seed, opening);
        let life = Life::begin(&image, hazard, name, &mut model, &mut random, counts);
        image = match life {
            Ok(life) => {
                lives += 1;
                life.run(&context)
            }
            Err(image) => image,
        };
        if hazard == Hazard::Rot && !model.is_spoilt && random.below(3) == 0 {
            rot(&mut image, &mut random, counts);
            model.is_spoilt = true;
        }
        let served = model.check(&image, &context);
        if served.tells_damage() {
            counts.note("damage that was told");
        }
        counts.add("lost frame", model.settle(&served));
        if lives == life_count {
            return;
        }
    }
}

/// Spoils one page: a bit flips, or it holds what belongs elsewhere, or nothing.
fn rot(image: &mut Image, random: &mut Random, counts: &mut Counts) {
    let page_count = image.len() / PAGE_LEN as u64;
    let any_page = |random: &mut Random| random.below(page_count) * PAGE_LEN as u64;
    let mut page = [0; PAGE_LEN];
    let mut at = any_page(random);
    for _ in 0..100 {
        image.read(at, &mut page);
        if page.iter().any(|byte| *byte != 0) {
            break;
        }
        at = any_page(random);
    }
    match random.below(4) {
        0 => page.fill(0),
        1 => image.read(any_page(random), &mut page),
        _ => {
            let place = random.below(PAGE_LEN as u64) as usize;
            page[place] ^= 1 << random.below(8);
        }
    }
    image.write(at, &page);
    counts.note("rotten page");
}
