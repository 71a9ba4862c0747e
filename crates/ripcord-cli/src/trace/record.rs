//! `ripcord trace record`: runs a program with its recorder switched on.
//!
//! The program writes the trace itself; this command only sets the two variables that its recorder
//! reads, waits, and forwards signals and exit status.

use super::args::RecordArgs;
use super::error::{TraceError, name};
use super::plain::plain;
use crate::exit::{self, ExpectedError};
use crate::printer::Printer;
use std::io;
use std::process::{ExitCode, ExitStatus};
use tokio::process::{Child, Command};

/// Runs the command.
///
/// # Errors
/// The output exists, the program cannot be started, or it ended well and wrote nothing.
pub(super) fn run(args: &RecordArgs, printer: &Printer) -> Result<ExitCode, ExpectedError> {
    let path = &args.output;
    if path.exists() {
        return Err(TraceError::Exists { path: path.clone() }.into());
    }
    let Some((program, rest)) = args.program.split_first() else {
        // The parser asks for one at least.
        return Ok(exit::OK);
    };
    let failed = |error| TraceError::Program {
        name: program.to_string_lossy().into_owned(),
        error,
    };
    // The program may change its folder.
    let place = std::path::absolute(path).map_err(failed)?;
    let mut command = Command::new(program);
    command.args(rest).env("RIPCORD_TRACE", place);
    if let Some(mode) = &args.mode {
        command.env("RIPCORD_TRACE_MODE", mode);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ExpectedError::demo("start a runtime", error))?;
    let status = runtime.block_on(supervised(&mut command)).map_err(failed)?;
    let len = path.metadata().map_or(0, |about| about.len());
    if len > 0 {
        printer.note(format_args!("{}: {len} bytes", name(path)));
    } else if status.success() {
        return Err(TraceError::NoTrace { path: path.clone() }.into());
    } else {
        let why = plain(&status.to_string()).to_string();
        printer.note(format_args!("{} was not written: {why}", name(path)));
    }
    Ok(ExitCode::from(code(status)))
}

/// Runs the program to its end. A signal that would end this program is for that one.
#[cfg(unix)]
async fn supervised(command: &mut Command) -> io::Result<ExitStatus> {
    use tokio::signal::unix::{SignalKind, signal};
    // A terminal sends an interrupt to both, so it is only waited out here.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut child = command.spawn()?;
    loop {
        tokio::select! {
            status = child.wait() => return status,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => forward(&child),
        }
    }
}

#[cfg(unix)]
fn forward(child: &Child) {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
    }
}

#[cfg(not(unix))]
async fn supervised(command: &mut Command) -> io::Result<ExitStatus> {
    let mut child: Child = command.spawn()?;
    loop {
        tokio::select! {
            status = child.wait() => return status,
            _ = tokio::signal::ctrl_c() => {}
        }
    }
}

/// The status as a shell would tell it: 128 and the number of the signal that ended the program.
fn code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        if let Some(signal) = status.signal() {
            return u8::try_from(128 + signal).unwrap_or(u8::MAX);
        }
    }
    status
        .code()
        .map_or(1, |code| u8::try_from(code).unwrap_or(1))
}
