//! A pair: key and value in the store, with the lock that may be on it.

use std::sync::Arc;

use minicbor::{Decode, Encode};

use crate::{Index, Text};

/// A key with its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Pair {
    /// Case-sensitive; slashes are ordinary characters.
    #[n(0)]
    pub key: Text,
    /// Any bytes, up to `limits::PAIR_VALUE_BYTES_MAX`.
    #[n(1)]
    pub value: Blob,
    /// A number that belongs to the client.
    #[n(2)]
    pub flags: u64,
    /// The session that holds the lock, or empty.
    #[n(3)]
    pub session: Text,
    /// How often the lock was newly taken: the fence.
    #[n(4)]
    pub lock_index: Index,
}

/// Shared bytes.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Blob(Arc<[u8]>);

impl std::ops::Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Blob {
        Blob(bytes.into())
    }
}

impl From<Blob> for bytes::Bytes {
    fn from(blob: Blob) -> bytes::Bytes {
        bytes::Bytes::from_owner(blob)
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

impl<C> Encode<C> for Blob {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Blob {
    fn decode(
        decoder: &mut minicbor::Decoder<'b>,
        _: &mut C,
    ) -> Result<Blob, minicbor::decode::Error> {
        decoder.bytes().map(Blob::from)
    }
}
