//! One kept-alive HTTP connection, as little of a client as a drill needs.
//!
//! A connection that breaks says so, and is not opened again behind the drill's back: what was
//! asked on it has no known outcome, and that is what a drill is about.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a server may be silent before the connection counts as broken.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The longest body that is read.
const BODY_BYTES_MAX: u64 = 1 << 30;

/// A connection to a server.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
}

/// What a server answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Connection {
    pub(super) fn open(address: &str) -> io::Result<Self> {
        Self::open_within(address, SILENCE_MAX)
    }

    /// Opens a connection that counts as broken once the server is silent for this long.
    pub(super) fn open_within(address: &str, silence_max: Duration) -> io::Result<Self> {
        let address: SocketAddr = address.parse().map_err(|_| invalid("this is no address"))?;
        let stream = TcpStream::connect_timeout(&address, silence_max)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(silence_max))?;
        stream.set_write_timeout(Some(silence_max))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends one request and reads its whole answer.
    pub(super) fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        self.send(method, path, body)?;
        self.receive()
    }

    /// Sends one request, and does not wait for its answer.
    pub(super) fn send(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<()> {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        );
        self.stream.get_mut().write_all(&[head.as_bytes(), body].concat())
    }

    /// Reads the whole answer to what was sent.
    pub(super) fn receive(&mut self) -> io::Result<Answer> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| invalid(&format!("{first:?} is no status line")))?;
        let mut length = None;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse::<u64>().ok();
            }
        }
        let length = length.filter(|length| *length <= BODY_BYTES_MAX);
        let length = length.ok_or_else(|| invalid("the answer has no usable length"))?;
        let mut body = Vec::new();
        self.stream.by_ref().take(length).read_to_end(&mut body)?;
        if (body.len() as u64) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Answer { status, body })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that gives each of these answers once, then closes.
    fn serve(answers: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound").to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("one client comes");
            for answer in answers {
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        address
    }

    #[test]
    fn one_connection_carries_several_answers() {
        let address = serve(&[
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ntrue",
            "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        ]);
        let mut connection = Connection::open(&address).expect("it listens");
        let first = connection.ask("PUT", "/a", b"b").expect("is answered");
        assert_eq!((first.status, first.body.as_slice()), (200, b"true".as_slice()));
        assert_eq!(connection.ask("GET", "/a", b"").expect("is answered").status, 500);
    }

    #[test]
    fn an_answer_that_breaks_off_is_no_answer() {
        let address = serve(&["HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\ntrue"]);
        let mut connection = Connection::open(&address).expect("it listens");
        assert!(connection.ask("GET", "/a", b"").is_err());
    }
}
