//! `?cached`: an answer from the agent's memory.
//!
//! In Consul the first who asks such a question has its answer fetched into the agent's cache (`MISS`),
//! and whoever asks again finds it there (`HIT`). Here every answer is at hand already and kept fresh
//! by the changes it depends on, so only the asking is remembered: the first gets an answer as if it
//! had not said `cached`, the next ones what is at hand. Its age is how long ago the leader was heard.
//!
//! `Cache-Control` is read everywhere and obeyed where Consul obeys it: by stored questions and the
//! list of datacenters, whose answers Consul does not refresh by itself. `stale-if-error` is checked
//! and has nothing to do: what is at hand is given without an error that could come before it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::failure::Failure;
use crate::limits::CACHED_QUESTIONS_MAX;
use crate::reply::Reply;

/// What a client says about the age of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheControl {
    /// An answer may be this old.
    pub(crate) max_age: Option<Duration>,
    /// What is at hand will not do.
    pub(crate) must_revalidate: bool,
}

impl CacheControl {
    /// What the header lines say. Words that nobody knows are passed over.
    pub(crate) fn parse(headers: &HeaderMap) -> Result<CacheControl, Failure> {
        let mut control = CacheControl::default();
        let Some(line) = headers.get(CACHE_CONTROL) else { return Ok(control) };
        let line = String::from_utf8_lossy(line.as_bytes()).to_ascii_lowercase();
        for word in line.split(',').map(str::trim) {
            if word == "must-revalidate" {
                control.must_revalidate = true;
            } else if let Some(age) = word.strip_prefix("max-age=") {
                let age = seconds(age)?;
                control.must_revalidate |= age.is_zero();
                control.max_age = Some(age).filter(|age| !age.is_zero());
            } else if let Some(age) = word.strip_prefix("stale-if-error=") {
                seconds(age)?;
            }
        }
        Ok(control)
    }
}

fn seconds(text: &str) -> Result<Duration, Failure> {
    let number: i64 =
        text.parse().map_err(|_| Failure::bad_request("Invalid Cache-Control header."))?;
    Ok(Duration::from_secs(number.max(0).unsigned_abs()))
}

/// Which questions were asked with `?cached` before. Bounded: what was not asked for longest is
/// forgotten, half of it at a time.
#[derive(Default)]
pub(crate) struct Asked(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Asked {
    /// Whether the question with this hash was asked before; from now on it was.
    pub(crate) fn again(&self, question: u64) -> bool {
        // A set of numbers cannot be left half changed.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.young.contains(&question) {
            return true;
        }
        if known.young.len() >= CACHED_QUESTIONS_MAX / 2 {
            known.old = std::mem::take(&mut known.young);
        }
        known.young.insert(question);
        known.old.contains(&question)
    }
}

/// Says whether the answer was at hand, and how old it is then.
pub(crate) fn mark(reply: &mut Reply, age: Option<Duration>) {
    let headers = reply.headers_mut();
    let word = if age.is_some() { "HIT" } else { "MISS" };
    headers.insert(HeaderName::from_static("x-cache"), HeaderValue::from_static(word));
    if let Some(age) = age {
        headers.insert(AGE, HeaderValue::from(age.as_secs()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<CacheControl, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_str(line).unwrap());
        CacheControl::parse(&headers)
    }

    #[test]
    fn an_age_of_zero_asks_anew() {
        let control = parsed("Max-Age=30, must-revalidate").unwrap();
        assert_eq!(control.max_age, Some(Duration::from_secs(30)));
        assert!(control.must_revalidate);
        assert!(parsed("max-age=0").unwrap().must_revalidate);
        assert_eq!(parsed("no-store, stale-if-error=60").unwrap(), CacheControl::default());
    }

    #[test]
    fn an_age_that_is_no_number_is_refused() {
        for line in ["max-age=", "max-age=1s", "stale-if-error=x", "max-age=\"3\""] {
            assert_eq!(parsed(line).unwrap_err().text, "Invalid Cache-Control header.", "{line}");
        }
    }

    #[test]
    fn what_was_asked_lately_is_known_and_the_rest_forgotten() {
        let asked = Asked::default();
        assert!(!asked.again(0));
        assert!(asked.again(0));
        for question in 1..=CACHED_QUESTIONS_MAX as u64 {
            asked.again(question);
        }
        assert!(asked.again(CACHED_QUESTIONS_MAX as u64));
        assert!(!asked.again(0));
    }

    proptest::proptest! {
        #[test]
        fn no_header_line_panics(line in "[ -~]{0,80}") {
            let _ = parsed(&line);
        }
    }
}
