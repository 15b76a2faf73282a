//! The parameters of a query string, split and decoded once.
//!
//! Most requests carry none to three of them, so they are looked up by walking a short list. All
//! decoded characters share one allocation.

use muster_model::{Meta, Text};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use smallvec::SmallVec;

use crate::duration::{self, DurationError};
use crate::failure::Failure;
use crate::limits::PARAMETERS_MAX;

/// The parameters of a query string, in the order given.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    characters: String,
    places: SmallVec<[Place; 4]>,
}

/// Where key and value stand in `characters`: the key's start, the value's start and end.
type Place = (u32, u32, u32);

impl Parameters {
    /// Splits and decodes a query string. As in Go, a part with `;` or a broken escape is an error.
    pub(crate) fn parse(query: &str) -> Result<Parameters, Failure> {
        let mut parameters = Parameters::default();
        parameters.characters.reserve(query.len());
        for part in query.split('&').filter(|part| !part.is_empty()) {
            if part.contains(';') {
                return Err(Failure::bad_request("Invalid query: semicolon in a parameter"));
            }
            if parameters.places.len() == PARAMETERS_MAX {
                let text = format!("Too many query parameters; the limit is {PARAMETERS_MAX}");
                return Err(Failure::bad_request(text));
            }
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let key_at = parameters.push(key)?;
            let value_at = parameters.push(value)?;
            parameters.places.push((key_at, value_at, parameters.characters.len() as u32));
        }
        Ok(parameters)
    }

    /// Decodes `text` behind the characters that are there, and says where it starts.
    fn push(&mut self, text: &str) -> Result<u32, Failure> {
        let start = self.characters.len() as u32;
        if !text.contains(['%', '+']) {
            self.characters.push_str(text);
            return Ok(start);
        }
        let spaced = text.replace('+', " ");
        let decoded = decode(&spaced).ok_or_else(|| {
            Failure::bad_request(format!("Invalid query: bad escape in {text:?}"))
        })?;
        self.characters.push_str(&decoded);
        Ok(start)
    }

    /// All of them.
    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places.iter().map(|(key, value, end)| {
            let (key, value, end) = (*key as usize, *value as usize, *end as usize);
            (&self.characters[key..value], &self.characters[value..end])
        })
    }

    /// The first value under `key`, if it is there at all.
    pub(crate) fn find(&self, key: &str) -> Option<&str> {
        self.iter().find(|(own, _)| *own == key).map(|(_, value)| value)
    }

    /// The first value under `key`, if it is not empty.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.find(key).filter(|value| !value.is_empty())
    }

    /// Whether `key` is there, with whatever value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Every value under `key`.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(own, _)| *own == key).map(|(_, value)| value)
    }

    /// Whether none is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// A duration in Go's notation, where one is given.
    pub(crate) fn duration(&self, key: &str) -> Option<Result<std::time::Duration, DurationError>> {
        self.text(key).map(duration::parse)
    }

    /// A whole number that is not negative, where the key is there at all.
    pub(crate) fn natural(&self, key: &str) -> Option<Result<u64, NumberError>> {
        self.find(key).map(parse_natural)
    }

    /// All of them as a query string again, in the order of their keys, as Go writes it.
    pub(crate) fn encoded(&self) -> String {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_by_key(|(key, _)| *key);
        let escaped = |text| utf8_percent_encode(text, QUERY_ESCAPES).to_string().replace(' ', "+");
        let pairs =
            all.into_iter().map(|(key, value)| format!("{}={}", escaped(key), escaped(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// A claim: there without a value, or with one that Go reads as a bool.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, Failure> {
        match self.find(key) {
            None => Ok(false),
            Some("") => Ok(true),
            Some(value) => parse_bool(value)
                .ok_or_else(|| Failure::bad_request(format!("Invalid value for ?{key}"))),
        }
    }

    /// The facts that a node must have: `node-meta=key:value`, repeatable.
    pub(crate) fn node_meta(&self) -> Meta {
        self.all("node-meta").map(|pair| pair.split_once(':').unwrap_or((pair, ""))).collect()
    }

    /// The node to sort from.
    pub(crate) fn near(&self, own_node: &Text) -> Option<Text> {
        match self.text("near")? {
            "_agent" => Some(own_node.clone()),
            name => Some(name.into()),
        }
    }
}

/// What must not stand in a query string as it is. Spaces become plus signs.
const QUERY_ESCAPES: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

/// Why a text is not a number, in the words clients match on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NumberError {
    /// Something else than digits.
    #[error("strconv.ParseUint: parsing {0:?}: invalid syntax")]
    Invalid(String),
    /// Beyond 64 bits.
    #[error("strconv.ParseUint: parsing {0:?}: value out of range")]
    TooLarge(String),
}

/// What Go's `strconv.ParseUint` takes.
pub(crate) fn parse_natural(text: &str) -> Result<u64, NumberError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NumberError::Invalid(text.to_owned()));
    }
    text.parse().map_err(|_| NumberError::TooLarge(text.to_owned()))
}

/// What Go's `strconv.ParseBool` takes.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Undoes percent-encoding; nothing where an escape is broken or the result is not UTF-8.
pub(crate) fn decode(text: &str) -> Option<std::borrow::Cow<'_, str>> {
    let bytes = text.as_bytes();
    let is_whole = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(at, _)| {
        bytes.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
    });
    if !is_whole {
        return None;
    }
    percent_encoding::percent_decode_str(text).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_string_is_split_and_decoded() {
        let parameters =
            Parameters::parse("tag=a&tag=b%2Fc&passing&q=x+y&node-meta=k:v:w").unwrap();
        assert_eq!(parameters.all("tag").collect::<Vec<_>>(), ["a", "b/c"]);
        assert_eq!(parameters.find("passing"), Some(""));
        assert_eq!(parameters.text("passing"), None);
        assert_eq!(parameters.find("q"), Some("x y"));
        assert_eq!(parameters.node_meta().find("k").unwrap(), "v:w");
        assert!(parameters.flag("passing").unwrap() && !parameters.flag("stale").unwrap());
    }

    #[test]
    fn numbers_are_digits_of_at_most_64_bits() {
        assert_eq!(parse_natural("18446744073709551615"), Ok(u64::MAX));
        for (text, problem) in [
            ("", "invalid syntax"),
            ("+1", "invalid syntax"),
            ("-1", "invalid syntax"),
            ("18446744073709551616", "value out of range"),
        ] {
            let error = parse_natural(text).unwrap_err().to_string();
            assert_eq!(error, format!("strconv.ParseUint: parsing {text:?}: {problem}"));
        }
    }

    #[test]
    fn parameters_are_written_in_the_order_of_their_keys() {
        let parameters = Parameters::parse("b=x+y%26&a&b=2").unwrap();
        assert_eq!(parameters.encoded(), "a=&b=x+y%26&b=2");
    }

    #[test]
    fn a_broken_escape_is_refused() {
        for query in ["a=%zz", "a=%e", "a=%ff", "a;b"] {
            assert!(Parameters::parse(query).is_err(), "{query}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_query_string_panics(query in ".{0,200}") {
            if let Ok(parameters) = Parameters::parse(&query) {
                let _ = (parameters.node_meta(), parameters.flag("a"), parameters.duration("a"));
                let _ = (parameters.natural("a"), parameters.encoded());
            }
        }
    }
}
