//! What an end waited for: hops that follow each other without gaps, from task to task.

mod support;

use ripcord_analysis::critical_path::{CriticalPath, HopKind, Target};
use support::{thread, trace};

const MS: u64 = 1_000;

/// Name, what it did, and milliseconds of each hop.
fn hops(blocks: &[String], target: Target) -> Vec<(String, HopKind, u128)> {
    let mut trace = trace(&blocks.concat());
    let path = CriticalPath::of(&mut trace, target).expect("memory can be read");
    let path = path.expect("the target is in the trace");
    assert!(!path.is_cut);
    let hops = path.hops.iter();
    hops.map(|hop| {
        let name = hop.task.name.as_deref().unwrap_or_default();
        (name.to_owned(), hop.kind, hop.time.as_millis())
    })
    .collect()
}

fn expect(hops: &[(&str, HopKind, u128)]) -> Vec<(String, HopKind, u128)> {
    let hops = hops.iter();
    hops.map(|(name, kind, time)| ((*name).to_owned(), *kind, *time))
        .collect()
}

#[test]
fn the_path_goes_through_who_woke_and_who_spawned() {
    let events = [
        (
            0,
            r#"task_spawn slot=0 id=50 parent=- ctx=- loc=- bytes=1 name="parent""#,
        ),
        (10 * MS, "poll_start slot=0 seq=0"),
        (
            30 * MS,
            r#"task_spawn slot=1 id=51 parent=50 ctx=- loc=- bytes=1 name="child""#,
        ),
        (40 * MS, "poll_pending label=-"),
        (45 * MS, "poll_start slot=1 seq=0"),
        (60 * MS, "poll_pending label=-"),
        (90 * MS, "wake slot=1 seq=1 by=driver waker=0"),
        (92 * MS, "poll_start slot=1 seq=1"),
        (100 * MS, "poll_ready"),
        (
            100 * MS,
            r#"task_end slot=1 id=51 outcome=ready parent=50 ctx=- loc=- polls=2 busy=0 name="child""#,
        ),
        (100 * MS, "wake slot=0 seq=1 by=completion waker=1"),
        (107 * MS, "poll_start slot=0 seq=1"),
        (110 * MS, "poll_ready"),
        (
            110 * MS,
            r#"task_end slot=0 id=50 outcome=ready parent=- ctx=- loc=- polls=2 busy=0 name="parent""#,
        ),
    ];
    assert_eq!(
        hops(&[thread(1, &events)], Target::Task(50)),
        expect(&[
            ("parent", HopKind::Queue, 10),
            ("parent", HopKind::Run, 20),
            ("child", HopKind::Queue, 15),
            ("child", HopKind::Run, 15),
            ("child", HopKind::Wait, 30),
            ("child", HopKind::Queue, 2),
            ("child", HopKind::Run, 8),
            ("parent", HopKind::Queue, 7),
            ("parent", HopKind::Run, 3),
        ])
    );
}

#[test]
fn the_path_of_a_context_goes_through_blocking_work() {
    let events = [
        (
            0,
            r#"ctx_create id=2 parent=- kind=root loc=- deadline=- name="request""#,
        ),
        (
            0,
            r#"ctx_create id=3 parent=2 kind=child loc=- deadline=- name="""#,
        ),
        (
            0,
            r#"task_spawn slot=0 id=50 parent=- ctx=3 loc=- bytes=1 name="handler""#,
        ),
        (MS, "poll_start slot=0 seq=0"),
        (
            4 * MS,
            r#"job_queued job=60 parent=50 ctx=3 loc=- name="hash""#,
        ),
        (5 * MS, "poll_pending label=-"),
        (70 * MS, "poll_start slot=0 seq=1"),
        (71 * MS, "poll_ready"),
        (
            72 * MS,
            r#"task_end slot=0 id=50 outcome=ready parent=- ctx=3 loc=- polls=2 busy=0 name="handler""#,
        ),
    ];
    let pool = [
        (20 * MS, "job_start job=60"),
        (60 * MS, "wake slot=0 seq=1 by=blocking waker=2"),
        (
            60 * MS,
            r#"job_end job=60 outcome=ready parent=50 ctx=3 loc=- name="hash""#,
        ),
    ];
    assert_eq!(
        hops(&[thread(1, &events), thread(2, &pool)], Target::Ctx(2)),
        expect(&[
            ("handler", HopKind::Queue, 1),
            ("handler", HopKind::Run, 3),
            ("hash", HopKind::Queue, 16),
            ("hash", HopKind::Run, 40),
            ("handler", HopKind::Queue, 10),
            ("handler", HopKind::Run, 1),
            ("handler", HopKind::Drop, 1),
        ])
    );
}

#[test]
fn what_is_not_in_the_trace_has_no_path() {
    let mut trace = trace(&thread(1, &[(0, "park")]));
    for target in [Target::Task(50), Target::Ctx(2)] {
        assert_eq!(
            CriticalPath::of(&mut trace, target).expect("memory can be read"),
            None
        );
    }
}

#[test]
fn a_request_in_a_connections_task_ends_with_its_context() {
    let events = [
        (
            0,
            r#"task_spawn slot=0 id=50 parent=- ctx=1 loc=- bytes=1 name="conn""#,
        ),
        (0, "poll_start slot=0 seq=0"),
        (
            MS,
            r#"ctx_create id=2 parent=1 kind=child loc=- deadline=- name="request""#,
        ),
        (MS, "task_ctx slot=0 ctx=2"),
        (5 * MS, r#"ctx_end id=2 parent=1 loc=- name="request""#),
        (6 * MS, "poll_pending label=-"),
        (9_000 * MS, "wake slot=0 seq=1 by=driver waker=0"),
        (9_000 * MS, "poll_start slot=0 seq=1"),
        (9_001 * MS, "task_ctx slot=0 ctx=1"),
    ];
    // The poll goes on beyond the end of the request, and the path ends with that.
    let mut trace = trace(&thread(1, &events));
    let path = CriticalPath::of(&mut trace, Target::Ctx(2)).expect("memory can be read");
    let path = path.expect("the target is in the trace");
    assert_eq!((path.ends.as_millis(), path.time.as_millis()), (5, 4));
}

#[test]
fn what_is_not_told_of_a_waker_is_a_hop_of_its_own() {
    let events = [
        (
            0,
            r#"task_spawn slot=0 id=50 parent=- ctx=- loc=- bytes=1 name="parent""#,
        ),
        (
            0,
            r#"task_spawn slot=1 id=51 parent=- ctx=- loc=- bytes=1 name="child""#,
        ),
        (0, "poll_start slot=0 seq=0"),
        (10 * MS, "poll_pending label=-"),
        (10 * MS, "poll_start slot=1 seq=0"),
        (60 * MS, "poll_pending label=-"),
        // How the child came to run again is lost.
        (100 * MS, "wake slot=0 seq=1 by=task waker=1"),
        (100 * MS, "poll_start slot=0 seq=1"),
        (105 * MS, "poll_ready"),
        (
            105 * MS,
            r#"task_end slot=0 id=50 outcome=ready parent=- ctx=- loc=- polls=2 busy=0 name="parent""#,
        ),
    ];
    assert_eq!(
        hops(&[thread(1, &events)], Target::Task(50)),
        expect(&[
            ("child", HopKind::Queue, 10),
            ("child", HopKind::Run, 50),
            ("child", HopKind::Unknown, 40),
            ("parent", HopKind::Run, 5),
        ])
    );
}
