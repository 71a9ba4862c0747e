//! What becomes of tasks whose context has ended: exact segments, and what is said of them.

mod support;

use ripcord_analysis::{Analysis, Explanation, Options, Select};
use std::time::Duration;
use support::request::{END, MS, analyse, request, segments, tables};
use support::{block, thread, trace};

#[test]
fn a_deaf_await_is_named_with_its_place() {
    let mut events = request("poll_pending label=2");
    events.extend([
        (3_001 * MS, "ctx_cancel id=2 kind=deadline_exceeded by=- loc=- due=-1000 message=\"\""),
        (3_010 * MS, "stack task=50 why=deadline leaf=0 text=\"tokio::sync::mutex::Mutex::lock in tokio-1.54.1/src/sync/mutex.rs:4:9\\nshop::risk::check at src/risk.rs:88:9\""),
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

/// Without an await stack the place is that of the leaf, or else of the region, and at last of the spawn.
#[test]
fn a_deaf_wait_is_at_the_place_of_its_leaf_or_region() {
    let asked = (
        1_000 * MS,
        "ctx_cancel id=2 kind=peer_gone by=- loc=- due=- message=\"\"",
    );
    let cases = [
        ("poll_pending label=5", None, "on join at page.rs:12"),
        ("poll_pending label=-", Some(5), "on join at page.rs:12"),
        (
            "poll_pending label=2",
            Some(5),
            "on tokio::sync::Mutex (spawned at risk.rs:40)",
        ),
        (
            "poll_pending label=-",
            Some(3),
            "on render (spawned at risk.rs:40)",
        ),
    ];
    for (wait, region, expect) in cases {
        let mut events = request(wait);
        let begin = region.map(|label| format!("region_begin label={label}"));
        let end = events.len() - 1;
        if let Some(line) = &begin {
            events.insert(end, (1, line));
        }
        events.extend([
            asked,
            (1_500 * MS, "wake slot=0 seq=1 by=driver waker=0"),
            (1_500 * MS, "poll_start slot=0 seq=1"),
            (1_500 * MS + 1, "poll_ready"),
            (1_500 * MS + 2, END),
        ]);
        let analysis = analyse(&[thread(1, &events)]);
        let told = Explanation::of(&analysis.late_ends[0]).to_string();
        assert!(told.contains(&format!("waited 500 ms {expect} ")), "{told}");
        let waits: Vec<_> = analysis.waits.iter().map(|row| &row.location).collect();
        let is_placed = wait.ends_with('5');
        assert_eq!(
            waits.iter().any(|place| place.is_some()),
            is_placed,
            "{waits:?}"
        );
    }
}

#[test]
fn a_peer_that_left_a_lost_waker_and_the_end_of_the_trace_are_said() {
    let asked = (
        1_000 * MS,
        "ctx_cancel id=2 kind=peer_gone by=- loc=- due=- message=\"\"",
    );
    let mut events = request("poll_lost");
    events.extend([asked, (2_500 * MS, "park")]);
    let analysis = analyse(&[thread(1, &events)]);
    // The last waker goes later, told by another thread; at the latest when it is too late.
    for (at, before) in [
        (900, "poll_pending label=-"),
        (1_200, "poll_listening label=-"),
    ] {
        let mut events = request(before);
        events.extend([asked, (2_500 * MS, "park")]);
        let lost = thread(2, &[(at * MS, "task_lost slot=0")]);
        let later = analyse(&[thread(1, &events), lost]);
        assert_eq!(later.lost_wakers, analysis.lost_wakers);
        assert_eq!(
            Explanation::of(&later.late_ends[0]).to_string(),
            Explanation::of(&analysis.late_ends[0]).to_string()
        );
    }
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
