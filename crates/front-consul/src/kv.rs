//! `/v1/kv`: the store.
//!
//! A key is the rest of the path. It is checked before it is used, because access rules and proxies
//! in front go by the text of a path: `..` is refused, doubled slashes and `.` are taken out.
//!
//! Texts that clients look for in failures: `Value exceeds` (Vault), a start with
//! `invalid session` (Patroni).

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use muster_model::answer;
use muster_model::command::PutTerms;
use muster_model::limits::PAIR_KEY_BYTES_MAX;
use muster_model::pair::Blob;
use muster_model::{Command, Outcome, Query, Text};

use crate::failure::Failure;
use crate::front::Front;
use crate::parameters::{NumberError, Parameters};
use crate::reading::{Form, Reading, Shaping, mismatch};
use crate::reply::{Encoded, Kind, Reply, json_reply};
use crate::request::Request;
use crate::routes::{Later, Route};
use crate::shapes::Words;
use crate::shapes::pair::PairShape;

pub(crate) const ROUTES: &[Route] = &[
    Route::read("/v1/kv/:key", "A pair, all pairs under a prefix, or their keys.", read),
    Route::later(Method::PUT, "/v1/kv/:key", "Writes a pair, or takes or frees its lock.", put),
    Route::later(
        Method::DELETE,
        "/v1/kv/:key",
        "Deletes a pair, or all pairs under a prefix.",
        delete,
    ),
];

// ------------------------------------------------------------------------------------------------
// Reading
// ------------------------------------------------------------------------------------------------

fn read(front: &Front, request: &Request) -> Result<Reading, Failure> {
    const PAIR: Form = Form { name: "kv", make: shape_pair };
    const RAW: Form = Form { name: "kv?raw", make: shape_raw };
    const PAIRS: Form = Form { name: "kv?recurse", make: shape_pairs };
    const KEYS: Form = Form { name: "kv?keys", make: shape_keys };
    const ALL_KEYS: Form = Form { name: "kv?keys of all", make: shape_all_keys };
    let parameters = &request.parameters;
    let key = key(front, request)?;
    let (query, form) = if parameters.has("keys") {
        // The second spelling is a slip of the first clients that cannot be taken back.
        let separator = parameters.find("separator").or(parameters.find("seperator"));
        let form = if key.is_empty() { &ALL_KEYS } else { &KEYS };
        (Query::KeysUnder { prefix: key, separator: separator.unwrap_or("").into() }, form)
    } else if parameters.has("recurse") {
        (Query::PairsUnder { prefix: key }, &PAIRS)
    } else {
        let form = if parameters.has("raw") { &RAW } else { &PAIR };
        (Query::Pair { key: required(key)? }, form)
    };
    Ok(Reading::new(front, request, query, form)?.uncached())
}

fn shape_pair(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Pair(pair) = body else { return Err(mismatch()) };
    match pair {
        Some(pair) => shaping.json(&[PairShape::new(pair)]),
        None => shaping.missing(),
    }
}

fn shape_raw(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Pair(pair) = body else { return Err(mismatch()) };
    match pair {
        Some(pair) => Ok(Encoded::plain(StatusCode::OK, Kind::Raw, pair.value.value.clone())),
        None => shaping.missing(),
    }
}

fn shape_pairs(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Pairs(pairs) = body else { return Err(mismatch()) };
    if pairs.is_empty() {
        return shaping.missing();
    }
    shaping.json(&pairs.iter().map(|pair| PairShape::new(pair)).collect::<Vec<_>>())
}

fn shape_keys(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    match body {
        answer::Body::Keys(keys) if keys.is_empty() => shaping.missing(),
        _ => shape_all_keys(shaping, body),
    }
}

/// That there is no key at all is an answer like any other.
fn shape_all_keys(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Keys(keys) = body else { return Err(mismatch()) };
    shaping.json(&Words(keys))
}

// ------------------------------------------------------------------------------------------------
// Writing
// ------------------------------------------------------------------------------------------------

fn put(front: Arc<Front>, mut request: Request) -> Later {
    Box::pin(async move {
        let key = required(key(&front, &request)?)?;
        refuse_conflict(&request.parameters, &["cas", "acquire", "release"])?;
        let flags = number(&request.parameters, "flags")?.unwrap_or(0);
        let terms = terms(&request.parameters)?;
        let value = value(&front, &mut request).await?;
        let command = Command::PutPair { key, value: Blob::from(&*value), flags, terms };
        submit(&front, &request, command).await
    })
}

fn delete(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        refuse_conflict(&request.parameters, &["recurse", "cas"])?;
        let key = key(&front, &request)?;
        let command = if request.parameters.has("recurse") {
            Command::DeletePairsUnder { prefix: key }
        } else {
            let if_index = number(&request.parameters, "cas")?;
            Command::DeletePair { key: required(key)?, if_index }
        };
        submit(&front, &request, command).await
    })
}

/// Whether it was done: terms that are not met are an answer, not a failure.
async fn submit(front: &Front, request: &Request, command: Command) -> Result<Reply, Failure> {
    let committed = front.door().registry.submit(&request.call(front), command).await?;
    match committed.outcome {
        Outcome::Done => Ok(json_reply(&true, request.style)),
        Outcome::Unmet => Ok(json_reply(&false, request.style)),
        Outcome::Denied(denial) => Err(denial.into()),
        _ => Err(mismatch()),
    }
}

fn terms(parameters: &Parameters) -> Result<PutTerms, Failure> {
    Ok(if let Some(index) = number(parameters, "cas")? {
        PutTerms::IfIndex(index)
    } else if let Some(session) = parameters.find("acquire") {
        PutTerms::Acquire(session.into())
    } else if let Some(session) = parameters.find("release") {
        PutTerms::Release(session.into())
    } else {
        PutTerms::Always
    })
}

fn number(parameters: &Parameters, key: &str) -> Result<Option<u64>, Failure> {
    let refused = |error: NumberError| Failure::internal(error.to_string());
    parameters.natural(key).transpose().map_err(refused)
}

/// The body, if it is not larger than a value may be.
async fn value(front: &Front, request: &mut Request) -> Result<Bytes, Failure> {
    let n_bytes_max = front.settings().value_bytes_max;
    request.body_up_to(n_bytes_max).await.map_err(|failure| {
        if failure.status != StatusCode::PAYLOAD_TOO_LARGE {
            return failure;
        }
        let size = request.promised_bytes().map_or(String::new(), |n| format!("({n} bytes)"));
        let text = format!(
            "Request body{size} too large, max size: {n_bytes_max} bytes. \
             Value exceeds {n_bytes_max} byte limit; see kv_max_value_size."
        );
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    })
}

fn refuse_conflict(parameters: &Parameters, exclusive: &[&str]) -> Result<(), Failure> {
    if exclusive.iter().filter(|key| parameters.has(key)).count() < 2 {
        return Ok(());
    }
    Err(Failure::bad_request(format!("Conflicting flags: {}\n", parameters.encoded())))
}

// ------------------------------------------------------------------------------------------------
// Keys
// ------------------------------------------------------------------------------------------------

/// The key that the path names; empty where it names none.
fn key(front: &Front, request: &Request) -> Result<Text, Failure> {
    let raw = request.name();
    if raw.len() > PAIR_KEY_BYTES_MAX {
        let text = format!("Key too long, max size: {PAIR_KEY_BYTES_MAX} bytes");
        return Err(Failure::bad_request(text));
    }
    if !front.settings().checks_keys {
        return Ok(raw.into());
    }
    let key = cleaned(raw);
    match fault(raw).or(fault(&key)) {
        None => Ok(key),
        Some(fault) => Err(Failure::internal(format!("invalid key name, {fault}"))),
    }
}

fn required(key: Text) -> Result<Text, Failure> {
    if key.is_empty() { Err(Failure::bad_request("Missing key name")) } else { Ok(key) }
}

const TRAVERSAL: &str = "path traversal is not allowed";
const SPACES: &str = "leading/trailing spaces are not allowed";

/// What is wrong with a key, also once somebody takes it for percent-encoded another time.
fn fault(key: &str) -> Option<&'static str> {
    if key.starts_with(' ') || key.ends_with(' ') {
        return Some(SPACES);
    }
    if key.split('/').any(|part| part == "..") {
        return Some(TRAVERSAL);
    }
    let twice = crate::parameters::decode(key).filter(|twice| **twice != *key)?;
    if twice.contains("..") {
        return Some(TRAVERSAL);
    }
    twice.contains(' ').then_some(SPACES)
}

/// A key without doubled slashes and without `.` as a part; slashes at its ends stay.
fn cleaned(raw: &str) -> Text {
    let is_odd = |part: &str| part.is_empty() || part == ".";
    let inner = raw.strip_prefix('/').unwrap_or(raw);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if !inner.split('/').any(is_odd) {
        return raw.into();
    }
    let parts: Vec<&str> = inner.split('/').filter(|part| !is_odd(part)).collect();
    let start = if raw.starts_with('/') { "/" } else { "" };
    let end = if raw.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    format!("{start}{}{end}", parts.join("/")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_cleaned_as_a_path() {
        let cases = [
            ("", ""),
            ("a", "a"),
            ("a/", "a/"),
            ("/a", "/a"),
            ("a//b", "a/b"),
            ("a/./b//", "a/b/"),
            ("//", "/"),
            ("/", "/"),
            ("./a", "a"),
            ("a b/c", "a b/c"),
        ];
        for (raw, expected) in cases {
            assert_eq!(cleaned(raw), expected, "{raw:?}");
        }
    }

    #[test]
    fn keys_that_lead_elsewhere_are_refused() {
        let cases = [
            ("a/../b", Some(TRAVERSAL)),
            ("..", Some(TRAVERSAL)),
            ("a..b", None),
            ("%2e%2e/b", Some(TRAVERSAL)),
            (" a", Some(SPACES)),
            ("a ", Some(SPACES)),
            ("a b", None),
            ("a%20b", Some(SPACES)),
            ("100%", None),
        ];
        for (key, expected) in cases {
            assert_eq!(fault(key), expected, "{key:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_cleaned_key_stays_as_it_is(raw in "[a-c./ %2e]{0,20}") {
            let once = cleaned(&raw);
            assert_eq!(cleaned(&once), once);
            assert!(!once.contains("//") && !once.split('/').any(|part| part == "."));
        }
    }
}
