//! Connections of clients over TCP: what each of them says goes out at once.

use std::net::SocketAddr;

use hyper::body::Body;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::Result;

/// Connects.
pub(crate) async fn connect(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects and speaks HTTP/2. It ends with its sender, or with the server, which the next answer
/// will say.
pub(crate) async fn connect_http2<B>(to: SocketAddr) -> Result<SendRequest<B>>
where
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<crate::Error>,
{
    let stream = TokioIo::new(connect(to).await?);
    let (sender, connection) = handshake(TokioExecutor::new(), stream).await?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}
