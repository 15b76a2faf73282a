//! A closed loop of HTTP/1.1 requests that costs little itself: the request is written as it stands,
//! and of the answer only its length is read.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Result;

/// One keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer: its status and body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header line.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

impl Connection {
    /// An error if the server has sent something.
    pub(crate) fn is_silent(&self) -> Result<()> {
        match self.stream.try_read(&mut [0; 1]) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            _ => Err("a watcher of another service woke".into()),
        }
    }

    pub(crate) async fn open(to: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: Vec::with_capacity(256 * 1024) })
    }

    /// Sends a request and reads past its answer; gives the status.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<u16> {
        self.send(request).await?;
        let (status, _, end) = self.receive().await?;
        self.buffer.drain(..end);
        Ok(status)
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        self.send(request).await?;
        self.answer().await
    }

    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(request).await?)
    }

    /// Reads the next answer.
    pub(crate) async fn answer(&mut self) -> Result<Answer> {
        let (status, head, end) = self.receive().await?;
        let text = String::from_utf8_lossy(&self.buffer[..head]).into_owned();
        let body = self.buffer[head..end].to_vec();
        self.buffer.drain(..end);
        Ok(Answer { status, head: text, body })
    }

    /// Reads until an answer is whole; gives its status, the end of its head and its end.
    async fn receive(&mut self) -> Result<(u16, usize, usize)> {
        loop {
            if let Some(head) = find(&self.buffer, b"\r\n\r\n").map(|at| at + 4) {
                let (status, length) = parse_head(&self.buffer[..head])?;
                while self.buffer.len() < head + length {
                    self.fill().await?;
                }
                return Ok((status, head, head + length));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err("the server closed the connection".into()),
            _ => Ok(()),
        }
    }
}

/// A request with its body, as it goes over the wire.
pub(crate) fn request(method: &str, target: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {target} HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\n\r\n{body}")
        .into()
}

/// A `GET`, as it goes over the wire.
pub(crate) fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n").into()
}

fn parse_head(head: &[u8]) -> Result<(u16, usize)> {
    let head = std::str::from_utf8(head)?;
    let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map(|(_, value)| value.trim().parse())
        .transpose()?;
    Ok((status, length.unwrap_or(0)))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
