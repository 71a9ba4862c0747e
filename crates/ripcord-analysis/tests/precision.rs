//! Nobody is blamed who listened, who waited for somebody else, or of whom the trace does not say.

mod support;

use ripcord_analysis::Explanation;
use std::time::Duration;
use support::request::{END, MS, analyse, request, segments};
use support::thread;

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
        (490 * MS, "wake slot=0 seq=2 by=task waker=1"),
    ];
    for (lost, expect) in [
        (told, vec![("unknown", 390), ("queued", 10), ("poll", 100)]),
        (vec![], vec![("unknown", 400), ("poll", 100)]),
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
