//! The store: an embedded database on blocking threads, whose running query is interrupted when
//! its context ends.
//!
//! # Invariants
//! 1. There are as many places as connections, and a connection is held only by who has a place.
//! 2. No interrupt comes after its query: the hook is over before the connection goes back.

use super::failure::Failure;
use super::tally::{Samples, lock};
use crate::exit::ExpectedError;
use ripcord::{Cancelled, Ctx, CtxExt};
use rusqlite::{Connection, ErrorCode};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

#[derive(Debug)]
pub(super) struct Store {
    // Fields drop in order: the connections before the folder of their files.
    idle: Mutex<Vec<Connection>>,
    places: Arc<Semaphore>,
    counts: Mutex<Counts>,
    _folder: Folder,
}

/// What became of the queries.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) finished: u64,
    /// Stopped half-way; the time is from the end of the context to the end of the query.
    pub(super) interrupted: Samples,
    /// Their context had ended before they began.
    pub(super) not_started: u64,
    /// Ended well although their context was done: they were quicker than the interrupt.
    pub(super) outran: u64,
    pub(super) failed: u64,
}

impl Store {
    /// Opens a database of its own for this run, with a stock of [`ITEMS`] items.
    ///
    /// # Errors
    /// The folder for temporary files cannot be written.
    pub(super) fn open() -> Result<Arc<Self>, ExpectedError> {
        let folder = Folder::new().map_err(|error| {
            let place = std::env::temp_dir();
            ExpectedError::demo(format!("make a folder in {}", place.display()), error)
        })?;
        let path = folder.path.join("shop.sqlite");
        let open = || connections(&path);
        let idle = open().map_err(|error| {
            ExpectedError::demo(format!("open the database {}", path.display()), error)
        })?;
        Ok(Arc::new(Self {
            places: Arc::new(Semaphore::new(idle.len())),
            idle: Mutex::new(idle),
            counts: Mutex::default(),
            _folder: folder,
        }))
    }

    /// Runs a query on a blocking thread, under `ctx`.
    pub(super) async fn query<T, F>(
        self: &Arc<Self>,
        ctx: &Ctx,
        name: &'static str,
        run: F,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let place = ctx.run(Arc::clone(&self.places).acquire_owned()).await?;
        let store = Arc::clone(self);
        let task = ctx.spawn_blocking(name, move |ctx| {
            let result = store.run_one(&ctx, run);
            drop(place);
            result
        });
        task.await?
    }

    fn run_one<T>(
        &self,
        ctx: &Ctx,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Failure> {
        let idle = lock(&self.idle).pop();
        let mut connection = idle.expect("invariant 1: a place stands for a connection");
        let interrupt = connection.get_interrupt_handle();
        let hook = ctx.on_done(move |_cause| interrupt.interrupt());
        // An interrupt that comes before the query has begun finds nothing to stop; then this
        // look does.
        let looker = ctx.clone();
        let looks = connection.progress_handler(LOOK_EVERY, Some(move || looker.is_done()));
        let result = match ctx.check() {
            Ok(()) => Ok(looks.and_then(|()| run(&connection))),
            Err(cancelled) => Err(cancelled),
        };
        hook.stop_and_wait();
        drop(connection.progress_handler(0, None::<fn() -> bool>));
        lock(&self.idle).push(connection);
        self.conclude(ctx, result)
    }

    /// Counts a query, and makes its result.
    fn conclude<T>(
        &self,
        ctx: &Ctx,
        result: Result<rusqlite::Result<T>, Cancelled>,
    ) -> Result<T, Failure> {
        let now = ctx.clock_now();
        let cause = ctx.cause();
        let mut counts = lock(&self.counts);
        match (result, cause) {
            (Err(cancelled), _) => {
                counts.not_started += 1;
                Err(cancelled.into())
            }
            (Ok(Err(error)), Some(cause))
                if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) =>
            {
                let asked = cause.due().or(cause.at()).unwrap_or(now);
                counts.interrupted.add(now.saturating_duration_since(asked));
                Err(Cancelled::new(cause).into())
            }
            (Ok(Err(error)), _) => {
                counts.failed += 1;
                Err(Failure::Store(error.to_string()))
            }
            (Ok(Ok(value)), cause) => {
                counts.finished += 1;
                counts.outran += u64::from(cause.is_some());
                Ok(value)
            }
        }
    }

    pub(super) fn counts(&self) -> Counts {
        lock(&self.counts).clone()
    }
}

/// Opens the connections, and fills the database with the first.
fn connections(path: &Path) -> rusqlite::Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for at in 0..CONNECTIONS {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(1))?;
        // With a write-ahead log, a long query does not keep others from writing.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;")?;
        if at == 0 {
            connection.execute_batch(CREATE)?;
            connection.execute(FILL, [ITEMS])?;
        }
        connections.push(connection);
    }
    Ok(connections)
}

/// A folder that is removed with everything in it.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> std::io::Result<Self> {
        let name = format!("ripcord-demo-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is a small temporary file, and nobody can be told here.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// How many items the shop has.
pub(super) const ITEMS: u32 = 2000;

const CONNECTIONS: usize = 4;

/// Steps of the database's machine between two looks at the context: some 10 ms.
const LOOK_EVERY: i32 = 1_000_000;

const CREATE: &str = "CREATE TABLE stock \
    (sku INTEGER PRIMARY KEY, items INTEGER NOT NULL, price INTEGER NOT NULL)";

const FILL: &str = "WITH RECURSIVE n(sku) AS (SELECT 1 UNION ALL SELECT sku + 1 FROM n WHERE sku < ?1) \
    INSERT INTO stock SELECT sku, 1000000, 100 + sku % 900 FROM n";
