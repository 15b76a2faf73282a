//! `/v1/snapshot`: the whole state as one file, out and in.
//!
//! The file is this program's own; Consul's snapshots are not read. Both ways it passes through in
//! pieces, so that its size costs no memory here.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Response};
use http_body_util::BodyExt;
use muster_listen::Body;
use muster_registry::{Freshness, Refusal};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::front::Front;
use crate::limits::{SNAPSHOT_BYTES_MAX, SNAPSHOT_PIECE_WAIT_MAX, SNAPSHOT_PIECES_WAITING_MAX};
use crate::reading::add_freshness;
use crate::reply::done;
use crate::request::{Request, Unread};
use crate::routes::{Later, Route};

pub(crate) const ROUTES: &[Route] = &[
    Route::later(Method::GET, "/v1/snapshot", "The whole state as a file.", save),
    Route::later(Method::PUT, "/v1/snapshot", "Replaces the whole state by a file's.", restore),
];

type Piece = Result<Bytes, io::Error>;

fn save(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        refuse_other_datacenter(&front, &request)?;
        let is_stale = request.parameters.has("stale");
        let freshness = if is_stale { Freshness::Stale } else { Freshness::Default };
        let mut saved = front.door().operator.save(&request.call(&front), freshness).await?;
        let (sender, body) = Body::stream(SNAPSHOT_PIECES_WAITING_MAX);
        let mut reply = Response::new(body);
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let index = HeaderValue::from(saved.index.max(1));
        headers.insert(HeaderName::from_static("x-consul-index"), index);
        add_freshness(&mut reply, &saved.standing);
        tokio::spawn(async move {
            while let Some(piece) = saved.blocks.recv().await {
                let piece = match piece {
                    Ok(piece) => piece,
                    Err(error) => return sender.fail(error).await,
                };
                if !sender.send(piece).await {
                    return;
                }
            }
        });
        Ok(reply)
    })
}

fn restore(front: Arc<Front>, mut request: Request) -> Later {
    Box::pin(async move {
        refuse_other_datacenter(&front, &request)?;
        let (sender, pieces) = mpsc::channel(SNAPSHOT_PIECES_WAITING_MAX);
        let call = request.call(&front);
        let restore = front.door().operator.restore(&call, pieces);
        let feed = feed(&mut request.body, sender);
        let (_, restored) = tokio::join!(feed, restore);
        restored.map_err(Failure::from)?;
        Ok(done())
    })
}

/// A file of another datacenter's state is fetched from its own servers.
fn refuse_other_datacenter(front: &Front, request: &Request) -> Result<(), Failure> {
    match request.call(front).datacenter {
        None => Ok(()),
        Some(other) => Err(Refusal::NoDatacenter(other).into()),
    }
}

/// Hands the body on, piece by piece. What goes wrong is handed on too: whoever restores refuses
/// then. If that one no longer listens, the rest is of no use.
async fn feed(body: &mut Unread, sender: mpsc::Sender<Piece>) {
    let mut n_bytes = 0;
    loop {
        let piece = match timeout(SNAPSHOT_PIECE_WAIT_MAX, body.frame()).await {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => Ok(frame.into_data().unwrap_or_default()),
            Ok(Some(Err(error))) => Err(error),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the body stopped coming")),
        };
        n_bytes += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        let piece = if n_bytes > SNAPSHOT_BYTES_MAX {
            let text = format!("the snapshot has more than {SNAPSHOT_BYTES_MAX} bytes");
            Err(io::Error::new(io::ErrorKind::FileTooLarge, text))
        } else {
            piece
        };
        let is_end = piece.is_err();
        if sender.send(piece).await.is_err() || is_end {
            return;
        }
    }
}
