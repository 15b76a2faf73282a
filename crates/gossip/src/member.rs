//! A member: an agent as gossip sees it.
//!
//! What a member says of itself is its [`Profile`]; what the pool believes of it is its
//! [`Status`], at an incarnation. Both are parsed once: a name, a tag or an address that exists is
//! within its bounds.

use std::borrow::Borrow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use thiserror::Error;

use crate::limits::{NAME_BYTES_MAX, TAGS_BYTES_MAX, TAGS_MAX};
use crate::moment::Moment;

/// The name of a member, unique in its pool: 1 to 128 bytes without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Labels of a member, sorted by key, 512 bytes together at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Option<Arc<[Tag]>>);

/// A key and its value.
type Tag = (Box<str>, Box<str>);

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Profile {
    /// Unique in the pool.
    #[n(0)]
    pub name: Name,
    /// Where its packets and exchanges arrive.
    #[n(1)]
    pub address: SocketAddr,
    /// Which installation it is, whatever its name and address: the bytes of a UUID.
    #[n(2)]
    #[cbor(with = "id_bytes")]
    pub id: [u8; 16],
    /// Its labels.
    #[n(3)]
    pub tags: Tags,
}

/// What the pool believes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Status {
    /// It answers, or someone says so.
    #[n(0)]
    Alive,
    /// It said that it is about to leave, and still answers.
    #[n(1)]
    Leaving,
    /// It did not answer; it has until its suspicion ends to refute.
    #[n(2)]
    Suspect,
    /// It did not refute.
    #[n(3)]
    Failed,
    /// It said that it left, or an operator said so.
    #[n(4)]
    Left,
}

/// A member as this one knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// What it says of itself.
    pub profile: Profile,
    /// What is believed of it.
    pub status: Status,
    /// Its own counter to overrule rumors: what is said at a lower one no longer counts.
    pub incarnation: u64,
    /// When this member learned of the status.
    pub since: Moment,
    /// How long the status had held by then, as told by others.
    pub held_before: Duration,
}

/// Why something that a member should say of itself is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProfileError {
    /// No name, or a name that is too long or not printable.
    #[error("a member's name has 1 to {NAME_BYTES_MAX} bytes and no control characters")]
    Name,
    /// Too many or too long.
    #[error("tags are {0} bytes; all keys and values of a member may be {TAGS_BYTES_MAX}: shorten")]
    TagsTooLong(usize),
    /// Too many.
    #[error("{0} tags; a member may have {TAGS_MAX}: remove some")]
    TooManyTags(usize),
}

impl Name {
    /// The name that these characters are.
    ///
    /// # Errors
    /// If they are none, more than [`NAME_BYTES_MAX`] bytes, or not printable.
    pub fn parse(characters: &str) -> Result<Name, ProfileError> {
        let fits = (1..=NAME_BYTES_MAX).contains(&characters.len());
        if !fits || characters.chars().any(char::is_control) {
            return Err(ProfileError::Name);
        }
        Ok(Name(characters.into()))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Tags {
    /// These labels; of a key that is there twice the later value holds.
    ///
    /// # Errors
    /// If they are more than [`TAGS_MAX`] or more than [`TAGS_BYTES_MAX`] bytes together.
    pub fn new<K, V>(labels: impl IntoIterator<Item = (K, V)>) -> Result<Tags, ProfileError>
    where
        K: Into<Box<str>>,
        V: Into<Box<str>>,
    {
        let mut sorted = std::collections::BTreeMap::<Box<str>, Box<str>>::new();
        for (key, value) in labels {
            sorted.insert(key.into(), value.into());
        }
        if sorted.len() > TAGS_MAX {
            return Err(ProfileError::TooManyTags(sorted.len()));
        }
        let n_bytes = sorted.iter().map(|(key, value)| key.len() + value.len()).sum();
        if n_bytes > TAGS_BYTES_MAX {
            return Err(ProfileError::TagsTooLong(n_bytes));
        }
        Ok(Tags((!sorted.is_empty()).then(|| sorted.into_iter().collect())))
    }

    /// The labels, sorted by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let labels = self.0.as_deref().unwrap_or_default();
        labels.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }
}

impl Status {
    /// Whether it takes part: it is probed, told rumors, and counted in the size of the pool.
    pub fn is_active(self) -> bool {
        matches!(self, Status::Alive | Status::Leaving | Status::Suspect)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Status::Alive => "alive",
            Status::Leaving => "leaving",
            Status::Suspect => "suspect",
            Status::Failed => "failed",
            Status::Left => "left",
        })
    }
}

impl Member {
    /// Its name.
    pub fn name(&self) -> &Name {
        &self.profile.name
    }

    /// Where it is reached.
    pub fn address(&self) -> SocketAddr {
        self.profile.address
    }

    /// How long it has had its status.
    pub fn status_age(&self, now: Moment) -> Duration {
        self.held_before.saturating_add(now.since(self.since))
    }
}

impl<C> Encode<C> for Name {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Name {
    fn decode(
        decoder: &mut minicbor::Decoder<'b>,
        _: &mut C,
    ) -> Result<Name, minicbor::decode::Error> {
        Name::parse(decoder.str()?).map_err(minicbor::decode::Error::custom)
    }
}

impl<C> Encode<C> for Tags {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.map(self.iter().len() as u64)?;
        for (key, value) in self.iter() {
            encoder.str(key)?.str(value)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Tags {
    fn decode(
        decoder: &mut minicbor::Decoder<'b>,
        _: &mut C,
    ) -> Result<Tags, minicbor::decode::Error> {
        let mut labels = Vec::new();
        for label in decoder.map_iter::<&str, &str>()?.take(TAGS_MAX + 1) {
            labels.push(label?);
        }
        Tags::new(labels).map_err(minicbor::decode::Error::custom)
    }
}

/// An id is a string of bytes on the wire, not a list of numbers.
mod id_bytes {
    use super::{ByteArray, Decode, Encode};

    pub(super) fn encode<C, W: minicbor::encode::Write>(
        id: &[u8; 16],
        encoder: &mut minicbor::Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        ByteArray::from(*id).encode(encoder, context)
    }

    pub(super) fn decode<'b, C>(
        decoder: &mut minicbor::Decoder<'b>,
        context: &mut C,
    ) -> Result<[u8; 16], minicbor::decode::Error> {
        Ok(ByteArray::<16>::decode(decoder, context)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_sorted_and_bounded() {
        let tags = Tags::new([("role", "node"), ("dc", "dc1"), ("role", "server")]).unwrap();
        let listed: Vec<(&str, &str)> = tags.iter().collect();
        assert_eq!(listed, [("dc", "dc1"), ("role", "server")]);
        assert_eq!(tags.value("role"), Some("server"));

        assert!(Tags::new([("k".repeat(12), "v".repeat(500))]).is_ok());
        let refused = Tags::new([("k".repeat(13), "v".repeat(500))]);
        assert_eq!(refused, Err(ProfileError::TagsTooLong(513)));
        let many = (0..=TAGS_MAX).map(|n| (n.to_string(), String::new()));
        assert_eq!(Tags::new(many), Err(ProfileError::TooManyTags(TAGS_MAX + 1)));
    }

    #[test]
    fn a_name_is_short_and_printable() {
        assert!(Name::parse("web-1.dc1").is_ok());
        assert!(Name::parse(&"n".repeat(NAME_BYTES_MAX)).is_ok());
        for wrong in ["", "a\nb", &"n".repeat(NAME_BYTES_MAX + 1)] {
            assert_eq!(Name::parse(wrong), Err(ProfileError::Name));
        }
    }
}
