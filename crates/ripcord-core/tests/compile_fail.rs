//! What the type system promises: which types may go to another thread or across a panic, and
//! which programs do not compile. Those are `compile_fail` examples of the documentation:
//! a context cannot cancel (`CancelGuard`), a guard is not dropped unseen (there, too), a
//! value is of a type made to be one (`Ctx::with`), a hook may move (`Ctx::on_done`).

use ripcord_core::{
    Armed, CancelGuard, Cancelled, Canceller, Cause, Ctx, Deadline, Done, Draining, Dump, Entered,
    Foreign, Grace, Hook, Kind, Member, Phase, Reach, Root, Row, Run, Shared, ShutdownPlan,
    Stopped, Sweep, SystemClock, ThreadTimer, Watch,
};
use std::fmt::Debug;
use std::future::Ready;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

fn is_send<T: Send>() {}
fn is_sync<T: Sync>() {}
fn is_unpin<T: Unpin>() {}
fn is_static<T: 'static>() {}
fn is_debug<T: Debug>() {}
fn is_clone<T: Clone>() {}
fn is_unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}

/// Calls each of the checks with each of the types.
macro_rules! every {
    ([$($check:ident)+] $types:tt) => { $(every!(@ $check $types);)+ };
    (@ $check:ident [$($type:ty),+ $(,)?]) => { $($check::<$type>();)+ };
}

//= C15
#[test]
fn every_type_may_go_to_another_thread_and_be_shared() {
    every!([is_send is_sync is_unpin is_static is_debug] [
        Ctx, CancelGuard, Canceller, Done, Draining, Hook, Stopped, Shared, Member, Watch, Deadline,
        Cause, Cancelled, Kind, Phase, Reach, Grace, ShutdownPlan, Foreign, Dump, Row, Root,
        SystemClock, ThreadTimer, Run<Ready<()>>, Entered<Ready<()>>,
    ]);
    every!([is_send is_unpin is_static is_debug] [Sweep, Armed]);
}

//= C15
#[test]
fn what_crosses_a_panic_is_unwind_safe() {
    every!([is_unwind_safe] [Ctx, CancelGuard, Canceller, Done, Option<(Ctx, CancelGuard)>]);
}

//= C15
#[test]
fn only_what_observes_or_refers_can_be_cloned() {
    every!([is_clone] [Ctx, Canceller, Cause, Cancelled, Deadline, Shared, Dump, Row, Root]);
}

/// Whether a type has a trait, told without a bound that the compiler would refuse.
macro_rules! has {
    ($type:ty: $bound:path) => {{
        #[allow(dead_code, reason = "found only where the bound does not hold")]
        trait Fallback {
            const HAS: bool = false;
        }
        impl<T: ?Sized> Fallback for T {}
        struct Asked<T: ?Sized>(std::marker::PhantomData<T>);
        #[allow(dead_code, reason = "found only where the bound holds")]
        impl<T: ?Sized + $bound> Asked<T> {
            const HAS: bool = true;
        }
        <Asked<$type>>::HAS
    }};
}

//= C15
#[test]
fn rights_are_not_multiplied_and_wrappers_add_none() {
    assert!(has!(Ctx: Clone) && has!(Canceller: Clone));
    assert!(
        !has!(CancelGuard: Clone),
        "there is one owner of the right to cancel"
    );
    assert!(!has!(Hook: Clone) && !has!(Done: Clone) && !has!(Member: Clone));
    assert!(has!(Run<Ready<()>>: Send) && !has!(Run<Ready<Rc<u8>>>: Send));
    assert!(!has!(Entered<Ready<Rc<u8>>>: Send));
    assert!(
        has!(Run<std::future::Pending<Rc<u8>>>: Unpin),
        "a local future can run on its own thread"
    );
    assert!(
        !has!(Run<std::marker::PhantomPinned>: Unpin),
        "it pins what it runs"
    );
    assert!(!has!(Entered<std::marker::PhantomPinned>: Unpin));
}
