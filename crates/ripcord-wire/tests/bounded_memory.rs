//! What hostile headers cost in memory: bounded by the limits, whatever comes in.
//!
//! The allocator counts for each thread on its own, so the tests may run side by side.

use ripcord_test::CountingAllocator;
use ripcord_wire::baggage::{Baggage, Limits};
use ripcord_wire::ext::{self, Ext};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// What `act` returns, the most that it held, and what it holds still.
fn watch<T>(act: impl FnOnce() -> T) -> (T, usize, usize) {
    let (result, usage) = CountingAllocator::watch(act);
    (result, usage.peak, usage.held)
}

#[test]
fn no_header_makes_baggage_take_more_than_32_kib() {
    let limits = Limits::default();
    let cases: [(&str, Vec<u8>, usize); 10] = [
        (
            "64 lines of 8 KiB",
            [b"k=".to_vec(), vec![b'v'; 8_190]].concat(),
            64,
        ),
        ("many small lines", b"key=value,other=value".to_vec(), 1_000),
        (
            "lines that make the text grow",
            [b"k=".to_vec(), vec![b'v'; 900]].concat(),
            9,
        ),
        ("20 000 members", b"k=v,".repeat(20_000), 1),
        ("members that grow", b"k=%ff%ff%ff,".repeat(10_000), 1),
        (
            "a value that grows",
            [b"k=".to_vec(), b"%".repeat(8_000)].concat(),
            1,
        ),
        ("values that shrink", b"k=%41%41,".repeat(10_000), 1),
        ("commas", vec![b','; 1 << 18], 1),
        ("white space", vec![b' '; 1 << 18], 1),
        (
            "one member of 256 KiB",
            [b"k=".to_vec(), vec![b'v'; 1 << 18]].concat(),
            1,
        ),
    ];
    for (name, line, lines) in &cases {
        let values = std::iter::repeat_n(&line[..], *lines);
        let ((baggage, _), peak, held) = watch(|| Baggage::parse_headers(values, &limits));
        assert!(peak <= 32 * 1024, "{name}: {peak} bytes for a moment");
        assert!(held <= 10 * 1024, "{name}: {held} bytes to stay");
        assert!(baggage.as_str().len() <= limits.bytes_max);
    }
}

#[test]
fn nothing_kept_is_nothing_allocated() {
    for header in ["", ",,,", "key", "k=\"v\"", "k=a b", ";"] {
        let parse = || Baggage::parse_headers([header.as_bytes()], &Limits::default());
        let ((baggage, _), peak, _) = watch(parse);
        assert!(baggage.is_empty());
        assert_eq!(peak, 0, "{header:?}");
    }
    let (baggage, _) = Baggage::parse_headers([&b"a=1,b=%20"[..]], &Limits::default());
    let look = || {
        let clone = baggage.clone();
        assert_eq!(clone.get("a").as_deref(), Some("1"));
        assert_eq!(
            clone.iter().map(|entry| entry.key().len()).sum::<usize>(),
            2
        );
        clone.encode(&Limits::default(), |_| true).0.len()
    };
    assert_eq!(watch(look).1, 0, "cloned, looked at and sent");
}

#[test]
fn context_values_that_are_refused_cost_little() {
    let limits = ext::Limits::default();
    let long = [b"1.".to_vec(), vec![b'A'; 1 << 18]].concat();
    let (result, peak, _) = watch(|| Ext::parse(&long, &limits));
    assert!(matches!(result, Err(ext::ExtError::TooLong { .. })));
    assert_eq!(
        peak, 0,
        "the length is checked before anything is allocated"
    );
    let long = [b"1.e30.k1.1.".to_vec(), vec![b'A'; 1 << 18]].concat();
    let (result, peak, _) = watch(|| Ext::parse(&long, &limits));
    assert!(matches!(result, Err(ext::ExtError::Shape { offset: 11 })));
    assert_eq!(peak, 0, "so is that of the tag");

    for (name, item, close) in [
        ("a list of numbers", "0,", "0]}"),
        ("a list of maps", "{},", "{}]}"),
        ("a list of maps with one key", "{\"\":0},", "0]}"),
        ("deep lists", "[", ""),
    ] {
        let items = item.repeat(2_000 / item.len());
        let json = format!("{{\"a\":[{items}{close}");
        let (_, peak, _) = watch(|| Ext::from_json(json.as_bytes(), &limits));
        assert!(peak <= 96 * 1024, "{name}: {peak} bytes");
    }
}
