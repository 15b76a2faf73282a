//! Texts that repeat are kept once.
//!
//! A catalog says `web`, `production` and `Agent alive and reachable` a hundred thousand times. Each
//! text that goes into a row is looked up here first, and a row shares the characters of an equal
//! text that was seen lately.
//!
//! It is a cache of fixed size, not a table of all texts: a hash leads to a pair of places, the one
//! found moves to the front, the other makes room. So it needs no sweeping, holds on to at most
//! [`PLACES`] short texts that nobody else holds, and a text seen only once (an address, an output)
//! costs nothing lasting. What it misses is memory, never meaning: equal texts are equal whether
//! they share or not, and nothing of this is in the hash or in a snapshot.
//!
//! Clones of a state share one interner. Only the writer uses it, so the lock is never waited for.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::FixedState;
use muster_model::{Check, Instance, Meta, Node, Text};

/// Texts that are remembered: a power of two.
const PLACES: usize = 16_384;
/// Longer texts are not remembered.
const BYTES_MAX: usize = 256;

/// A cache of texts seen lately.
#[derive(Clone, Default)]
pub(crate) struct Interner(Arc<Mutex<Places>>);

#[derive(Default)]
struct Places {
    /// Empty until the first text comes.
    kept: Box<[Option<Text>]>,
}

impl Interner {
    /// Makes the texts of a node share.
    pub(crate) fn share_node(&self, node: &mut Node) {
        self.with(|places| {
            places.share_meta(&mut node.meta);
            places.share_meta(&mut node.tagged_addresses);
        });
    }

    /// Makes the texts of an instance share. Its id is its own.
    pub(crate) fn share_instance(&self, instance: &mut Instance) {
        self.with(|places| {
            places.share(&mut instance.service);
            places.share(&mut instance.address);
            instance.tags.iter_mut().for_each(|tag| places.share(tag));
            places.share_meta(&mut instance.meta);
        });
    }

    /// Makes the texts of a check share; its instance's id is shared by the caller.
    pub(crate) fn share_check(&self, check: &mut Check) {
        self.with(|places| {
            places.share(&mut check.id);
            places.share(&mut check.name);
            places.share(&mut check.notes);
            places.share(&mut check.output);
            places.share(&mut check.kind);
        });
    }

    fn with<T>(&self, share: impl FnOnce(&mut Places) -> T) -> T {
        share(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Interner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interner")
    }
}

impl Places {
    fn share_meta(&mut self, meta: &mut Meta) {
        meta.map_texts(&mut |text| self.share(text));
    }

    fn share(&mut self, text: &mut Text) {
        if text.is_empty() {
            *text = Text::default();
            return;
        }
        if text.len() > BYTES_MAX {
            return;
        }
        if self.kept.is_empty() {
            self.kept = vec![None; PLACES].into();
        }
        let first = FixedState::default().hash_one(text.as_str()) as usize & (PLACES - 2);
        let pair = &mut self.kept[first..first + 2];
        match pair.iter().position(|kept| kept.as_ref() == Some(text)) {
            Some(at) => {
                *text = pair[at].clone().expect("a found text is there");
                pair.swap(0, at);
            }
            None => {
                pair.swap(0, 1);
                pair[0] = Some(text.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(interner: &Interner, mut text: Text) -> Text {
        interner.with(|places| places.share(&mut text));
        text
    }

    #[test]
    fn equal_texts_share_their_characters() {
        let interner = Interner::default();
        let (first, second) = (shared(&interner, "web".into()), shared(&interner, "web".into()));
        assert!(first.is_same(&second));
    }

    #[test]
    fn it_holds_a_bounded_number_of_texts() {
        let interner = Interner::default();
        for number in 0..4 * PLACES {
            let text = shared(&interner, format!("text {number}").into());
            assert_eq!(text, *format!("text {number}"));
        }
        let places = interner.0.lock().unwrap();
        assert_eq!(places.kept.len(), PLACES);
    }
}
