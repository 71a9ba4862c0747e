//! Tasks that ripcord did not spawn, where tokio is built with `--cfg tokio_unstable`.
//!
//! # Limitations
//! tokio tells of spawn, polls and end, and of nothing more: there is no name, no context, no
//! wake and no reason. Each poll is told as `Pending` and each end as `Ready`, whatever they
//! were. These interfaces of tokio's may change with any of its releases.
//!
//! # Costs
//! A lock that the runtime's workers share, for each poll of each task: for a look at a program
//! and not for always. One small block for each builder is never given back.

use crate::sync::Mutex;
use crate::trace::worker;
use ripcord_core::tasks::{
    Ended, PollEnd, Spawned, TaskEnd, TaskObserver, TaskRef, Tasks, Turn, current_task,
};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use tokio::runtime::Builder;
use tokio::task::Id;

/// Set in the numbers of these tasks, so that they are not those of ripcord's own.
const OTHER: u64 = 1 << 63;

thread_local! {
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
    /// The polls that are under way on this thread.
    static TURNS: RefCell<Vec<(Id, Turn<'static>)>> = const { RefCell::new(Vec::new()) };
}

/// Spawns a task of ripcord's, which is told of elsewhere.
pub(crate) fn ours<R>(spawn: impl FnOnce() -> R) -> R {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            IS_OURS.set(self.0);
        }
    }
    let _back = Back(IS_OURS.replace(true));
    spawn()
}

/// Adds the hooks for tasks to a builder of a runtime; only with `--cfg tokio_unstable`.
pub trait UnstableBuilderExt {
    /// Tells an observer of the tasks that ripcord did not spawn, too, as far as tokio does.
    ///
    /// Installs tokio's four hooks for tasks, in place of what was set before. The highest bit of
    /// the numbers of these tasks is set. See the limitations in the source of this trait: no
    /// wakes, no names, no reasons, and a shared lock for each poll.
    fn observe_other_tasks(&mut self, observer: Arc<dyn TaskObserver>) -> &mut Self;
}

impl UnstableBuilderExt for Builder {
    fn observe_other_tasks(&mut self, observer: Arc<dyn TaskObserver>) -> &mut Self {
        // Never given back: a turn is kept from one hook to the next and borrows it.
        let others: &'static Others = Box::leak(Box::new(Others {
            tasks: Tasks::new(observer),
            live: Mutex::default(),
        }));
        self.on_task_spawn(|meta| others.spawned(meta.id(), meta.spawned_at()))
            .on_before_task_poll(|meta| others.poll_started(meta.id()))
            .on_after_task_poll(|meta| Others::poll_ended(meta.id()))
            .on_task_terminate(|meta| others.ended(meta.id()))
    }
}

/// What is kept of a task.
#[derive(Clone, Copy)]
struct Other {
    task: TaskRef,
    parent: Option<TaskRef>,
    site: &'static Location<'static>,
    polls: u64,
}

impl Other {
    fn spawned(&self) -> Spawned<'static> {
        Spawned {
            task: self.task.id,
            parent: self.parent,
            context: None,
            name: "",
            site: self.site,
            size: 0,
            is_blocking: false,
        }
    }
}

type Live = HashMap<Id, Other>;

struct Others {
    tasks: Tasks,
    live: Mutex<Live>,
}

impl Others {
    fn with<R>(&self, f: impl FnOnce(&mut Live) -> R) -> R {
        f(&mut self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn spawned(&self, id: Id, site: &'static Location<'static>) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        if IS_OURS.get() {
            return;
        }
        // Relaxed: only uniqueness counts (counter).
        let number = NEXT.fetch_add(1, Ordering::Relaxed) | OTHER;
        let mut other = Other {
            task: TaskRef { id: number, key: 0 },
            parent: current_task(),
            site,
            polls: 0,
        };
        other.task = self.tasks.spawned(&other.spawned());
        self.with(|live| live.insert(id, other));
    }

    fn poll_started(&'static self, id: Id) {
        let task = self.with(|live| {
            let other = live.get_mut(&id)?;
            other.polls += 1;
            Some(other.task)
        });
        if let Some(task) = task {
            let turn = self.tasks.poll_started(task, None, worker());
            TURNS.with_borrow_mut(|turns| turns.push((id, turn)));
        }
    }

    /// Called by two hooks; the first one ends the turn.
    fn poll_ended(id: Id) {
        let turn = TURNS.with_borrow_mut(|turns| turns.pop_if(|(of, _)| *of == id));
        if let Some((_, turn)) = turn {
            turn.end(PollEnd::Pending, None);
        }
    }

    /// tokio tells of the end of a task before that of its last poll.
    fn ended(&self, id: Id) {
        Self::poll_ended(id);
        if let Some(other) = self.with(|live| live.remove(&id)) {
            let ended = Ended {
                spawned: other.spawned(),
                end: TaskEnd::Ready,
                polls: other.polls,
                cause: None,
            };
            self.tasks.ended(other.task, &ended);
        }
    }
}
