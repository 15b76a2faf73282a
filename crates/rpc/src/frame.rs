//! The bytes of one frame.
//!
//! ```text
//! length u32 | kind u8 | exchange u32 | fields of the kind | body
//! ```
//!
//! All numbers are big-endian; the length counts what follows it. Frames that belong to no
//! exchange say 0. `Hello` and `Close` have the same form in every version of the protocol; all
//! others may change with the version that both sides agreed on.

use bytes::{Buf, BufMut as _, Bytes, BytesMut};

use crate::ending::Reason;
use crate::limits::{COPIED_BYTES_MAX, WORDS_BYTES_MAX};

/// Bytes in front of the fields: length, kind, exchange.
pub(crate) const HEAD_BYTES: usize = 9;
const LENGTH_BYTES: usize = 4;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Who the sender is; `hello` reads it.
    Hello(Bytes),
    /// Begins an exchange. With `is_whole` the opener's half ends with it: a call.
    Open { id: u32, method: u16, remaining_ms: u32, is_whole: bool, body: Bytes },
    /// One item. With `is_last` the sender's half ends with it.
    Item { id: u32, is_last: bool, body: Bytes },
    /// The sender's half ends.
    End { id: u32 },
    /// The exchange failed, both ways; `fault` reads it.
    Fault { id: u32, code: u8, body: Bytes },
    /// The sender has left the exchange.
    Cancel { id: u32 },
    /// The receiver has read so much, and so much more may come.
    Credit { id: u32, items: u32, bytes: u32 },
    /// To be answered at once.
    Ping,
    /// The answer.
    Pong,
    /// The acceptor takes no more exchanges on this connection.
    Leave,
    /// The connection is over, and why.
    Close { reason: Reason, words: String },
}

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const CLOSE: u8 = 2;
    pub(super) const OPEN: u8 = 3;
    pub(super) const CALL: u8 = 4;
    pub(super) const ITEM: u8 = 5;
    pub(super) const LAST: u8 = 6;
    pub(super) const END: u8 = 7;
    pub(super) const FAULT: u8 = 8;
    pub(super) const CANCEL: u8 = 9;
    pub(super) const CREDIT: u8 = 10;
    pub(super) const PING: u8 = 11;
    pub(super) const PONG: u8 = 12;
    pub(super) const LEAVE: u8 = 13;
}

/// Bytes that are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a frame of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("a frame of kind {0} is not known")]
    UnknownKind(u8),
    #[error("a frame of kind {0} is too short")]
    TooShort(u8),
}

/// What the buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A frame, which was taken out.
    Whole(Frame),
    /// Not yet a frame: at least so many bytes are missing. Nothing was taken out.
    Missing(usize),
}

/// Takes one frame from the front of the buffer. A length over the limit is refused before the
/// frame has come.
pub(crate) fn parse(buffer: &mut BytesMut, bytes_max: usize) -> Result<Parsed, Malformed> {
    let Some((head, _)) = buffer.split_first_chunk::<HEAD_BYTES>() else {
        return check_length(buffer, bytes_max);
    };
    let [l0, l1, l2, l3, kind, i0, i1, i2, i3] = *head;
    let id = u32::from_be_bytes([i0, i1, i2, i3]);
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if length > bytes_max {
        return Err(Malformed::TooLarge { bytes: length, bytes_max });
    }
    if length < HEAD_BYTES - LENGTH_BYTES {
        return Err(Malformed::TooShort(kind));
    }
    let whole = LENGTH_BYTES + length;
    if buffer.len() < whole {
        return Ok(Parsed::Missing(whole - buffer.len()));
    }
    let payload = if length <= COPIED_BYTES_MAX {
        let copied = Bytes::copy_from_slice(&buffer[HEAD_BYTES..whole]);
        buffer.advance(whole);
        copied
    } else {
        buffer.split_to(whole).freeze().split_off(HEAD_BYTES)
    };
    decode(kind, id, payload).map(Parsed::Whole)
}

/// A head that has not come whole may show already that it is not to come at all.
fn check_length(buffer: &BytesMut, bytes_max: usize) -> Result<Parsed, Malformed> {
    if let Some((length, _)) = buffer.split_first_chunk::<LENGTH_BYTES>() {
        let bytes = u32::from_be_bytes(*length) as usize;
        if bytes > bytes_max {
            return Err(Malformed::TooLarge { bytes, bytes_max });
        }
    }
    Ok(Parsed::Missing(HEAD_BYTES - buffer.len()))
}

fn decode(kind: u8, id: u32, mut payload: Bytes) -> Result<Frame, Malformed> {
    let short = |_| Malformed::TooShort(kind);
    Ok(match kind {
        kind::HELLO => Frame::Hello(payload),
        kind::OPEN | kind::CALL => Frame::Open {
            id,
            method: payload.try_get_u16().map_err(short)?,
            remaining_ms: payload.try_get_u32().map_err(short)?,
            is_whole: kind == kind::CALL,
            body: payload,
        },
        kind::ITEM | kind::LAST => Frame::Item { id, is_last: kind == kind::LAST, body: payload },
        kind::END => Frame::End { id },
        kind::FAULT => {
            Frame::Fault { id, code: payload.try_get_u8().map_err(short)?, body: payload }
        }
        kind::CANCEL => Frame::Cancel { id },
        kind::CREDIT => Frame::Credit {
            id,
            items: payload.try_get_u32().map_err(short)?,
            bytes: payload.try_get_u32().map_err(short)?,
        },
        kind::PING => Frame::Ping,
        kind::PONG => Frame::Pong,
        kind::LEAVE => Frame::Leave,
        kind::CLOSE => {
            let reason = Reason::from_wire(payload.try_get_u8().map_err(short)?);
            let words = &payload[..payload.len().min(WORDS_BYTES_MAX)];
            Frame::Close { reason, words: String::from_utf8_lossy(words).into_owned() }
        }
        unknown => return Err(Malformed::UnknownKind(unknown)),
    })
}

impl Frame {
    /// Appends the frame. A large body is not copied but given back, to be written next.
    pub(crate) fn encode(self, out: &mut BytesMut) -> Option<Bytes> {
        let start = out.len();
        let (kind, id) = self.kind_and_id();
        out.put_u32(0);
        out.put_u8(kind);
        out.put_u32(id);
        let body = match self {
            Self::Open { method, remaining_ms, body, .. } => {
                out.put_u16(method);
                out.put_u32(remaining_ms);
                body
            }
            Self::Fault { code, body, .. } => {
                out.put_u8(code);
                body
            }
            Self::Credit { items, bytes, .. } => {
                out.put_u32(items);
                out.put_u32(bytes);
                Bytes::new()
            }
            Self::Close { reason, words } => {
                out.put_u8(reason.to_wire());
                Bytes::from(words)
            }
            Self::Hello(body) | Self::Item { body, .. } => body,
            Self::End { .. } | Self::Cancel { .. } | Self::Ping | Self::Pong | Self::Leave => {
                Bytes::new()
            }
        };
        let length = out.len() - start - LENGTH_BYTES + body.len();
        let length = u32::try_from(length).expect("bodies are below the other side's limit");
        out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        if body.len() > COPIED_BYTES_MAX {
            return Some(body);
        }
        out.extend_from_slice(&body);
        None
    }

    fn kind_and_id(&self) -> (u8, u32) {
        match self {
            Self::Hello(_) => (kind::HELLO, 0),
            Self::Open { id, is_whole: false, .. } => (kind::OPEN, *id),
            Self::Open { id, is_whole: true, .. } => (kind::CALL, *id),
            Self::Item { id, is_last: false, .. } => (kind::ITEM, *id),
            Self::Item { id, is_last: true, .. } => (kind::LAST, *id),
            Self::End { id } => (kind::END, *id),
            Self::Fault { id, .. } => (kind::FAULT, *id),
            Self::Cancel { id } => (kind::CANCEL, *id),
            Self::Credit { id, .. } => (kind::CREDIT, *id),
            Self::Ping => (kind::PING, 0),
            Self::Pong => (kind::PONG, 0),
            Self::Leave => (kind::LEAVE, 0),
            Self::Close { .. } => (kind::CLOSE, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1 << 20;

    fn bytes(frame: Frame) -> BytesMut {
        let mut out = BytesMut::new();
        if let Some(body) = frame.encode(&mut out) {
            out.extend_from_slice(&body);
        }
        out
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let body = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec(any::<u8>(), COPIED_BYTES_MAX..COPIED_BYTES_MAX + 20),
        ]
        .prop_map(Bytes::from);
        let many = (any::<u32>(), any::<u32>(), any::<u16>(), any::<bool>(), body);
        (0..11_u8, many).prop_map(|(which, (id, number, method, flag, body))| match which {
            0 => Frame::Hello(body),
            1 => Frame::Open { id, method, remaining_ms: number, is_whole: flag, body },
            2 => Frame::Item { id, is_last: flag, body },
            3 => Frame::End { id },
            4 => Frame::Fault { id, code: method as u8, body },
            5 => Frame::Cancel { id },
            6 => Frame::Credit { id, items: number, bytes: number ^ id },
            7 => Frame::Ping,
            8 => Frame::Pong,
            9 => Frame::Leave,
            _ => Frame::Close { reason: Reason::Garbage, words: format!("words {number}") },
        })
    }

    proptest! {
        #[test]
        fn no_input_panics_or_is_read_beyond_its_length(
            input in prop::collection::vec(any::<u8>(), 0..100), bytes_max in 0..200_usize,
        ) {
            let mut buffer = BytesMut::from(&input[..]);
            while let Ok(Parsed::Whole(_)) = parse(&mut buffer, bytes_max) {}
            prop_assert!(buffer.len() <= input.len());
        }

        #[test]
        fn a_head_with_anything_behind_it_panics_nowhere(
            kind in any::<u8>(), id in any::<u32>(), rest in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut buffer = BytesMut::new();
            buffer.put_u32(u32::try_from(rest.len() + 5).expect("short"));
            buffer.put_u8(kind);
            buffer.put_u32(id);
            buffer.extend_from_slice(&rest);
            if let Ok(parsed) = parse(&mut buffer, MAX) {
                prop_assert!(matches!(parsed, Parsed::Whole(_)));
                prop_assert!(buffer.is_empty());
            }
        }

        #[test]
        fn what_is_written_is_read_however_it_is_cut(
            frames in prop::collection::vec(any_frame(), 1..6), cut in 50..40_000_usize,
        ) {
            let mut wire = BytesMut::new();
            for frame in &frames {
                wire.extend_from_slice(&bytes(frame.clone()));
            }
            let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
            for piece in wire.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Parsed::Whole(frame) = parse(&mut buffer, MAX).expect("well formed") {
                    read.push(frame);
                }
            }
            prop_assert_eq!(read, frames);
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_the_frame_has_come() {
        let mut buffer = BytesMut::from(&[0, 0, 1, 0][..]);
        let refused = Malformed::TooLarge { bytes: 256, bytes_max: 255 };
        assert_eq!(parse(&mut buffer, 255), Err(refused));
        assert_eq!(parse(&mut buffer, 256), Ok(Parsed::Missing(5)));
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 5, 99, 0, 0, 0, 1][..]);
        assert_eq!(parse(&mut buffer, MAX), Err(Malformed::UnknownKind(99)));
    }

    #[test]
    fn a_small_body_does_not_keep_the_buffer_alive() {
        let mut buffer = bytes(Frame::Item { id: 1, is_last: true, body: vec![7; 100].into() });
        let began_at = buffer.as_ptr() as usize;
        let Ok(Parsed::Whole(Frame::Item { body, .. })) = parse(&mut buffer, MAX) else {
            panic!("no item");
        };
        let buffer_range = began_at..began_at + 200;
        assert!(!buffer_range.contains(&(body.as_ptr() as usize)));
    }
}
