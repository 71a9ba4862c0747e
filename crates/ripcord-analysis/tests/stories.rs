//! What is told of requests that stopped in time, of ends that came from above, and of stragglers that were
//! asked where they wait.

mod support;

use ripcord_analysis::{Analysis, Explanation, Options, Select};
use support::request::{END, MS, analyse, request, tables};
use support::{thread, trace};

/// What is said of the contexts with this tag.
fn asked_for(tag: &str, blocks: &[String]) -> Vec<String> {
    let mut trace = trace(&(tables() + &blocks.concat()));
    let options = Options::default().select(Select::tag(tag));
    let found = Analysis::of(&mut trace, &options).expect("memory can be read");
    let ends = found.ends_of(tag);
    ends.map(|end| Explanation::of(end).to_string()).collect()
}

/// The end of request 2 at its deadline, and a task that hears of it at once.
const HEARD: [(u64, &str); 4] = [
    (
        3_000 * MS,
        "ctx_cancel id=2 kind=deadline_exceeded by=- loc=- due=0 message=\"\"",
    ),
    (3_000 * MS, "wake slot=0 seq=1 by=cancel waker=2"),
    (3_000 * MS + 100, "poll_start slot=0 seq=1"),
    (3_000 * MS + 200, "ctx_seen id=3 task=50 how=poll loc=-"),
];

#[test]
fn who_stops_in_time_is_not_late_and_what_ran_out_is_told() {
    let mut events = request("poll_listening label=2");
    events.extend(HEARD);
    events.extend([(3_000 * MS + 300, "poll_ready"), (3_000 * MS + 400, END)]);
    assert_eq!(
        asked_for("8f3", &[thread(1, &events)]),
        [
            "GET /orders #8f3 had 3 s and ran out of time while task risk.check waited 3 s on \
          tokio::sync::Mutex (spawned at risk.rs:40); all stopped within 400 µs."
        ]
    );
}

/// A client hangs up, which ends the context of its connection.
#[test]
fn an_end_from_above_is_that_of_the_request() {
    let mut events = request("poll_listening label=2");
    events.extend([
        (
            20 * MS,
            "ctx_cancel id=1 kind=peer_gone by=- loc=- due=- message=\"it hung up\"",
        ),
        (20 * MS, "wake slot=0 seq=1 by=cancel waker=1"),
        (20 * MS + 10, "poll_start slot=0 seq=1"),
        (20 * MS + 20, "ctx_seen id=3 task=50 how=poll loc=-"),
        (20 * MS + 30, "poll_ready"),
        (20 * MS + 40, END),
        (
            20 * MS + 50,
            "ctx_cancel id=2 kind=dropped by=- loc=- due=- message=\"\"",
        ),
    ]);
    assert_eq!(
        asked_for("8f3", &[thread(1, &events)]),
        [
            "GET /orders #8f3 was cancelled, as its peer was gone, (\"it hung up\") after 20 ms and \
          all stopped within 40 µs."
        ]
    );
}

/// A time-out around a call: no task works under its context.
#[test]
fn who_waits_for_a_time_out_is_told_though_he_does_not_work_under_it() {
    let mut events = request("poll_listening label=2");
    events.extend([
        (
            100 * MS,
            "ctx_create id=9 parent=3 kind=deadline loc=2 deadline=250000 name=\"tax tier\"",
        ),
        (100 * MS, "ctx_tag id=9 key=3 text=\"tier\""),
        (
            350 * MS,
            "ctx_cancel id=9 kind=deadline_exceeded by=- loc=2 due=0 message=\"\"",
        ),
        (350 * MS, "wake slot=0 seq=1 by=cancel waker=9"),
        (350 * MS, "poll_start slot=0 seq=1"),
        (350 * MS, "ctx_seen id=9 task=50 how=poll loc=-"),
        (350 * MS, "ctx_end id=9 parent=3 loc=2 name=\"tax tier\""),
        (351 * MS, "poll_ready"),
        (351 * MS, END),
    ]);
    let told = asked_for("tier", &[thread(1, &events)]);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].starts_with("tax tier #tier had 250 ms and ran out of time while task risk.check"),
        "{told:#?}"
    );
}

#[test]
fn a_context_that_is_known_only_after_its_end_is_told_of_too() {
    let events = [
        (
            0,
            "ctx_create id=2 parent=- kind=deadline loc=0 deadline=-5 name=\"GET /late\"",
        ),
        (
            1,
            "ctx_cancel id=2 kind=deadline_exceeded by=- loc=0 due=-6 message=\"\"",
        ),
        (2, "ctx_tag id=2 key=1 text=\"8f3\""),
        (3, "ctx_end id=2 parent=- loc=0 name=\"GET /late\""),
    ];
    assert_eq!(
        asked_for("8f3", &[thread(1, &events)]),
        ["GET /late #8f3 began when its deadline had passed and nothing was late."]
    );
}

#[test]
fn a_deadline_in_vain_is_counted_by_its_line() {
    let mut events = request("poll_pending label=-");
    events.extend([
        (10 * MS, "ctx_vain id=3 loc=2 deadline=5000000"),
        (20 * MS, "ctx_vain id=3 loc=2 deadline=2985000"),
        (21 * MS, "ctx_vain id=1 loc=2 deadline=9000000"),
    ]);
    let found = analyse(&[thread(1, &events)]);
    let rows: Vec<String> = found.never_fires.iter().map(ToString::to_string).collect();
    // The second one is as good as the deadline itself, and the third is under no deadline.
    assert_eq!(
        rows,
        [
            "the deadline at page.rs:12 can never fire: that at orders.rs:12 comes up to 2.01 s \
          earlier, 1 times"
        ]
    );
}

const STACK: &str = "stack task=50 why=asked leaf=0 text=\"tokio::time::sleep::Sleep in \
                     tokio-1.54.1/src/time/sleep.rs:4:9\\nf at src/page.rs:64:9\"";

/// A loop of sleeps that is asked once where it waits.
fn sleeper() -> Vec<(u64, &'static str)> {
    let mut events = request("poll_pending label=-");
    events.push((
        3_000 * MS,
        "ctx_cancel id=2 kind=deadline_exceeded by=- loc=- due=0 message=\"\"",
    ));
    let loops = [
        (
            3_100,
            [
                "wake slot=0 seq=1 by=driver waker=0",
                "poll_start slot=0 seq=1",
            ],
        ),
        (
            3_200,
            [
                "wake slot=0 seq=2 by=driver waker=0",
                "poll_start slot=0 seq=2",
            ],
        ),
        (
            3_300,
            [
                "wake slot=0 seq=3 by=driver waker=0",
                "poll_start slot=0 seq=3",
            ],
        ),
    ];
    for (at, [wake, poll]) in loops {
        events.extend([
            (at * MS, wake),
            (at * MS, poll),
            (at * MS, "poll_pending label=-"),
        ]);
    }
    events
}

const EXPECT: &str = "GET /orders #8f3 had 3 s and ended 400 ms late: task risk.check waited 400 ms \
                      on tokio::time::sleep::Sleep at page.rs:64 without listening to its context \
                      (deaf await).";

fn told(events: &[(u64, &str)]) -> String {
    let found = analyse(&[thread(1, events)]);
    Explanation::of(&found.late_ends[0]).to_string()
}

#[test]
fn waits_of_a_loop_are_named_by_one_sample() {
    let mut events = sleeper();
    let at = events
        .iter()
        .position(|(at, _)| *at == 3_300 * MS)
        .expect("it is there");
    events.insert(at, (3_250 * MS, STACK));
    events.push((3_400 * MS, END));
    assert_eq!(told(&events), EXPECT);
}

#[test]
fn a_stack_that_has_its_names_after_the_end_counts_too() {
    let mut events = sleeper();
    events.extend([(3_400 * MS, END), (3_900 * MS, STACK)]);
    assert_eq!(told(&events), EXPECT);
}

/// One that has a label waits for something else than the sample shows.
#[test]
fn a_sample_names_no_wait_that_is_known_to_be_another() {
    let mut events = sleeper();
    events.extend([
        (3_310 * MS, STACK),
        (3_400 * MS, "wake slot=0 seq=4 by=driver waker=0"),
        (3_400 * MS, "poll_start slot=0 seq=4"),
        (3_400 * MS, "poll_pending label=2"),
        (3_900 * MS, END),
    ]);
    let told = told(&events);
    assert!(
        told.contains("waited 500 ms on tokio::sync::Mutex (spawned at risk.rs:40)"),
        "{told}"
    );
    assert!(
        told.contains("waited 400 ms on tokio::time::sleep::Sleep at page.rs:64"),
        "{told}"
    );
}

/// Whoever is below the request is late with it, and is not told of again.
#[test]
fn of_contexts_that_one_task_holds_the_topmost_is_told() {
    let mut events = request("poll_pending label=2");
    events.extend([
        (
            2_000 * MS,
            "ctx_cancel id=3 kind=cancelled by=- loc=1 due=- message=\"\"",
        ),
        (
            3_000 * MS,
            "ctx_cancel id=2 kind=deadline_exceeded by=- loc=- due=0 message=\"\"",
        ),
        (4_000 * MS, END),
    ]);
    let found = analyse(&[thread(1, &events)]);
    assert_eq!(found.late_ends.len(), 2);
    let stories: Vec<u64> = found.stories().map(|end| end.ctx.id).collect();
    assert_eq!(stories, [2]);
}

/// The work is told to be over on its own thread, half a millisecond after the task that waited for it
/// was woken.
#[test]
fn work_that_is_told_to_be_over_too_late_adds_no_time() {
    let mut events = request("poll_pending label=2");
    events.extend([
        (
            3_000 * MS,
            "ctx_cancel id=2 kind=deadline_exceeded by=- loc=- due=0 message=\"\"",
        ),
        (3_100 * MS, "wake slot=0 seq=1 by=blocking waker=2"),
        (3_100 * MS, "poll_start slot=0 seq=1"),
        (3_200 * MS, "poll_ready"),
        (3_200 * MS, END),
    ]);
    let job = [
        (
            50 * MS,
            "job_queued job=60 parent=50 ctx=3 loc=- name=\"sum\"",
        ),
        (60 * MS, "job_start job=60"),
        (
            3_100 * MS + 500,
            "job_end job=60 outcome=ready parent=50 ctx=3 loc=- name=\"sum\"",
        ),
    ];
    let analysis = analyse(&[thread(1, &events), thread(2, &job)]);
    for end in &analysis.late_ends {
        let explanation = Explanation::of(end);
        let sum: std::time::Duration = explanation.parts.iter().map(|part| part.time).sum();
        assert_eq!(sum, end.late, "{explanation}");
    }
    assert!(!analysis.late_ends.is_empty());
}
