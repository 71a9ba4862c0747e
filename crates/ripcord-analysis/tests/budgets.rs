//! How the deadline of a request shrinks from hop to hop.

mod support;

use ripcord_analysis::{Analysis, Options, Select};
use std::time::Duration;
use support::{block, thread, trace};

const MS: u64 = 1_000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn analyse(events: &[(u64, &str)], options: &Options) -> Analysis {
    let labels = [
        (0, r#"label index=0 text="request.id" loc=-"#),
        (0, r#"label index=1 text="tenant" loc=-"#),
        (0, r#"location index=0 file="src/shop.rs" line=7 column=1"#),
    ];
    let blocks = [block("table", 0, &labels), thread(1, events)];
    let mut trace = trace(&blocks.concat());
    Analysis::of(&mut trace, options).expect("memory can be read")
}

/// A request of three hops: 3 s, less 100 ms, and one that has lost its deadline.
fn way() -> Vec<(u64, &'static str)> {
    vec![
        (
            0,
            r#"ctx_create id=1 parent=- kind=deadline loc=0 deadline=3000000 name="GET /""#,
        ),
        (0, r#"ctx_tag id=1 key=0 text="r1""#),
        (
            100 * MS,
            r#"ctx_create id=2 parent=- kind=deadline loc=- deadline=2800000 name="risk""#,
        ),
        (100 * MS, r#"ctx_tag id=2 key=0 text="r1""#),
        (
            200 * MS,
            r#"ctx_create id=3 parent=- kind=child loc=- deadline=- name="store""#,
        ),
        (200 * MS, r#"ctx_tag id=3 key=1 text="acme""#),
        (200 * MS, r#"ctx_tag id=3 key=0 text="r1""#),
        (
            300 * MS,
            r#"ctx_cancel id=3 kind=dropped by=- loc=- due=- message="""#,
        ),
        (350 * MS, r#"ctx_end id=3 parent=- loc=- name="""#),
        (400 * MS, r#"ctx_end id=2 parent=- loc=- name="""#),
        (500 * MS, r#"ctx_end id=1 parent=- loc=- name="""#),
    ]
}

#[test]
fn a_request_shares_its_time_out_among_its_hops() {
    let analysis = analyse(&way(), &Options::default());
    let [entry, risk, store] = &*analysis.budgets else {
        panic!("three hops: {:?}", analysis.budgets);
    };
    assert_eq!(entry.to_string(), "GET / at shop.rs:7");
    assert_eq!((entry.requests, entry.entries), (1, 1));
    assert_eq!((entry.budget.max, entry.used.max), (ms(3_000), ms(500)));
    assert_eq!(entry.left_min, Some(ms(2_500)));
    assert_eq!(
        entry.kept_back.count, 0,
        "it is what others are measured by"
    );
    assert_eq!((risk.to_string(), risk.entries), ("risk".to_owned(), 0));
    assert_eq!(risk.budget_min, Some(ms(2_800)));
    assert_eq!(risk.kept_back.max, ms(100));
    assert_eq!((risk.used.total, risk.left_min), (ms(300), Some(ms(2_500))));
    // It took until its context ended, and not until its last handle was gone.
    assert_eq!((store.without, store.used.max), (1, ms(100)));
    assert_eq!((store.budget.count, store.left_min), (0, None));
    assert!(analysis.hops.is_empty(), "nobody has asked for it");
}

#[test]
fn the_hops_of_a_request_are_listed_where_it_is_asked_for() {
    let mut events = way();
    // The request ends later than the trace.
    events.pop();
    let analysis = analyse(&events, &Options::default().select(Select::tag("r1")));
    let hops: Vec<_> = analysis
        .hops
        .iter()
        .map(|hop| {
            (
                hop.ctx,
                hop.begun,
                hop.request_left,
                hop.budget,
                hop.is_over,
            )
        })
        .collect();
    assert_eq!(
        hops,
        [
            (1, ms(0), Some(ms(3_000)), Some(ms(3_000)), false),
            (2, ms(100), Some(ms(2_900)), Some(ms(2_800)), true),
            (3, ms(200), Some(ms(2_800)), None, true),
        ]
    );
    assert_eq!(analysis.budgets.len(), 2, "what is not over is not counted");
}

#[test]
fn deadlines_that_run_out_or_grow_are_counted() {
    let events = [
        (
            0,
            r#"ctx_create id=1 parent=- kind=deadline loc=0 deadline=100000 name="GET /""#,
        ),
        (0, r#"ctx_tag id=1 key=0 text="r1""#),
        (
            10 * MS,
            r#"ctx_create id=2 parent=- kind=deadline loc=- deadline=5000000 name="risk""#,
        ),
        (10 * MS, r#"ctx_tag id=2 key=0 text="r1""#),
        (
            20 * MS,
            r#"ctx_create id=3 parent=- kind=deadline loc=- deadline=85000 name="risk""#,
        ),
        (20 * MS, r#"ctx_tag id=3 key=0 text="r1""#),
        (150 * MS, r#"ctx_end id=3 parent=- loc=- name="""#),
        (150 * MS, r#"ctx_end id=2 parent=- loc=- name="""#),
        (150 * MS, r#"ctx_end id=1 parent=- loc=- name="""#),
        // The same id again is another request: the first is over.
        (
            200 * MS,
            r#"ctx_create id=4 parent=- kind=deadline loc=- deadline=1000 name="risk""#,
        ),
        (200 * MS, r#"ctx_tag id=4 key=0 text="r1""#),
        (200 * MS, r#"ctx_end id=4 parent=- loc=- name="""#),
    ];
    let analysis = analyse(&events, &Options::default());
    let rows: Vec<_> = analysis
        .budgets
        .iter()
        .map(|row| {
            (
                row.requests,
                row.entries,
                row.ran_out,
                row.longer,
                row.left_min,
            )
        })
        .collect();
    // 5 ms more are within what a header rounds, and 4.9 s are not.
    assert_eq!(
        rows,
        [(1, 1, 1, 0, Some(ms(0))), (3, 1, 1, 1, Some(ms(0))),]
    );
    assert_eq!(analysis.budgets[0].used.max, ms(100), "until its deadline");
    assert_eq!(analysis.budgets[1].kept_back.max, ms(0));
}
