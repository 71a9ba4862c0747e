//! [`Background`]: a thread of the recorder's that works until its owner goes.
//!
//! # How it is stopped
//! The thread waits on a channel between two pieces of work, and the other end is all that keeps it
//! going. So it stops at once where it rests, and after its piece of work where it does not.

use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

/// A thread, stopped and waited for when this is dropped.
///
/// In a struct with other parts it stands first: what the thread uses of them goes after it.
pub(crate) struct Background {
    /// The thread stops when this is dropped.
    stop: Option<SyncSender<()>>,
    /// Gone once it was joined.
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Begins; `run` gets the channel that says when to stop.
    ///
    /// # Errors
    /// What the operating system says to another thread.
    pub(crate) fn start(
        name: &str,
        run: impl FnOnce(&Receiver<()>) + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&stopped))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Stops the thread and waits for it, once.
    pub(crate) fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed, and harms nobody here.
            let _ = thread.join();
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.end();
    }
}
