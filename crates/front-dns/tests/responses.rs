//! What a script cannot say: chance, very large answers, and queries that are wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use domain::base::iana::Rtype;
use domain::base::{Message, ParsedName};
use domain::rdata::{A, Srv};
use muster_front_dns::{Client, Reply, Responder, Scratch, Settings, Transport};
use support::{Tables, identity};

fn responder(n_instances: usize) -> Responder {
    let tables = Tables::default();
    for i in 0..n_instances {
        let (high, low) = (i / 256, i % 256);
        assert!(tables.obey(&format!("node node-{i:04} address=10.0.{high}.{low}")));
        assert!(tables.obey(&format!("service web node=node-{i:04} port=80")));
    }
    let clock = Arc::new(|| Duration::from_secs(1));
    Responder::new(Arc::new(tables), &identity(), Settings::default(), clock).unwrap()
}

const WEB: &[u8] = b"\x03web\x07service\x06consul\x00";

/// A query with these header words, a question for `web.service.consul`, and what follows it.
fn query(flags: u16, counts: [u16; 4], kind: u16, rest: &[u8]) -> Vec<u8> {
    let mut out = vec![0x12, 0x34];
    for word in [flags].into_iter().chain(counts) {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(WEB);
    out.extend_from_slice(&[kind.to_be_bytes(), [0, 1]].concat());
    out.extend_from_slice(rest);
    out
}

fn plain(kind: Rtype) -> Vec<u8> {
    query(0x0100, [1, 0, 0, 0], kind.to_int(), &[])
}

fn answer(responder: &Responder, query: &[u8], transport: Transport, seed: u64) -> Vec<u8> {
    let mut scratch = Scratch::new(seed);
    let client = Client { transport, ip: Ipv4Addr::LOCALHOST.into() };
    match responder.answer(query, client, &mut scratch) {
        Reply::Ready => scratch.out,
        Reply::Dropped => Vec::new(),
        other => panic!("{other:?}"),
    }
}

/// The code of the response to a query; nothing where it gets no word.
fn code(query: &[u8]) -> Option<u8> {
    let response = answer(&responder(1), query, Transport::Udp, 1);
    response.get(3).map(|byte| byte & 0x0F)
}

// --------------------------------------------------------------------------------------- chance

#[test]
fn every_instance_comes_first_as_often_as_any_other() {
    let (responder, question) = (responder(10), plain(Rtype::A));
    let mut scratch = Scratch::new(42);
    let client = Client { transport: Transport::Udp, ip: Ipv4Addr::LOCALHOST.into() };
    let mut firsts = HashMap::new();
    for _ in 0..10_000 {
        scratch.out.clear();
        assert_eq!(responder.answer(&question, client, &mut scratch), Reply::Ready);
        let message = Message::from_octets(scratch.out.as_slice()).unwrap();
        let first = message.answer().unwrap().limit_to::<A>().next().unwrap().unwrap();
        *firsts.entry(first.data().addr()).or_insert(0) += 1;
    }
    assert_eq!(firsts.len(), 10);
    // 1,000 each; a fair draw strays by more than 150 less than once in a million.
    assert!(firsts.values().all(|n| (850..1_150).contains(n)), "{firsts:?}");
}

// ------------------------------------------------------------------------------------------ size

#[test]
fn a_large_answer_fills_a_stream_message_and_is_cut_cleanly() {
    let responder = responder(4_500);
    let response = answer(&responder, &plain(Rtype::A), Transport::Tcp, 1);
    let message = Message::from_octets(response.as_slice()).unwrap();
    assert!(response.len() <= 65_535);
    assert_eq!(message.header_counts().ancount(), 4_093);
    assert_eq!(message.answer().unwrap().limit_to::<A>().count(), 4_093);

    let response = answer(&responder, &plain(Rtype::SRV), Transport::Tcp, 1);
    let message = Message::from_octets(response.as_slice()).unwrap();
    assert!(response.len() <= 65_535);
    let n_answers = message.header_counts().ancount();
    assert!((800..=1_024).contains(&n_answers), "{n_answers}");
    // Each SRV has its address beside it, also where the target is too far for a pointer.
    let targets: Vec<String> = (message.answer().unwrap())
        .limit_to::<Srv<ParsedName<&[u8]>>>()
        .map(|record| record.unwrap().data().target().to_string())
        .collect();
    let owners: Vec<String> = (message.additional().unwrap())
        .limit_to::<A>()
        .map(|record| record.unwrap().owner().to_string())
        .collect();
    assert_eq!(targets, owners);
}

// -------------------------------------------------------------------------------- wrong queries

#[test]
fn responses_and_fragments_get_no_word() {
    assert_eq!(code(&query(0x8100, [1, 0, 0, 0], 1, &[])), None);
    assert_eq!(code(&plain(Rtype::A)[..11]), None);
    assert_eq!(code(&[]), None);
}

#[test]
fn other_opcodes_and_zone_transfers_are_not_implemented() {
    for opcode in 1..16u16 {
        assert_eq!(code(&query(opcode << 11, [1, 0, 0, 0], 1, &[])), Some(4));
    }
    assert_eq!(code(&plain(Rtype::AXFR)), Some(4));
    assert_eq!(code(&plain(Rtype::IXFR)), Some(4));
}

#[test]
fn what_cannot_be_read_is_a_format_error() {
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    let two_opts = [opt, opt].concat();
    let opt_of_a_name = [&b"\x01a"[..], &opt].concat();
    let bad_subnet = [&opt[..9], &[0, 8, 0, 8, 0, 4, 0, 1, 33, 0]].concat();
    let wrong = [
        query(0, [0, 0, 0, 0], 1, &[]),
        query(0, [2, 0, 0, 0], 1, &plain(Rtype::A)[12..]),
        query(0, [65_535, 0, 0, 0], 1, &[]),
        query(0, [1, 0, 0, 1], 1, &[]),
        query(0, [1, 65_535, 65_535, 65_535], 1, &[]),
        query(0, [1, 0, 0, 2], 1, &two_opts),
        query(0, [1, 0, 0, 1], 1, &opt_of_a_name),
        query(0, [1, 0, 0, 1], 1, &bad_subnet),
        query(0, [1, 1, 0, 0], 1, &opt),
        query(0, [1, 0, 0, 1], 1, &opt[..10]),
        [&query(0, [1, 0, 0, 0], 1, &[])[..12], &[0xC0, 0x0C, 0, 1, 0, 1]].concat(),
        [&query(0, [1, 0, 0, 0], 1, &[])[..12], &[64], &[b'a'; 70][..]].concat(),
        plain(Rtype::A)[..12].to_vec(),
        plain(Rtype::A)[..WEB.len() + 13].to_vec(),
    ];
    for (i, message) in wrong.iter().enumerate() {
        assert_eq!(code(message), Some(1), "number {i}");
    }
}

#[test]
fn a_newer_edns_and_another_class_are_refused_as_such() {
    let newer = [0, 0, 41, 4, 208, 0, 1, 0, 0, 0, 0];
    let response = answer(&responder(1), &query(0, [1, 0, 0, 1], 1, &newer), Transport::Udp, 1);
    let message = Message::from_octets(response.as_slice()).unwrap();
    assert_eq!(message.opt_rcode().to_int(), 16);
    let mut chaos = plain(Rtype::TXT);
    *chaos.last_mut().unwrap() = 3;
    assert_eq!(code(&chaos), Some(5));
}
