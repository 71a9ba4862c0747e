//! Just enough HTTP/1 to know when an answer is complete, at next to no cost.

use std::io::{self, Read};

/// The answer that a connection is reading.
#[derive(Debug)]
pub(super) struct Answer {
    bytes: Box<[u8; BYTES_MAX]>,
    filled: usize,
}

impl Answer {
    pub(super) fn new() -> Answer {
        Answer {
            bytes: Box::new([0; BYTES_MAX]),
            filled: 0,
        }
    }

    /// Reads once; true when the answer is complete, and then ready for the next.
    ///
    /// # Errors
    /// When the connection ends or fails, or when this is no answer with a 200 and a length.
    pub(super) fn read(&mut self, stream: &mut impl Read) -> io::Result<bool> {
        let free = self.bytes.get_mut(self.filled..).unwrap_or_default();
        let read = stream.read(free)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.filled += read;
        let filled = self.bytes.get(..self.filled).unwrap_or_default();
        let is_complete = match length(filled)? {
            Some(length) if filled.len() > length => return Err(unexpected(filled)),
            Some(length) => filled.len() == length,
            None => false,
        };
        if is_complete {
            self.filled = 0;
        }
        Ok(is_complete)
    }
}

/// Bytes of the whole answer; `None` while its head is incomplete.
fn length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let body = body_length(bytes.get(..head).unwrap_or_default());
    let body = body.ok_or_else(|| unexpected(bytes))?;
    Ok(Some(head + 4 + body))
}

fn body_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    lines.next()?.strip_prefix("HTTP/1.1 200")?;
    lines
        .find_map(|line| line.strip_prefix("content-length: "))?
        .parse()
        .ok()
}

fn unexpected(bytes: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(200)).unwrap_or_default());
    io::Error::other(format!("unexpected answer: {text:?}"))
}

/// All answers are far smaller.
const BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ndate: x\r\n\r\nhello";

    #[test]
    fn an_answer_is_complete_with_its_last_byte_however_it_comes() {
        for cut in 1..WHOLE.len() {
            let mut answer = Answer::new();
            let (mut head, mut tail) = WHOLE.split_at(cut);
            for _ in 0..2 {
                assert!(!answer.read(&mut head).unwrap(), "cut at {cut}");
                assert!(answer.read(&mut tail).unwrap(), "cut at {cut}");
                (head, tail) = WHOLE.split_at(cut);
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for bytes in [
            &b""[..],
            b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nmore",
        ] {
            let text = String::from_utf8_lossy(bytes);
            assert!(Answer::new().read(&mut &*bytes).is_err(), "{text}");
        }
    }
}
