//! An observer that keeps what it was told.

use ripcord_core::{Cause, Kind};
use ripcord_propagation::{
    Call, CallObserver, CallRecord, Carried, End, Ending, GrpcCode, Rejects, Side,
};
use std::sync::Arc;
use tokio::sync::mpsc;

/// The end of one call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    pub side: Side,
    pub path: String,
    pub rejects: Rejects,
    pub ending: Ending,
    pub status: Option<u16>,
    pub grpc: Option<GrpcCode>,
    pub cause: Option<Kind>,
}

pub struct Observer(mpsc::UnboundedSender<Account>);

/// The accounts of the calls that ended, in order.
pub struct Accounts(mpsc::UnboundedReceiver<Account>);

pub fn observer() -> (Arc<dyn CallObserver>, Accounts) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Arc::new(Observer(sender)), Accounts(receiver))
}

impl Accounts {
    pub async fn next(&mut self) -> Account {
        self.0.recv().await.expect("the observer lives")
    }

    /// Nothing more was told.
    pub fn is_empty(&mut self) -> bool {
        self.0.try_recv().is_err()
    }
}

struct Record {
    account: Account,
    sender: mpsc::UnboundedSender<Account>,
}

impl CallObserver for Observer {
    fn start(&self, call: &Call<'_>, _: &mut Carried) -> Box<dyn CallRecord> {
        Box::new(Record {
            account: Account {
                side: call.side,
                path: call.path.to_owned(),
                rejects: call.rejects,
                ending: Ending::Complete,
                status: None,
                grpc: None,
                cause: None,
            },
            sender: self.0.clone(),
        })
    }
}

impl CallRecord for Record {
    fn end(&mut self, end: &End<'_>) {
        let account = Account {
            ending: end.ending,
            status: end.status,
            grpc: end.grpc,
            cause: end.cause.map(Cause::kind),
            ..self.account.clone()
        };
        let _ = self.sender.send(account);
    }
}
