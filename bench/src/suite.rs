//! A run: chooses the cases, interleaves their samples, and hands the result to the report.
//!
//! Within a case each round takes one sample of every contender, in an order that the seed shuffles
//! anew, so that a drift of the machine meets all of them alike.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::case::{Case, Contender, GO, GO_PARENT, Kind, Program, RIPCORD};
use crate::cli::Options;
use crate::go::Go;
use crate::machine::Machine;
use crate::out::{self, Progress};
use crate::results::{Absent, CaseResult, ContenderResult, Run};
use crate::stats::Rng;
use crate::{Stop, instructions, process, report, sample};

/// Measures what the options ask for. `Ok(false)`: something could not be measured.
pub(crate) fn run(options: &Options) -> Result<bool, Stop> {
    let mut cases = select(options)?;
    if options.list {
        out::result(&report::list(&cases)).map_err(Stop::Failed)?;
        return Ok(true);
    }
    if options.instructions {
        cases = instructions::prepare(cases)?;
    }
    let go = if cases.iter().any(|case| case.has(GO) || case.has(GO_PARENT)) {
        Go::build()
    } else {
        Err("not needed".to_owned())
    };
    let seed = options.seed.unwrap_or_else(seed_from_clock);
    let default_rounds = match (options.instructions, options.quick) {
        // Enough to see that the counts agree.
        (true, _) => 2,
        (false, true) => 3,
        (false, false) => 7,
    };
    let rounds = options.rounds.unwrap_or(default_rounds);
    let go_version = match &go {
        Ok(go) => go.version.as_str(),
        Err(reason) => reason.as_str(),
    };
    let machine = Machine::describe(options.subject, go_version);
    if machine.is_busy() {
        out::problem(
            "the machine is busy with something else: trust the ratios more than the times",
        );
    }
    out::problem(&format!(
        "{} cases, {rounds} rounds, --seed {seed}",
        cases.len()
    ));
    let mut session = Session {
        options,
        go,
        rounds,
        random: Rng::new(seed),
        progress: Progress::new(
            cases
                .iter()
                .map(|case| case.contenders.len() * rounds)
                .sum(),
        ),
    };
    let cases = cases.into_iter().map(|case| session.play(case)).collect();
    session.progress.finish();
    let mut run = Run {
        subject: options.subject,
        machine,
        seed,
        rounds,
        quick: options.quick,
        cases,
    };
    run.machine.load_after = process::load();
    publish(&run, options)?;
    Ok(run.is_complete())
}

fn publish(run: &Run, options: &Options) -> Result<(), Stop> {
    let text = report::format(run, options.format);
    match &options.into {
        None => out::result(&text),
        Some(path) => report::replace_in(path, run.subject, &text),
    }
    .map_err(Stop::Failed)
}

fn select(options: &Options) -> Result<Vec<Case>, Stop> {
    let wanted = |case: &Case| {
        options.only.is_empty()
            || options
                .only
                .iter()
                .any(|part| case.id.contains(part) || case.title.contains(part))
    };
    let cases: Vec<Case> = options
        .subject
        .catalogue()
        .into_iter()
        .filter(wanted)
        .collect();
    if cases.is_empty() {
        let parts = options.only.join("`, `");
        return Err(Stop::Usage(format!(
            "no case has `{parts}` in its id or title; --list shows them"
        )));
    }
    Ok(cases)
}

fn seed_from_clock() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::from(since.subsec_nanos()) ^ since.as_secs()
}

struct Session<'a> {
    options: &'a Options,
    go: Result<Go, String>,
    rounds: usize,
    random: Rng,
    progress: Progress,
}

impl Session<'_> {
    fn play(&mut self, case: Case) -> CaseResult {
        let size = case.size_for(self.options.quick);
        let mut results: Vec<ContenderResult> = Vec::new();
        for contender in &case.contenders {
            let absent = self.reason_to_skip(&case, contender).map(Absent::Skipped);
            results.push(ContenderResult {
                name: contender.name,
                rounds: Vec::new(),
                absent,
            });
        }
        for round in 1..=self.rounds {
            let mut turns: Vec<(&Contender, &mut ContenderResult)> =
                case.contenders.iter().zip(&mut results).collect();
            self.random.shuffle(&mut turns);
            for (contender, result) in turns {
                let detail = format!("round {round} of {}, {}", self.rounds, contender.name);
                self.progress.step(case.id, &detail);
                self.sample(&case, contender, result);
            }
        }
        CaseResult {
            case,
            size,
            contenders: results,
        }
    }

    /// Adds one round to `result`. A contender that failed twice is not asked again.
    fn sample(&self, case: &Case, contender: &Contender, result: &mut ContenderResult) {
        let skipped = matches!(result.absent, Some(Absent::Skipped(_)));
        let failures = result.rounds.iter().filter(|round| round.is_none()).count();
        if skipped || failures >= FAILURES_MAX {
            result.rounds.push(None);
            return;
        }
        if self.options.patient {
            wait_for_idle_cores();
        }
        let go = self.go.as_ref().ok();
        let command = sample::command(self.options, case, contender, go);
        let readings = command.and_then(|command| {
            if self.options.instructions {
                instructions::count(&command)
            } else {
                sample::readings(command, case.kind)
            }
        });
        if let Err(message) = &readings {
            out::problem(&format!("{} by {}: {message}", case.id, contender.name));
            result.absent = Some(Absent::Failed(message.clone()));
        }
        result.rounds.push(readings.ok());
    }

    fn reason_to_skip(&self, case: &Case, contender: &Contender) -> Option<String> {
        if self.options.peers_only && contender.name.starts_with(RIPCORD) {
            return Some("left out by --peers-only".to_owned());
        }
        if let Program::Missing(reason) = contender.program {
            return Some(reason.to_owned());
        }
        if let (Program::Go, Err(reason)) = (contender.program, &self.go) {
            return Some(reason.clone());
        }
        if let Some(Err(reason)) = case.needs.map(|needed| needed()) {
            return Some(reason);
        }
        let needed = match (case.kind, contender.program) {
            (Kind::Heavy, Program::Go) => GO_BYTES_PER_CONTEXT,
            (Kind::Heavy, Program::Rust(_) | Program::Missing(_)) => RUST_BYTES_PER_CONTEXT,
            _ => return None,
        } * case.size_for(self.options.quick) as u64;
        let available = process::available_bytes()?;
        (available < needed).then(|| {
            format!(
                "needs {} MiB of memory, {} MiB are free",
                needed >> 20,
                available >> 20
            )
        })
    }
}

/// Returns when next to nothing else runs, or when that has not come for a while.
fn wait_for_idle_cores() {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let idle = process::idle_share(Duration::from_millis(300));
        if idle.is_none_or(|share| share >= IDLE_ENOUGH) {
            return;
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
const IDLE_ENOUGH: f64 = 0.95;
/// A busy machine spoils a sample now and then; what fails again is broken.
const FAILURES_MAX: usize = 2;
/// What a heavy case needs at its peak, generously.
const GO_BYTES_PER_CONTEXT: u64 = 8_500;
const RUST_BYTES_PER_CONTEXT: u64 = 1_500;
