//! What becomes of tasks whose context has ended: exact segments, and who is to blame.

mod support;

use ripcord_analysis::waterfall::{LateEnd, Phase};
use ripcord_analysis::{Analysis, Explanation, Options, Select};
use std::time::Duration;
use support::{block, thread, trace};

/// Milliseconds as ticks.
const MS: u64 = 1_000;

fn analyse(blocks: &[String]) -> Analysis {
    let mut trace = trace(&(tables() + &blocks.concat()));
    Analysis::of(&mut trace, &Options::default()).expect("memory can be read")
}

fn tables() -> String {
    let places = [
        (
            0,
            r#"location index=0 file="src/orders.rs" line=12 column=1"#,
        ),
        (0, r#"location index=1 file="src/risk.rs" line=40 column=5"#),
        (0, r#"location index=2 file="src/page.rs" line=12 column=5"#),
        (0, r#"label index=1 text="request.id""#),
        (0, r#"label index=2 text="tokio::sync::Mutex""#),
        (0, r#"label index=3 text="render""#),
    ];
    block("table", 0, &places)
}

/// A request with a deadline of 3 s, whose task is `risk.check`, and how it begins to wait.
fn request(poll_end: &'static str) -> Vec<(u64, &'static str)> {
    vec![
        (
            0,
            r#"ctx_create id=1 parent=- kind=root loc=- deadline=- name="""#,
        ),
        (
            0,
            r#"ctx_create id=2 parent=1 kind=deadline loc=0 deadline=3000000 name="GET /orders""#,
        ),
        (0, r#"ctx_tag id=2 key=1 text="8f3""#),
        (
            0,
            r#"ctx_create id=3 parent=2 kind=child loc=1 deadline=- name="""#,
        ),
        (
            0,
            r#"task_spawn slot=0 id=50 parent=- ctx=3 loc=1 bytes=1 name="risk.check""#,
        ),
        (1, "poll_start slot=0 seq=0"),
        (2, poll_end),
    ]
}

const END: &str =
    r#"task_end slot=0 id=50 outcome=ready parent=- ctx=3 loc=1 polls=2 busy=0 name="risk.check""#;

/// The name of each segment, with milliseconds.
fn segments(end: &LateEnd, lane: usize) -> Vec<(&'static str, u128)> {
    let lane = &end.lanes[lane];
    let sum: Duration = lane.segments.iter().map(|segment| segment.time).sum();
    assert_eq!(sum, lane.late, "segments add up");
    let name = |phase: &Phase| match phase {
        Phase::TimerLate => "timer",
        Phase::Propagation => "propagation",
        Phase::DeafWait { .. } => "deaf",
        Phase::InPoll { .. } => "poll",
        Phase::Queued { .. } => "queued",
        Phase::PoolQueue => "pool",
        Phase::UncancellableJob => "job",
        Phase::CleanUp { .. } => "clean-up",
        _ => "unknown",
    };
    let named = lane.segments.iter();
    named
        .map(|segment| (name(&segment.phase), segment.time.as_millis()))
        .collect()
}

#[test]
fn a_deaf_await_is_named_with_its_place() {
    let mut events = request("poll_pending label=2");
    events.extend([
        (3_001 * MS, "ctx_cancel id=2 kind=deadline_exceeded by=- loc=- due=-1000 message=\"\""),
        (3_010 * MS, "stack task=50 why=deadline leaf=0 text=\"tokio::sync::mutex::Mutex::lock at /root/.cargo/registry/src/tokio/mutex.rs:4:9\\nshop::risk::check at src/risk.rs:88:9\""),
        (4_600 * MS, "wake slot=0 seq=1 by=task waker=9"),
        (4_640 * MS, "poll_start slot=0 seq=1"),
        (4_640 * MS, "ctx_seen id=3 task=50 how=check loc=1"),
        (4_700 * MS, "poll_ready"),
        (4_740 * MS, END),
    ]);
    let analysis = analyse(&[thread(1, &events)]);
    let end = &analysis.late_ends[0];
    assert_eq!(
        segments(end, 0),
        [
            ("deaf", 1_600),
            ("queued", 40),
            ("clean-up", 60),
            ("clean-up", 40)
        ]
    );
    assert_eq!(end.late, Duration::from_millis(1_740));
    assert_eq!(
        Explanation::of(end).to_string(),
        "GET /orders #8f3 had 3 s and ended 1.74 s late: task risk.check waited 1.6 s on \
         tokio::sync::Mutex at risk.rs:88 without listening to its context (deaf await)."
    );
    assert_eq!(
        analysis.deaf_sites[0].place.to_string(),
        "tokio::sync::Mutex at risk.rs:88"
    );
    assert_eq!(analysis.ghosts()[0].deaf, Duration::from_millis(1_600));
    assert_eq!(analysis.ends_of("8f3").count(), 1);
    assert_eq!(analysis.ends_of("2").count(), 1);
}

#[test]
fn a_task_that_listened_is_not_blamed_for_a_late_timer() {
    let mut events = request("poll_listening label=2");
    events.extend([
        (
            3_200 * MS,
            "ctx_cancel id=2 kind=deadline_exceeded by=- loc=- due=-200000 message=\"\"",
        ),
        (3_230 * MS, "wake slot=0 seq=1 by=cancel waker=2"),
        (3_230 * MS, "poll_start slot=0 seq=1"),
        (3_230 * MS, "ctx_seen id=3 task=50 how=poll loc=1"),
        (3_231 * MS, "poll_ready"),
        (3_231 * MS, END),
    ]);
    let analysis = analyse(&[thread(1, &events)]);
    let end = &analysis.late_ends[0];
    assert_eq!(
        segments(end, 0),
        [("timer", 200), ("propagation", 30), ("clean-up", 1)]
    );
    assert!(analysis.deaf_sites.is_empty());
    let text = Explanation::of(end).to_string();
    assert!(
        text.contains("the timer of its deadline was 200 ms late"),
        "{text}"
    );
    assert!(!text.contains("deaf"), "{text}");
}

#[test]
fn a_wake_just_before_the_cancel_is_no_deafness() {
    // It listened; its socket was faster than the cancel, whose wake is therefore not written.
    let mut events = request("poll_listening label=2");
    events.extend([
        (
            3_000 * MS,
            "ctx_cancel id=2 kind=deadline_exceeded by=- loc=- due=0 message=\"\"",
        ),
        (3_001 * MS, "wake slot=0 seq=1 by=driver waker=0"),
        (3_001 * MS, "poll_start slot=0 seq=1"),
        (3_001 * MS, "ctx_seen id=3 task=50 how=check loc=1"),
        (3_051 * MS, "poll_ready"),
        (3_051 * MS, END),
    ]);
    let analysis = analyse(&[thread(1, &events)]);
    assert_eq!(
        segments(&analysis.late_ends[0], 0),
        [("propagation", 1), ("clean-up", 50)]
    );
    assert!(analysis.deaf_sites.is_empty());
}

#[test]
fn a_deadline_that_nobody_waited_for_ends_by_the_clock() {
    let mut events = request("poll_pending label=2");
    events.extend([
        (3_500 * MS, "wake slot=0 seq=1 by=driver waker=0"),
        (3_500 * MS, "poll_start slot=0 seq=1"),
        (3_900 * MS, "poll_ready"),
        (3_900 * MS, END),
    ]);
    let analysis = analyse(&[thread(1, &events)]);
    let end = &analysis.late_ends[0];
    assert_eq!(segments(end, 0), [("deaf", 500), ("poll", 400)]);
    assert_eq!(end.ctx.end.as_ref().and_then(|end| end.told), None);
    assert_eq!(end.lanes[0].observed, None);
    assert_eq!(end.lanes[0].busy, Duration::from_millis(400));
}

#[test]
fn who_ends_in_time_is_not_late_and_a_shield_protects() {
    let mut in_time = request("poll_pending label=2");
    in_time.extend([
        (2_900 * MS, "wake slot=0 seq=1 by=driver waker=0"),
        (2_900 * MS, "poll_start slot=0 seq=1"),
        (2_901 * MS, "poll_ready"),
        (2_901 * MS, END),
        (
            3_500 * MS,
            "ctx_cancel id=2 kind=deadline_exceeded by=- loc=- due=-500000 message=\"\"",
        ),
        (4_000 * MS, "park"),
    ]);
    let analysis = analyse(&[thread(1, &in_time)]);
    assert_eq!((analysis.ends_with_tasks, analysis.late_ends.len()), (0, 0));

    let shielded: Vec<_> = request("poll_pending label=2")
        .into_iter()
        .map(|(tick, event)| {
            (
                tick,
                event.replace("id=3 parent=2 kind=child", "id=3 parent=2 kind=shield"),
            )
        })
        .collect();
    let mut events: Vec<_> = shielded
        .iter()
        .map(|(tick, event)| (*tick, event.as_str()))
        .collect();
    events.extend([
        (
            3_000 * MS,
            "ctx_cancel id=2 kind=deadline_exceeded by=- loc=- due=0 message=\"\"",
        ),
        (4_000 * MS, "park"),
    ]);
    assert_eq!(analyse(&[thread(1, &events)]).ends_with_tasks, 0);
}

#[test]
fn a_queue_names_who_had_the_worker() {
    let mut events = request("poll_listening label=2");
    events.splice(
        5..5,
        [(
            0,
            r#"task_spawn slot=1 id=51 parent=- ctx=- loc=2 bytes=1 name="page""#,
        )],
    );
    let worker = [
        (2_900 * MS, "poll_start slot=1 seq=0"),
        (2_900 * MS, "region_begin label=3"),
        (3_300 * MS, "poll_ready"),
        (3_300 * MS, "poll_start slot=0 seq=1"),
        (3_300 * MS, "ctx_seen id=3 task=50 how=poll loc=1"),
        (3_300 * MS, "poll_ready"),
        (3_300 * MS, END),
    ];
    let timer = [
        (
            3_000 * MS,
            "ctx_cancel id=2 kind=deadline_exceeded by=- loc=- due=0 message=\"\"",
        ),
        (3_000 * MS, "wake slot=0 seq=1 by=cancel waker=2"),
    ];
    let analysis = analyse(&[thread(1, &events), thread(2, &worker), thread(3, &timer)]);
    let end = &analysis.late_ends[0];
    assert_eq!(segments(end, 0), [("queued", 300)]);
    assert_eq!(
        Explanation::of(end).to_string(),
        "GET /orders #8f3 had 3 s and ended 300 ms late: task risk.check was queued for 300 ms behind \
         a poll of task page that took 400 ms at render (spawned at page.rs:12)."
    );
    let long = &analysis.long_polls[0];
    assert_eq!(
        (long.victims.count, long.victims.total),
        (1, Duration::from_millis(300))
    );
}

#[test]
fn who_waits_for_blocking_work_is_not_to_blame_for_it() {
    let mut events = request("poll_pending label=-");
    events.splice(
        6..6,
        [(1, r#"job_queued job=60 parent=50 ctx=3 loc=2 name="hash""#)],
    );
    events.extend([
        (4_000 * MS, "wake slot=0 seq=1 by=blocking waker=2"),
        (4_000 * MS, "poll_start slot=0 seq=1"),
        (4_000 * MS, "poll_ready"),
        (4_000 * MS, END),
    ]);
    let pool = [
        (3_100 * MS, "job_start job=60"),
        (
            4_000 * MS,
            r#"job_end job=60 outcome=ready parent=50 ctx=3 loc=2 name="hash""#,
        ),
    ];
    let analysis = analyse(&[thread(1, &events), thread(2, &pool)]);
    let end = &analysis.late_ends[0];
    let job = end
        .lanes
        .iter()
        .position(|lane| lane.task.is_job)
        .expect("it has a lane");
    assert_eq!(segments(end, job), [("pool", 100), ("job", 900)]);
    let text = Explanation::of(end).to_string();
    assert_eq!(
        text,
        "GET /orders #8f3 had 3 s and ended 1 s late: blocking job hash ran for 900 ms, and nothing \
         can cancel it; blocking job hash waited 100 ms for a thread of the pool."
    );
}

#[test]
fn who_waits_for_a_deaf_child_is_not_to_blame() {
    let mut events = request("poll_listening label=2");
    events.extend([
        (10, r#"task_spawn slot=1 id=51 parent=50 ctx=3 loc=2 bytes=1 name="child""#),
        (11, "poll_start slot=1 seq=0"),
        (12, "poll_pending label=2"),
        (3_000 * MS, "ctx_cancel id=2 kind=deadline_exceeded by=- loc=- due=0 message=\"\""),
        (3_000 * MS, "wake slot=0 seq=1 by=cancel waker=2"),
        (3_000 * MS, "poll_start slot=0 seq=1"),
        (3_000 * MS, "ctx_seen id=3 task=50 how=poll loc=1"),
        (3_000 * MS, "poll_pending label=-"),
        (3_800 * MS, "wake slot=1 seq=1 by=driver waker=0"),
        (3_800 * MS, "poll_start slot=1 seq=1"),
        (3_800 * MS, "poll_ready"),
        (3_800 * MS, r#"task_end slot=1 id=51 outcome=ready parent=50 ctx=3 loc=2 polls=2 busy=0 name="child""#),
        (3_800 * MS, "wake slot=0 seq=2 by=completion waker=1"),
        (3_900 * MS, "poll_start slot=0 seq=2"),
        (3_900 * MS, "poll_ready"),
        (3_900 * MS, END),
    ]);
    let analysis = analyse(&[thread(1, &events)]);
    let explanation = Explanation::of(&analysis.late_ends[0]);
    let shares: Vec<_> = explanation
        .parts
        .iter()
        .map(|part| {
            (
                part.task.name.as_deref().unwrap_or_default(),
                part.time.as_millis(),
            )
        })
        .collect();
    assert_eq!(shares, [("child", 800), ("risk.check", 100)]);
    let sum: Duration = explanation.parts.iter().map(|part| part.time).sum();
    assert_eq!(sum, explanation.late);
}

#[test]
fn a_peer_that_left_a_lost_waker_and_the_end_of_the_trace_are_said() {
    let mut events = request("poll_lost");
    events.extend([
        (
            1_000 * MS,
            "ctx_cancel id=2 kind=peer_gone by=- loc=- due=- message=\"\"",
        ),
        (2_500 * MS, "park"),
    ]);
    let analysis = analyse(&[thread(1, &events)]);
    assert_eq!(analysis.lost_wakers[0].count, 1);
    assert_eq!(
        Explanation::of(&analysis.late_ends[0]).to_string(),
        "GET /orders #8f3 was cancelled, as its peer was gone, after 1 s and is not over 1.5 s later, \
         where the trace ends: task risk.check waited 1.5 s on an unnamed await (spawned at \
         risk.rs:40), and nobody can wake it (lost waker); task risk.check is still there."
    );
    assert_eq!(analysis.leaks()[0].leaks.count, 1);
}

#[test]
fn a_handler_that_leaves_the_context_is_over() {
    // The task of a connection serves a request in a context that is not its own.
    let events = [
        (
            0,
            r#"ctx_create id=1 parent=- kind=root loc=- deadline=- name="connection""#,
        ),
        (
            0,
            r#"task_spawn slot=0 id=50 parent=- ctx=1 loc=1 bytes=1 name="conn""#,
        ),
        (
            0,
            r#"ctx_create id=2 parent=1 kind=deadline loc=0 deadline=100000 name="GET /""#,
        ),
        (1, "poll_start slot=0 seq=0"),
        (1, "task_ctx slot=0 ctx=2"),
        (2, "poll_pending label=2"),
        (150 * MS, "wake slot=0 seq=1 by=driver waker=0"),
        (150 * MS, "poll_start slot=0 seq=1"),
        (160 * MS, "task_ctx slot=0 ctx=1"),
        (161 * MS, "poll_pending label=-"),
        (900 * MS, "park"),
    ];
    let analysis = analyse(&[thread(1, &events)]);
    let end = &analysis.late_ends[0];
    assert_eq!(segments(end, 0), [("deaf", 50), ("poll", 10)]);
    assert!(end.lanes[0].is_over);
}

#[test]
fn a_nested_deadline_that_never_fires_is_counted_by_site() {
    let events = [
        (
            0,
            r#"ctx_create id=1 parent=- kind=deadline loc=0 deadline=1000000 name="outer""#,
        ),
        (
            10,
            r#"ctx_create id=2 parent=1 kind=deadline loc=1 deadline=5000000 name="inner""#,
        ),
        (
            20,
            r#"ctx_create id=3 parent=1 kind=deadline loc=2 deadline=500000 name="fine""#,
        ),
    ];
    let analysis = analyse(&[thread(1, &events)]);
    assert_eq!(analysis.never_fires.len(), 1);
    let never = &analysis.never_fires[0];
    let places =
        [&never.location, &never.shortened_by].map(|at| at.as_ref().map(ToString::to_string));
    assert_eq!(
        places,
        [
            Some("risk.rs:40".to_owned()),
            Some("orders.rs:12".to_owned())
        ]
    );
    let inner = &analysis.contexts[1];
    assert_eq!(inner.budget, Some(Duration::from_micros(999_990)));
    assert_eq!(inner.shortened_by.as_ref().map(|owner| owner.id), Some(1));
}

#[test]
fn in_a_dump_tasks_are_known_whose_spawn_has_left_the_ring() {
    let events = [
        (100 * MS, "poll_start slot=0 seq=7"),
        (101 * MS, "poll_pending label=2"),
        (
            110 * MS,
            "ctx_cancel id=2 kind=peer_gone by=- loc=- due=- message=\"\"",
        ),
        (410 * MS, "wake slot=0 seq=8 by=driver waker=0"),
        (410 * MS, "poll_start slot=0 seq=8"),
        (411 * MS, "poll_ready"),
        (411 * MS, END),
        (412 * MS, r#"ctx_end id=3 parent=2 loc=1 name="""#),
        (413 * MS, "poll_start slot=0 seq=0"),
        (414 * MS, "poll_pending label=2"),
    ];
    let registry = [
        (
            5,
            r#"ctx_create id=2 parent=- kind=root loc=0 deadline=- name="GET /orders""#,
        ),
        (
            412 * MS,
            r#"task_spawn slot=0 id=51 parent=- ctx=- loc=2 bytes=1 name="next""#,
        ),
    ];
    let analysis = analyse(&[thread(1, &events), block("registry", 0, &registry)]);
    let end = &analysis.late_ends[0];
    assert_eq!(segments(end, 0), [("deaf", 300), ("poll", 1)]);
    assert_eq!(end.lanes[0].task.to_string(), "task risk.check");
    let names = analysis.tasks.iter().map(|row| row.task.to_string());
    assert_eq!(names.collect::<Vec<_>>(), ["task risk.check", "task next"]);
    assert_eq!(analysis.tasks[0].polls, 2);
    assert!(!analysis.tasks[0].has_spawn);
}

#[test]
fn who_waits_again_after_the_end_is_deaf_even_if_another_end_wakes_it() {
    for (waker, expect) in [
        // An inner time-out wakes it: it did not hear of its own context.
        (
            "7",
            vec![("queued", 1), ("poll", 9), ("deaf", 290), ("clean-up", 50)],
        ),
        // Its own context does: it listened after all.
        (
            "2",
            vec![
                ("queued", 1),
                ("poll", 9),
                ("propagation", 290),
                ("clean-up", 50),
            ],
        ),
    ] {
        let wake = format!("wake slot=0 seq=2 by=cancel waker={waker}");
        let mut events = request("poll_listening label=2");
        events.extend([
            (
                100 * MS,
                "ctx_cancel id=2 kind=cancelled by=- loc=- due=- message=\"\"",
            ),
            (100 * MS, "wake slot=0 seq=1 by=cancel waker=2"),
            (101 * MS, "poll_start slot=0 seq=1"),
            (110 * MS, "poll_listening label=2"),
            (400 * MS, wake.as_str()),
            (400 * MS, "poll_start slot=0 seq=2"),
            (400 * MS, "ctx_seen id=3 task=50 how=poll loc=1"),
            (450 * MS, "poll_ready"),
            (450 * MS, END),
        ]);
        let analysis = analyse(&[thread(1, &events)]);
        assert_eq!(segments(&analysis.late_ends[0], 0), expect, "{waker}");
    }
}

#[test]
fn who_works_under_a_context_that_another_has_seen_is_not_blamed_after_its_poll() {
    let events = [
        (
            0,
            r#"ctx_create id=1 parent=- kind=root loc=- deadline=- name="connection""#,
        ),
        (
            0,
            r#"task_spawn slot=0 id=50 parent=- ctx=1 loc=1 bytes=1 name="conn""#,
        ),
        (
            0,
            r#"ctx_create id=2 parent=1 kind=child loc=0 deadline=- name="GET /""#,
        ),
        (1, "poll_start slot=0 seq=0"),
        (1, "task_ctx slot=0 ctx=2"),
        (2, "poll_listening label=2"),
        (
            100 * MS,
            "ctx_cancel id=2 kind=peer_gone by=- loc=- due=- message=\"\"",
        ),
        (100 * MS, "ctx_seen id=2 task=99 how=check loc=-"),
        (100 * MS, "wake slot=0 seq=1 by=cancel waker=2"),
        (100 * MS, "poll_start slot=0 seq=1"),
        (101 * MS, "poll_pending label=2"),
        (400 * MS, "wake slot=0 seq=2 by=driver waker=0"),
        (400 * MS, "poll_start slot=0 seq=2"),
        (400 * MS, "task_ctx slot=0 ctx=1"),
        (401 * MS, "poll_pending label=-"),
    ];
    let analysis = analyse(&[thread(1, &events)]);
    let end = &analysis.late_ends[0];
    assert_eq!(segments(end, 0), [("clean-up", 1), ("clean-up", 299)]);
    assert!(analysis.deaf_sites.is_empty());
}

#[test]
fn what_was_before_an_end_that_is_told_late_is_unknown() {
    // The making of the context has left the ring, and so its deadline is told by its end only.
    let mut events: Vec<_> = request("poll_listening label=2")
        .into_iter()
        .filter(|(_, event)| !event.starts_with("ctx_create id=2"))
        .collect();
    events.extend([
        (3_100 * MS, "wake slot=0 seq=1 by=driver waker=0"),
        (3_100 * MS, "poll_start slot=0 seq=1"),
        (
            3_150 * MS,
            "ctx_cancel id=2 kind=deadline_exceeded by=50 loc=- due=-150000 message=\"\"",
        ),
        (3_150 * MS, "ctx_seen id=3 task=50 how=check loc=1"),
        (3_160 * MS, "poll_ready"),
        (3_160 * MS, END),
    ]);
    let analysis = analyse(&[thread(1, &events)]);
    let end = &analysis.late_ends[0];
    assert_eq!(
        segments(end, 0),
        [("unknown", 100), ("poll", 50), ("clean-up", 10)]
    );
    assert_eq!(end.late, Duration::from_millis(160));
}

#[test]
fn what_was_asked_for_is_kept_though_nothing_was_late() {
    let mut events = request("poll_listening label=2");
    events.extend([
        (
            1_200 * MS,
            "ctx_cancel id=2 kind=peer_gone by=- loc=- due=- message=\"\"",
        ),
        (1_200 * MS, "wake slot=0 seq=1 by=cancel waker=2"),
        (1_200 * MS, "poll_start slot=0 seq=1"),
        (1_200 * MS, "ctx_seen id=3 task=50 how=poll loc=1"),
        (1_200 * MS, "poll_ready"),
        (1_200 * MS, END),
    ]);
    let mut trace = trace(&(tables() + &thread(1, &events)));
    let none = Analysis::of(&mut trace, &Options::default()).expect("memory can be read");
    assert_eq!((none.late_ends.len(), none.ends_with_tasks), (0, 1));
    let key = Some("request.id".to_owned());
    for select in [
        Select::Ctx(2),
        Select::tag("8f3"),
        Select::Tag {
            key,
            text: "8f3".to_owned(),
        },
    ] {
        let options = Options::default().select(select);
        let some = Analysis::of(&mut trace, &options).expect("memory can be read");
        let explanation = Explanation::of(&some.late_ends[0]);
        assert!(explanation.is_on_time(options.late_min));
        assert_eq!(
            explanation.to_string(),
            "GET /orders #8f3 was cancelled, as its peer was gone, after 1.2 s and nothing was late."
        );
    }
    let other = Select::Tag {
        key: Some("trace.id".to_owned()),
        text: "8f3".to_owned(),
    };
    let options = Options::default().select(other);
    let none = Analysis::of(&mut trace, &options).expect("memory can be read");
    assert!(none.late_ends.is_empty());
}

#[test]
fn a_slow_clean_up_a_panic_and_a_long_poll_are_told_apart() {
    let mut events = request("poll_listening label=2");
    events.extend([
        (2_950 * MS, "wake slot=0 seq=1 by=driver waker=0"),
        (2_950 * MS, "poll_start slot=0 seq=1"),
        (2_951 * MS, "region_begin label=3"),
        (3_100 * MS, "ctx_seen id=3 task=50 how=check loc=1"),
        (3_100 * MS, "region_end"),
        (3_100 * MS, "poll_pending label=2"),
        (3_900 * MS, "wake slot=0 seq=2 by=driver waker=0"),
        (3_900 * MS, "poll_start slot=0 seq=2"),
        (3_900 * MS, r#"task_end slot=0 id=50 outcome=panicked parent=- ctx=3 loc=1 polls=2 busy=0 name="risk.check""#),
    ]);
    let analysis = analyse(&[thread(1, &events)]);
    let end = &analysis.late_ends[0];
    assert_eq!(segments(end, 0), [("poll", 100), ("clean-up", 800)]);
    assert_eq!(
        Explanation::of(end).to_string(),
        "GET /orders #8f3 had 3 s and ended 900 ms late: task risk.check took 800 ms to clean up after \
         it had looked (waiting on tokio::sync::Mutex (spawned at risk.rs:40)); task risk.check was \
         100 ms in polls of render (spawned at risk.rs:40); task risk.check panicked."
    );
    assert_eq!(analysis.sites[0].panicked, 1);
}

#[test]
fn nested_ends_each_have_their_own_account() {
    // An operation of 1 s under a request of 3 s: its task is deaf, and late for both.
    let mut events = request("poll_pending label=2");
    events[3] = (
        0,
        r#"ctx_create id=3 parent=2 kind=deadline loc=1 deadline=1000000 name="op""#,
    );
    events.extend([
        (4_000 * MS, "wake slot=0 seq=1 by=task waker=9"),
        (4_000 * MS, "poll_start slot=0 seq=1"),
        (4_000 * MS, "poll_ready"),
        (4_000 * MS, END),
    ]);
    let analysis = analyse(&[thread(1, &events)]);
    let late: Vec<_> = analysis
        .late_ends
        .iter()
        .map(|end| (end.ctx.id, end.late.as_millis(), segments(end, 0)))
        .collect();
    assert_eq!(
        late,
        [
            (3, 3_000, vec![("deaf", 3_000)]),
            (2, 1_000, vec![("deaf", 1_000)])
        ]
    );
    let above: Vec<_> = analysis.late_ends[0]
        .above
        .iter()
        .map(|ctx| ctx.id)
        .collect();
    assert_eq!(above, [1, 2]);
}

#[test]
fn a_connection_that_is_idle_after_its_request_is_not_blamed() {
    // The request is over in the poll that answers it, and the way back is told by the next poll.
    let events = [
        (
            0,
            r#"ctx_create id=1 parent=- kind=root loc=- deadline=- name="connection""#,
        ),
        (
            0,
            r#"task_spawn slot=0 id=50 parent=- ctx=1 loc=1 bytes=1 name="conn""#,
        ),
        (1, "poll_start slot=0 seq=0"),
        (
            1,
            r#"ctx_create id=2 parent=1 kind=deadline loc=0 deadline=100000 name="GET /""#,
        ),
        (1, "task_ctx slot=0 ctx=2"),
        (
            50 * MS,
            r#"ctx_cancel id=2 kind=dropped by=50 loc=- due=- message="""#,
        ),
        (51 * MS, r#"ctx_end id=2 parent=1 loc=0 name="GET /""#),
        (52 * MS, "poll_pending label=-"),
        (30_000 * MS, "wake slot=0 seq=1 by=driver waker=0"),
        (30_000 * MS, "poll_start slot=0 seq=1"),
        (30_001 * MS, "task_ctx slot=0 ctx=1"),
        (30_001 * MS, "poll_pending label=-"),
    ];
    let analysis = analyse(&[thread(1, &events)]);
    assert_eq!(
        (analysis.late_ends.len(), analysis.deaf_sites.len()),
        (0, 0)
    );
    assert_eq!(analysis.ends_with_tasks, 1);
}

#[test]
fn the_end_of_an_unrelated_context_is_no_sign_of_listening() {
    for (parent, expect) in [
        // Nothing to do with the request: a shutdown signal of something else.
        ("-", "deaf"),
        // A time-out that the task had set for itself below its own context.
        ("3", "propagation"),
    ] {
        let other =
            format!(r#"ctx_create id=7 parent={parent} kind=child loc=- deadline=- name="""#);
        let mut events = request("poll_pending label=2");
        events.insert(5, (1, other.as_str()));
        events.extend([
            (
                100 * MS,
                "ctx_cancel id=2 kind=cancelled by=- loc=- due=- message=\"\"",
            ),
            (400 * MS, "wake slot=0 seq=1 by=cancel waker=7"),
            (400 * MS, "poll_start slot=0 seq=1"),
            (400 * MS, "poll_ready"),
            (400 * MS, END),
        ]);
        let analysis = analyse(&[thread(1, &events)]);
        assert_eq!(
            segments(&analysis.late_ends[0], 0),
            [(expect, 300)],
            "{parent}"
        );
    }
}

#[test]
fn of_very_many_tasks_the_last_are_kept() {
    let mut text = vec![(
        0,
        r#"ctx_create id=1 parent=- kind=root loc=- deadline=- name="all""#.to_owned(),
    )];
    for id in 0..1_200 {
        let spawn =
            format!(r#"task_spawn slot={id} id={id} parent=- ctx=1 loc=- bytes=1 name="t""#);
        text.push((1, spawn));
    }
    text.push((
        2,
        r#"ctx_cancel id=1 kind=shutdown by=- loc=- due=- message="""#.to_owned(),
    ));
    for id in 0..1_200 {
        let end = format!(
            r#"task_end slot={id} id={id} outcome=dropped parent=- ctx=1 loc=- polls=0 busy=0 name="t""#
        );
        text.push((100 * MS + id, end));
    }
    let events: Vec<_> = text
        .iter()
        .map(|(tick, event)| (*tick, event.as_str()))
        .collect();
    let (first, rest) = events.split_at(600);
    let (second, third) = rest.split_at(900);
    let analysis = analyse(&[thread(1, first), thread(1, second), thread(1, third)]);
    let end = &analysis.late_ends[0];
    assert_eq!((end.lanes.len(), end.lanes_left_out), (1_000, 200));
    assert_eq!(
        (end.lanes[0].task.id, end.lanes[999].task.id),
        (Some(1_199), Some(200))
    );
    assert_eq!(analysis.sites[0].late.count, 1_200);
}

#[test]
fn where_events_are_lost_nobody_is_blamed() {
    let begin = [
        (
            100 * MS,
            r#"ctx_cancel id=2 kind=cancelled by=- loc=- due=- message="""#,
        ),
        (100 * MS, "wake slot=0 seq=1 by=cancel waker=2"),
        (100 * MS, "poll_start slot=0 seq=1"),
    ];
    let end = [(600 * MS, "poll_ready"), (600 * MS, END)];
    // The end of the poll is lost, and the recorder says so; or it says nothing.
    let told = vec![
        (400 * MS, "dropped events=3"),
        (500 * MS, "wake slot=0 seq=2 by=task waker=1"),
    ];
    for (lost, expect) in [
        (told, [("unknown", 400), ("poll", 100)]),
        (vec![], [("unknown", 400), ("poll", 100)]),
    ] {
        let mut events = request("poll_listening label=2");
        events.extend(begin);
        events.extend(lost);
        events.push((500 * MS, "poll_start slot=0 seq=2"));
        events.extend(end);
        let analysis = analyse(&[thread(1, &events)]);
        assert_eq!(segments(&analysis.late_ends[0], 0), expect);
        let task = &analysis.tasks[0];
        assert_eq!(task.longest_poll, Duration::from_millis(100));
    }
    // A wake is lost: how long the task was deaf, or whether it was, is not known.
    let mut events = request("poll_pending label=2");
    events.extend([
        (
            100 * MS,
            r#"ctx_cancel id=2 kind=cancelled by=- loc=- due=- message="""#,
        ),
        (500 * MS, "poll_start slot=0 seq=1"),
        (510 * MS, "poll_ready"),
        (510 * MS, END),
    ]);
    let analysis = analyse(&[thread(1, &events)]);
    assert_eq!(
        segments(&analysis.late_ends[0], 0),
        [("unknown", 400), ("poll", 10)]
    );
    assert!(analysis.deaf_sites.is_empty());
    assert_eq!(analysis.health.missing_wakes, 1);
}
