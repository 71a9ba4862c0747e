//! The cache of prices: one look-up at a time for each item, shared by everybody who waits.
//!
//! The look-up belongs to no single request: it ends early only when the last request that
//! waits for it has gone ([`Shared`]).

use super::failure::Failure;
use super::store::Store;
use super::tally::lock;
use ripcord::{Ctx, CtxExt, Member, Shared};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;

type Price = Result<u32, Failure>;
type Told = watch::Receiver<Option<Price>>;

#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: Mutex<HashMap<u32, Entry>>,
    hits: AtomicU64,
    loads: AtomicU64,
    joined: AtomicU64,
}

/// How often the cache was asked, and what came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) hits: u64,
    pub(super) loads: u64,
    pub(super) joined: u64,
}

#[derive(Debug)]
enum Entry {
    Fresh {
        price: u32,
        until: Instant,
        /// Held although it is over: dropping it would cancel the task that is just ending.
        _load: Shared,
    },
    Loading {
        load: Shared,
        told: Told,
    },
}

/// What a request finds.
enum Found {
    Price(u32),
    /// Somebody is looking it up; the member keeps the look-up alive.
    Load(Member, Told),
    /// Nothing: look it up.
    Start(Member, Shared, watch::Sender<Option<Price>>),
}

impl Cache {
    /// The price of an item: from the cache, from a look-up under way, or from the store.
    pub(super) async fn price(self: &Arc<Self>, store: &Arc<Store>, ctx: &Ctx, sku: u32) -> Price {
        match self.find(ctx, sku)? {
            Found::Price(price) => {
                // Relaxed: a counter.
                self.hits.fetch_add(1, Ordering::Relaxed);
                Ok(price)
            }
            Found::Load(_member, mut told) => {
                // Relaxed: a counter.
                self.joined.fetch_add(1, Ordering::Relaxed);
                let told = ctx.run(told.wait_for(Option::is_some)).await?;
                match told.ok().and_then(|price| price.clone()) {
                    Some(price) => price,
                    None => Err(Failure::Task("the look-up has no result".to_owned())),
                }
            }
            Found::Start(_member, load, tell) => {
                // Relaxed: a counter.
                self.loads.fetch_add(1, Ordering::Relaxed);
                let (cache, store) = (Arc::clone(self), Arc::clone(store));
                let own = load.ctx().clone();
                let task = load.ctx().spawn("look up price", |ctx| async move {
                    let query = move |db: &rusqlite::Connection| {
                        db.prepare_cached(PRICE)?.query_row([sku], |row| row.get(0))
                    };
                    let price = store.query(&ctx, "query price", query).await;
                    cache.keep(&own, sku, &price);
                    tell.send_replace(Some(price.clone()));
                    price
                });
                ctx.run(task).await??
            }
        }
    }

    fn find(&self, ctx: &Ctx, sku: u32) -> Result<Found, Failure> {
        let mut entries = lock(&self.entries);
        match entries.get(&sku) {
            Some(Entry::Fresh { price, until, .. }) if *until > ctx.clock_now() => {
                return Ok(Found::Price(*price));
            }
            // A look-up whose last member has just gone takes nobody in.
            Some(Entry::Loading { load, told }) if !load.ctx().is_done() => {
                if let Ok(member) = load.join(ctx) {
                    return Ok(Found::Load(member, told.clone()));
                }
            }
            _ => {}
        }
        let load = Shared::new(ctx);
        let member = load.join(ctx)?;
        let (tell, told) = watch::channel(None);
        let entry = Entry::Loading {
            load: load.clone(),
            told,
        };
        let old = entries.insert(sku, entry);
        drop(entries);
        drop(old);
        Ok(Found::Start(member, load, tell))
    }

    /// Ends the look-up `own`: its price is kept for a while; after a failure, nothing is.
    fn keep(&self, own: &Ctx, sku: u32, price: &Price) {
        let mut entries = lock(&self.entries);
        let load = match entries.get(&sku) {
            Some(Entry::Loading { load, .. }) if load.ctx() == own => load.clone(),
            // It was given up, and another one has begun since.
            _ => return,
        };
        let old = match price {
            Err(_) => entries.remove(&sku),
            Ok(price) => {
                let entry = Entry::Fresh {
                    price: *price,
                    until: own.clock_now() + FRESH,
                    _load: load,
                };
                entries.insert(sku, entry)
            }
        };
        drop(entries);
        drop(old);
    }

    pub(super) fn counts(&self) -> Counts {
        // Relaxed: counters.
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            hits: of(&self.hits),
            loads: of(&self.loads),
            joined: of(&self.joined),
        }
    }
}

/// How long a price is good.
const FRESH: Duration = Duration::from_millis(500);

const PRICE: &str = "SELECT price FROM stock WHERE sku = ?1";
