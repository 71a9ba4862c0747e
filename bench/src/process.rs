//! What Linux says of this process and of the machine; `None` or "unknown" elsewhere.

use std::time::Duration;

/// Memory of this process that is in RAM.
pub(crate) fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(
        field(&text, "VmRSS:")?
            .strip_suffix("kB")?
            .trim()
            .parse::<u64>()
            .ok()?
            * 1024,
    )
}

/// CPU time of all threads of this process, ended ones included, in steps of 10 ms.
pub(crate) fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name, which may hold spaces and parentheses.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(USER_TIME_AFTER_NAME);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis(
        (user + system) * MILLISECONDS_PER_TICK,
    ))
}

/// How often the calling thread had to give up its core.
pub(crate) fn thread_preemptions() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    field(&text, "nonvoluntary_ctxt_switches:")?.parse().ok()
}

/// Memory that a new program could use now.
pub(crate) fn available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    Some(
        field(&text, "MemAvailable:")?
            .strip_suffix("kB")?
            .trim()
            .parse::<u64>()
            .ok()?
            * 1024,
    )
}

/// Which part of the machine's CPU time is unused while this function waits for `window`.
pub(crate) fn idle_share(window: Duration) -> Option<f64> {
    let before = idle_and_total_ticks()?;
    std::thread::sleep(window);
    let after = idle_and_total_ticks()?;
    Some((after.0 - before.0) as f64 / (after.1 - before.1).max(1) as f64)
}

fn idle_and_total_ticks() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let fields = text.lines().next()?.strip_prefix("cpu")?.split_whitespace();
    let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
    Some((*ticks.get(IDLE_FIELD)?, ticks.iter().sum()))
}

pub(crate) fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The one-minute load average.
pub(crate) fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

pub(crate) fn kernel() -> Option<String> {
    Some(
        std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .ok()?
            .trim()
            .to_owned(),
    )
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    Some(
        text.lines()
            .find_map(|line| line.strip_prefix(name))?
            .trim(),
    )
}

/// `idle` is the fourth figure of proc(5)'s stat.
const IDLE_FIELD: usize = 3;
/// `utime` is field 14 of proc(5)'s stat; the name is field 2.
const USER_TIME_AFTER_NAME: usize = 11;
/// Linux's `USER_HZ` is 100 for user programs on every common platform.
const MILLISECONDS_PER_TICK: u64 = 10;
