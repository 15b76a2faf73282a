//! The nouns and wishes of the registry: what can be registered, asked and answered.
//!
//! Everything here may only parse, print, compare and be copied to and from the binary form of the
//! log, the snapshot and the internal protocol. Nothing here knows time, sockets, JSON, DNS or any other protocol: the
//! front-ends own those shapes and convert in one file each.
//!
//! In reading order:
//! - [`text`] and [`meta`]: shared strings and sorted facts, the bricks of everything below;
//! - [`node`], [`instance`], [`check`]: the catalog; [`definition`]: the rule by which a check runs,
//!   [`declared`]: instances and checks as their authors wrote them;
//! - [`lease`]: what keeps a registration alive that no agent vouches for;
//! - [`pair`], [`session`], [`prepared`], [`coordinate`], [`ca`], [`settings`]: what is kept beside;
//! - [`scope`]: what an answer depends on, and so what a watch waits for;
//! - [`command`] and [`outcome`]: a write and its result, the same on every replica; `flat`: batches
//!   of them hold no batch;
//! - [`query`] and [`answer`]: a read and its result; `row`: how its shared rows travel;
//! - [`limits`]: the bound of every one of these.

pub mod answer;
pub mod ca;
pub mod check;
pub mod command;
pub mod coordinate;
pub mod declared;
pub mod definition;
mod flat;
pub mod instance;
pub mod lease;
pub mod limits;
pub mod meta;
pub mod node;
pub mod outcome;
pub mod pair;
pub mod prepared;
pub mod query;
mod row;
pub mod scope;
pub mod server_care;
pub mod session;
pub mod settings;
pub mod text;

pub use check::{Check, Status};
pub use command::Command;
pub use instance::Instance;
pub use lease::LeaseId;
pub use meta::Meta;
pub use node::Node;
pub use outcome::Outcome;
pub use pair::Pair;
pub use query::Query;
pub use scope::Scope;
pub use session::Session;
pub use text::Text;

/// A position in the replicated log. 0 stands for "before everything".
pub type Index = u64;

/// An object together with the log positions that made it.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Indexed<T> {
    /// The object itself.
    #[n(0)]
    pub value: T,
    /// The index at which the object was created.
    #[n(1)]
    pub create_index: Index,
    /// The index at which the object last changed. Never below `create_index`.
    #[n(2)]
    pub modify_index: Index,
}

impl<T> std::ops::Deref for Indexed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Encodes a value of this crate into the form of the log, the snapshot and the internal protocol.
pub fn encode<T: minicbor::Encode<()>>(value: &T) -> bytes::Bytes {
    let mut out = Vec::with_capacity(256);
    minicbor::encode(value, &mut out).expect("writing to a Vec cannot fail");
    out.into()
}

/// Decodes what [`encode`] wrote several times, one after the other.
///
/// # Errors
/// As [`decode`].
pub fn decode_all<T: for<'b> minicbor::Decode<'b, ()>>(
    bytes: &[u8],
) -> Result<Vec<T>, DecodeError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let mut values = Vec::new();
    while decoder.position() != bytes.len() {
        values.push(decoder.decode().map_err(|error| DecodeError(error.to_string()))?);
    }
    Ok(values)
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// Says where the bytes stop making sense. Nothing is touched; whoever holds the bytes must act:
/// they come from a damaged file, from a newer version, or from somebody who makes them up.
pub fn decode<T: for<'b> minicbor::Decode<'b, ()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().map_err(|error| DecodeError(error.to_string()))?;
    if decoder.position() != bytes.len() {
        let rest = bytes.len() - decoder.position();
        return Err(DecodeError(format!("{rest} bytes follow the end of the object")));
    }
    Ok(value)
}

/// Bytes that are not what this version writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot be decoded: {0}")]
pub struct DecodeError(String);
