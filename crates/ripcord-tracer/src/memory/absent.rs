//! Where a recorder has no file for its memory: types of which there is no value.
//!
//! They have the methods of the types of `file.rs`, so that whoever uses a file is the same code with
//! and without one. An `Option` of such a type is always `None`, and takes neither memory nor time: the
//! compiler leaves out what would be done with it.
//!
//! # When
//! Without the feature `ring-file`, where there is no unix, and in models of the ring: a model checker
//! knows nothing of what another process sees.

use ripcord_trace_format::{Event, ThreadKind};
use std::ptr::NonNull;
use std::sync::Arc;

/// Makes a type without values, and methods that nobody can call.
macro_rules! absent {
    ($( $Name:ident { $( fn $method:ident($This:ty $(, $Arg:ty)*) $(-> $Out:ty)?; )* } )+) => {$(
        /// There is none.
        pub(crate) enum $Name {}

        impl $Name {
            $( pub(crate) fn $method(self: $This $(, _: $Arg)*) $(-> $Out)? {
                match *self {}
            } )*
        }
    )+};
}

absent! {
    RingMemory {
        fn lost_blocks(&Self) -> u64;
        fn say(&Self, &Event<'_>);
        fn note_tick(&Self, u64);
        fn close(&Self);
        fn begin_task(&Self, u32, u64, &Event<'_>);
        fn end_task(&Self, u32);
        fn begin_context(&Self, u32, u64, &Event<'_>);
        fn say_of_context(&Self, u32, u64, &Event<'_>);
        fn end_context(&Self, u32);
    }
    Frame {
        fn bytes(&Self) -> (NonNull<u8>, usize);
        fn begin(&Self, u32, u64, u64);
        fn enter(&Self, usize);
        fn leave(&Self);
        fn publish(&Self, u64);
    }
    ThreadPlace {
        fn set_kind(&Self, ThreadKind);
        fn count_lost(&Self);
    }
}

impl RingMemory {
    /// These two give away a part of what they are, and so are asked through a count.
    pub(crate) fn frame(self: &Arc<Self>) -> Option<Frame> {
        match **self {}
    }

    /// As above.
    pub(crate) fn enter_thread(self: &Arc<Self>, _: u32, _: &str) -> Option<ThreadPlace> {
        match **self {}
    }
}
