//! A pair, as in `/v1/kv` and in the results of a transaction; and bytes as text.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use muster_model::{Indexed, Pair};
use serde::{Serialize, Serializer};

/// A pair with the lock that may be on it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PairShape<'a> {
    lock_index: u64,
    key: &'a str,
    flags: u64,
    value: Base64<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    session: &'a str,
    create_index: u64,
    modify_index: u64,
}

impl<'a> PairShape<'a> {
    /// The shape of a pair.
    pub(crate) fn new(pair: &'a Indexed<Pair>) -> PairShape<'a> {
        PairShape {
            lock_index: pair.lock_index,
            key: &pair.key,
            flags: pair.flags,
            value: Base64(&pair.value.value),
            session: &pair.session,
            create_index: pair.create_index,
            modify_index: pair.modify_index,
        }
    }
}

/// Bytes as Go's JSON has them: in Base64, and `null` where there are none.
pub(crate) struct Base64<'a>(pub(crate) &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() {
            return serializer.serialize_none();
        }
        serializer.serialize_str(&BASE64_STANDARD.encode(self.0))
    }
}
