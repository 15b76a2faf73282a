//! What an object must offer so that a filter can be asked of it.
//!
//! The *shape* of a type, known without any object, says which fields there are and of what
//! [`Kind`]; an object answers for one field at a time. An answer is handed to a question instead
//! of being returned, so an object may build the answer (a view of an instance inside a view of
//! a row) on its own stack: nothing is allocated, nothing needs to be stored in the asked form.
//!
//! A type writes one table:
//!
//! ```text
//! filter_fields! { CheckView<'_> {
//!     "Status":      Kind::Text  => |check| check.status;
//!     "ServiceTags": Kind::Texts => |check| Value::Texts(&check.service_tags);
//! } }
//! ```
//!
//! A field that is not in the table is not filterable.

use std::borrow::Borrow;
use std::collections::BTreeMap;

/// What a field is, and so which operators it knows and what may follow it in a selector.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A string: `== != in contains matches`.
    Text,
    /// A whole number: `== !=`.
    Integer(IntegerKind),
    /// True or false: `== !=`.
    Flag,
    /// A list of strings: `in contains`, `is empty`.
    Texts,
    /// Values under string keys: `in contains` (is the key present), `is empty`, and descent by
    /// key into values of this kind, or into none.
    Map(Option<&'static Kind>),
    /// A list of objects: `is empty`, and descent, which asks for any one of them.
    Structs(&'static Shape),
    /// One object: descent only.
    Struct(&'static Shape),
}

impl Kind {
    /// Strings under string keys.
    pub const META: Self = Self::Map(Some(&Self::Text));
    /// The usual whole number.
    pub const INTEGER: Self = Self::Integer(IntegerKind { is_signed: true, bits: 64 });
}

/// Which whole numbers a field can hold: a value outside is refused when the filter is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntegerKind {
    /// Whether it can be negative.
    pub is_signed: bool,
    /// How many bits it has, 64 at most.
    pub bits: u32,
}

/// The fields of a type, by the names they have in JSON.
#[derive(Debug)]
pub struct Shape {
    /// Name and kind, in the order in which [`Fields::ask`] counts them.
    pub fields: &'static [(&'static str, Kind)],
}

/// A type whose shape is known.
pub trait Shaped {
    /// Its fields.
    const SHAPE: &'static Shape;
}

/// The shape of `T`, for tables that nest it.
pub const fn shape_of<T: Shaped>() -> &'static Shape {
    T::SHAPE
}

/// Where an answer goes: it says whether the asked-for condition holds of the value.
pub type Question<'q> = dyn FnMut(Value<'_>) -> bool + 'q;

/// An object that can be asked for its fields.
pub trait Fields {
    /// Hands the value of the field, counted as in the shape, to the question and returns what
    /// the question says.
    fn ask(&self, field: usize, question: &mut Question<'_>) -> bool;
}

/// The value of a field; its variant is the one the shape promised.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// For [`Kind::Text`].
    Text(&'a str),
    /// For [`Kind::Integer`]; wide enough for both signs.
    Integer(i128),
    /// For [`Kind::Flag`].
    Flag(bool),
    /// For [`Kind::Texts`].
    Texts(&'a dyn Texts),
    /// For [`Kind::Map`].
    Map(&'a dyn Map),
    /// For [`Kind::Structs`].
    Structs(&'a dyn Structs),
    /// For [`Kind::Struct`].
    Struct(&'a dyn Fields),
}

/// A list of strings.
pub trait Texts {
    /// Whether there are none.
    fn is_empty(&self) -> bool;
    /// Whether `text` is one of them.
    fn contains(&self, text: &str) -> bool;
}

/// Values under string keys.
pub trait Map {
    /// Whether there are none.
    fn is_empty(&self) -> bool;
    /// Whether the key is present.
    fn contains(&self, key: &str) -> bool;
    /// Hands the value under `key` to the question; nothing if the key is absent.
    fn ask(&self, key: &str, question: &mut Question<'_>) -> Option<bool>;
}

/// A list of objects.
pub trait Structs {
    /// Whether there are none.
    fn is_empty(&self) -> bool;
    /// Whether the question is true of at least one; stops at the first.
    fn any(&self, question: &mut dyn FnMut(&dyn Fields) -> bool) -> bool;
}

/// Any repeatable iterator as a list of strings, of objects, or of keys with their strings.
pub struct Each<I>(pub I);

// ------------------------------------------------------------------------------------------------
// The table
// ------------------------------------------------------------------------------------------------

/// Implements [`Shaped`] and [`Fields`] for a type from one table: name, kind, where it is.
macro_rules! filter_fields {
    ($owner:ty { $($name:literal: $kind:expr => |$this:ident| $value:expr;)* }) => {
        impl $crate::filter::Shaped for $owner {
            const SHAPE: &'static $crate::filter::Shape =
                &$crate::filter::Shape { fields: &[$(($name, $kind)),*] };
        }

        impl $crate::filter::Fields for $owner {
            fn ask(&self, field: usize, question: &mut $crate::filter::Question<'_>) -> bool {
                type Answer<T> = fn(&T, &mut $crate::filter::Question<'_>) -> bool;
                let answers: &[Answer<Self>] =
                    &[$(|$this, question| question($value.into())),*];
                answers.get(field).is_some_and(|answer| answer(self, question))
            }
        }
    };
}
pub(crate) use filter_fields;

// ------------------------------------------------------------------------------------------------
// What is a value already
// ------------------------------------------------------------------------------------------------

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

macro_rules! integers_are_values {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Value<'_> {
            fn from(integer: $integer) -> Self {
                Self::Integer(i128::from(integer))
            }
        }
    )*};
}
integers_are_values!(i8, u8, i16, u16, i32, u32, i64, u64);

impl<S: AsRef<str>> Texts for Vec<S> {
    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    fn contains(&self, text: &str) -> bool {
        self.iter().any(|one| one.as_ref() == text)
    }
}

impl<S: AsRef<str>> Texts for &[S] {
    fn is_empty(&self) -> bool {
        <[S]>::is_empty(self)
    }

    fn contains(&self, text: &str) -> bool {
        self.iter().any(|one| one.as_ref() == text)
    }
}

impl<I: Iterator<Item: AsRef<str>> + Clone> Texts for Each<I> {
    fn is_empty(&self) -> bool {
        self.0.clone().next().is_none()
    }

    fn contains(&self, text: &str) -> bool {
        self.0.clone().any(|one| one.as_ref() == text)
    }
}

impl<F: Fields> Structs for Vec<F> {
    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    fn any(&self, question: &mut dyn FnMut(&dyn Fields) -> bool) -> bool {
        self.iter().any(|one| question(one))
    }
}

impl<F: Fields> Structs for &[F] {
    fn is_empty(&self) -> bool {
        <[F]>::is_empty(self)
    }

    fn any(&self, question: &mut dyn FnMut(&dyn Fields) -> bool) -> bool {
        self.iter().any(|one| question(one))
    }
}

impl<I: Iterator<Item: Fields> + Clone> Structs for Each<I> {
    fn is_empty(&self) -> bool {
        self.0.clone().next().is_none()
    }

    fn any(&self, question: &mut dyn FnMut(&dyn Fields) -> bool) -> bool {
        self.0.clone().any(|one| question(&one))
    }
}

impl<K: Borrow<str> + Ord, S: AsRef<str>> Map for BTreeMap<K, S> {
    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }

    fn contains(&self, key: &str) -> bool {
        self.contains_key(key)
    }

    fn ask(&self, key: &str, question: &mut Question<'_>) -> Option<bool> {
        self.get(key).map(|text| question(Value::Text(text.as_ref())))
    }
}

impl<I, K, S> Map for Each<I>
where
    I: Iterator<Item = (K, S)> + Clone,
    K: AsRef<str>,
    S: AsRef<str>,
{
    fn is_empty(&self) -> bool {
        self.0.clone().next().is_none()
    }

    fn contains(&self, key: &str) -> bool {
        self.0.clone().any(|(one, _)| one.as_ref() == key)
    }

    fn ask(&self, key: &str, question: &mut Question<'_>) -> Option<bool> {
        let (_, text) = self.0.clone().find(|(one, _)| one.as_ref() == key)?;
        Some(question(Value::Text(text.as_ref())))
    }
}
