//! The envelope around every datagram and exchange.
//!
//! ```text
//! 'g' | version | kind and mode | length of label | label | ...
//!   mode 0, open:    crc32c (4 bytes) | content
//!   mode 1, sealed:  nonce (12 bytes) | content and tag, AES-GCM
//!   mode 2, refused: a byte that says why, and what more there is to it; only answers an exchange
//! ```
//!
//! The label stands in the clear, so that who mixes up two pools can be told so, and is bound to
//! the seal with all that stands before the nonce: what was sealed for one pool, or as a datagram,
//! opens nowhere else. Nonces are random; with the 2^32 messages that one key should seal at most,
//! two are the same with a chance of 2^-33, which a thousand members reach in some days: rotate.

use std::borrow::Cow;

use rand::RngCore;
use rand::rngs::StdRng;
use ring::aead::NONCE_LEN;

use crate::keyring::Keyring;
use crate::limits::LABEL_BYTES_MAX;
use crate::refused::Refused;

/// The first byte of all that a pool says.
const MAGIC: u8 = b'g';
/// What this release speaks. It opens nothing newer.
const VERSION: u8 = 1;
/// Bytes before the label.
const HEAD: usize = 4;
const CHECKSUM: usize = 4;
const TAG: usize = 16;

const OPEN: u8 = 0;
const SEALED: u8 = 1;
const REFUSED: u8 = 2;

/// What an envelope holds. Nothing opens as what it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A datagram: messages, one after the other.
    Packet = 0,
    /// The beginning of an exchange.
    Asking = 1,
    /// Its answer.
    Answering = 2,
}

/// How a pool closes and opens its envelopes.
#[derive(Debug)]
pub(crate) struct Envelope {
    label: Box<str>,
    /// Nothing if the pool is not sealed.
    pub(crate) keyring: Option<Keyring>,
}

impl Envelope {
    /// For the pool of this label, at most [`LABEL_BYTES_MAX`] bytes.
    pub(crate) fn new(label: &str, keyring: Option<Keyring>) -> Envelope {
        debug_assert!(label.len() <= LABEL_BYTES_MAX);
        Envelope { label: label.into(), keyring }
    }

    /// The pool's label.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Bytes that an envelope adds to what it holds.
    pub(crate) fn overhead(&self) -> usize {
        let closing = if self.sealing().is_some() { NONCE_LEN + TAG } else { CHECKSUM };
        HEAD + self.label.len() + closing
    }

    /// Puts content into an envelope.
    pub(crate) fn close(&self, kind: Kind, content: &[u8], rng: &mut StdRng) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.overhead() + content.len());
        match self.sealing() {
            None => {
                self.head(kind, OPEN, &mut bytes);
                bytes.extend_from_slice(&crc32c::crc32c(content).to_le_bytes());
                bytes.extend_from_slice(content);
            }
            Some(keyring) => {
                self.head(kind, SEALED, &mut bytes);
                let n_head = bytes.len();
                let mut nonce = [0; NONCE_LEN];
                rng.fill_bytes(&mut nonce);
                bytes.extend_from_slice(&nonce);
                bytes.extend_from_slice(content);
                let (head, text) = bytes.split_at_mut(n_head);
                let tag = keyring.in_use().seal(nonce, head, &mut text[NONCE_LEN..]);
                bytes.extend_from_slice(tag.as_ref());
            }
        }
        bytes
    }

    /// Says in place of an answer why there is none. It is never sealed: who cannot open should
    /// learn that.
    pub(crate) fn refuse(&self, why: &Refused) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.label.len() + 9);
        self.head(Kind::Answering, REFUSED, &mut bytes);
        bytes.extend_from_slice(&why.to_bytes());
        bytes
    }

    /// What an envelope holds.
    ///
    /// # Errors
    /// If it is not for this pool, or nobody who has a key of this pool closed it.
    pub(crate) fn open<'a>(&self, kind: Kind, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, Refused> {
        let [MAGIC, version, kind_and_mode, n_label, rest @ ..] = bytes else {
            return Err(Refused::NotGossip);
        };
        if *version != VERSION {
            return Err(Refused::OtherProtocol(*version));
        }
        let (label, closed) =
            rest.split_at_checked(usize::from(*n_label)).ok_or(Refused::Damaged)?;
        let (label_kind, mode) = (kind_and_mode >> 4, kind_and_mode & 15);
        // Who answers with a refusal may not have found out which pool we are of.
        if kind == Kind::Answering && label_kind == kind as u8 && mode == REFUSED {
            return Err(Refused::of_answer(closed, label));
        }
        if label != self.label.as_bytes() {
            return Err(Refused::other_pool(label));
        }
        if label_kind != kind as u8 {
            return Err(Refused::Damaged);
        }
        match mode {
            OPEN => self.open_unsealed(closed),
            SEALED => self.open_sealed(&bytes[..HEAD + label.len()], closed),
            _ => Err(Refused::Damaged),
        }
    }

    fn open_unsealed<'a>(&self, closed: &'a [u8]) -> Result<Cow<'a, [u8]>, Refused> {
        if self.keyring.as_ref().is_some_and(|keyring| keyring.verifies_incoming) {
            return Err(Refused::Unsealed);
        }
        let (checksum, content) = closed.split_first_chunk::<CHECKSUM>().ok_or(Refused::Damaged)?;
        if u32::from_le_bytes(*checksum) != crc32c::crc32c(content) {
            return Err(Refused::Damaged);
        }
        Ok(Cow::Borrowed(content))
    }

    fn open_sealed<'a>(&self, head: &[u8], closed: &[u8]) -> Result<Cow<'a, [u8]>, Refused> {
        let keyring = self.keyring.as_ref().ok_or(Refused::Sealed)?;
        let (nonce, sealed) = closed.split_first_chunk::<NONCE_LEN>().ok_or(Refused::Damaged)?;
        for key in keyring.keys() {
            // A failed attempt spoils what it was made on.
            let mut attempt = sealed.to_vec();
            if let Some(content) = key.open(*nonce, head, &mut attempt) {
                let n_content = content.len();
                attempt.truncate(n_content);
                return Ok(Cow::Owned(attempt));
            }
        }
        Err(Refused::UnknownKey)
    }

    fn sealing(&self) -> Option<&Keyring> {
        self.keyring.as_ref().filter(|keyring| keyring.seals_outgoing)
    }

    fn head(&self, kind: Kind, mode: u8, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&[MAGIC, VERSION, (kind as u8) << 4 | mode]);
        bytes.push(self.label.len() as u8);
        bytes.extend_from_slice(self.label.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;
    use crate::keyring::Key;

    fn ring(byte: u8) -> Option<Keyring> {
        Some(Keyring::new(Key::new(&[byte; 16]).unwrap()))
    }

    fn rng() -> StdRng {
        StdRng::seed_from_u64(1)
    }

    #[test]
    fn what_is_closed_opens_again() {
        for keyring in [None, ring(1)] {
            let envelope = Envelope::new("dc1.lan", keyring);
            let bytes = envelope.close(Kind::Packet, b"hello", &mut rng());
            assert_eq!(bytes.len(), envelope.overhead() + 5);
            assert_eq!(envelope.open(Kind::Packet, &bytes).unwrap().as_ref(), b"hello");
            assert!(envelope.open(Kind::Answering, &bytes).is_err());
        }
    }

    #[test]
    fn another_pool_is_named() {
        for keyring in [None, ring(1)] {
            let theirs = Envelope::new("dc2.lan", keyring.clone());
            let ours = Envelope::new("dc1.lan", keyring);
            let bytes = theirs.close(Kind::Packet, b"hello", &mut rng());
            let refused = ours.open(Kind::Packet, &bytes).unwrap_err();
            assert_eq!(refused, Refused::OtherPool("dc2.lan".to_owned()));
        }
    }

    #[test]
    fn a_sealed_label_cannot_be_exchanged() {
        let theirs = Envelope::new("dc2.lan", ring(1));
        let ours = Envelope::new("dc1.lan", ring(1));
        let mut bytes = theirs.close(Kind::Packet, b"hello", &mut rng());
        bytes[6] = b'1';
        assert_eq!(ours.open(Kind::Packet, &bytes), Err(Refused::UnknownKey));
    }

    #[test]
    fn keys_and_their_absence_are_told_apart() {
        let (plain, one, two) =
            (Envelope::new("p", None), Envelope::new("p", ring(1)), Envelope::new("p", ring(2)));
        let close = |envelope: &Envelope| envelope.close(Kind::Asking, b"hello", &mut rng());
        assert_eq!(two.open(Kind::Asking, &close(&one)), Err(Refused::UnknownKey));
        assert_eq!(plain.open(Kind::Asking, &close(&one)), Err(Refused::Sealed));
        assert_eq!(one.open(Kind::Asking, &close(&plain)), Err(Refused::Unsealed));

        let mut soft = ring(1).unwrap();
        soft.verifies_incoming = false;
        soft.seals_outgoing = false;
        let soft = Envelope::new("p", Some(soft));
        assert!(soft.open(Kind::Asking, &close(&plain)).is_ok());
        assert!(soft.open(Kind::Asking, &close(&one)).is_ok());
        assert!(plain.open(Kind::Asking, &close(&soft)).is_ok());
    }

    #[test]
    fn a_refusal_is_understood_without_a_key() {
        let (asked, asking) = (Envelope::new("p", ring(1)), Envelope::new("p", ring(2)));
        let bytes = asked.refuse(&Refused::UnknownKey);
        assert_eq!(asking.open(Kind::Answering, &bytes), Err(Refused::UnknownKey));
        assert_eq!(asking.open(Kind::Packet, &bytes), Err(Refused::Damaged));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), mode in 0..4u8) {
            for keyring in [None, ring(1)] {
                let envelope = Envelope::new("p", keyring);
                let _ = envelope.open(Kind::Packet, &bytes);
                let mut likely = vec![MAGIC, VERSION, 0x20 | mode, 1, b'p'];
                likely.extend_from_slice(&bytes);
                let _ = envelope.open(Kind::Answering, &likely);
            }
        }

        #[test]
        fn no_flipped_bit_opens(at in 0..45usize, bit in 0..8u8) {
            let envelope = Envelope::new("p", ring(1));
            let mut bytes = envelope.close(Kind::Packet, b"hello world!", &mut rng());
            prop_assert_eq!(bytes.len(), 45);
            bytes[at] ^= 1 << bit;
            prop_assert!(envelope.open(Kind::Packet, &bytes).is_err());
        }
    }
}
