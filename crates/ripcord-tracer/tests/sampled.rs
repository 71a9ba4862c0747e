//! Which requests are recorded where not all of them are, and that of the others nothing is.

mod told;

use ripcord_core::tasks::{TaskEnd, Tasks};
use ripcord_core::{CancelGuard, Ctx, Entry, Kind};
use ripcord_tracer::Mode;
use told::Told;

fn sampled(one_in: u32) -> Told {
    Told::with(|builder| builder.mode(Mode::Sampled { one_in }))
}

fn request(server: &Ctx, number: u128) -> (Ctx, CancelGuard) {
    let entry = Entry::new().numbered(number);
    server.derive().named("GET /").entry(entry).child()
}

/// A number that one in two chooses, or does not.
fn number(is_chosen: bool) -> u128 {
    let told = sampled(2);
    let (server, _guard) = told.root("server");
    let mut numbers = 0..64;
    let found = numbers.find(|at| request(&server, *at).0.recorded().is_some() == is_chosen);
    found.expect("one in two of 64")
}

#[test]
fn a_request_is_recorded_whole_or_not_at_all_and_its_service_always() {
    let [yes, no] = [true, false].map(number);
    let told = sampled(2);
    let (server, guard) = told.root("server");
    let (connection, _connection) = server.child();
    told.call(&connection, "connection");
    // A task of the service, which belongs to no request.
    let janitor = told.spawn(1_000_000, &server, "janitor");
    for number in [no, yes] {
        let (request, _guard) = request(&connection, number);
        request.tag("request.id", if number == yes { "yes" } else { "no" });
        let (call, _call) = request.named("call").child();
        assert_eq!(call.tasks().is_some(), number == yes);
        if let Some(tasks) = call.tasks() {
            told.call(&request, "request");
            told.call(&call, "call");
            let _: Tasks = tasks;
            let task = told.spawn(1_000_001, &call, "work");
            told.end(task, TaskEnd::Ready, 0);
        }
        assert!(call.with_timeout(std::time::Duration::ZERO).is_done());
    }
    guard.cancel(Kind::Shutdown);
    told.end(janitor, TaskEnd::Ready, 0);
    let lines = told.lines();
    let of = |event: &str| lines.iter().filter(|line| line.contains(event)).count();
    assert_eq!((of(" task_spawn "), of(" ctx_tag ")), (2, 1), "{lines:#?}");
    // Server, connection, request, call, and a deadline below that.
    assert_eq!((of(" ctx_create "), of(" ctx_end ")), (5, 3), "{lines:#?}");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("ctx_create id=request parent=connection"))
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("ctx_cancel id=server kind=shutdown"))
    );
    let losses = told.recorder.losses();
    assert_eq!((losses.unwritten, losses.unplaced), (0, 0));
}

#[test]
fn a_recorder_that_is_switched_on_again_records_what_comes_then() {
    let told = Told::with(|builder| builder.mode(Mode::Off));
    let (server, _guard) = told.root_unnamed();
    let (unseen, _unseen) = request(&server, 1);
    told.recorder.set_mode(Mode::Full);
    let (below, _below) = unseen.child();
    assert!(below.recorded().is_none(), "it was declined when it came");
    let (seen, _seen) = request(&server, 1);
    told.recorder.set_mode(Mode::Sampled { one_in: u32::MAX });
    let (below, _below) = seen.child();
    assert!(below.recorded().is_some(), "what was chosen goes on");
    assert!(request(&server, 1).0.recorded().is_none());
}
