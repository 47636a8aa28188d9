//! What the threads of this process have cost, by their names, as the kernel counts it.

use std::collections::BTreeMap;
use std::fs;

/// The time that each thread has run so far, in nanoseconds, with its name.
pub(crate) struct RunTimes(BTreeMap<u32, (String, u64)>);

impl RunTimes {
    /// As of now. Workers that the kernel has started for a ring of this process are among them,
    /// named after the thread whose ring it is.
    pub(crate) fn now() -> Self {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let ids = tasks.map(|task| task.unwrap().file_name().to_str().unwrap().parse().unwrap());
        // One that has just ended is left out.
        Self(ids.filter_map(|id| Some((id, look_at(id)?))).collect())
    }

    /// What the threads called `name`, and the kernel's workers for them, have cost since `before`,
    /// in nanoseconds.
    pub(crate) fn since(&self, before: &Self, name: &str) -> u64 {
        let is_it = |own: &str| {
            let owner = own.strip_prefix("iou-wrk-");
            let owner = owner.and_then(|id| self.0.get(&id.parse().ok()?));
            owner.map_or(own, |(owner, _)| owner) == name
        };
        let own = self.0.iter().filter(|(_, (own, _))| is_it(own));
        own.map(|(id, (_, run))| run.saturating_sub(before.0.get(id).map_or(0, |(_, run)| *run)))
            .sum()
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
