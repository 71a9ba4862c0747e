//! Tasks one by one and by site, and what sums say.

mod support;

use ripcord_analysis::diff::Diff;
use ripcord_analysis::{Analysis, Options, Select};
use std::time::Duration;
use support::{block, thread, trace};

const MS: u64 = 1_000;

fn analyse(blocks: &[String]) -> Analysis {
    let mut trace = trace(&blocks.concat());
    Analysis::of(&mut trace, &Options::default()).expect("memory can be read")
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A task that waits, is woken, yields, is preempted and ends.
fn life() -> Vec<(u64, &'static str)> {
    vec![
        (
            0,
            r#"task_spawn slot=0 id=50 parent=- ctx=- loc=- bytes=77 name="t""#,
        ),
        (5 * MS, "poll_start slot=0 seq=0"),
        (8 * MS, "poll_pending label=-"),
        (28 * MS, "wake slot=0 seq=1 by=driver waker=0"),
        (30 * MS, "poll_start slot=0 seq=1"),
        (31 * MS, "poll_yield"),
        (32 * MS, "poll_start slot=0 seq=2"),
        (44 * MS, "poll_preempt"),
        (48 * MS, "poll_start slot=0 seq=3"),
        (50 * MS, "wake slot=0 seq=4 by=itself waker=-"),
        (51 * MS, "poll_listening label=-"),
        (53 * MS, "poll_start slot=0 seq=4"),
        (54 * MS, "poll_ready"),
        (
            60 * MS,
            r#"task_end slot=0 id=50 outcome=ready parent=- ctx=- loc=- polls=5 busy=20000 name="t""#,
        ),
    ]
}

#[test]
fn the_time_of_a_task_is_split_into_busy_waiting_and_queued() {
    let analysis = analyse(&[thread(1, &life())]);
    let task = &analysis.tasks[0];
    assert_eq!(
        (task.polls, task.bytes, task.outcome),
        (5, 77, Some("ready"))
    );
    assert_eq!(
        (task.busy, task.waited, task.queued),
        (ms(20), ms(20), ms(14))
    );
    assert_eq!((task.longest_poll, task.ended), (ms(12), Some(ms(60))));
    assert_eq!(task.wakes, [("driver", 1), ("itself", 1)]);
    let long = &analysis.long_polls[0];
    assert_eq!((long.time.count, long.time.max), (1, ms(12)));
    // A wake within the poll is no wait, so only one is counted, which did not listen.
    assert_eq!(
        (analysis.waits[0].time.count, analysis.cancel_coverage),
        (1, Some(0.0))
    );
}

#[test]
fn coverage_is_the_share_of_waiting_that_listened() {
    let events = [
        (0, "poll_start slot=0 seq=0"),
        (0, "poll_listening label=-"),
        (30 * MS, "wake slot=0 seq=1 by=driver waker=0"),
        (30 * MS, "poll_start slot=0 seq=1"),
        (30 * MS, "poll_pending label=-"),
        (40 * MS, "wake slot=0 seq=2 by=driver waker=0"),
    ];
    let analysis = analyse(&[thread(1, &events)]);
    assert_eq!(analysis.cancel_coverage, Some(0.75));
    assert_eq!(analysis.cancel_coverage_by_count, Some(0.5));
}

#[test]
fn a_storm_is_wakes_that_change_nothing() {
    let mut text = vec![
        (0, "poll_start slot=0 seq=0".to_owned()),
        (1, "poll_pending label=-".to_owned()),
    ];
    for poll in 1..1_101_u64 {
        text.push((
            poll * 10,
            format!("wake slot=0 seq={} by=task waker=1", poll % 128),
        ));
        text.push((
            poll * 10 + 1,
            format!("poll_start slot=0 seq={}", poll % 128),
        ));
        text.push((poll * 10 + 2, "poll_pending label=-".to_owned()));
    }
    let events: Vec<_> = text
        .iter()
        .map(|(tick, event)| (*tick, event.as_str()))
        .collect();
    let analysis = analyse(&[thread(1, &events)]);
    assert_eq!(analysis.wake_storms()[0].idle_polls, 1_100);
    assert!(analyse(&[thread(1, &life())]).wake_storms().is_empty());
}

#[test]
fn who_is_alive_at_the_end_is_a_leak_when_old() {
    let events = [
        (
            0,
            r#"task_spawn slot=0 id=50 parent=- ctx=- loc=0 bytes=1 name="old""#,
        ),
        (1, "poll_start slot=0 seq=0"),
        (2, "poll_pending label=4"),
        (
            1_999 * MS,
            r#"task_spawn slot=1 id=51 parent=- ctx=- loc=0 bytes=1 name="young""#,
        ),
        (2_000 * MS, "stall slot=0 ticks=5000"),
    ];
    let tables = [
        (0, r#"location index=0 file="src/a.rs" line=7 column=1"#),
        (0, r#"label index=4 text="queue \u{1b}[2J" loc=-"#),
    ];
    let analysis = analyse(&[block("table", 0, &tables), thread(1, &events)]);
    let leaks = analysis.leaks();
    assert_eq!(leaks.len(), 1);
    assert_eq!((leaks[0].leaks.count, leaks[0].leaks.max), (1, ms(2_000)));
    let old = &analysis.tasks[0];
    assert_eq!((old.stage, old.ended), (Some("waiting"), None));
    let place = old.place.as_ref().map(ToString::to_string);
    assert_eq!(
        place.as_deref(),
        Some(r"queue \u{1b}[2J (spawned at a.rs:7)")
    );
    assert_eq!(analysis.stalls[0].time, ms(5));
    assert_eq!(
        analysis.stalls[0].task.as_ref().and_then(|task| task.id),
        Some(50)
    );
}

#[test]
fn only_so_many_are_listed_and_all_are_counted() {
    let mut options = Options::default();
    options.listed = 1;
    let second = r#"task_spawn slot=1 id=51 parent=- ctx=- loc=- bytes=1 name="t""#;
    let ctxs = [
        (
            0,
            r#"ctx_create id=1 parent=- kind=root loc=- deadline=- name="""#,
        ),
        (
            0,
            r#"ctx_create id=2 parent=1 kind=child loc=- deadline=- name="""#,
        ),
    ];
    let mut events = life();
    events.push((61 * MS, second));
    let mut trace = trace(&(thread(1, &events) + &thread(2, &ctxs)));
    let asked = options.clone().select(Select::Ctx(2));
    let analysis = Analysis::of(&mut trace, &asked).expect("memory can be read");
    let ids: Vec<_> = analysis.contexts.iter().map(|ctx| ctx.id).collect();
    assert_eq!((ids, analysis.contexts_left_out), (vec![1, 2], 0));
    let analysis = Analysis::of(&mut trace, &options).expect("memory can be read");
    assert_eq!((analysis.tasks.len(), analysis.tasks_left_out), (1, 1));
    assert_eq!(
        (analysis.contexts.len(), analysis.contexts_left_out),
        (1, 1)
    );
    assert_eq!((analysis.sites[0].spawned, analysis.sites[0].alive), (2, 1));
    assert_eq!(analysis.contexts_made, 2);
}

#[test]
fn a_site_that_is_in_one_trace_only_has_one_side() {
    let renamed: Vec<_> = life()
        .into_iter()
        .map(|(tick, event)| (tick, event.replace(r#""t""#, r#""u""#)))
        .collect();
    let renamed: Vec<_> = renamed
        .iter()
        .map(|(tick, event)| (*tick, event.as_str()))
        .collect();
    let (before, after) = (
        analyse(&[thread(1, &life())]),
        analyse(&[thread(1, &renamed)]),
    );
    let diff = Diff::of(&before, &after);
    let sides = diff
        .sites
        .iter()
        .map(|site| site.sides.map(|side| side.is_some()));
    assert_eq!(sides.collect::<Vec<_>>(), [[true, false], [false, true]]);
    let same = Diff::of(&before, &before);
    assert_eq!(same.sites[0].sides[0], same.sites[0].sides[1]);
    assert_eq!(
        same.sites[0].sides[0].map(|side| (side.polls, side.poll)),
        Some((5, ms(4)))
    );
}

#[test]
fn json_has_nanoseconds() {
    let analysis = analyse(&[thread(1, &life())]);
    let json = serde_json::to_value(&analysis).expect("it is plain values");
    assert_eq!(json["tasks"][0]["busy"], 20_000_000);
    assert_eq!(json["tasks"][0]["name"], "t");
    assert_eq!(json["health"]["end"], "not closed");
}

/// A list that leads back to itself would be gone over until the allowance for hostile traces is used up.
#[test]
fn a_context_that_is_made_after_its_end_is_listed_once() {
    let live = [(0, "thread_start kind=worker name=\"w\"")];
    let events = [
        (
            1,
            r#"task_spawn slot=0 id=50 parent=- ctx=91 loc=- bytes=1 name="t""#,
        ),
        (2, r#"ctx_end id=91 parent=90 loc=- name="""#),
        (
            3,
            r#"ctx_create id=91 parent=90 kind=child loc=- deadline=- name="""#,
        ),
        (
            4,
            r#"ctx_cancel id=90 kind=cancelled by=- loc=- due=- message="""#,
        ),
        (50 * MS, r#"ctx_end id=91 parent=90 loc=- name="""#),
    ];
    let analysis = analyse(&[block("registry", 1, &live), thread(1, &events)]);
    assert_eq!(analysis.ends_with_tasks, 1);
    assert_eq!(analysis.ignored, 0);
}
