//! A shared, immutable string: the brick of every name, tag and value.
//!
//! The state holds a name like `web` in thousands of rows. Cloning a [`Text`] copies a pointer, and
//! the state interns the texts that repeat, so a row pays 16 bytes for a name that others have too.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A shared, immutable string. Compares, hashes and prints like the `str` it holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Arc<str>);

impl Text {
    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which names are compared: lower case. A name that is lower case already is
    /// returned as it is, without a copy.
    pub fn folded(&self) -> Text {
        if self.0.chars().any(char::is_uppercase) {
            Text(self.0.to_lowercase().into())
        } else {
            self.clone()
        }
    }

    /// Whether both point to the same characters in memory: they were interned together.
    pub fn is_same(&self, other: &Text) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many holders these characters have. The interner drops a text whose last other holder
    /// is gone.
    pub fn n_holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl Default for Text {
    fn default() -> Text {
        static EMPTY: std::sync::LazyLock<Text> = std::sync::LazyLock::new(|| Text("".into()));
        EMPTY.clone()
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(characters: &str) -> Text {
        if characters.is_empty() { Text::default() } else { Text(characters.into()) }
    }
}

impl From<String> for Text {
    fn from(characters: String) -> Text {
        if characters.is_empty() { Text::default() } else { Text(characters.into()) }
    }
}

impl From<&String> for Text {
    fn from(characters: &String) -> Text {
        characters.as_str().into()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl<C> minicbor::Encode<C> for Text {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.str(&self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Text {
    fn decode(
        decoder: &mut minicbor::Decoder<'b>,
        _: &mut C,
    ) -> Result<Text, minicbor::decode::Error> {
        decoder.str().map(Text::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_a_lower_case_name_shares_its_characters() {
        let name = Text::from("web-1");
        assert!(name.folded().is_same(&name));
        assert_eq!(Text::from("Web").folded(), "web");
    }
}
