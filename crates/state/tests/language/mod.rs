//! The small language of the scripts: one line is a command or a question.
//!
//! Words are separated by blanks; `key=value` words may come in any order after the others. Lists
//! are joined by commas, facts by `key:value`.

mod commands;
mod print;
mod queries;

use std::collections::BTreeMap;

use muster_model::{Command, Meta, Query, Status, Text};

pub(crate) use print::{print_answer, print_change, print_outcome};

/// What a line is.
pub(crate) enum Line {
    Command(Box<Command>),
    Query(Query),
}

/// Reads one line.
pub(crate) fn parse(line: &str) -> Line {
    match line.strip_prefix("ask ") {
        Some(question) => Line::Query(queries::parse(&Words::new(question))),
        None => Line::Command(Box::new(commands::parse(line))),
    }
}

/// The words of a line.
pub(crate) struct Words<'a> {
    plain: Vec<&'a str>,
    named: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Words<'a> {
    pub(crate) fn new(line: &'a str) -> Words<'a> {
        let mut words = Words { plain: Vec::new(), named: BTreeMap::new() };
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some((name, value)) => words.named.entry(name).or_default().push(value),
                None => words.plain.push(word),
            }
        }
        words
    }

    /// The word at a position, or empty.
    pub(crate) fn at(&self, position: usize) -> &'a str {
        self.plain.get(position).copied().unwrap_or("")
    }

    /// Whether a plain word is there.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.plain.contains(&word)
    }

    /// All values with this name.
    pub(crate) fn all(&self, name: &str) -> &[&'a str] {
        self.named.get(name).map_or(&[], |values| values)
    }

    /// The value with this name.
    pub(crate) fn find(&self, name: &str) -> Option<&'a str> {
        self.all(name).first().copied()
    }

    /// The value with this name, or empty.
    pub(crate) fn text(&self, name: &str) -> Text {
        self.find(name).unwrap_or("").into()
    }

    /// The number with this name.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.find(name).map(|digits| digits.parse().expect("a number"))
    }

    /// The parts of a list.
    pub(crate) fn list(&self, name: &str) -> Vec<Text> {
        let value = self.find(name).unwrap_or("");
        value.split(',').filter(|part| !part.is_empty()).map(Text::from).collect()
    }

    /// Facts, as `key:value,...`.
    pub(crate) fn meta(&self, name: &str) -> Meta {
        let value = self.find(name).unwrap_or("");
        value.split(',').filter_map(|fact| fact.split_once(':')).collect()
    }
}

pub(crate) fn status(word: &str) -> Status {
    word.parse().unwrap_or_else(|_| panic!("{word:?} is no status"))
}
