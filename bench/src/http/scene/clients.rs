//! The clients of a server under measurement: the process that a sample starts beside itself.
//!
//! One thread for all connections, with prepared requests and one `epoll` instance, so that the
//! clients need less of their core than the server of its own.

use std::io::{self, BufRead, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::answer::Answer;
use super::order::{Order, Span};
use super::system;
use crate::http::headers;
use crate::{Stop, cli, stats};

/// Obeys the orders on stdin until it ends; what it answers goes to stdout.
pub(crate) fn be_clients(options: &cli::Clients) -> Result<(), Stop> {
    obey_all(options).map_err(|error| Stop::Failed(format!("the clients failed: {error}")))
}

fn obey_all(options: &cli::Clients) -> io::Result<()> {
    if let Some(core) = options.core {
        system::stay_on(core)?;
    }
    // For the side effect: a limit that is raised as far as that is allowed.
    system::connections_of(usize::MAX);
    let mut clients = Clients::of(options.server);
    let mut stdout = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let order =
            Order::parse(&line).ok_or_else(|| io::Error::other(format!("no order: `{line}`")))?;
        let numbers: Vec<String> = clients.obey(order)?.iter().map(u64::to_string).collect();
        writeln!(stdout, "{}", numbers.join(" "))?;
        stdout.flush()?;
    }
    Ok(())
}

#[derive(Debug)]
pub(super) struct Clients {
    server: SocketAddr,
    /// `None` once it was closed.
    connections: Vec<Option<Connection>>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    answer: Answer,
    asked: Instant,
}

impl Clients {
    pub(super) fn of(server: SocketAddr) -> Clients {
        Clients {
            server,
            connections: Vec::new(),
        }
    }

    /// Does what is ordered, and gives the numbers of the answer.
    pub(super) fn obey(&mut self, order: Order) -> io::Result<Vec<u64>> {
        match order {
            Order::Connect(count) => self.connect(count)?,
            Order::Load {
                requests,
                has_context,
            } => return self.load(requests, has_context),
            Order::Ask(span) => self.ask(span)?,
            Order::Leave(span) => return Ok(self.leave(span)),
            Order::LeaveAll => self.connections.clear(),
        }
        Ok(Vec::new())
    }

    fn connect(&mut self, count: usize) -> io::Result<()> {
        let request = self.request("/", false);
        for _ in 0..count {
            let stream = TcpStream::connect(self.server)?;
            stream.set_nodelay(true)?;
            let mut connection = Connection {
                stream,
                answer: Answer::new(),
                asked: Instant::now(),
            };
            connection.stream.write_all(&request)?;
            while !connection.answer.read(&mut connection.stream)? {}
            self.connections.push(Some(connection));
        }
        Ok(())
    }

    /// The sockets stay blocking: a read follows only after `epoll` told of bytes, and a request
    /// always fits into an empty send buffer.
    fn load(&mut self, requests: usize, has_context: bool) -> io::Result<Vec<u64>> {
        let mut request = Numbered::new(self.request("/", has_context));
        let poll = self.poll()?;
        let mut latencies: Vec<f64> = Vec::with_capacity(requests);
        let mut asked = 0;
        let cpu = system::cpu_ns();
        let start = Instant::now();
        for connection in self.connections.iter_mut().flatten().take(requests) {
            connection.ask(request.next(), Instant::now())?;
            asked += 1;
        }
        let mut events = [MaybeUninit::uninit(); 64];
        while latencies.len() < asked {
            let (events, _) = epoll::wait(&poll, &mut events, None)?;
            for event in &*events {
                let index = event.data.u64() as usize;
                let Some(Some(connection)) = self.connections.get_mut(index) else {
                    continue;
                };
                if !connection.answer.read(&mut connection.stream)? {
                    continue;
                }
                let now = Instant::now();
                latencies.push(now.duration_since(connection.asked).as_nanos() as f64);
                if asked < requests {
                    connection.ask(request.next(), now)?;
                    asked += 1;
                }
            }
        }
        let elapsed = start.elapsed().as_nanos() as u64;
        let cpu = system::cpu_ns() - cpu;
        let median = stats::quantile(&mut latencies, 0.5) as u64;
        let high = stats::quantile(&mut latencies, 0.99) as u64;
        Ok(vec![elapsed, median, high, cpu])
    }

    fn poll(&self) -> io::Result<rustix::fd::OwnedFd> {
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        for (index, connection) in self.connections.iter().enumerate() {
            if let Some(connection) = connection {
                let data = EventData::new_u64(index as u64);
                epoll::add(&poll, &connection.stream, data, EventFlags::IN)?;
            }
        }
        Ok(poll)
    }

    fn ask(&mut self, span: Span) -> io::Result<()> {
        for index in span.indexes() {
            let request = self.request(&format!("/wait/{index}"), false);
            if let Some(Some(connection)) = self.connections.get_mut(index) {
                connection.ask(&request, Instant::now())?;
            }
        }
        Ok(())
    }

    fn leave(&mut self, span: Span) -> Vec<u64> {
        let mut moments = Vec::with_capacity(span.count);
        for index in span.indexes() {
            let connection = self.connections.get_mut(index).and_then(Option::take);
            moments.push(system::monotonic_ns());
            drop(connection);
            std::thread::sleep(BETWEEN_LEAVINGS);
        }
        moments
    }

    fn request(&self, path: &str, has_context: bool) -> Vec<u8> {
        let mut request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n", self.server);
        let context = headers::CONTEXT.iter().filter(|_| has_context);
        for (name, value) in context {
            request.extend([*name, ": ", *value, "\r\n"]);
        }
        request.push_str("\r\n");
        request.into_bytes()
    }
}

/// A request whose trace has another id each time: who samples chooses by it.
struct Numbered {
    request: Vec<u8>,
    /// Where the last eight digits of the trace's id stand, if it has one.
    at: Option<usize>,
    next: u32,
}

impl Numbered {
    fn new(request: Vec<u8>) -> Self {
        const NAME: &[u8] = b"traceparent: 00-";
        let name = request.windows(NAME.len()).position(|text| text == NAME);
        Self {
            at: name.map(|name| name + NAME.len() + 24),
            request,
            next: 0,
        }
    }

    fn next(&mut self) -> &[u8] {
        if let Some(digits) = self.at.and_then(|at| self.request.get_mut(at..at + 8)) {
            for (digit, shift) in digits.iter_mut().zip((0..8).rev()) {
                let value = self.next >> (4 * shift) & 0xf;
                *digit = b"0123456789abcdef"[value as usize];
            }
            self.next = self.next.wrapping_add(1);
        }
        &self.request
    }
}

impl Connection {
    fn ask(&mut self, request: &[u8], now: Instant) -> io::Result<()> {
        self.asked = now;
        self.stream.write_all(request)
    }
}

/// Long enough that each leaving is seen by a server that does nothing else.
const BETWEEN_LEAVINGS: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_has_a_trace_of_its_own() {
        let id = |request: &[u8]| String::from_utf8_lossy(request).into_owned();
        let header = |id: &str| format!("GET /\r\ntraceparent: 00-{id}-00f067aa0ba902b7-01\r\n");
        let first = header("4bf92f3577b34da6a3ce929d0e0e4736");
        let mut numbered = Numbered::new(first.into_bytes());
        assert_eq!(
            id(numbered.next()),
            header("4bf92f3577b34da6a3ce929d00000000")
        );
        numbered.next = 0x1a2;
        assert_eq!(
            id(numbered.next()),
            header("4bf92f3577b34da6a3ce929d000001a2")
        );
        let mut without = Numbered::new(b"GET /\r\n".to_vec());
        assert_eq!(without.next(), b"GET /\r\n");
    }
}
