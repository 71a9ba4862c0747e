//! What is recorded for the sizes: clients, a server and a store within one process.
//!
//! A request is asked through a channel, handled by a task of its own that yields once and asks the
//! store, and answered through a channel of its own: two tasks' wakes each way, as in a small
//! service. How many requests there are decides what is recorded, and not how fast they are.

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use crate::spawner::Spawner;

/// A question, and where its answer goes.
type Ask = (u64, oneshot::Sender<u64>);

/// Plays `requests` requests in all, and returns when all are answered.
pub(super) fn play<S: Spawner>(runtime: &Runtime, spawner: &S, requests: usize) {
    runtime.block_on(async {
        let (store, asked) = mpsc::channel(QUEUE);
        spawner.spawn("store", keep(asked));
        let (server, calls) = mpsc::channel(QUEUE);
        spawner.spawn("server", serve(spawner.clone(), calls, store));
        let (done, mut all_done) = mpsc::channel::<()>(1);
        for client in 0..CLIENTS {
            let (server, done) = (server.clone(), done.clone());
            let share = requests / CLIENTS + usize::from(client < requests % CLIENTS);
            spawner.spawn("client", async move {
                for number in 0..share as u64 {
                    let answer = ask(&server, number).await;
                    assert_eq!(answer, number + 2, "handled and stored");
                }
                drop(done);
            });
        }
        drop((server, done));
        // Nobody sends anything: it ends with the last client.
        assert_eq!(all_done.recv().await, None);
    });
}

async fn serve<S: Spawner>(spawner: S, mut calls: mpsc::Receiver<Ask>, store: mpsc::Sender<Ask>) {
    while let Some((number, answer)) = calls.recv().await {
        let store = store.clone();
        spawner.spawn("handler", async move {
            tokio::task::yield_now().await;
            let stored = ask(&store, number).await;
            // The client waits for it.
            let _ = answer.send(stored + 1);
        });
    }
}

async fn keep(mut asked: mpsc::Receiver<Ask>) {
    while let Some((number, answer)) = asked.recv().await {
        // The handler waits for it.
        let _ = answer.send(number + 1);
    }
}

async fn ask(whom: &mpsc::Sender<Ask>, number: u64) -> u64 {
    let (answer, answered) = oneshot::channel();
    whom.send((number, answer)).await.expect("it serves on");
    answered.await.expect("it answers all")
}

const CLIENTS: usize = 8;
const QUEUE: usize = 16;
