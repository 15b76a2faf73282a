//! The keys that seal what a pool says: one is in use, several are accepted.
//!
//! A ring rotates live: the new key is installed everywhere, then used everywhere, then the old
//! one is removed everywhere; at no moment does a member hear what it cannot open.
//! Keys are of AES-128-GCM or AES-256-GCM, 16 or 32 bytes.

use std::fmt;

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, Tag, UnboundKey};
use thiserror::Error;

use crate::limits::KEYS_MAX;

/// One key. It is never printed.
#[derive(Clone)]
pub struct Key {
    bytes: Vec<u8>,
    sealer: LessSafeKey,
}

/// The keys of a pool, in a member's hands.
#[derive(Clone, Debug)]
pub struct Keyring {
    /// The first is in use. At least one, at most [`KEYS_MAX`], each once.
    keys: Vec<Key>,
    /// Whether what comes unsealed is refused. Switched off while sealing is being introduced.
    pub verifies_incoming: bool,
    /// Whether what goes out is sealed. Switched off while sealing is being introduced.
    pub seals_outgoing: bool,
}

/// Why a ring does not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Of a length that no cipher here takes.
    #[error(
        "a gossip key has 16 or 32 bytes, not {0}{hint}: make one with `keygen`",
        hint = if *.0 == 24 { " (AES-192 is not offered)" } else { "" }
    )]
    Length(usize),
    /// The ring is full.
    #[error("a keyring holds {KEYS_MAX} keys: remove one that is no longer used")]
    Full,
    /// It would leave nothing to seal with.
    #[error("the key in use cannot be removed: use another one first")]
    InUse,
    /// Not there.
    #[error("this key is not in the keyring: install it first")]
    Unknown,
    /// The pool is not sealed.
    #[error("gossip is not encrypted here: start the agent with a gossip key")]
    NoKeyring,
    /// The pool is being sealed, but not all of it is yet.
    #[error("this agent does not encrypt what it sends: switch that on before keys are sent round")]
    NotSealing,
    /// Too many at a time.
    #[error("too many questions about the keyring are under way: wait for one of them")]
    TooManyQuestions,
}

impl Key {
    /// The key that these bytes are.
    ///
    /// # Errors
    /// If they are not 16 or 32.
    pub fn new(bytes: &[u8]) -> Result<Key, KeyError> {
        let cipher = match bytes.len() {
            16 => &AES_128_GCM,
            32 => &AES_256_GCM,
            n => return Err(KeyError::Length(n)),
        };
        let unbound = UnboundKey::new(cipher, bytes).map_err(|_| KeyError::Length(bytes.len()))?;
        Ok(Key { bytes: bytes.to_vec(), sealer: LessSafeKey::new(unbound) })
    }

    /// Its bytes, to be kept or shown to an operator who may see them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Seals `text` in place under a nonce that was never used before with this key.
    pub(crate) fn seal(&self, nonce: [u8; NONCE_LEN], header: &[u8], text: &mut [u8]) -> Tag {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.sealer
            .seal_in_place_separate_tag(nonce, Aad::from(header), text)
            .expect("ring refuses to seal only what is longer than 64 GiB")
    }

    /// Opens `sealed` (text and tag) in place, if this key sealed it with this header.
    pub(crate) fn open<'a>(
        &self,
        nonce: [u8; NONCE_LEN],
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.sealer.open_in_place(nonce, Aad::from(header), sealed).ok()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.bytes.len())
    }
}

impl Keyring {
    /// A ring whose one key is in use.
    pub fn new(key: Key) -> Keyring {
        Keyring { keys: vec![key], verifies_incoming: true, seals_outgoing: true }
    }

    /// A ring of several keys, of which the first is in use.
    ///
    /// # Errors
    /// If there is none, or more than [`KEYS_MAX`].
    pub fn of(keys: impl IntoIterator<Item = Key>) -> Result<Keyring, KeyError> {
        let mut keys = keys.into_iter();
        let mut keyring = Keyring::new(keys.next().ok_or(KeyError::NoKeyring)?);
        for key in keys {
            keyring.install(key)?;
        }
        Ok(keyring)
    }

    /// The keys; the first is in use.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The key that seals.
    pub fn in_use(&self) -> &Key {
        &self.keys[0]
    }

    /// Accepts a key from now on. One that is accepted already is fine.
    ///
    /// # Errors
    /// If the ring is full.
    pub fn install(&mut self, key: Key) -> Result<(), KeyError> {
        if self.keys.contains(&key) {
            return Ok(());
        }
        if self.keys.len() >= KEYS_MAX {
            return Err(KeyError::Full);
        }
        self.keys.push(key);
        Ok(())
    }

    /// Seals with a key from now on.
    ///
    /// # Errors
    /// If it is not installed.
    pub fn use_key(&mut self, key: &Key) -> Result<(), KeyError> {
        let at = self.keys.iter().position(|known| known == key).ok_or(KeyError::Unknown)?;
        let key = self.keys.remove(at);
        self.keys.insert(0, key);
        Ok(())
    }

    /// Accepts a key no longer. One that is not there is fine.
    ///
    /// # Errors
    /// If it is in use.
    pub fn remove(&mut self, key: &Key) -> Result<(), KeyError> {
        if self.in_use() == key {
            return Err(KeyError::InUse);
        }
        self.keys.retain(|known| known != key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::new(&[byte; 32]).unwrap()
    }

    #[test]
    fn keys_have_16_or_32_bytes() {
        assert!(Key::new(&[1; 16]).is_ok());
        assert!(Key::new(&[1; 32]).is_ok());
        let refused = Key::new(&[1; 24]).unwrap_err();
        assert!(refused.to_string().contains("AES-192 is not offered"), "{refused}");
        assert_eq!(Key::new(&[]), Err(KeyError::Length(0)));
        assert_eq!(format!("{:?}", key(1)), "Key(32 bytes)");
    }

    #[test]
    fn the_key_in_use_stays() {
        let mut ring = Keyring::new(key(1));
        assert_eq!(ring.remove(&key(1)), Err(KeyError::InUse));
        assert_eq!(ring.use_key(&key(2)), Err(KeyError::Unknown));
        ring.install(key(2)).unwrap();
        ring.install(key(2)).unwrap();
        ring.use_key(&key(2)).unwrap();
        ring.remove(&key(1)).unwrap();
        assert_eq!(ring.keys(), [key(2)]);
    }

    #[test]
    fn a_ring_is_bounded() {
        let keys = (0..=KEYS_MAX as u8).map(key);
        assert_eq!(Keyring::of(keys).map(|_| ()), Err(KeyError::Full));
    }
}
