//! DNS as one client asks it, over UDP and TCP: a question, and its answer.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::Result;
use crate::contestant::{Connection, Deed, Doing, Question, Service};
use crate::tcp::connect;

/// After this long without an answer a datagram is sent anew.
const LOST_AFTER: Duration = Duration::from_millis(500);
/// How many times.
const TRIES_MAX: usize = 5;

const A: u16 = 1;
const SRV: u16 = 33;

/// A socket of each kind, opened by the first question: ten thousand watchers ask none. One question
/// is under way at a time.
pub(crate) struct Resolver {
    server: SocketAddr,
    datagrams: Option<UdpSocket>,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Resolver {
    /// Asks this server.
    pub(crate) fn new(server: SocketAddr) -> Resolver {
        Resolver { server, datagrams: None, stream: None, buffer: Vec::new() }
    }

    /// Asks in a datagram, and gives the bytes of the answer.
    async fn ask(&mut self, question: Question) -> Result<usize> {
        if self.datagrams.is_none() {
            let socket = UdpSocket::bind("127.0.0.1:0").await?;
            socket.connect(self.server).await?;
            self.datagrams = Some(socket);
            self.buffer.resize(65_535, 0);
        }
        let socket = self.datagrams.as_ref().ok_or("no socket")?;
        let asked = message(question);
        for _ in 0..TRIES_MAX {
            socket.send(&asked).await?;
            if let Ok(received) = timeout(LOST_AFTER, socket.recv(&mut self.buffer)).await {
                let length = received?;
                check(question, &self.buffer[..length])?;
                return Ok(length);
            }
        }
        Err("datagrams are not answered".into())
    }

    /// Asks over a connection that is kept, and gives the bytes of the answer. A server may close it
    /// between two questions, as Consul does after 128.
    async fn ask_over_tcp(&mut self, question: Question) -> Result<usize> {
        if let Some(stream) = self.stream.take()
            && let Ok(length) = self.ask_over(stream, question).await
        {
            return Ok(length);
        }
        let stream = connect(self.server).await?;
        self.ask_over(stream, question).await
    }

    async fn ask_over(&mut self, mut stream: TcpStream, question: Question) -> Result<usize> {
        let asked = message(question);
        let length = u16::try_from(asked.len())?.to_be_bytes();
        stream.write_all(&[&length[..], &asked].concat()).await?;
        let length = usize::from(stream.read_u16().await?);
        self.buffer.resize(length, 0);
        stream.read_exact(&mut self.buffer).await?;
        check(question, &self.buffer)?;
        self.stream = Some(stream);
        Ok(length)
    }
}

impl Connection for Resolver {
    fn perform(&mut self, deed: Deed) -> Doing<'_, usize> {
        Box::pin(async move {
            match deed {
                Deed::Ask(question) => self.ask(question).await,
                Deed::AskOverTcp(question) => self.ask_over_tcp(question).await,
                deed => Err(format!("DNS does not know {deed:?}").into()),
            }
        })
    }
}

/// An error if this is an answer without what was asked for. An echo is a floor and may pass.
fn check(question: Question, answer: &[u8]) -> Result<()> {
    let (flags, n_answers) = match answer.get(..8) {
        Some(&[_, _, high, low, _, _, more, n]) => ([high, low], [more, n]),
        _ => return Err("a short answer".into()),
    };
    let (is_echo, rcode) = (flags[0] & 0x80 == 0, flags[1] & 0x0f);
    let is_right = match question {
        Question::Missing => rcode == 3,
        // What does not fit is cut off and says so.
        _ => rcode == 0 && (u16::from_be_bytes(n_answers) > 0 || flags[0] & 0x02 != 0),
    };
    match is_echo || is_right {
        true => Ok(()),
        false => Err(format!("{question:?} was answered with code {rcode}").into()),
    }
}

/// A question, with EDNS and room for 4,096 bytes.
fn message(question: Question) -> Vec<u8> {
    let (name, kind) = match question {
        Question::Srv(service) => (service.name(), SRV),
        Question::A(service) => (service.name(), A),
        Question::Missing => ("none".into(), A),
    };
    let name = format!("{name}.service.consul");
    let mut out = vec![0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).expect("labels of the bench are short"));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&[0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
    out
}

/// The zone that servers of zone files get: what the registries know of the same services.
pub(crate) fn zone() -> String {
    let mut zone = String::from(
        "consul. 3600 IN SOA ns.consul. hostmaster.consul. 1 3600 600 86400 0\n\
         consul. 3600 IN NS ns.consul.\nns.consul. 3600 IN A 127.0.0.1\n",
    );
    for (service, n_instances) in [(Service::Ten, 10), (Service::Hundred, 100)] {
        let name = service.name();
        for instance in service.instances(n_instances) {
            let (node, port, address) = (instance.node(), instance.port(), instance.address());
            zone.push_str(&format!(
                "{name}.service.consul. 0 IN SRV 1 1 {port} node-{node}.node.dc1.consul.\n\
                 {name}.service.consul. 0 IN A {address}\n"
            ));
        }
    }
    // Instances of both services are on the same nodes.
    for instance in Service::Hundred.instances(100) {
        let (node, address) = (instance.node(), instance.address());
        zone.push_str(&format!("node-{node}.node.dc1.consul. 0 IN A {address}\n"));
    }
    zone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_carries_its_name_and_kind() {
        let asked = message(Question::Srv(Service::Ten));
        assert_eq!(&asked[12..32], b"\x03ten\x07service\x06consul\0");
        assert_eq!(asked[32..36], [0, 33, 0, 1]);
    }

    #[test]
    fn an_answer_without_records_is_an_error_and_an_echo_is_not() {
        let mut answer = message(Question::A(Service::Ten));
        assert!(check(Question::A(Service::Ten), &answer).is_ok());
        answer[2] |= 0x80;
        assert!(check(Question::A(Service::Ten), &answer).is_err());
        answer[7] = 1;
        assert!(check(Question::A(Service::Ten), &answer).is_ok());
        answer[3] |= 3;
        assert!(check(Question::A(Service::Ten), &answer).is_err());
        assert!(check(Question::Missing, &answer).is_ok());
        assert!(check(Question::Missing, &[0; 4]).is_err());
    }
}
