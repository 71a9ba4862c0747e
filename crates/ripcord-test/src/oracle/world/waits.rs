//! Futures that wait: made, polled, woken, dropped.

use super::{Check, World, reason_of, same};
use crate::oracle::model::{Id, Reason, Waiting};
use crate::oracle::op::{Op, Slot, Step};
use crate::waker::WakeCounter;
use ripcord_core::Cause;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

pub(super) struct WaitSide {
    future: Pin<Box<dyn Future<Output = Option<Cause>>>>,
    pub(super) node: Option<Id>,
    also_drains: bool,
    counter: WakeCounter,
    /// How often the waker was to be woken so far.
    wakes: usize,
    is_registered: bool,
}

impl World {
    pub(super) fn wait(&mut self, step: &Step, of: Slot) -> Check {
        let Some((ctx, id)) = self.ctxs.get(&of) else {
            return Ok(());
        };
        let also_drains = matches!(step.op, Op::Draining(_));
        let future: Pin<Box<dyn Future<Output = Option<Cause>>>> = if also_drains {
            let draining = ctx.draining();
            Box::pin(async move {
                draining.await;
                None
            })
        } else {
            let done = ctx.done();
            Box::pin(async move { Some(done.await) })
        };
        let side = WaitSide {
            future,
            node: self.model.target(*id),
            also_drains,
            counter: WakeCounter::new(),
            wakes: 0,
            is_registered: false,
        };
        self.waits.insert(step.slot, side);
        self.poll(step.slot)
    }

    pub(super) fn poll(&mut self, slot: Slot) -> Check {
        let Some(side) = self.waits.get_mut(&slot) else {
            return Ok(());
        };
        let waker = side.counter.waker();
        let poll = side.future.as_mut().poll(&mut Context::from_waker(&waker));
        drop(waker);
        let found = match poll {
            Poll::Ready(cause) => Poll::Ready(cause.map(|cause| reason_of(self.start, &cause))),
            Poll::Pending => Poll::Pending,
        };
        let expected: Poll<Option<Reason>> = match side.node {
            None => Poll::Pending,
            Some(node) if side.also_drains => {
                let is_ready = self.model.is_draining(node) || self.model.is_done(node);
                if is_ready {
                    Poll::Ready(None)
                } else {
                    Poll::Pending
                }
            }
            Some(node) => match self.model.look(node) {
                Some(reason) => Poll::Ready(Some(reason)),
                None => Poll::Pending,
            },
        };
        same(&format!("w{slot}.poll()"), &expected, &found)?;
        if found.is_ready() {
            return self.drop_wait(slot);
        }
        if let (false, Some(node)) = (side.is_registered, side.node) {
            let also_drains = side.also_drains;
            side.is_registered = true;
            self.model.register(slot, Waiting { node, also_drains });
            self.was_waited = true;
        }
        Ok(())
    }

    pub(super) fn poll_anew(&mut self, slot: Slot) -> Check {
        let Some(side) = self.waits.get_mut(&slot) else {
            return Ok(());
        };
        let before = std::mem::take(&mut side.counter);
        side.wakes = 0;
        let wakes = before.wakes();
        self.poll(slot)?;
        let what = format!("wakers of w{slot} that are left after another one came");
        same(&what, &(wakes, 0), &(before.wakes(), before.live()))
    }

    pub(super) fn drop_wait(&mut self, slot: Slot) -> Check {
        let Some(side) = self.waits.remove(&slot) else {
            return Ok(());
        };
        self.model.unregister(slot);
        let (counter, wakes) = (side.counter, side.wakes);
        drop(side.future);
        let what = format!("wakes, and wakers left, of w{slot} after its end");
        same(&what, &(wakes, 0), &(counter.wakes(), counter.live()))
    }

    /// What the model says was woken in this step, against the counts of the wakers.
    pub(super) fn settle_waits(&mut self, over: &[Slot]) -> Check {
        for slot in over {
            if let Some(side) = self.waits.get_mut(slot) {
                side.is_registered = false;
                side.wakes += 1;
            }
        }
        for (slot, side) in &self.waits {
            let live = usize::from(side.is_registered);
            let expected = (side.wakes, live);
            let found = (side.counter.wakes(), side.counter.live());
            if side.node.is_some() {
                same(
                    &format!("wakes of w{slot}, and wakers held"),
                    &expected,
                    &found,
                )?;
            }
        }
        Ok(())
    }
}
