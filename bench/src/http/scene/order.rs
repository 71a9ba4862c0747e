//! What a sample tells its clients to do: one line each, answered by a line of numbers.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Open so many further connections, make a request on each, and keep it.
    Connect(usize),
    /// Make requests on all connections, on each the next one when the last is answered.
    ///
    /// Answered with nanoseconds: from the first request to the last answer, median and 99th
    /// percentile of a request, CPU time of the clients.
    Load { requests: usize, has_context: bool },
    /// Make a request for `/wait/INDEX` on these connections, and wait for no answer.
    Ask(Span),
    /// Close these connections, one by one.
    ///
    /// Answered with the moment just before each close, by the clock of both processes.
    Leave(Span),
    /// Close what is left.
    LeaveAll,
}

/// Connections by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Span {
    pub(super) fn indexes(self) -> std::ops::Range<usize> {
        self.first..self.first + self.count
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Connect(count) => write!(f, "connect {count}"),
            Order::Load {
                requests,
                has_context,
            } => write!(f, "load {requests} {}", u8::from(*has_context)),
            Order::Ask(Span { first, count }) => write!(f, "ask {first} {count}"),
            Order::Leave(Span { first, count }) => write!(f, "leave {first} {count}"),
            Order::LeaveAll => f.write_str("leave-all"),
        }
    }
}

impl Order {
    pub(super) fn parse(line: &str) -> Option<Order> {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let mut number = || words.next()?.parse::<usize>().ok();
        let order = match name {
            "connect" => Order::Connect(number()?),
            "load" => Order::Load {
                requests: number()?,
                has_context: number()? == 1,
            },
            "ask" | "leave" => {
                let span = Span {
                    first: number()?,
                    count: number()?,
                };
                if name == "ask" {
                    Order::Ask(span)
                } else {
                    Order::Leave(span)
                }
            }
            "leave-all" => Order::LeaveAll,
            _ => return None,
        };
        words.next().is_none().then_some(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_trip_through_text() {
        let span = Span { first: 3, count: 7 };
        for order in [
            Order::Connect(10_000),
            Order::Load {
                requests: 20_000,
                has_context: true,
            },
            Order::Load {
                requests: 1,
                has_context: false,
            },
            Order::Ask(span),
            Order::Leave(span),
            Order::LeaveAll,
        ] {
            assert_eq!(Order::parse(&order.to_string()), Some(order));
        }
    }

    #[test]
    fn nothing_else_is_an_order() {
        for line in ["", "connect", "connect x", "connect 1 2", "go 1"] {
            assert_eq!(Order::parse(line), None, "{line}");
        }
    }
}
