//! Sends mangled documents to the front-end, for a while: `cargo xtask fuzz eureka-xml`.
//!
//! ```text
//! cargo run -p muster-front-eureka --example fuzz xml|json [SECONDS [SEED]]
//! ```
//! The documents of the recorded conversations are cut, spliced, repeated and strewn with what means
//! something to a parser, as a seed decides. Whatever comes of it must be answered, soon, with a
//! status that says whose fault it was; and what was taken must be there in both notations and be
//! taken again as it is given. The same seed sends the same documents.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![allow(clippy::disallowed_methods, reason = "it looks at the real clock")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use serde_json::Value;
use support::House;

const CONVERSATIONS: [&str; 3] = [
    include_str!("../tests/recorded/life.txt"),
    include_str!("../tests/recorded/peers.txt"),
    include_str!("../tests/recorded/registering.txt"),
];
const XML_WORDS: [&str; 16] = [
    "<instance>",
    "</instance>",
    "<a b='c'>",
    "<a/>",
    "</",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<!DOCTYPE a [<!ENTITY b 'b'>]>",
    "&b;",
    "&#x0;",
    "&#1114112;",
    "<?xml?>",
    "\u{feff}",
    "enabled=",
];
const JSON_WORDS: [&str; 16] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"$\":",
    "\"@enabled\":",
    "\"@class\":",
    "null",
    "1e999",
    "-1",
    "99999999999999999999",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "true",
];
/// Bytes of a document that is still made longer.
const BYTES_MAX: usize = 64 * 1024;
/// How long an answer to one may take, even of an unoptimized build on a busy machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// Documents after which the registry is a new one.
const DOCUMENTS_PER_HOUSE: u64 = 5_000;
/// Documents sent so far.
static SENT: AtomicU64 = AtomicU64::new(0);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, usual| args.get(at).and_then(|arg| arg.parse().ok()).unwrap_or(usual);
    let is_xml = match args.first().map(String::as_str) {
        Some("xml") => true,
        Some("json") => false,
        _ => panic!("say which notation: xml or json"),
    };
    let (seconds, seed) = (number(1, 20_u64), number(2, 1_u64));
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        println!("seed {seed}, document {}:", SENT.load(Ordering::Relaxed));
        usual(panic);
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let corpus = corpus(is_xml);
    let mut chance = Chance(seed);
    let (mut house, mut n_taken, began) = (House::new(), 0, Instant::now());
    while began.elapsed() < Duration::from_secs(seconds) {
        if SENT.fetch_add(1, Ordering::Relaxed).is_multiple_of(DOCUMENTS_PER_HOUSE) {
            house = House::new();
        }
        let document = mangled(&corpus, is_xml, &mut chance);
        n_taken += u64::from(runtime.block_on(send(&house, is_xml, document)));
    }
    println!("seed {seed}: {} documents, {n_taken} of them taken", SENT.load(Ordering::Relaxed));
}

/// Sends one; tells whether it was taken.
async fn send(house: &House, is_xml: bool, document: Vec<u8>) -> bool {
    let began = Instant::now();
    let is_batch = document.windows(15).any(|own| own == b"replicationList");
    let path = if is_batch { "peerreplication/batch" } else { "apps/FOO" };
    let kind = if is_xml { "application/xml" } else { "application/json" };
    let status = post(house, path, kind, document).await;
    assert!(began.elapsed() < ANSWERED_WITHIN, "answered after {:?}", began.elapsed());
    assert!(matches!(status, 200 | 204 | 400 | 413), "{status}");
    if status == 204 {
        given_back(house).await;
    }
    status < 300
}

/// What is there is given in both notations, and can be registered as it is given.
async fn given_back(house: &House) {
    let application = house.json("/eureka/apps/FOO").await["application"].take();
    for instance in application["instance"].as_array().unwrap().iter().rev().take(1) {
        let body = serde_json::json!({ "instance": instance }).to_string();
        let taken = post(house, "apps/FOO", "application/json", body.into_bytes()).await;
        assert_eq!(taken, 204, "{instance}");
        let id = instance["instanceId"].as_str().or(instance["hostName"].as_str()).unwrap();
        let path = format!("/eureka/apps/FOO/{}", escaped(id));
        let again = house.json(&path).await["instance"].take();
        assert_eq!(without_instants(&again), without_instants(instance));
        let request = http::Request::get(path).body(Full::default()).unwrap();
        let xml = house.send(request).await;
        assert_eq!((xml.status, &*xml.kind), (200, "application/xml"));
    }
}

fn without_instants(instance: &Value) -> Value {
    let mut instance = instance.clone();
    for name in ["leaseInfo", "lastUpdatedTimestamp", "actionType"] {
        instance[name] = Value::Null;
    }
    instance
}

async fn post(house: &House, path: &str, kind: &str, body: Vec<u8>) -> u16 {
    let request = http::Request::post(format!("/eureka/{path}")).header("content-type", kind);
    house.send(request.body(Full::new(Bytes::from(body))).unwrap()).await.status
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

// ------------------------------------------------------------------------------------------------
// Documents
// ------------------------------------------------------------------------------------------------

/// Every document of a notation in the conversations.
fn corpus(is_xml: bool) -> Vec<Vec<u8>> {
    let mut found: Vec<String> = Vec::new();
    for line in CONVERSATIONS.iter().flat_map(|text| text.lines()) {
        let Some(line) = line.get(2..).filter(|_| line.starts_with(['<', '>'])) else { continue };
        if is_xml && line.starts_with("</") {
            found.last_mut().unwrap().push_str(line);
        } else if is_xml && line.starts_with('<') {
            found.push(line.into());
        } else if is_xml && line.starts_with("  ") {
            found.last_mut().unwrap().push_str(line);
        } else if !is_xml && line.starts_with('{') {
            found.push(line.into());
        }
    }
    found.into_iter().map(String::into_bytes).collect()
}

fn mangled(corpus: &[Vec<u8>], is_xml: bool, chance: &mut Chance) -> Vec<u8> {
    let mut document = chance.one_of(corpus).clone();
    for _ in 0..chance.below(6) {
        let (from, to) = chance.range(document.len());
        let words = if is_xml { &XML_WORDS } else { &JSON_WORDS };
        match chance.below(7) {
            0 => drop(document.drain(from..to.min(from + 64))),
            1 => document.truncate(from),
            2 => {
                if let Some(byte) = document.get_mut(from) {
                    *byte = chance.below(256) as u8;
                }
            }
            3 => {
                let word = chance.one_of(words).as_bytes();
                document.splice(from..from, word.iter().copied());
            }
            4 if document.len() < BYTES_MAX => {
                let n_times = chance.below(1_000);
                let word = chance.one_of(words).as_bytes().repeat(n_times);
                document.splice(from..from, word);
            }
            5 if document.len() < BYTES_MAX => {
                let part = document[from..to].to_vec();
                document.splice(to..to, part);
            }
            _ => {
                let other = chance.one_of(corpus);
                let (start, end) = chance.range(other.len());
                document.splice(from..to, other[start..end].iter().copied());
            }
        }
    }
    document
}

/// Chance from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// Two places in something of a length, in their order.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let (one, other) = (self.below(length + 1), self.below(length + 1));
        (one.min(other), one.max(other))
    }
}
