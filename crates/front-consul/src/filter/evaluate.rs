//! Asking a compiled expression of an object.
//!
//! Everything that could be wrong was refused by `compile.rs`, so there are no errors here and
//! nothing is allocated. `and` and `or` stop at the first part that decides. A selector that
//! passes through a list of objects asks for *any* of them, and the negation of an operator is
//! inside that question: `Checks.Status != critical` means that some check is not critical.

use regex::Regex;

use super::fields::{Fields, Value};

/// A part of a compiled expression.
#[derive(Debug)]
pub(super) enum Node {
    /// Parts joined by `or`.
    Any(Vec<Node>),
    /// Parts joined by `and`.
    All(Vec<Node>),
    /// A part behind `not`.
    Not(Box<Node>),
    /// One comparison.
    Match(Match),
}

/// One comparison: where to look and what to look for.
#[derive(Debug)]
pub(super) struct Match {
    pub(super) path: Vec<Step>,
    pub(super) test: Test,
    /// `!=`, `not in`, `is not empty`, `not matches`.
    pub(super) is_negated: bool,
}

/// One part of a selector, resolved.
#[derive(Debug)]
pub(super) enum Step {
    /// The field of an object, counted as in its shape; of any object if it is a list.
    Field(usize),
    /// The value under a key.
    Key(String),
}

/// What to look for at the end of a selector.
#[derive(Debug)]
pub(super) enum Test {
    EqualText(String),
    EqualInteger(i128),
    EqualFlag(bool),
    In(String),
    Empty,
    Matches(Regex),
}

impl Node {
    /// Whether it is true of the object.
    pub(super) fn holds(&self, object: &dyn Fields) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.holds(object)),
            Self::All(parts) => parts.iter().all(|part| part.holds(object)),
            Self::Not(part) => !part.holds(object),
            Self::Match(comparison) => comparison.follow(Value::Struct(object), &comparison.path),
        }
    }
}

impl Match {
    /// Goes down the rest of the path from `value` and tests what is there.
    fn follow(&self, value: Value<'_>, path: &[Step]) -> bool {
        let Some((step, rest)) = path.split_first() else {
            return self.test.holds(value) != self.is_negated;
        };
        match (step, value) {
            (Step::Field(field), Value::Struct(object)) => {
                object.ask(*field, &mut |value| self.follow(value, rest))
            }
            (Step::Field(_), Value::Structs(list)) => {
                list.any(&mut |object| self.follow(Value::Struct(object), path))
            }
            (Step::Key(key), Value::Map(map)) => map
                .ask(key, &mut |value| self.follow(value, rest))
                .unwrap_or_else(|| self.holds_of_nothing()),
            _ => unlike_its_shape(),
        }
    }

    /// The answer when a map has no such key: `==`, `in` and `is not empty` are false, all else
    /// is true. That `matches` is true too is a quirk clients may have come to rely on.
    fn holds_of_nothing(&self) -> bool {
        match self.test {
            Test::EqualText(_) | Test::EqualInteger(_) | Test::EqualFlag(_) | Test::In(_) => {
                self.is_negated
            }
            Test::Empty => !self.is_negated,
            Test::Matches(_) => true,
        }
    }
}

impl Test {
    fn holds(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::EqualText(wanted), Value::Text(text)) => text == wanted,
            (Self::EqualInteger(wanted), Value::Integer(integer)) => integer == *wanted,
            (Self::EqualFlag(wanted), Value::Flag(flag)) => flag == *wanted,
            (Self::In(part), Value::Text(text)) => text.contains(part.as_str()),
            (Self::In(wanted), Value::Texts(list)) => list.contains(wanted),
            (Self::In(key), Value::Map(map)) => map.contains(key),
            (Self::Empty, Value::Texts(list)) => list.is_empty(),
            (Self::Empty, Value::Map(map)) => map.is_empty(),
            (Self::Empty, Value::Structs(list)) => list.is_empty(),
            (Self::Matches(pattern), Value::Text(text)) => pattern.is_match(text),
            _ => unlike_its_shape(),
        }
    }
}

/// An object answered with another kind of value than its shape promised: a fault in the table
/// of its type, never in what a client sent.
fn unlike_its_shape() -> bool {
    debug_assert!(false, "a field's value is of another kind than its shape says");
    false
}
