//! Lines of numbers, exactly, on the clock of a test.

mod told;

use ripcord_core::Kind;
use ripcord_core::tasks::{PollEnd, WokenBy};
use ripcord_tracer::Mode;
use std::panic::Location;
use std::time::Duration;
use told::{Task, Told};

fn metered() -> Told {
    Told::with(|builder| builder.mode(Mode::Metrics))
}

fn pass(told: &Told, milliseconds: u64) {
    told.clock.advance(Duration::from_millis(milliseconds));
}

fn poll(told: &Told, task: Task, end: PollEnd, label: Option<&'static str>) {
    told.tasks
        .poll_started(task.by, None, Some(0))
        .end(end, label);
}

fn lines(told: &Told, has_detail: bool) -> Vec<String> {
    let builder = told.recorder.sched_trace(Duration::MAX);
    let lines = builder.detail(has_detail).lines();
    assert!(lines.ends_with('\n'));
    lines.lines().map(str::to_owned).collect()
}

#[test]
fn the_line_of_a_program_that_has_just_begun() {
    let told = metered();
    let (_root, _guard) = told.root_unnamed();
    pass(&told, 1_000);
    let expect = "SCHED 1000ms: workers=0 parked=0 stalled=0 tasks=0 running=0 runnable=0 blocked=0 \
                  contexts=1 undrained=0 overdue=0 ghosts=0 blocking=0 queued=0 dropped=0";
    assert_eq!(lines(&told, true), [expect]);
}

#[test]
fn a_line_for_all_and_with_details_one_for_each() {
    let told = metered();
    let (root, guard) = told.root_unnamed();
    told.tasks.parked(Some(0));
    let waits = told.begin(1, &root, "wa\u{1b}its", false);
    poll(&told, waits, PollEnd::Pending, Some("recv"));
    pass(&told, 500);
    let driven = told.begin(2, &root, "driven", false);
    poll(&told, driven, PollEnd::Pending, None);
    told.tasks.woken(driven.by, WokenBy::Driver(0));
    poll(&told, driven, PollEnd::Pending, None);
    told.begin(3, &root, "fresh", false);
    let job = told.begin(4, &root, "job", true);
    told.begin(5, &root, "later", true);
    told.tasks.unparked(Some(0));
    pass(&told, 300);
    let inside = told.tasks.blocking_started(job.by, None);
    guard.cancel(Kind::Shutdown);
    let stuck = told.begin(6, &root, "stuck", false);
    let turn = told.tasks.poll_started(stuck.by, None, Some(0));
    pass(&told, 200);
    let shown = lines(&told, true);
    let summary = "SCHED 1000ms: workers=1 parked=0 stalled=1 tasks=4 running=1 runnable=1 \
                   blocked=2[(driver)=1 recv=1] contexts=1 undrained=1 overdue=0 ghosts=0 blocking=1 \
                   queued=1 dropped=0";
    assert_eq!(shown[0], summary);
    assert_eq!(lines(&told, false), [summary]);
    let rest: Vec<String> = shown[1..]
        .iter()
        .map(|line| line.replace(Location::caller().file(), "FILE"))
        .collect();
    let place = |line: &str| {
        let (before, after) = line.split_once(" at FILE:")?;
        let (_, after) = after.split_once(": ")?;
        Some(format!("{before}: {after}"))
    };
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let over = name.len() - 64_usize.min(name.len());
    let mark = if over > 0 { "…" } else { "" };
    let expect = [
        format!("  worker 1 `{mark}{}`: polls for 200ms", &name[over..]),
        "  task 1 `wa\\u{1b}its`: recv for 1000ms".to_owned(),
        "  task 2 `driven`: (driver) for 500ms".to_owned(),
        "  task 3 `fresh`: runnable for 500ms".to_owned(),
        "  job 5 `later`: queued for 500ms".to_owned(),
        "  job 4 `job`: running for 200ms".to_owned(),
        "  task 6 `stuck`: running for 200ms".to_owned(),
    ];
    let rest: Vec<String> = rest
        .iter()
        .map(|line| place(line).unwrap_or_else(|| line.clone()))
        .collect();
    assert_eq!(rest, expect);
    turn.end(PollEnd::Pending, None);
    drop((inside, root));
}

#[test]
fn of_many_tasks_the_oldest_few_have_a_line() {
    let told = metered();
    let (root, _guard) = told.root_unnamed();
    for number in 1..=30 {
        told.begin(number, &root, "task", false);
        pass(&told, 1);
    }
    let shown = lines(&told, true);
    assert_eq!(shown.len(), 9);
    assert!(shown[1].starts_with("  task 1 ") && shown[1].ends_with(" for 30ms"));
    assert!(shown[8].starts_with("  task 8 ") && shown[8].ends_with(" for 23ms"));
}

#[test]
fn names_and_reasons_are_bounded_and_escaped() {
    let told = metered();
    let (root, _guard) = told.root_unnamed();
    let long: &'static str = "x".repeat(1_000).leak();
    for number in 0..11 {
        let task = told.begin(number + 1, &root, long, false);
        let label: &'static str = format!("wait\n{number}").leak();
        poll(&told, task, PollEnd::Pending, Some(label));
    }
    let shown = lines(&told, true);
    assert_eq!(shown.len(), 10, "{shown:?}");
    assert!(
        shown[0].contains("blocked=11[wait\\n0=1 wait\\n1=1 wait\\n10=1 "),
        "{shown:?}"
    );
    assert!(shown[0].contains(" and 3 more] contexts="), "{shown:?}");
    assert!(
        shown[2].contains(&format!(" `…{}` at ", "x".repeat(64))),
        "{shown:?}"
    );
}
