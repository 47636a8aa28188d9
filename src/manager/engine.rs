//! The manager's thread: turns between requests, readers and the player.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::{Event, EventSink};
use super::mailbox::{Mailbox, Request, Shown};
use super::outlet::Outlet;
use super::source::Source;
use super::{ManagerOptions, SourceId};
use crate::base::sync::Arc;
use crate::base::time::{Clock as _, SystemClock, TimeRange, Timestamp};
use crate::frame::{Item, StreamId, StreamSetup};
use crate::player::{Action, Command, Event as Told, Player, StreamKey};
use crate::reader::Sleeper;

/// How many actions are done before requests and readers are looked at again.
const ACTION_COUNT: usize = 1024;

/// How often a full queue is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Everything that the manager's thread has.
pub(super) struct Engine {
    player: Player,
    sources: BTreeMap<SourceId, Source>,
    outlets: BTreeMap<StreamId, Outlet>,
    /// The setup in force of each stream that is played.
    setups: BTreeMap<StreamKey, Arc<StreamSetup>>,
    on_event: Option<EventSink>,
    tell_items: bool,
    /// Whether nothing is delivered while a queue is full.
    waits: bool,
    mailbox: Arc<Mailbox>,
    sleeper: Sleeper,
    is_over: bool,
}

impl Engine {
    pub(super) fn new(options: ManagerOptions, mailbox: Arc<Mailbox>, sleeper: Sleeper) -> Self {
        Self {
            player: Player::new(options.limits),
            sources: BTreeMap::new(),
            outlets: BTreeMap::new(),
            setups: BTreeMap::new(),
            on_event: options.on_event,
            tell_items: options.tell_items,
            waits: options.waits,
            mailbox,
            sleeper,
            is_over: false,
        }
    }

    /// Plays until the manager is dropped.
    pub(super) fn run(mut self) {
        while !self.is_over {
            self.turn();
            self.wait();
        }
        self.mailbox.end();
    }

    fn turn(&mut self) {
        while let Some(request) = self.mailbox.next() {
            self.obey(request);
        }
        self.look_for_news();
        for source in self.sources.values_mut() {
            source.feed(&mut self.player);
        }
        for _ in 0..ACTION_COUNT {
            if self.is_held_up() {
                break;
            }
            let Some(action) = self.player.poll(now_us()) else {
                break;
            };
            self.perform(action);
        }
        self.end_outlets();
        self.mailbox.show(Shown {
            time: self.player.time(now_us()),
            state: self.player.state(),
            range: self.range(),
        });
    }

    /// Whether a queue is full that is waited for.
    fn is_held_up(&self) -> bool {
        self.waits && !self.outlets.values().all(Outlet::has_room)
    }

    /// Sleeps until there is something to do.
    fn wait(&self) {
        let (player, mailbox) = (&self.player, &self.mailbox);
        if self.is_held_up() {
            // Nobody tells that there is room again. A queue is deep enough for many such looks.
            let asked = || (!mailbox.is_empty()).then_some(());
            self.sleeper.wait_at_most(LOOK, asked);
            return;
        }
        let look = || {
            let mut sources = self.sources.values();
            let has_more = !mailbox.is_empty() || sources.any(|source| source.is_ready(player));
            has_more.then_some(())
        };
        match player.wake_at() {
            None if self.is_over => {}
            None => self.sleeper.wait_for(look),
            Some(at) => {
                let us = u64::try_from(at.saturating_sub(now_us())).unwrap_or(0);
                self.sleeper.wait_at_most(Duration::from_micros(us), look);
            }
        }
    }

    fn obey(&mut self, request: Request) {
        match request {
            Request::Add(id, volume) => {
                let source = Source::new(id, volume, self.sleeper.waker());
                self.sources.insert(id, source);
            }
            Request::Map(outlet) => self.map(outlet),
            Request::Unmap(slot) => self.unmap(slot),
            Request::Command(command) => self.command(command),
            Request::SinkEnded { slot, message } => {
                self.tell(&Event::SinkEnded { slot, message });
                self.end_slot(slot);
            }
            Request::End => self.is_over = true,
        }
    }

    fn map(&mut self, mut outlet: Outlet) {
        let keys: Vec<_> = outlet.keys().collect();
        for key in keys {
            // The player tells a setup once; an outlet that joins later must have it, too.
            if let Some(setup) = self.setups.get(&key) {
                outlet.deliver(key, Item::Setup(setup.clone()));
            }
            self.player.map(key);
        }
        self.outlets.insert(outlet.slot, outlet);
    }

    fn unmap(&mut self, slot: StreamId) {
        let Some(outlet) = self.outlets.remove(&slot) else {
            return;
        };
        for key in outlet.keys() {
            let mut others = self.outlets.values();
            if !others.any(|other| other.keys().any(|own| own == key)) {
                self.player.unmap(key);
                self.setups.remove(&key);
            }
        }
    }

    /// Ends a slot by itself.
    fn end_slot(&mut self, slot: StreamId) {
        // Its owner may have unmapped it meanwhile.
        let _ = self.mailbox.free_slot(slot);
        self.unmap(slot);
    }

    fn end_outlets(&mut self) {
        let over = self.outlets.values().filter(|outlet| outlet.is_over);
        let over: Vec<_> = over.map(|outlet| outlet.slot).collect();
        for slot in over {
            self.end_slot(slot);
        }
    }

    fn command(&mut self, command: Command) {
        let changes_place = matches!(
            command,
            Command::Seek(_) | Command::Stop | Command::SetReverse(_) | Command::Live { .. }
        );
        if changes_place {
            self.forget_holders();
        }
        // It was checked when it was sent.
        if let Err(e) = self.player.command(now_us(), command) {
            tracing::error!("{command:?}: {e}");
        }
    }

    fn forget_holders(&mut self) {
        for outlet in self.outlets.values_mut() {
            outlet.forget_holder();
        }
    }

    /// Tells the player and the listeners which blocks are new.
    fn look_for_news(&mut self) {
        let mut news = Vec::new();
        for (id, source) in &mut self.sources {
            if let Some((sequence, range)) = source.news() {
                self.player.set_extent(*id, range);
                news.push((*id, sequence, range));
            }
        }
        let all = self.range();
        for (source, sequence, range) in news {
            self.tell(&Event::NewBlock {
                source,
                sequence,
                range,
                all,
            });
        }
    }

    fn range(&self) -> Option<TimeRange> {
        let ranges = self.sources.values().filter_map(Source::range);
        ranges.reduce(|all, range| all.union(&range))
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Load {
                source,
                load,
                streams,
                what,
            } => {
                let reading = self.sources.get_mut(&source);
                let begun = reading.map(|source| source.load(load, streams, what));
                if let Some(Err(e)) = begun {
                    self.player.ended(source, load, Some(e));
                }
            }
            Action::Deliver { key, item, due_us } => self.deliver(key, &item, due_us),
            Action::Event(event) => self.pass_on(event),
        }
    }

    fn deliver(&mut self, key: StreamKey, item: &Item, due_us: i64) {
        if let Item::Setup(setup) = item {
            self.setups.insert(key, setup.clone());
        }
        let mut takers = Vec::new();
        for outlet in self.outlets.values_mut() {
            if outlet.keys().any(|own| own == key) {
                takers.push((outlet.slot, outlet.deliver(key, item.clone())));
            }
        }
        for (slot, is_taken) in takers {
            if let Item::Gap(gap) = *item {
                self.tell(&Event::Gap { slot, gap });
            }
            if is_taken && self.tell_items {
                self.tell_delivered(slot, item.clone(), due_us);
            }
        }
    }

    fn tell_delivered(&mut self, slot: StreamId, item: Item, due_us: i64) {
        let late_us = now_us().saturating_sub(due_us);
        self.tell(&Event::Delivered {
            slot,
            item,
            late_us,
        });
    }

    fn pass_on(&mut self, event: Told) {
        let event = match event {
            Told::Time(time) => Event::Time(time),
            Told::Cached { source, range } => Event::Cached { source, range },
            Told::LeftOut { key, range } => return self.left_out(key, range),
            Told::Waiting(is_waiting) => Event::Waiting(is_waiting),
            Told::End => Event::End,
            Told::Jumped { from, to } => return self.jumped(from, to),
            Told::Failed { source, message } => Event::Failed { source, message },
            Told::State(state) => Event::State(state),
        };
        self.tell(&event);
    }

    fn left_out(&mut self, key: StreamKey, range: TimeRange) {
        let own = self.outlets.values();
        let own = own.filter(|outlet| outlet.keys().any(|own| own == key));
        let slots: Vec<_> = own.map(|outlet| outlet.slot).collect();
        for slot in slots {
            self.tell(&Event::LeftOut { slot, range });
        }
    }

    fn jumped(&mut self, from: Timestamp, to: Timestamp) {
        self.forget_holders();
        self.tell(&Event::Jumped { from, to });
    }

    fn tell(&mut self, event: &Event) {
        if let Some(on_event) = &mut self.on_event {
            on_event(event);
        }
    }
}

fn now_us() -> i64 {
    SystemClock.now().boot_us
}
