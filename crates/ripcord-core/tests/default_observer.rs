//! The observer of the process: a test of its own, as it is set once.

use ripcord_core::{Ctx, Info, Observer, Value, set_default_observer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
struct Made(AtomicU64);

impl Made {
    fn take(&self) -> u64 {
        // Relaxed: one thread (counter).
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Observer for Made {
    fn created(&self, _: &Info<'_>) {
        // Relaxed: one thread (counter).
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Tenant;
impl Value for Tenant {}

//= C152
#[test]
fn trees_without_an_observer_have_that_of_the_process() {
    let before = Ctx::root().build();
    let made = Arc::new(Made::default());
    let observer: Arc<dyn Observer> = Arc::<Made>::clone(&made);
    assert!(set_default_observer(Arc::clone(&observer)).is_ok());
    assert!(set_default_observer(observer).is_err());

    let _unseen = before.0.child();
    assert_eq!(made.take(), 0, "a tree that was begun before");
    let (root, _guard) = Ctx::root().name("root").build();
    let _child = root.child();
    assert_eq!(made.take(), 2);
    let (child, _guard) = Ctx::background().child();
    assert_eq!(made.take(), 1);
    let with = Ctx::background().with(Tenant);
    //= C119
    assert_eq!(made.take(), 0, "a view is told to nobody");
    assert!(with.get::<Tenant>().is_some(), "values stay");
    let (_below, _guard) = with.child();
    assert_eq!(made.take(), 1);
    drop(child);

    let own = Arc::new(Made::default());
    let observer: Arc<dyn Observer> = Arc::<Made>::clone(&own);
    let (_root, _guard) = Ctx::root().observer(observer).build();
    assert_eq!((own.take(), made.take()), (1, 0));
}
