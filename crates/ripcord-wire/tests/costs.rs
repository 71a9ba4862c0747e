//! What the documentation says of allocations.

use ripcord_wire::b3::{B3, Multi};
use ripcord_wire::request_id::RequestId;
use ripcord_wire::timeout::{FinagleDeadline, TimeoutHeader};
use ripcord_wire::trace::TraceParent;
use ripcord_wire::tracestate::TraceState;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

thread_local! {
    /// How often this thread has asked for memory.
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counted. What grows is copied by the default `realloc`, and counts.
struct Counted;

// SAFETY: both methods hand over to the system's allocator what they were given.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no counter any more, and needs none.
        let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract, and `place` came from `System`.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

#[track_caller]
fn check<R>(expect: usize, work: impl FnOnce() -> R) -> R {
    let before = ASKED.get();
    let result = black_box(work());
    assert_eq!(ASKED.get() - before, expect);
    result
}

const PARENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const B3_LINE: &[u8] = b"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90";

#[test]
fn the_counter_counts() {
    check(1, || Box::new(1));
    check(0, || 1);
}

#[test]
fn a_traceparent_costs_nothing() {
    let parent = check(0, || TraceParent::parse_headers([PARENT]));
    let parent = parent.expect("good").expect("one");
    check(0, || parent.encode());
    check(0, || TraceParent::parse(&PARENT[1..]).is_err());
}

#[test]
fn a_time_out_costs_nothing() {
    let header = check(0, || TimeoutHeader::GRPC);
    check(0, || header.parse(b"1500m")).expect("good");
    let left = Duration::from_nanos(1_234_567_891);
    check(0, || header.encode(left)).expect("not zero");
    check(0, || TimeoutHeader::SERVER.encode_rounded(left, 3)).expect("not zero");
    check(0, || FinagleDeadline::parse(b"AAAAAAAAAAEAAAAAAAAABQ==")).expect("good");
}

#[test]
fn a_tracestate_costs_one_copy_where_it_is_canonical() {
    let state = check(1, || TraceState::parse_headers([&b"a=1,b=2"[..]])).expect("good");
    check(0, || state.clone());
    check(0, || state.get("b").map(str::len));
    check(0, || state.without("c"));
    check(0, || state.truncated(4).len());
    check(2, || TraceState::parse_headers([&b"a=1, b=2"[..]])).expect("good");
    check(2, || TraceState::parse_headers([&b"a=1"[..], b"b=2"])).expect("good");
    check(0, || TraceState::parse_headers([&b""[..], b" , "])).expect("good");
    check(0, || {
        TraceState::parse_headers([&b"a=1,b=2,C=3"[..]]).is_err()
    });
    check(3, || state.with("c", "3")).expect("good");
}

#[test]
fn b3_costs_the_text_that_is_written() {
    let b3 = check(0, || B3::parse_single(B3_LINE)).expect("good");
    check(1, || b3.encode_single());
    let mut bytes = 0;
    check(0, || b3.encode_multi(|_, value| bytes += value.len()));
    assert_eq!(bytes, 32 + 16 + 16 + 1);
    let multi = Multi {
        sampled: Some(b"1"),
        ..Multi::default()
    };
    check(0, || B3::parse_multi(&multi)).expect("good");
}

#[test]
fn a_request_id_costs_nothing_up_to_38_characters() {
    let id = check(0, || RequestId::uuid_v7(1, [7; 10]));
    check(0, || id.clone());
    check(0, || id.as_str().len());
    check(0, || RequestId::parse(&[b'a'; 38])).expect("good");
    let long = check(1, || RequestId::parse(&[b'a'; 39])).expect("good");
    check(0, || long.clone());
}
