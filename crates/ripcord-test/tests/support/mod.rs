//! What several tests of the kit need.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The message that `code` panics with.
#[track_caller]
pub(crate) fn message_of<R>(code: impl FnOnce() -> R) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(code)) else {
        panic!("the code did not panic");
    };
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .expect("the payload is a text")
        .to_owned()
}
