//! Reading a request's body whole, with a limit on its size and on its slowness.
//!
//! A body that says it is too long is refused before a byte of it is read. One that does not say
//! is read up to the limit. Time is allowed as a fixed grace and then in proportion to what has
//! come, so that neither one byte a second nor silence holds a request open.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::time::{Duration, Instant, timeout_at};

use crate::limits::Limits;

/// Room that is made before any of the body has come; what a header promises is not trusted.
const FIRST_ROOM_BYTES: u64 = 16 * 1024;

/// Why a body could not be had. Nothing was done with what had come of it.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client has to send less.
    #[error("Request body too large, max size: {limit} bytes.")]
    TooLarge {
        /// What may be sent here.
        limit: usize,
    },
    /// The client has to send faster.
    #[error("Request body came too slowly")]
    TooSlow,
    /// The connection broke; there is nobody to answer.
    #[error("Request body broke off: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

impl BodyError {
    /// What to answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads the whole body, of at most `bytes_max` bytes.
pub async fn read_body<B>(
    mut body: B,
    bytes_max: usize,
    limits: &Limits,
) -> Result<Bytes, BodyError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let promised = body.size_hint();
    if promised.lower() > bytes_max as u64 {
        return Err(BodyError::TooLarge { limit: bytes_max });
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let begun = Instant::now();
    // Most bodies come in one piece, which is then handed on as it is.
    let Some(first) = piece(&mut body, begun + limits.body_timeout).await? else {
        return Ok(Bytes::new());
    };
    if first.len() > bytes_max {
        return Err(BodyError::TooLarge { limit: bytes_max });
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let room = promised.lower().min(FIRST_ROOM_BYTES);
    let mut whole = BytesMut::with_capacity(usize::try_from(room).unwrap_or(0).max(first.len()));
    whole.extend_from_slice(&first);
    loop {
        let allowed = whole.len() as u64 / limits.body_bytes_per_second_min.max(1);
        let deadline = begun + limits.body_timeout + Duration::from_secs(allowed);
        let Some(next) = piece(&mut body, deadline).await? else { return Ok(whole.freeze()) };
        if whole.len() + next.len() > bytes_max {
            return Err(BodyError::TooLarge { limit: bytes_max });
        }
        whole.extend_from_slice(&next);
    }
}

/// The next piece of data, or nothing at the end. Trailers are passed over.
async fn piece<B>(body: &mut B, deadline: Instant) -> Result<Option<Bytes>, BodyError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| BodyError::TooSlow)?;
        match frame.transpose().map_err(|error| BodyError::Broken(error.into()))? {
            None => return Ok(None),
            Some(frame) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
