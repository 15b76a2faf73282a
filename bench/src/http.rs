//! HTTP/1.1 as a client that costs little itself: the request is written as it stands, and of the
//! answer only its length, or the ends of its chunks, are read.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Result;
use crate::tcp::connect;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// One keep-alive connection. One that the server has closed while it was idle is opened again.
pub(crate) struct Connection {
    to: SocketAddr,
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header line.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(to: SocketAddr) -> Result<Connection> {
        Ok(Connection { to, stream: connect(to).await?, buffer: Vec::new() })
    }

    /// Whether the server has sent nothing.
    pub(crate) fn is_silent(&self) -> bool {
        let read = self.stream.try_read(&mut [0; 1]);
        self.buffer.is_empty()
            && read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Sends a request and reads past its answer, which has to be a success; gives the bytes of
    /// its body.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<usize> {
        if self.buffer.is_empty() && matches!(self.stream.try_read(&mut [0; 1]), Ok(0)) {
            self.stream = connect(self.to).await?;
        }
        self.send(request).await?;
        let whole = self.receive().await?;
        let length = whole.end - whole.head;
        if !(200..300).contains(&whole.status) {
            let body = String::from_utf8_lossy(&self.buffer[whole.head..whole.end]);
            let body: String = body.chars().take(200).collect();
            return Err(format!("a request was answered with {}: {body}", whole.status).into());
        }
        self.buffer.drain(..whole.end);
        Ok(length)
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        self.send(request).await?;
        self.answer().await
    }

    /// Sends a request.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(request).await?)
    }

    /// Reads the next answer.
    pub(crate) async fn answer(&mut self) -> Result<Answer> {
        let whole = self.receive().await?;
        let text = String::from_utf8_lossy(&self.buffer[..whole.head]).into_owned();
        let body = self.buffer[whole.head..whole.end].to_vec();
        self.buffer.drain(..whole.end);
        Ok(Answer { status: whole.status, head: text, body })
    }

    /// Reads until an answer is whole.
    async fn receive(&mut self) -> Result<Whole> {
        let mut seen = 0;
        loop {
            match parse(&self.buffer, &mut seen)? {
                Some(whole) => return Ok(whole),
                None if self.buffer.len() > ANSWER_BYTES_MAX => return Err("too long".into()),
                None => self.fill().await?,
            }
        }
    }

    async fn fill(&mut self) -> Result<()> {
        self.buffer.reserve(16 * 1024);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err("the server closed the connection".into()),
            _ => Ok(()),
        }
    }
}

/// Where a whole answer lies.
#[derive(Debug, PartialEq, Eq)]
struct Whole {
    status: u16,
    head: usize,
    end: usize,
}

/// Finds the end of the answer at the front of `bytes`, if it is all there. `seen` is where the
/// next chunk begins, kept between calls so that a long answer is not walked through again and
/// again.
fn parse(bytes: &[u8], seen: &mut usize) -> Result<Option<Whole>> {
    let Some(head) = find(bytes, b"\r\n\r\n").map(|at| at + 4) else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..head])?;
    let status = text.split(' ').nth(1).ok_or("no status")?.parse()?;
    if header(text, "transfer-encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked")) {
        *seen = (*seen).max(head);
        return Ok(chunks_end(bytes, seen)?.map(|end| Whole { status, head, end }));
    }
    let length: usize = header(text, "content-length").map_or(Ok(0), str::parse)?;
    let end = head.checked_add(length).ok_or("a length that cannot be")?;
    Ok((bytes.len() >= end).then_some(Whole { status, head, end }))
}

/// The end of the last chunk, if it is there; `at` moves past every whole chunk.
fn chunks_end(bytes: &[u8], at: &mut usize) -> Result<Option<usize>> {
    loop {
        let rest = bytes.get(*at..).unwrap_or_default();
        let Some(line) = find(rest, b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&rest[..line])?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)?;
        let end = size.checked_add(line + 4).ok_or("a chunk that cannot be")?;
        if rest.len() < end {
            return Ok(None);
        }
        *at += end;
        if size == 0 {
            return Ok(Some(*at));
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A request with its body, as it goes over the wire.
pub(crate) fn request(method: &str, target: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into()
}

/// A `GET`, as it goes over the wire.
pub(crate) fn get(target: &str) -> Vec<u8> {
    read_with(target, "")
}

/// A `GET` with more header lines, each ended by a line break.
pub(crate) fn read_with(target: &str, lines: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: bench\r\n{lines}\r\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1";
        let whole = parse(bytes, &mut 0).expect("it is an answer");
        assert_eq!(whole, Some(Whole { status: 200, head: 38, end: 41 }));
        assert_eq!(parse(&bytes[..40], &mut 0).expect("it is one"), None);
    }

    #[test]
    fn a_chunked_answer_ends_with_its_empty_chunk_however_it_arrives() {
        let bytes =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\n\r\n";
        let mut seen = 0;
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length], &mut seen).expect("so far well"), None, "{length}");
        }
        let whole = parse(bytes, &mut seen).expect("it is an answer").expect("it is whole");
        assert_eq!(whole.end, bytes.len());
    }
}
