//! Key-value facts about a node or an instance, and lists of addresses by purpose.
//!
//! Both are small sorted lists in one allocation: a fleet has millions of them, nearly all with
//! fewer than five entries, where a tree or a hash table would cost several times the memory.

use crate::Text;

/// Facts about a node or an instance: unique keys in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct Meta(#[n(0)] Box<[(Text, Text)]>);

impl Meta {
    /// The value under `key`.
    pub fn find(&self, key: &str) -> Option<&Text> {
        let at = self.0.binary_search_by(|(k, _)| k.as_str().cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    /// All facts, in ascending order of their keys.
    pub fn iter(&self) -> std::slice::Iter<'_, (Text, Text)> {
        self.0.iter()
    }

    /// The number of facts.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every fact of `wanted` is here with the same value.
    pub fn has_all(&self, wanted: &Meta) -> bool {
        wanted.iter().all(|(key, value)| self.find(key) == Some(value))
    }

    /// Replaces every text by what `share` gives for it: how the state interns.
    pub fn map_texts(&mut self, share: &mut impl FnMut(&mut Text)) {
        for (key, value) in &mut self.0 {
            share(key);
            share(value);
        }
    }
}

impl<K: Into<Text>, V: Into<Text>> FromIterator<(K, V)> for Meta {
    /// Sorts by key; of several facts with one key the last is kept.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(facts: I) -> Meta {
        let mut facts: Vec<(Text, Text)> =
            facts.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        facts.reverse();
        facts.sort_by(|a, b| a.0.cmp(&b.0));
        facts.dedup_by(|a, b| a.0 == b.0);
        Meta(facts.into())
    }
}

impl<'a> IntoIterator for &'a Meta {
    type Item = &'a (Text, Text);
    type IntoIter = std::slice::Iter<'a, (Text, Text)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_facts_with_one_key_is_kept() {
        let meta: Meta = [("b", "1"), ("a", "2"), ("b", "3")].into_iter().collect();
        assert_eq!(meta.len(), 2);
        assert_eq!(meta.find("b").unwrap(), "3");
        assert_eq!(meta.find("c"), None);
    }

    #[test]
    fn facts_survive_the_log() {
        let meta: Meta = [("env", "test"), ("zone", "b")].into_iter().collect();
        assert_eq!(crate::decode::<Meta>(&crate::encode(&meta)).unwrap(), meta);
    }
}
