//! The few messages of ZooKeeper's protocol that the bench needs: a length, and jute's fields.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Result;
use crate::tcp::connect;

/// The znode is not there.
pub(super) const NO_NODE: i32 = -101;
/// The znode is there already.
pub(super) const NODE_EXISTS: i32 = -110;

const CREATE: i32 = 1;
const DELETE: i32 = 2;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
/// The number under which a watch tells of its change.
const TOLD: i32 = -1;

/// Longer than any run: nobody pings.
const SESSION_TIMEOUT_MS: i32 = 3_600_000;
/// The longest message that is read.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A session on its connection.
pub(super) struct Session {
    stream: TcpStream,
    buffer: Vec<u8>,
    n_sent: i32,
    /// Paths whose watches have told of a change.
    told: std::collections::VecDeque<String>,
}

/// What a request was answered with.
pub(super) struct Reply {
    pub(super) error: i32,
    n_bytes: usize,
}

impl Reply {
    /// The bytes of an answer that is not an error.
    pub(super) fn well(self) -> Result<usize> {
        match self.error {
            0 => Ok(self.n_bytes),
            error => Err(format!("a request was answered with {error}").into()),
        }
    }

    /// The same, but one error is as good.
    pub(super) fn unless(self, error: i32) -> Result<usize> {
        if self.error == error { Ok(self.n_bytes) } else { self.well() }
    }
}

impl Session {
    pub(super) async fn open(to: SocketAddr) -> Result<Session> {
        let stream = connect(to).await?;
        let (buffer, told) = Default::default();
        let mut session = Session { stream, buffer, n_sent: 0, told };
        let mut hello = Fields::default();
        hello.int(0).long(0).int(SESSION_TIMEOUT_MS).long(0).bytes(&[0; 16]).flag(false);
        session.send(&hello.0).await?;
        let welcome = session.receive().await?;
        match read_long(&welcome, 8) {
            Some(id) if id != 0 => Ok(session),
            _ => Err("no session was given".into()),
        }
    }

    /// Creates a lasting znode that everybody may change.
    pub(super) async fn create(&mut self, path: &str, data: &str) -> Result<Reply> {
        let mut fields = self.head(CREATE);
        fields.bytes(path.as_bytes()).bytes(data.as_bytes());
        fields.int(1).int(31).bytes(b"world").bytes(b"anyone").int(0);
        self.ask(fields).await
    }

    /// Removes a znode, whatever its version.
    pub(super) async fn delete(&mut self, path: &str) -> Result<Reply> {
        let mut fields = self.head(DELETE);
        fields.bytes(path.as_bytes()).int(-1);
        self.ask(fields).await
    }

    /// Writes a znode over.
    pub(super) async fn write(&mut self, path: &str, data: &str) -> Result<Reply> {
        let mut fields = self.head(SET_DATA);
        fields.bytes(path.as_bytes()).bytes(data.as_bytes()).int(-1);
        self.ask(fields).await
    }

    /// Reads a znode, and watches it if asked to.
    pub(super) async fn read(&mut self, path: &str, watches: bool) -> Result<Reply> {
        let mut fields = self.head(GET_DATA);
        fields.bytes(path.as_bytes()).flag(watches);
        self.ask(fields).await
    }

    /// The path of the next watch that tells of a change.
    pub(super) async fn told(&mut self) -> Result<String> {
        loop {
            if let Some(path) = self.told.pop_front() {
                return Ok(path);
            }
            let message = self.receive().await?;
            self.note(&message);
        }
    }

    fn head(&mut self, kind: i32) -> Fields {
        self.n_sent += 1;
        let mut fields = Fields::default();
        fields.int(self.n_sent).int(kind);
        fields
    }

    async fn ask(&mut self, fields: Fields) -> Result<Reply> {
        self.send(&fields.0).await?;
        loop {
            let message = self.receive().await?;
            let (Some(number), Some(error)) = (read_int(&message, 0), read_int(&message, 12))
            else {
                return Err("a short answer".into());
            };
            if number == self.n_sent {
                return Ok(Reply { error, n_bytes: message.len() });
            }
            self.note(&message);
        }
    }

    /// Keeps what a watch told: after the head its kind, the session's state, and the path.
    fn note(&mut self, message: &[u8]) {
        if read_int(message, 0) == Some(TOLD)
            && let Some(path) = message.get(28..)
        {
            self.told.push_back(String::from_utf8_lossy(path).into_owned());
        }
    }

    async fn send(&mut self, fields: &[u8]) -> Result<()> {
        let mut message = u32::try_from(fields.len())?.to_be_bytes().to_vec();
        message.extend_from_slice(fields);
        Ok(self.stream.write_all(&message).await?)
    }

    /// The next message. What was read of one is kept if this is given up.
    async fn receive(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(message) = take_message(&mut self.buffer)? {
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server closed the connection".into());
            }
        }
    }
}

/// What the server says to a word of four letters.
pub(super) async fn word(to: SocketAddr, word: &str) -> Result<String> {
    let mut stream = connect(to).await?;
    stream.write_all(word.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

/// Takes the first whole message off a stream.
fn take_message(stream: &mut Vec<u8>) -> Result<Option<Vec<u8>>> {
    let Some((head, rest)) = stream.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*head) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err("a message that is too long".into());
    }
    let Some(message) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
    stream.drain(..4 + length);
    Ok(Some(message))
}

fn read_int(message: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*message.get(at..)?.first_chunk()?))
}

fn read_long(message: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_be_bytes(*message.get(at..)?.first_chunk()?))
}

/// Fields one after the other.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn int(&mut self, value: i32) -> &mut Fields {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn long(&mut self, value: i64) -> &mut Fields {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn flag(&mut self, value: bool) -> &mut Fields {
        self.0.push(u8::from(value));
        self
    }

    /// Bytes, or text, after their length.
    fn bytes(&mut self, value: &[u8]) -> &mut Fields {
        self.int(i32::try_from(value.len()).expect("the bench says nothing that long"));
        self.0.extend_from_slice(value);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_one_after_the_other_with_the_first_byte_first() {
        let mut fields = Fields::default();
        fields.int(-1).long(2).flag(true).bytes(b"ab");
        let expected = [&[255; 4][..], &[0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 2], b"ab"].concat();
        assert_eq!(fields.0, expected);
        assert_eq!(read_int(&fields.0, 0), Some(-1));
        assert_eq!(read_long(&fields.0, 4), Some(2));
        assert_eq!(read_long(&fields.0, 12), None);
    }

    #[test]
    fn messages_are_taken_off_a_stream_once_they_are_whole() {
        let mut stream = vec![0, 0, 0, 2, 7];
        assert_eq!(take_message(&mut stream).expect("short"), None);
        stream.extend([8, 9]);
        assert_eq!(take_message(&mut stream).expect("short"), Some(vec![7, 8]));
        assert_eq!(stream, [9]);
        assert!(take_message(&mut vec![255; 8]).is_err());
    }
}
