//! Conversations with a real Eureka server, held again with ours: `tests/recorded/*.txt`.
//!
//! A `>` line begins or goes on with a request (method and target, header lines, body), `<` lines are
//! what the real server replied: status and kind of body, then the body. `conformance/eureka` records
//! them. Before a request, `# differs: REASON` says that our reply is another on purpose; what ours
//! is then stands in `=` lines. Instants are TIME on both sides, the counter of deltas is N.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::path::Path;

use bytes::Bytes;
use http_body_util::Full;
use support::{House, Said};

#[tokio::test(start_paused = true)]
async fn every_conversation_goes_as_it_went_with_the_original() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 3, "the conversations are not where they should be");
    let mut wrong = Vec::new();
    for path in paths {
        let script = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        wrong.extend(hold(&script).await.into_iter().map(|each| format!("{name}: {each}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Holds a conversation, and gives where it went otherwise.
async fn hold(script: &str) -> Vec<String> {
    let house = House::new();
    let mut wrong = Vec::new();
    let mut lines = script.lines().enumerate().peekable();
    let mut differs = false;
    while let Some((number, line)) = lines.next() {
        differs |= line.starts_with("# differs: ");
        let Some(first) = line.strip_prefix("> ") else { continue };
        let mut rest = Vec::new();
        while let Some((_, line)) = lines.next_if(|(_, line)| line.starts_with("> ")) {
            rest.push(&line[2..]);
        }
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        while let Some((_, line)) =
            lines.next_if(|(_, line)| line.starts_with('<') || line.starts_with('='))
        {
            let text = line[1..].strip_prefix(' ').unwrap_or(&line[1..]);
            if line.starts_with('<') { theirs.push(text) } else { ours.push(text) }
        }
        let said = told(&house.send(request(first, &rest)).await, first.contains("/delta"));
        let expected = if differs { &ours } else { &theirs };
        if !is_same(&said, &expected.join("\n")) {
            let (expected, number) = (expected.join("\n"), number + 1);
            wrong.push(format!("line {number}: {first}\nexpected {expected}\nbut said {said}\n"));
        }
        differs = false;
    }
    wrong
}

fn request(first: &str, rest: &[&str]) -> http::Request<Full<Bytes>> {
    let (method, target) = first.split_once(' ').expect("method and target");
    let mut request = http::Request::builder().method(method).uri(target);
    let is_header = |line: &&&str| {
        line.split_once(": ")
            .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
    };
    let n_headers = rest.iter().take_while(is_header).count();
    for line in &rest[..n_headers] {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let body = rest[n_headers..].join("\n");
    let is_gzip = rest[..n_headers].contains(&"content-encoding: gzip");
    let body = if is_gzip { support::gzip(body.as_bytes()) } else { body.into_bytes() };
    request.body(Full::from(body)).unwrap()
}

/// Whether a reply is the one expected. A refusal may call its text another kind of text, and say
/// more of its reason.
fn is_same(said: &str, expected: &str) -> bool {
    if said == expected || !matches!(said.get(..3), Some("400" | "406")) {
        return said == expected;
    }
    let (_, body) = said.split_once('\n').unwrap_or((said, ""));
    let (_, expected_body) = expected.split_once('\n').unwrap_or((expected, ""));
    let error = |body: &str| {
        let document = serde_json::from_str::<serde_json::Value>(body).ok()?;
        Some(document["error"].clone())
    };
    let message = |body: &str| Some(body.split_once("</message>")?.0.replace(['\n', ' '], ""));
    let is_meant_alike = expected_body.is_empty()
        || body == expected_body
        || (error(body).is_some() && error(body) == error(expected_body))
        || (message(body).is_some() && message(body) == message(expected_body));
    said[..3] == expected[..3] && is_meant_alike
}

/// A reply as it stands in a conversation.
fn told(said: &Said, is_delta: bool) -> String {
    if said.body.is_empty() {
        return said.status.to_string();
    }
    let kind = said.kind.split(';').next().unwrap_or("");
    let coding = if said.is_gzip { " gzip" } else { "" };
    let body = said.body.trim_end_matches('\n').to_owned();
    let body = if is_delta { without_counter(body) } else { body };
    let body = body.replace(&support::NOW.as_millis().to_string(), "TIME");
    format!("{} {kind}{coding}\n{body}", said.status)
}

fn without_counter(mut body: String) -> String {
    let marks = ["\"versions__delta\":\"", "<versions__delta>"];
    let found = marks.iter().find_map(|mark| Some(body.find(mark)? + mark.len()));
    if let Some(at) = found {
        let n_digits = body[at..].bytes().take_while(u8::is_ascii_digit).count();
        body.replace_range(at..at + n_digits, "N");
    }
    body
}
