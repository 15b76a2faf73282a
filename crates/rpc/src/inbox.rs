//! Frames that come: a stream's reading half with a buffer that grows with what is read.
//!
//! An idle connection holds 2 KiB. The buffer grows towards 64 KiB while reads fill it and
//! shrinks again when they do not; a body that is larger gets memory as its bytes come, so a
//! length alone buys nothing.

use std::io;

use bytes::BytesMut;
use muster_world::Stream;
use tokio::io::{AsyncReadExt as _, ReadHalf};

use crate::frame::{self, Frame, Malformed, Parsed};
use crate::hello::{MAGIC, PREFACE_BYTES, Versions};
use crate::limits::{READ_BYTES_MAX, READ_BYTES_MIN};

/// The most a buffer grows at a time for a body that is still coming.
const GROWTH_BYTES_MAX: usize = 256 << 10;

pub(crate) struct Inbox {
    stream: ReadHalf<Stream>,
    buffer: BytesMut,
    /// What is asked of the stream at a time.
    read_bytes: usize,
}

/// Why no more frames come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Dry {
    #[error("{0}")]
    Broken(#[from] io::Error),
    #[error("it was closed in the middle of a frame")]
    Cut,
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// What a connection began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Began {
    /// Our protocol, in these versions.
    Ours(Versions),
    /// Another protocol.
    Other,
    /// Nothing: it was closed.
    Nothing,
}

impl Inbox {
    pub(crate) fn new(stream: ReadHalf<Stream>) -> Self {
        Self { stream, buffer: BytesMut::new(), read_bytes: READ_BYTES_MIN }
    }

    /// Reads the preface. Another protocol is recognized by its first byte.
    pub(crate) async fn preface(&mut self) -> io::Result<Began> {
        loop {
            let n = self.buffer.len().min(MAGIC.len());
            if self.buffer[..n] != MAGIC[..n] {
                return Ok(Began::Other);
            }
            if self.buffer.len() >= PREFACE_BYTES {
                let preface = self.buffer.split_to(PREFACE_BYTES);
                let number = |at: usize| u16::from_be_bytes([preface[at], preface[at + 1]]);
                return Ok(Began::Ours(Versions { min: number(8), max: number(10) }));
            }
            if self.fill(PREFACE_BYTES).await? == 0 {
                return Ok(Began::Nothing);
            }
        }
    }

    /// Waits for the next frame, of at most so many bytes; `None` at the end of the stream.
    /// `heard` is told of all bytes, also those of a frame that is not yet whole. Dropping the
    /// future loses nothing.
    pub(crate) async fn frame(
        &mut self,
        bytes_max: usize,
        mut heard: impl FnMut(usize),
    ) -> Result<Option<Frame>, Dry> {
        loop {
            let missing = match frame::parse(&mut self.buffer, bytes_max)? {
                Parsed::Whole(frame) => return Ok(Some(frame)),
                Parsed::Missing(missing) => missing,
            };
            match self.fill(missing).await? {
                0 if self.buffer.is_empty() => return Ok(None),
                0 => return Err(Dry::Cut),
                n => heard(n),
            }
        }
    }

    /// Reads and forgets until the other side closes, so that words written before are not taken
    /// back by a reset. The caller bounds the time.
    pub(crate) async fn discard(&mut self) {
        loop {
            self.buffer.clear();
            if !matches!(self.fill(1).await, Ok(1..)) {
                return;
            }
        }
    }

    async fn fill(&mut self, missing: usize) -> io::Result<usize> {
        if self.buffer.is_empty() && self.buffer.capacity() > 2 * self.read_bytes {
            self.buffer = BytesMut::new();
        }
        self.buffer.reserve(missing.clamp(self.read_bytes, GROWTH_BYTES_MAX));
        let room = self.buffer.capacity() - self.buffer.len();
        let n = self.stream.read_buf(&mut self.buffer).await?;
        if n == room {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        } else if n < self.read_bytes / 4 {
            self.read_bytes = (self.read_bytes / 2).max(READ_BYTES_MIN);
        }
        Ok(n)
    }
}
