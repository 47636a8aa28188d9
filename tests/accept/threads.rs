//! What the threads of this process have cost, by their names, as the kernel counts it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

/// The time that each thread has run so far, in nanoseconds, with its name.
pub(crate) struct RunTimes {
    threads: BTreeMap<u32, (String, u64)>,
    taken: Instant,
}

impl RunTimes {
    /// As of now. Workers that the kernel has started for a ring of this process are among them,
    /// named after the thread whose ring it is.
    pub(crate) fn now() -> Self {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let ids = tasks.map(|task| task.unwrap().file_name().to_str().unwrap().parse().unwrap());
        // One that has just ended is left out.
        Self {
            threads: ids.filter_map(|id| Some((id, look_at(id)?))).collect(),
            taken: Instant::now(),
        }
    }

    /// What the threads called `name`, and the kernel's workers for them, have cost since `before`,
    /// as a part of one core.
    pub(crate) fn share_since(&self, before: &Self, name: &str) -> f64 {
        let is_it = |own: &str| {
            let owner = own.strip_prefix("iou-wrk-");
            let owner = owner.and_then(|id| self.threads.get(&id.parse().ok()?));
            owner.map_or(own, |(owner, _)| owner) == name
        };
        let own = self.threads.iter().filter(|(_, (own, _))| is_it(own));
        let run = own.map(|(id, (_, run))| {
            let before = before.threads.get(id).map_or(0, |(_, run)| *run);
            run.saturating_sub(before)
        });
        let run: u64 = run.sum();
        run as f64 / (self.taken - before.taken).as_nanos() as f64
    }
}

fn look_at(id: u32) -> Option<(String, u64)> {
    let dir = format!("/proc/self/task/{id}");
    let name = fs::read_to_string(format!("{dir}/comm")).ok()?;
    let times = fs::read_to_string(format!("{dir}/schedstat")).ok()?;
    let run = times.split(' ').next()?.parse().ok()?;
    Some((name.trim_end().to_owned(), run))
}

/// How busy the machine is: the average number of threads that wanted to run in the last minute.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    load.split(' ').next().unwrap_or_default().to_owned()
}
