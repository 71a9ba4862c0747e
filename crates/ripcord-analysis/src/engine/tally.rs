//! Sums by place in the source: they do not grow with the events.

use super::dispatch::Map;
use super::state::{Behind, Incident, WAKERS, What};
use crate::place::Place;
use ripcord_trace_format::Outcome;

/// How often, how long in all, and how long at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) count: u64,
    pub(crate) total: u64,
    pub(crate) max: u64,
}

impl Sum {
    #[inline]
    pub(crate) const fn add(&mut self, ticks: u64) {
        self.count += 1;
        self.total = self.total.saturating_add(ticks);
        if ticks > self.max {
            self.max = ticks;
        }
    }
}

/// Tasks, or jobs, that were spawned at one place under one name.
#[derive(Clone, Debug, Default)]
pub(crate) struct SiteTally {
    pub(crate) spawned: u64,
    /// Ready, panicked, aborted, dropped, other or lost.
    pub(crate) outcomes: [u64; 5],
    pub(crate) polls: Sum,
    pub(crate) idle_polls: u64,
    pub(crate) queue: Sum,
    pub(crate) waited: u64,
    pub(crate) life: Sum,
    pub(crate) alive: u64,
    /// Alive at the end, and old.
    pub(crate) leaks: Sum,
    /// From the end of a context to the task's first look at it.
    pub(crate) observed: Sum,
    /// From the end of a context to when the task was over, for those that were late.
    pub(crate) late: Sum,
    /// Time that such tasks were busy in.
    pub(crate) wasted: u64,
    pub(crate) deaf: u64,
}

impl SiteTally {
    pub(crate) const fn ended(&mut self, outcome: Option<Outcome>) {
        let at = match outcome {
            Some(Outcome::Ready) => 0,
            Some(Outcome::Panicked) => 1,
            Some(Outcome::Aborted) => 2,
            Some(Outcome::Dropped) => 3,
            _ => 4,
        };
        self.outcomes[at] += 1;
    }
}

/// Waits of one site with one label.
#[derive(Clone, Debug, Default)]
pub(crate) struct WaitTally {
    pub(crate) time: Sum,
    /// With a context among what they wait for.
    pub(crate) listening: Sum,
    pub(crate) wakes: [u64; WAKERS],
}

/// Long polls of one site in one region.
#[derive(Clone, Debug, Default)]
pub(crate) struct LongTally {
    pub(crate) time: Sum,
    /// Tasks that were queued behind one of them, and for how long.
    pub(crate) victims: Sum,
}

/// Deaf waits at one place.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeafTally {
    pub(crate) time: Sum,
}

/// A site: location, name, and whether it is that of jobs.
type SiteKey = (Option<u64>, u32, bool);

/// All sums.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    pub(crate) contexts: u64,
    pub(crate) sites: Vec<SiteTally>,
    keys: Vec<SiteKey>,
    numbers: Map<SiteKey, u32>,
    pub(crate) waits: Map<(u32, Option<u64>), WaitTally>,
    pub(crate) long: Map<(u32, Option<u64>), LongTally>,
    pub(crate) lost: Map<(u32, Option<u64>), u64>,
    pub(crate) deaf: Map<Place, DeafTally>,
    /// Own deadline that never fires, and the one above that does: by how much.
    pub(crate) never: Map<(Option<u64>, Option<u64>), Sum>,
    /// Contexts that ended while tasks were alive under them.
    pub(crate) incidents: u64,
    pub(crate) late: Sum,
    /// What could not be followed, because there is too much of it.
    pub(crate) ignored: u64,
}

impl Tally {
    /// The number of a site, which has a row from now on. Beyond the limit all new ones share one.
    pub(crate) fn site(&mut self, loc: Option<u64>, name: u32, is_job: bool) -> u32 {
        let key = (loc, name, is_job);
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = u32::try_from(self.sites.len()).unwrap_or(0);
        if self.sites.len() >= ROWS_MAX {
            return number.saturating_sub(1);
        }
        self.sites.push(SiteTally::default());
        self.keys.push(key);
        self.numbers.insert(key, number);
        number
    }

    /// Location and name of a site.
    pub(crate) fn site_key(&self, site: u32) -> (Option<u64>, u32) {
        let key = self.keys.get(site as usize);
        key.map_or((None, 0), |(loc, name, _)| (*loc, *name))
    }

    pub(crate) fn is_job(&self, site: u32) -> bool {
        self.keys
            .get(site as usize)
            .is_some_and(|(.., is_job)| *is_job)
    }

    #[inline]
    pub(crate) fn wait(
        &mut self,
        site: u32,
        label: Option<u64>,
        ticks: u64,
        listening: bool,
        waker: usize,
    ) {
        let Some(row) = row(&mut self.waits, (site, label)) else {
            return;
        };
        row.time.add(ticks);
        if listening {
            row.listening.add(ticks);
        }
        row.wakes[waker] += 1;
    }

    pub(crate) fn long_poll(&mut self, site: u32, region: Option<u64>, ticks: u64) {
        if let Some(row) = row(&mut self.long, (site, region)) {
            row.time.add(ticks);
        }
    }

    pub(crate) fn victim(&mut self, behind: &Behind) {
        if let Some(row) = row(&mut self.long, (behind.site, behind.region)) {
            row.victims.add(behind.ticks);
        }
    }

    pub(crate) fn lost(&mut self, place: (u32, Option<u64>)) {
        if let Some(row) = row(&mut self.lost, place) {
            *row += 1;
        }
    }

    pub(crate) fn never_fires(&mut self, inner: Option<u64>, outer: Option<u64>, by: u64) {
        if let Some(row) = row(&mut self.never, (inner, outer)) {
            row.add(by);
        }
    }

    /// Counts what an ended context's tasks did until they were over.
    pub(crate) fn count_incident(&mut self, incident: &Incident, late: u64, late_min: u64) {
        self.incidents += 1;
        if late >= late_min {
            self.late.add(late);
        }
        for lane in &incident.lanes {
            let site = self.site(lane.loc, lane.name, lane.is_job);
            let took = lane.at.saturating_sub(lane.from);
            let mut deaf = 0;
            for piece in &lane.pieces {
                if let What::Deaf { place } = &piece.what {
                    let ticks = piece.to.saturating_sub(piece.from);
                    deaf += ticks;
                    if let Some(row) = row(&mut self.deaf, place.clone()) {
                        row.time.add(ticks);
                    }
                }
            }
            let site = &mut self.sites[site as usize];
            site.deaf = site.deaf.saturating_add(deaf);
            if let Some(seen) = lane.observed {
                site.observed.add(seen.saturating_sub(lane.from));
            }
            if took >= late_min {
                site.late.add(took);
                site.wasted = site.wasted.saturating_add(lane.busy);
            }
        }
    }
}

/// The row with this key, which is made if there is room for it.
pub(super) fn row<K: std::hash::Hash + Eq, V: Default>(
    rows: &mut Map<K, V>,
    key: K,
) -> Option<&mut V> {
    if rows.len() >= ROWS_MAX && !rows.contains_key(&key) {
        return None;
    }
    Some(rows.entry(key).or_default())
}

/// Places of a source, which are bounded; a trace that has more of them makes names up.
const ROWS_MAX: usize = 1 << 17;
