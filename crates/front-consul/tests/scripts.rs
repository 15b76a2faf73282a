//! Conversations with the front-end, as text: `tests/scripts/*.txt`.
//!
//! A script is what a client sends and what it gets, over a registry that begins with node `n1`
//! alone. Who answers is a server that is alone; where the script's name begins with `cluster`, a
//! follower among three servers; where it begins with `client`, an agent that is no server, beside
//! them. Lines that begin with
//! - `#` are for the reader;
//! - `>` are a request: the first has method and target; header lines follow as `> name: value`;
//!   what comes after them is the body;
//! - `park` before a request sends it without waiting for its reply, which must not come yet;
//!   `answer` then waits for it;
//! - `<` are the reply: status, header lines, body. `vary` and `x-consul-default-acl-policy`, which
//!   every reply carries, are left out.
//!
//! `UPDATE_SCRIPTS=1 cargo test` writes the replies anew; read the difference before committing it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use muster_front_consul::{Front, Settings};
use muster_registry::Standing;
use muster_testkit::{Agent, Bench};
use tokio::task::JoinHandle;

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn every_script_is_answered_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let script = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let answered = Conversation::new(name).run(&script).await;
        if std::env::var_os("UPDATE_SCRIPTS").is_some() {
            std::fs::write(&path, answered).unwrap();
        } else {
            let differs = answered.lines().zip(script.lines()).position(|(a, b)| a != b);
            assert_eq!(answered, script, "{} differs first in line {differs:?}", path.display());
        }
    }
}

struct Conversation {
    front: Arc<Front>,
    parked: Option<JoinHandle<String>>,
}

impl Conversation {
    fn new(script: &str) -> Conversation {
        let bench = Bench::new();
        let settings = Settings { allows_remote_scripts: true, ..Settings::default() };
        let agent = match script {
            name if name.starts_with("cluster") => Agent::follower(&bench),
            name if name.starts_with("client") => Agent::client(&bench),
            _ => Agent::new(&bench),
        };
        if script.starts_with("cluster") || script.starts_with("client") {
            let last_contact = Duration::from_millis(25);
            bench.stand(Standing { knows_leader: true, last_contact, ..Standing::default() });
        }
        Conversation { front: Front::new(agent.into_door(), settings, 1), parked: None }
    }

    /// The script with the replies that its requests get.
    async fn run(&mut self, script: &str) -> String {
        let mut out = String::new();
        let mut lines = script.lines().filter(|line| !line.starts_with('<')).peekable();
        while let Some(line) = lines.next() {
            writeln!(out, "{line}").unwrap();
            if line == "answer" {
                let parked = self.parked.take().expect("a request is parked");
                let wait = tokio::time::timeout(Duration::from_secs(3600), parked);
                out.push_str(&wait.await.expect("the parked request is answered").unwrap());
                continue;
            }
            let (is_parked, first) = match line.strip_prefix("park ") {
                Some(rest) => (true, rest),
                None => (false, line),
            };
            let Some(first) = first.strip_prefix("> ") else { continue };
            let mut rest = Vec::new();
            while let Some(line) = lines.next_if(|line| line.starts_with('>')) {
                writeln!(out, "{line}").unwrap();
                rest.push(line.strip_prefix("> ").unwrap_or(""));
            }
            let reply = tokio::spawn(self.front.clone().reply_to(request(first, &rest)));
            if is_parked {
                tokio::task::yield_now().await;
                assert!(!reply.is_finished(), "{first} is answered at once");
                self.parked = Some(reply);
            } else {
                out.push_str(&reply.await.unwrap());
            }
        }
        out
    }
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
    request.body(Full::from(rest[n_headers..].join("\n"))).unwrap()
}

trait ReplyTo {
    async fn reply_to(self, request: http::Request<Full<Bytes>>) -> String;
}

impl ReplyTo for Arc<Front> {
    async fn reply_to(self, request: http::Request<Full<Bytes>>) -> String {
        let (head, body) = self.serve(request, None).await.into_parts();
        let mut out = format!("< {}\n", head.status);
        let mut headers: Vec<String> = head
            .headers
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "vary" | "x-consul-default-acl-policy"))
            .map(|(name, value)| format!("< {name}: {}\n", value.to_str().unwrap()))
            .collect();
        headers.sort();
        out.push_str(&headers.concat());
        let body = body.collect().await.unwrap().to_bytes();
        for line in String::from_utf8_lossy(&body).lines() {
            writeln!(out, "< {line}").unwrap();
        }
        out
    }
}
