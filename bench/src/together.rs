//! Many long polls over one connection of HTTP/2.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;

use crate::Result;
use crate::contestant::Doing;
use crate::tcp::connect_http2;

/// One connection, and the polls that are under way on it.
pub(crate) struct Together {
    sender: SendRequest<Empty<Bytes>>,
    authority: String,
    parked: Vec<Doing<'static, http::Response<Incoming>>>,
}

impl Together {
    /// Connects.
    pub(crate) async fn open(to: SocketAddr) -> Result<Together> {
        let sender = connect_http2(to).await?;
        Ok(Together { sender, authority: to.to_string(), parked: Vec::new() })
    }

    /// Reads, and gives a header line of the answer.
    pub(crate) async fn read(&mut self, target: &str, header: &str) -> Result<String> {
        let answer = self.begin(target)?.await?;
        let line = answer.headers().get(header).ok_or("a header line is missing")?;
        let line = line.to_str()?.to_owned();
        answer.into_body().collect().await?;
        Ok(line)
    }

    /// Begins a poll.
    pub(crate) fn park(&mut self, target: &str) -> Result<()> {
        let poll = self.begin(target)?;
        self.parked.push(poll);
        Ok(())
    }

    /// Waits until every poll is answered.
    pub(crate) async fn all_answered(&mut self) -> Result<()> {
        for poll in self.parked.drain(..) {
            let answer = poll.await?;
            if answer.status() != 200 {
                return Err(format!("a watcher was answered with {}", answer.status()).into());
            }
            answer.into_body().collect().await?;
        }
        Ok(())
    }

    /// It is on its way as soon as this returns.
    fn begin(&mut self, target: &str) -> Result<Doing<'static, http::Response<Incoming>>> {
        let url = format!("http://{}{target}", self.authority);
        let answer = self.sender.send_request(http::Request::get(url).body(Empty::new())?);
        Ok(Box::pin(async move { Ok(answer.await?) }))
    }
}
