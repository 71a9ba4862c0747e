//! The clients, as the sample sees them: a process that takes orders.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::order::Order;

/// A process of clients, which ends with this value.
#[derive(Debug)]
pub(super) struct Crowd {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Crowd {
    /// Starts the clients of `server`, on `core` alone if one is given.
    pub(super) fn of(server: SocketAddr, core: Option<usize>) -> Crowd {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        command.arg("clients").arg(server.to_string());
        command.args(core.map(|core| format!("--core={core}")));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the clients start");
        let orders = child.stdin.take();
        let answers = child.stdout.take().expect("stdout is piped");
        Crowd {
            child,
            orders,
            answers: BufReader::new(answers),
        }
    }

    /// Has an order obeyed, and gives the numbers of the answer.
    ///
    /// # Panics
    /// When the clients have failed; they have said why on stderr.
    pub(super) fn obey(&mut self, order: Order) -> Vec<u64> {
        let orders = self.orders.as_mut().expect("open until the drop");
        writeln!(orders, "{order}").expect("the clients take orders");
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        let is_answer = read.is_ok_and(|bytes| bytes > 0);
        assert!(is_answer, "the clients are gone after `{order}`");
        line.split_whitespace()
            .map(|word| word.parse().expect("the clients answer with numbers"))
            .collect()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Clients without orders end.
        self.orders = None;
        let _ = self.child.wait();
    }
}
