//! Old readers of new traces, and the other way round.

mod oracle;

use ripcord_trace_format::{
    Decoder, Event, EventError, Fault, Item, MINOR, RawEvent, Reader, Schema, Seq, text,
};

/// The schema of a version that has three more types, and one more argument of a type we know.
fn future() -> String {
    let ours = Schema::current_text();
    let longer = ours.replace(
        "0x03 poll_start slot:uint seq:seq\n",
        "0x03 poll_start slot:uint seq:seq cpu:opt note:text\n",
    );
    assert_ne!(ours, longer);
    format!(
        "{longer}0x50 migrate slot:uint from:uint to:opt why:enum(steal|pin)\n0x90 heat watts:int name:text\n"
    )
}

fn trace_of(schema: &str, minor: u16, events: &str) -> Vec<u8> {
    let lines: Vec<_> = schema.lines().map(|line| format!("  {line}\n")).collect();
    let lines = lines.concat();
    let block = "block schema window=0 thread=0 first=0 last=0 events=0";
    let twin = format!(
        "ript 1.{minor} clock=tsc shift=0 frequency=1 process=1 wall=0 program=\"\"\n{block}\n{lines}block events window=0 thread=1 first=10 last=99 events=9\n{events}"
    );
    text::parse(&twin).unwrap_or_else(|error| panic!("{error}\n{twin}"))
}

fn shown(trace: &[u8]) -> Vec<String> {
    oracle::check(trace);
    let mut shown = Vec::new();
    let mut reader = Reader::new(trace).expect("a trace");
    while let Some(item) = reader.next_item().expect("a slice") {
        let Item::Block(block) = item else { continue };
        for event in block.events() {
            shown.push(match event {
                Ok((tick, Event::Unknown(raw))) => {
                    format!("{tick} unknown {}", block.schema.describe(&raw))
                }
                Ok((tick, event)) => format!("{tick} {event:?}"),
                Err(error) => error.to_string(),
            });
        }
    }
    shown
}

#[test]
fn an_old_reader_takes_what_is_new_by_the_schema() {
    //= T17, T18
    let events = "  +0 poll_start slot=7 seq=3 cpu=1 note=\"warm\"\n  \
                    +5 migrate slot=7 from=2 to=- why=pin\n  \
                    +1 heat watts=-40 name=\"a b\" ..0102\n  \
                    +1 migrate slot=7 from=2 to=3 why=#9\n  \
                    +1 poll_ready\n";
    let expect = [
        "10 PollStart { slot: 7, seq: Seq(3) }",
        "15 unknown migrate slot=7 from=2 to=- why=pin",
        "16 unknown heat watts=-40 name=\"a b\" ..0102",
        "17 unknown migrate slot=7 from=2 to=3 why=#9",
        "18 PollReady",
    ];
    assert_eq!(shown(&trace_of(&future(), MINOR + 1, events)), expect);
}

#[test]
fn a_new_reader_takes_what_an_old_writer_had() {
    //= T18
    let old = "0x02 task_end slot:uint id:task outcome:enum(ready)\n0x07 poll_ready\n\
               0x0a wake slot:uint seq:seq\n0x1a log\n0x04 poll_pending\n";
    let events = "  +0 task_end slot=1 id=2 outcome=#3\n  +1 wake slot=1 seq=2\n  +1 log\n  +1 poll_pending\n  +1 poll_ready\n";
    let expect = [
        "10 TaskEnd { slot: 1, id: 2, outcome: Dropped, parent: None, ctx: None, loc: None, polls: 0, busy: 0, name: \"\" }",
        "11 Wake { slot: 1, seq: Seq(2), by: Task, waker: None }",
        "12 Log { text: \"\" }",
        "13 PollPending { label: None }",
        "14 PollReady",
    ];
    assert_eq!(shown(&trace_of(old, 0, events)), expect);
}

#[test]
fn the_schema_of_the_trace_decides_what_a_number_means() {
    //= T21
    let other = "0x03 boil slot:uint seq:seq\n0x07 poll_ready why:text\n0x05 poll_yield\n0x06 poll_preempt\n0x0a wake slot:text\n";
    let events = "  +0 boil slot=1 seq=2\n  +0 poll_ready why=\"done\"\n  +0 wake slot=\"x\"\n";
    let expect = [
        "10 unknown boil slot=1 seq=2",
        "10 PollReady",
        "10 unknown wake slot=\"x\"",
    ];
    assert_eq!(shown(&trace_of(other, 0, events)), expect);
}

#[test]
fn nothing_of_a_newer_trace_is_guessed() {
    //= T20
    let whole = trace_of(&future(), MINOR + 1, "  +0 poll_ready\n");
    let mut reader = Reader::new(&whole[..]).expect("a trace");
    assert!(reader.schema().rows().is_empty());
    while reader.next_item().expect("a slice").is_some() {}
    assert!(!reader.schema().rows().is_empty());
    // The same with a damaged schema.
    let mut damaged = whole;
    let at = damaged
        .windows(4)
        .position(|w| w == b"park")
        .expect("in the schema");
    damaged[at] = b'b';
    let shown = shown(&damaged);
    assert_eq!(shown.len(), 1);
    assert!(
        shown[0].contains("event type 0x07 is not in the schema"),
        "{shown:?}"
    );
    // A trace of this version without its schema is read.
    let ours = trace_of(&Schema::current_text(), MINOR, "  +0 poll_ready\n");
    let mut damaged = ours;
    let at = damaged
        .windows(4)
        .position(|w| w == b"park")
        .expect("in the schema");
    damaged[at] = b'b';
    assert_eq!(self::shown(&damaged), ["10 PollReady"]);
}

#[test]
fn types_from_0x80_need_no_schema() {
    //= T19, T16
    let schema = Schema::current();
    let payload = [0x90, 1, 3, 0xff, 0xff, 0xff, 0x07, 1, 0x7f, 0];
    let wrong = |error: EventError| (error.offset, error.fault);
    let events = Decoder::new(&payload, 10, &schema);
    let events: Vec<_> = events.map(|event| event.map_err(wrong)).collect();
    let raw = RawEvent {
        number: 0x90,
        args: &[0xff; 3],
    };
    assert_eq!(
        events,
        [
            Ok((11, Event::Unknown(raw))),
            Ok((12, Event::PollReady {})),
            Err((8, Fault::UnknownType(0x7f)))
        ]
    );
}

fn last<'a>(schema: &'a Schema, payload: &'a [u8]) -> Option<Result<(u64, Event<'a>), EventError>> {
    Decoder::new(payload, 0, schema).last()
}

#[test]
fn a_short_form_of_something_else_is_unknown() {
    //= T27, T26
    let poll = [0x0a, 0, 7, 3, 0, 0, 0x68, 1, 0];
    let ours = Schema::current();
    let (slot, seq) = (7, Seq::new(3));
    let expect = Some(Ok((1, Event::PollStart { slot, seq })));
    assert_eq!(last(&ours, &poll), expect);
    let text = Schema::current_text();
    let line = "0x03 poll_start slot:uint seq:seq";
    let longer = text.replace(line, &format!("{line} cpu:opt"));
    assert_ne!(longer, text);
    assert_eq!(
        last(&Schema::parse(&longer).expect("a schema"), &poll),
        expect
    );
    for other in ["0x03 boil slot:uint seq:seq", "0x03 poll_start slot:text"] {
        let other = text.replace(line, other);
        let other = Schema::parse(&other).expect("a schema");
        let error = last(&other, &poll).expect("bytes").expect_err("a fault");
        assert_eq!((error.offset, error.fault), (6, Fault::UnknownType(0x68)));
    }
    for nothing in [
        [0x61, 0, 0],
        [0x68, 0, 0],
        [0x65, 0, 0],
        [0x60, 0, 1],
        [0x70, 0, 0],
    ] {
        let error = last(&ours, &nothing).expect("bytes").expect_err("a fault");
        let expect = match nothing[0] {
            0x70 => Fault::UnknownType(0x70),
            _ => Fault::NothingBefore,
        };
        assert_eq!((error.offset, error.fault), (0, expect));
    }
}

#[test]
fn names_that_a_reader_lacks_are_kept() {
    //= T15
    let schema = Schema::current();
    let payload = [0x0a, 0, 7, 3, 200, 1, 0];
    let events: Vec<_> = Decoder::new(&payload, 0, &schema).collect();
    let by = ripcord_trace_format::WakeBy::Other(200);
    let wake = Event::Wake {
        slot: 7,
        seq: Seq::new(3),
        by,
        waker: None,
    };
    assert_eq!(events, [Ok((0, wake))]);
}

#[test]
fn schemas_beyond_the_grammar_are_refused() {
    for (text, expect) in [
        ("0x3 a", "line 1: no number like 0x1f"),
        ("0x+3 a", "line 1: no number like 0x1f"),
        (
            "0x03",
            "line 1: no name of 1 to 64 letters a-z, digits and `_`",
        ),
        (
            "0x03 A",
            "line 1: no name of 1 to 64 letters a-z, digits and `_`",
        ),
        ("0x03 a b", "line 1: an argument without a kind"),
        (
            "0x03 a b:word",
            "line 1: a kind that this version does not know",
        ),
        ("0x03 a b:enum", "line 1: an enum without names"),
        ("0x03 a b:enum(x", "line 1: an enum without names"),
        ("0x03 a b:uint(x)", "line 1: names of a kind that has none"),
        (
            "0x60 a",
            "line 1: a number of 0x60 to 0x7f, which are those of short forms",
        ),
        ("0x03 a\n0x03 b", "line 2: a type that stands above already"),
        ("0x03 a\n0x04 a", "line 2: a type that stands above already"),
        ("0x03 a\n\n", "line 2: no number like 0x1f"),
    ] {
        let error = Schema::parse(text).expect_err(text);
        assert_eq!(error.to_string(), format!("parse a schema: {expect}"));
    }
    assert!(Schema::parse(&"0x03 a\n".repeat(10_000)).is_err());
    let args = " b:uint".repeat(33);
    assert!(Schema::parse(&format!("0x03 a{args}")).is_err());
    let ours = Schema::current();
    assert_eq!(ours.to_string(), Schema::current_text());
}
