//! No bytes reach a panic, a loop, or a response that another library cannot read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/mod.rs"]
mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use domain::base::Message;
use domain::base::ParsedName;
use domain::rdata::AllRecordData;
use muster_front_dns::{Client, Reply, Responder, Scratch, Settings, Transport};
use proptest::prelude::*;
use support::{Tables, identity};

const KINDS: [u16; 12] = [1, 2, 5, 6, 12, 16, 28, 33, 41, 65, 252, 255];

fn responder(lines: &[String], settings: Settings) -> Responder {
    let tables = Tables::default();
    for line in lines {
        assert!(tables.obey(line));
    }
    let clock = Arc::new(|| Duration::from_secs(1));
    Responder::new(Arc::new(tables), &identity(), settings, clock).unwrap()
}

/// A responder with a little of everything, made once.
static RESPONDER: LazyLock<Responder> =
    LazyLock::new(|| responder(&some_services(), Settings::default()));

fn some_services() -> Vec<String> {
    let mut lines = vec![
        "node n1 address=10.0.0.1 meta.env=prod".to_owned(),
        "service loop node=n1 address=loop.service.consul port=1".to_owned(),
        "service away node=n1 address=www.example.org port=1".to_owned(),
        "query geo id=x service=web ttl=10s".to_owned(),
    ];
    lines.extend((0..40).map(|i| format!("service web node=n1 port={} address=10.0.1.{i}", i + 1)));
    lines
}

fn client(transport: Transport) -> Client {
    Client { transport, ip: IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

fn query(name: &str, kind: u16, udp_bytes: Option<u16>) -> Vec<u8> {
    let mut out = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(udp_bytes.is_some())];
    out.extend_from_slice(&wire_name(name));
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    if let Some(n) = udp_bytes {
        out.extend_from_slice(&[0, 0, 41]);
        out.extend_from_slice(&n.to_be_bytes());
        out.extend_from_slice(&[0; 6]);
    }
    out
}

/// Checks that whatever came out is a whole response to `message`.
fn check(message: &[u8], reply: &Reply, out: &[u8], bytes_max: usize) {
    if *reply != Reply::Ready {
        return;
    }
    assert!(out.len() <= bytes_max, "{} bytes of {bytes_max}", out.len());
    assert_eq!(out[..2], message[..2]);
    assert_eq!(out[2] & 0x80, 0x80);
    let response = Message::from_octets(out).unwrap();
    let (_, answer, authority, additional) = response.sections().unwrap();
    for section in [answer, authority, additional] {
        for record in section {
            record.unwrap().to_any_record::<AllRecordData<&[u8], ParsedName<&[u8]>>>().unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_bytes_are_answered_soundly_or_not_at_all(
        message in proptest::collection::vec(any::<u8>(), 0..300),
        is_query in any::<bool>(),
    ) {
        let mut message = message;
        if is_query && message.len() > 5 {
            message[2] &= 0x01;
            message[4..6].copy_from_slice(&[0, 1]);
        }
        let mut scratch = Scratch::new(1);
        let reply = RESPONDER.answer(&message, client(Transport::Tcp), &mut scratch);
        if message.len() < 12 || message[2] & 0x80 != 0 {
            prop_assert_eq!(&reply, &Reply::Dropped);
        }
        check(&message, &reply, &scratch.out, 65_535);
    }

    #[test]
    fn a_damaged_query_is_answered_soundly_or_not_at_all(
        name in "(web|loop|away|geo|x|n1|_web)(\\.[a-z_]{0,9}){0,3}(\\.(service|node|query|addr))?\\.consul",
        kind in proptest::sample::select(&KINDS[..]),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let name = name.replace("..", ".");
        let mut message = query(&name, kind, Some(1_232));
        for (at, byte) in damage {
            let at = at.index(message.len());
            message[at] = byte;
        }
        let mut scratch = Scratch::new(1);
        let reply = RESPONDER.answer(&message, client(Transport::Udp), &mut scratch);
        check(&message, &reply, &scratch.out, 65_467);
    }

    #[test]
    fn a_response_keeps_within_its_bounds(
        n_instances in 0..120usize,
        kind in proptest::sample::select(&KINDS[..]),
        udp_bytes in proptest::option::of(0..5_000u16),
        udp_answer_limit in 0..12usize,
        a_record_limit in 0..20usize,
        disable_compression in any::<bool>(),
        label in "[a-z]{1,63}",
    ) {
        let mut lines = vec![format!("node {label} address=10.0.0.1 meta.a=b")];
        lines.extend((0..n_instances).map(|i| {
            let own = if i % 3 == 0 { String::new() } else { format!(" address=10.1.0.{}", i % 256) };
            format!("service {label} node={label} port={}{own}", i + 1)
        }));
        let settings =
            Settings { udp_answer_limit, a_record_limit, disable_compression, ..Settings::default() };
        let responder = responder(&lines, settings);
        let message = query(&format!("{label}.service.consul"), kind, udp_bytes);
        let mut scratch = Scratch::new(1);
        let reply = responder.answer(&message, client(Transport::Udp), &mut scratch);
        let bytes_max = udp_bytes.map_or(512, |n| usize::from(n).max(512));
        check(&message, &reply, &scratch.out, bytes_max);
        let n_answers = usize::from(u16::from_be_bytes([scratch.out[6], scratch.out[7]]));
        if udp_bytes.is_none() {
            prop_assert!(n_answers <= udp_answer_limit.min(8).max(usize::from(kind == 2 || kind == 6)));
        }
        if a_record_limit > 0 && [1, 28, 255].contains(&kind) {
            prop_assert!(n_answers <= a_record_limit);
        }
    }
}
