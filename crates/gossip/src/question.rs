//! Questions to all members, answered directly to the asker.
//!
//! A question is spread like an event, is answered by each member once, and ends when all have
//! answered or its time is over. Today all questions are about the keyring; a question of a kind
//! that is not known is not answered. Answers hold keys, so a pool that is not sealed asks none.

use std::net::SocketAddr;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::keyring::{Key, KeyError, Keyring};
use crate::limits::{KEYS_MAX, REASON_BYTES_MAX};
use crate::member::Name;

/// A question to all members.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct Question {
    /// Tells it from every other.
    #[n(0)]
    pub(crate) id: u64,
    /// Its Lamport time.
    #[n(1)]
    pub(crate) time: u64,
    /// Where answers go.
    #[n(2)]
    pub(crate) asker: SocketAddr,
    /// How long the asker waits.
    #[n(3)]
    pub(crate) wait_ms: u32,
    #[n(4)]
    pub(crate) what: Asked,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) enum Asked {
    #[n(0)]
    ListKeys,
    #[n(1)]
    InstallKey(#[n(0)] ByteVec),
    #[n(2)]
    UseKey(#[n(0)] ByteVec),
    #[n(3)]
    RemoveKey(#[n(0)] ByteVec),
}

/// What one member answers.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct Answer {
    #[n(0)]
    pub(crate) question: u64,
    #[n(1)]
    pub(crate) from: Name,
    /// Its keys after it did what it was asked, the one in use first.
    #[n(2)]
    pub(crate) keys: Vec<ByteVec>,
    /// Why it did not.
    #[n(3)]
    pub(crate) refusal: Option<String>,
}

/// Something to be done to the keyring of every member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyringWish {
    /// Tell which keys there are.
    List,
    /// Accept this key.
    Install(Key),
    /// Seal with this key.
    Use(Key),
    /// Accept this key no longer.
    Remove(Key),
}

/// What one member answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyringAnswer {
    /// Who.
    pub member: Name,
    /// Its keys after it did what it was asked, the one in use first.
    pub keys: Vec<Key>,
    /// Why it did not do it.
    pub refusal: Option<String>,
}

impl KeyringWish {
    /// Whether a ring can be changed by it.
    pub(crate) fn is_change(&self) -> bool {
        *self != KeyringWish::List
    }

    /// Does it to a ring.
    pub(crate) fn grant(&self, keyring: &mut Keyring) -> Result<(), KeyError> {
        match self {
            KeyringWish::List => Ok(()),
            KeyringWish::Install(key) => keyring.install(key.clone()),
            KeyringWish::Use(key) => keyring.use_key(key),
            KeyringWish::Remove(key) => keyring.remove(key),
        }
    }

    pub(crate) fn to_asked(&self) -> Asked {
        let bytes = |key: &Key| ByteVec::from(key.as_bytes().to_vec());
        match self {
            KeyringWish::List => Asked::ListKeys,
            KeyringWish::Install(key) => Asked::InstallKey(bytes(key)),
            KeyringWish::Use(key) => Asked::UseKey(bytes(key)),
            KeyringWish::Remove(key) => Asked::RemoveKey(bytes(key)),
        }
    }

    pub(crate) fn of_asked(asked: &Asked) -> Result<KeyringWish, KeyError> {
        Ok(match asked {
            Asked::ListKeys => KeyringWish::List,
            Asked::InstallKey(bytes) => KeyringWish::Install(Key::new(bytes)?),
            Asked::UseKey(bytes) => KeyringWish::Use(Key::new(bytes)?),
            Asked::RemoveKey(bytes) => KeyringWish::Remove(Key::new(bytes)?),
        })
    }
}

impl KeyringAnswer {
    /// What an answer says; nothing if it is out of its bounds.
    pub(crate) fn of(answer: &Answer) -> Option<KeyringAnswer> {
        if answer.keys.len() > KEYS_MAX {
            return None;
        }
        let keys = answer.keys.iter().map(|bytes| Key::new(bytes).ok()).collect::<Option<_>>()?;
        let refusal = answer.refusal.clone().map(shortened);
        Some(KeyringAnswer { member: answer.from.clone(), keys, refusal })
    }
}

/// At most [`REASON_BYTES_MAX`] bytes of a text.
pub(crate) fn shortened(mut text: String) -> String {
    let end = (0..=REASON_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or_default());
    text
}
