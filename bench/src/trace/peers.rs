//! tokio-metrics as a contender in recording: it counts, and records nothing.

use tokio::runtime::{Builder, Runtime};
use tokio_metrics::TaskMonitor;

use crate::spawner::{Spawner, Stage};

/// tokio's tasks, each instrumented by one monitor.
#[derive(Debug)]
pub(super) struct TokioMetrics {
    runtime: Runtime,
    monitor: TaskMonitor,
}

/// `tokio::spawn` of futures that one monitor counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Monitored(TaskMonitor);

impl Spawner for Monitored {
    fn spawn<F>(&self, _: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(self.0.instrument(future));
    }
}

impl Stage for TokioMetrics {
    type Spawner = Monitored;

    fn build(mut builder: Builder) -> TokioMetrics {
        TokioMetrics {
            runtime: builder.build().expect("a thread can be started"),
            monitor: TaskMonitor::new(),
        }
    }

    fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    fn spawner(&self) -> Monitored {
        Monitored(self.monitor.clone())
    }
}
