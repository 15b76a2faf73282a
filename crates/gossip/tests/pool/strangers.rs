//! Strangers: another pool, another key, something that is no gossip at all.

use std::time::Duration;

use muster_gossip::keyring::{Key, Keyring};
use muster_gossip::port::ClockOff;
use muster_gossip::refused::{Refused, RefusedInput};
use muster_gossip::{Input, Moment, Notice, Output, Pool, Settings, Setup};
use proptest::prelude::*;

use crate::network::Network;

const SECOND: Duration = Duration::from_secs(1);
/// A wall clock, somewhere in 2026.
const NOON: Duration = Duration::from_secs(1_780_000_000);

fn keyring(byte: u8) -> Option<Keyring> {
    Some(Keyring::new(Key::new(&[byte; 16]).expect("16 bytes are a key")))
}

/// Two members that are set up differently; the second joins the first.
fn join_of(alter: impl Fn(&mut Setup, &mut Setup)) -> (Network, String) {
    let mut network = Network::new(1);
    let (mut here, mut there) =
        (network.setup("here", Settings::lan()), network.setup("there", Settings::lan()));
    there.profile.address.set_port(9_999);
    alter(&mut here, &mut there);
    network.add_setup(here);
    network.add_setup(there);
    network.join(1, &[0]);
    network.run_for(SECOND);
    let result = network.take_join_result(1);
    assert_eq!((result.n_joined, result.failures.len()), (0, 1));
    assert_eq!(network.nodes[0].pool.gauges().n_known, 1, "nothing was stored");
    assert_eq!(network.nodes[1].pool.gauges().n_known, 1, "nothing was stored");
    let reason = result.failures[0].1.clone();
    (network, reason)
}

#[track_caller]
fn assert_refused(network: &mut Network, why: &Refused) {
    let told = network.take_notices(0).into_iter().find_map(|notice| match notice {
        Notice::Refused(refused) => Some(refused),
        _ => None,
    });
    let RefusedInput { why: told, n_since_told, .. } = told.expect("it is told");
    assert_eq!((&told, n_since_told), (why, 1));
}

#[test]
fn a_member_of_another_pool_is_told_which_it_found() {
    let (mut network, reason) = join_of(|_, there| there.label = "dc2.lan".to_owned());
    assert!(reason.contains("the pool test.lan"), "{reason}");
    assert_refused(&mut network, &Refused::OtherPool("dc2.lan".to_owned()));
}

#[test]
fn a_member_with_another_key_is_told_so() {
    let (mut network, reason) = join_of(|here, there| {
        here.keyring = keyring(1);
        there.keyring = keyring(2);
    });
    assert!(reason.contains("install the key on both"), "{reason}");
    assert_refused(&mut network, &Refused::UnknownKey);
}

#[test]
fn a_member_without_a_key_is_told_that_it_needs_one() {
    let (mut network, reason) = join_of(|here, _| here.keyring = keyring(1));
    assert!(reason.contains("give it the key of the pool"), "{reason}");
    assert_refused(&mut network, &Refused::Unsealed);

    let (mut network, reason) = join_of(|_, there| there.keyring = keyring(1));
    assert!(reason.contains("give the other agent the gossip key"), "{reason}");
    assert_refused(&mut network, &Refused::Sealed);
}

/// Two members whose wall clocks are that many seconds apart; the second joins the first.
fn join_with_clocks(apart_s: i64) -> Network {
    let mut network = Network::new(1);
    for name in ["here", "there"] {
        network.add(name, Settings::lan());
    }
    network.nodes[0].pool.set_wall_clock(NOON);
    let there = NOON.as_secs().checked_add_signed(apart_s).expect("after 1970");
    network.nodes[1].pool.set_wall_clock(Duration::from_secs(there));
    network.join(1, &[0]);
    network.run_for(SECOND);
    network
}

#[test]
fn a_member_whose_clock_is_far_off_is_told_how_far_and_not_let_in() {
    for (apart_s, here_says, there_says) in
        [(301, "301 s ahead of this", "301 s behind this"), (-86_400, "behind", "ahead of")]
    {
        let mut network = join_with_clocks(apart_s);
        let result = network.take_join_result(1);
        assert_eq!((result.n_joined, result.failures.len()), (0, 1));
        let reason = &result.failures[0].1;
        assert!(reason.contains(there_says) && reason.contains("NTP"), "{reason}");
        let why = Refused::ClockOff(apart_s);
        assert!(why.to_string().contains(here_says), "{why}");
        assert_refused(&mut network, &why);
        for node in &network.nodes {
            assert_eq!(node.pool.gauges().n_known, 1, "nothing was stored");
            assert_eq!(node.pool.counters().refused.clock_off, 1);
        }
    }
    let near = join_with_clocks(-300);
    assert!(near.nodes.iter().all(|node| node.pool.gauges().n_active == 2));
}

#[test]
fn a_member_whose_clock_goes_off_stays_and_is_told_of() {
    let mut network = join_with_clocks(0);
    network.take_notices(0);
    network.nodes[1].pool.set_wall_clock(NOON + 3_600 * SECOND);
    network.run_for(300 * SECOND);
    let told: Vec<ClockOff> = network
        .take_notices(0)
        .into_iter()
        .filter_map(|notice| match notice {
            Notice::ClockOff(off) => Some(off),
            _ => None,
        })
        .collect();
    let off = told.first().expect("it is told");
    assert_eq!((off.name.as_str(), off.ahead_s), ("there", 3_600));
    assert!((1..=5).contains(&told.len()), "at most once a minute: {told:?}");
    let counted = network.nodes[0].pool.counters();
    assert!(counted.clocks_off >= told.len() as u64, "{counted:?}");
    assert!(network.nodes.iter().all(|node| node.pool.gauges().n_active == 2));
}

#[test]
fn a_member_with_the_id_of_another_is_told_to_have_one_of_its_own() {
    let mut same = [0; 16];
    same[0] = 7;
    let (mut network, reason) = join_of(|here, there| {
        here.profile.id = same;
        there.profile.id = same;
    });
    assert!(reason.contains("a node_id of its own"), "{reason}");
    assert_refused(&mut network, &Refused::IdTaken);
}

#[test]
fn a_machine_that_was_renamed_gets_in_once_its_old_name_is_gone() {
    let mut network = Network::joined(1, 2, &Settings::lan());
    let mut renamed = network.setup("new-name", Settings::lan());
    renamed.profile.id = network.nodes[1].pool.me().profile.id;
    let renamed = network.add_setup(renamed);
    network.join(renamed, &[0]);
    network.run_for(SECOND);
    assert_eq!(network.take_join_result(renamed).n_joined, 0, "the old name is alive");
    network.nodes[1].is_down = true;
    network.run_for(60 * SECOND);
    network.join(renamed, &[0]);
    network.run_for(SECOND);
    assert_eq!(network.take_join_result(renamed).n_joined, 1);
}

#[test]
fn a_flood_of_wrong_packets_is_counted_and_told_once() {
    let mut network = Network::joined(1, 2, &Settings::lan());
    network.take_notices(0);
    let from = network.address(1);
    let wrong: [&[u8]; 4] = [b"GET / HTTP/1.1", b"", &[b'g', 9, 0, 0], &[0; 1_500]];
    for _ in 0..1_000 {
        for bytes in wrong {
            let input = Input::Packet { from, bytes };
            network.call(0, |pool, now, out| pool.handle(input, now, out));
        }
    }
    let refused = network.nodes[0].pool.counters().refused;
    assert_eq!(
        (refused.not_gossip, refused.other_protocol, refused.too_long),
        (2_000, 1_000, 1_000)
    );
    let told = network.take_notices(0);
    assert_eq!(told.len(), 3, "{told:?}");
    let newer = Refused::OtherProtocol(9).to_string();
    assert!(newer.contains("upgrade the older agent"), "{newer}");
}

#[test]
fn a_reading_out_of_turn_does_no_harm() {
    let mut network = Network::joined(1, 3, &Settings::lan());
    for at in 0..3 {
        for _ in 0..100 {
            network.call(at, |pool, now, out| pool.handle(Input::Time, now, out));
        }
        let stray = [
            Input::ExchangeAnswered { exchange: 999, bytes: b"x" },
            Input::ExchangeFailed { exchange: 999, reason: "never asked" },
        ];
        for input in stray {
            network.call(at, |pool, now, out| pool.handle(input, now, out));
        }
    }
    network.run_for(10 * SECOND);
    assert!(network.nodes.iter().all(|node| node.pool.gauges().n_active == 3));
}

/// A pool of two in a member's hands, to be spoken to directly.
fn pool_of_two() -> (Pool, Moment) {
    let network = Network::joined(1, 2, &Settings::lan());
    let now = network.now;
    (network.nodes.into_iter().next().expect("there are two").pool, now)
}

/// Content in an envelope that this pool opens.
fn enveloped(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b'g', 1, kind << 4, 8];
    bytes.extend_from_slice(b"test.lan");
    bytes.extend_from_slice(&crc32c::crc32c(content).to_le_bytes());
    bytes.extend_from_slice(content);
    bytes
}

/// What a member really sends, to be spoiled.
fn real_bytes() -> Vec<Vec<u8>> {
    let (mut pool, now) = pool_of_two();
    let mut out = Vec::new();
    pool.fire("deploy", b"web", now, &mut out).expect("it is short");
    let mut seen = Vec::new();
    for tenth in 0..600 {
        pool.handle(Input::Time, now + tenth * SECOND / 10, &mut out);
    }
    for output in out {
        match output {
            Output::Packet { bytes, .. } | Output::Exchange { bytes, .. } => seen.push(bytes),
            Output::Answer { .. } | Output::Notice(_) => {}
        }
    }
    assert!(seen.len() > 10, "{}", seen.len());
    seen
}

proptest! {
    #[test]
    fn no_packet_panics(content in prop::collection::vec(any::<u8>(), 0..300)) {
        let (mut pool, now) = pool_of_two();
        let from = ([10, 0, 0, 9], 1).into();
        let mut out = Vec::new();
        pool.handle(Input::Packet { from, bytes: &content }, now, &mut out);
        let bytes = enveloped(0, &content);
        pool.handle(Input::Packet { from, bytes: &bytes }, now, &mut out);
    }

    #[test]
    fn no_exchange_panics(content in prop::collection::vec(any::<u8>(), 0..300)) {
        let (mut pool, now) = pool_of_two();
        let from = ([10, 0, 0, 9], 1).into();
        let mut out = Vec::new();
        let bytes = enveloped(1, &content);
        pool.handle(Input::ExchangeAsked { from, stream: 1, bytes: &bytes }, now, &mut out);
        let is_answered = matches!(out[..], [.., Output::Answer { stream: 1, .. }]);
        prop_assert!(is_answered);
    }

    #[test]
    fn no_spoiled_message_panics(which in any::<prop::sample::Index>(),
                                 at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let real = real_bytes();
        let mut content = real[which.index(real.len())][16..].to_vec();
        if !content.is_empty() {
            let at = at.index(content.len());
            content[at] = byte;
        }
        let (mut pool, now) = pool_of_two();
        let from = ([10, 0, 0, 9], 1).into();
        let mut out = Vec::new();
        let packet = enveloped(0, &content);
        pool.handle(Input::Packet { from, bytes: &packet }, now, &mut out);
        let exchange = enveloped(1, &content);
        pool.handle(Input::ExchangeAsked { from, stream: 1, bytes: &exchange }, now, &mut out);
        pool.handle(Input::Time, now + 600 * SECOND, &mut out);
    }
}
