//! Consul's `?filter=` language: boolean expressions over the fields of a JSON answer.
//!
//! `ServiceMeta.env == prod and not "canary" in ServiceTags` keeps the objects for which it is
//! true. The language is that of go-bexpr 0.1.2, which Consul ships, quirks included; each quirk
//! has a test named after it in `tests.rs`, and `tests/oracle.txt` holds answers recorded from
//! that library itself.
//!
//! A request goes through four files:
//! - `grammar.rs` reads the text into an `grammar::Expression`: names and words, no types;
//! - `compile.rs` checks it against a [`Shape`], the table of what fields an object has and of
//!   what kind they are: an unknown field, an operator that does not fit or a value that is no
//!   number is an error here, even when there is nothing to filter;
//! - `evaluate.rs` asks one object after another, without allocating;
//! - `fields.rs` says what an object must offer to be asked, and has the `filter_fields` table.
//!
//! `literal.rs` and `pattern.rs` hold what values and regular expressions mean in Go.
//!
//! What is left out: `is nil`, `any`, `all` and `is empty` on strings (later versions of the
//! library), floating-point fields (nothing filterable has one), and strings whose escapes are
//! not UTF-8 (`"\xff"`), which are refused because no field could hold them.

mod compile;
mod evaluate;
mod fields;
mod grammar;
mod literal;
mod pattern;

#[cfg(test)]
mod tests;

pub(crate) use fields::filter_fields;
pub use fields::{
    Each, Fields, IntegerKind, Kind, Map, Question, Shape, Shaped, Structs, Texts, Value, shape_of,
};

use evaluate::Node;

/// The longest expression that is read, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 16 * 1024;
/// The deepest nesting of parentheses and `not`.
pub const NESTING_MAX: usize = 64;
/// The most matches (`a == b`) in one expression.
pub const MATCHES_MAX: usize = 1_024;
/// The most regular expressions in one expression.
pub const PATTERNS_MAX: usize = 16;
/// The longest regular expression, in bytes.
pub const PATTERN_BYTES_MAX: usize = 2 * 1024;
/// The most memory one compiled regular expression may take, in bytes; a second such amount
/// bounds what it keeps while it searches.
pub const PATTERN_SIZE_MAX: usize = 512 * 1024;

/// A compiled expression: checked against a shape once, asked of many objects.
///
/// The objects must be of the shape it was compiled against. One of another shape is not kept
/// (and stops a debug build).
#[derive(Debug)]
pub struct Filter {
    /// Nothing for the empty text, which keeps everything.
    root: Option<Node>,
}

impl Filter {
    /// Reads and checks `expression` for objects of this `shape`.
    pub fn compile(expression: &str, shape: &'static Shape) -> Result<Self, FilterError> {
        if expression.is_empty() {
            return Ok(Self { root: None });
        }
        let parsed = grammar::parse(expression)?;
        Ok(Self { root: Some(compile::check(parsed, shape)?) })
    }

    /// Whether the expression is true of `object`.
    pub fn keeps(&self, object: &dyn Fields) -> bool {
        self.root.as_ref().is_none_or(|root| root.holds(object))
    }

    /// Whether it keeps everything, so that a caller can leave the question out.
    pub fn is_everything(&self) -> bool {
        self.root.is_none()
    }
}

/// Why an expression was refused. The caller has to change it; nothing was filtered.
///
/// The text starts as Consul's does, which clients look for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FilterError {
    /// The text is not in the language.
    #[error("{PREFIX}{line}:{column} ({offset}): {problem}")]
    Syntax {
        /// Line of the trouble, from 1.
        line: usize,
        /// Character in that line, from 1.
        column: usize,
        /// Byte in the whole text, from 0.
        offset: usize,
        /// What is wrong there.
        problem: String,
    },
    /// The objects have no such field.
    #[error("{PREFIX}Selector {selector:?} is not valid")]
    UnknownField {
        /// The selector as far as it could be followed, dotted.
        selector: String,
    },
    /// The field is of a kind that this operator does not know.
    #[error("{PREFIX}Invalid match operator {operator:?} for selector {selector:?}")]
    WrongOperator {
        /// The operator, by its name in Consul's messages.
        operator: &'static str,
        /// The whole selector, dotted.
        selector: String,
    },
    /// The value cannot be turned into one of the field's kind.
    #[error("{PREFIX}Failed to coerce value {value:?} for selector {selector:?}: {problem}")]
    WrongValue {
        /// The value as written.
        value: String,
        /// The whole selector, dotted.
        selector: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The regular expression is not one, or is larger than is served.
    #[error("{PREFIX}Failed to compile regular expression {pattern:?}: {problem}")]
    WrongPattern {
        /// The regular expression, cut when long.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The expression is larger than is served.
    #[error("{PREFIX}the expression has more than {limit} {of}; ask with a smaller one")]
    TooLarge {
        /// The limit that it passes.
        limit: usize,
        /// What the limit counts.
        of: &'static str,
    },
}

const PREFIX: &str = "Failed to create boolean expression evaluator: ";
