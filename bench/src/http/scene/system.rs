//! What the scenes ask of Linux: clocks that two processes share, cores, descriptors.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the clock that `Instant` reads, from the same start in every process.
pub(super) fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// CPU time of all threads of this process, the kernel's work for them included.
pub(super) fn cpu_ns() -> u64 {
    nanoseconds(ClockId::ProcessCPUTime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A core for the server and another one for its clients; `None` where there is only one.
///
/// The first and the last: on machines with more than two these are no siblings of one core.
pub(super) fn two_cores() -> Option<(usize, usize)> {
    let allowed = sched_getaffinity(None).ok()?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let first = cores.next()?;
    Some((first, cores.next_back()?))
}

/// Keeps the calling thread, and those that it starts from now on, on one core.
pub(super) fn stay_on(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// How many connections this process can have, of those it would like to have.
///
/// Raises its limit of descriptors as far as that is allowed.
pub(super) fn connections_of(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let descriptors = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let descriptors = descriptors.map_or(usize::MAX, |most| most as usize);
    wanted.min(descriptors.saturating_sub(OWN_DESCRIPTORS))
}

/// What a process has open besides its connections, generously.
const OWN_DESCRIPTORS: usize = 100;
