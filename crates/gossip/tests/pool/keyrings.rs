//! Keys: turned while everybody talks, and nobody misses a word.

use std::time::Duration;

use muster_gossip::keyring::{Key, KeyError, Keyring};
use muster_gossip::port::KeyringResult;
use muster_gossip::question::KeyringWish;
use muster_gossip::{Notice, Settings};

use crate::network::Network;

const SECOND: Duration = Duration::from_secs(1);
const WAIT: Duration = Duration::from_secs(10);

fn key(byte: u8) -> Key {
    Key::new(&[byte; 16]).expect("16 bytes are a key")
}

/// A pool of so many members, sealed with key 1.
fn sealed(n: usize) -> Network {
    let mut network = Network::new(1);
    for at in 0..n {
        let mut setup = network.setup(&format!("m{at}"), Settings::lan());
        setup.keyring = Some(Keyring::new(key(1)));
        network.add_setup(setup);
    }
    network.join_all();
    network
}

fn ask(network: &mut Network, at: usize, wish: KeyringWish) -> KeyringResult {
    network.take_notices(at);
    network
        .call(at, |pool, now, out| pool.ask_keyring(&wish, 7, WAIT, now, out))
        .expect("the pool is sealed");
    network.run_until(2 * WAIT, |network| {
        let notices = &network.nodes[at].notices;
        notices.iter().any(|(_, notice)| matches!(notice, Notice::KeyringAnswered(_)))
    });
    let notices = network.take_notices(at).into_iter();
    let mut results = notices.filter_map(|notice| match notice {
        Notice::KeyringAnswered(result) => Some(result),
        _ => None,
    });
    results.next().expect("a question ends")
}

#[track_caller]
fn assert_all_granted(result: &KeyringResult, n: usize) {
    assert_eq!((result.token, result.n_asked, result.answers.len()), (7, n, n));
    assert!(result.answers.iter().all(|answer| answer.refusal.is_none()), "{result:?}");
}

#[test]
fn a_key_is_turned_live_and_no_packet_is_refused() {
    let mut network = sealed(20);
    network.loss = 0.05;
    assert_all_granted(&ask(&mut network, 3, KeyringWish::Install(key(2))), 20);
    assert_all_granted(&ask(&mut network, 4, KeyringWish::Use(key(2))), 20);
    assert_all_granted(&ask(&mut network, 5, KeyringWish::Remove(key(1))), 20);
    let listed = ask(&mut network, 6, KeyringWish::List);
    assert_all_granted(&listed, 20);
    assert!(listed.answers.iter().all(|answer| answer.keys == [key(2)]));
    network.run_for(60 * SECOND);
    for node in &network.nodes {
        assert_eq!(node.pool.counters().refused.total(), 0);
        assert_eq!(node.pool.gauges().n_active, 20);
    }
}

#[test]
fn the_agent_is_told_what_to_keep() {
    let mut network = sealed(3);
    let wish = KeyringWish::Install(key(2));
    network.call(0, |pool, now, out| pool.ask_keyring(&wish, 7, WAIT, now, out)).unwrap();
    network.run_for(SECOND);
    for at in 0..3 {
        let notices = network.take_notices(at);
        assert!(notices.contains(&Notice::KeyringChanged(vec![key(1), key(2)])));
    }
}

#[test]
fn a_member_says_why_it_does_not_do_what_it_is_asked() {
    let mut network = sealed(3);
    let refused = ask(&mut network, 0, KeyringWish::Remove(key(1)));
    assert_eq!(refused.answers.len(), 3);
    for answer in &refused.answers {
        let refusal = answer.refusal.as_deref().unwrap();
        assert!(refusal.contains("use another one first"), "{refusal}");
        assert_eq!(answer.keys, [key(1)]);
    }
    let unknown = ask(&mut network, 0, KeyringWish::Use(key(9)));
    assert!(unknown.answers[1].refusal.as_deref().unwrap().contains("install it first"));
}

#[test]
fn a_question_ends_without_those_who_are_gone() {
    let mut network = sealed(4);
    network.kill(3);
    let result = ask(&mut network, 0, KeyringWish::List);
    let names: Vec<&str> = result.answers.iter().map(|answer| answer.member.as_str()).collect();
    assert_eq!((result.n_asked, names), (4, vec!["m0", "m1", "m2"]));
}

#[test]
fn a_pool_that_is_not_sealed_sends_no_keys_round() {
    let mut network = Network::joined(1, 2, &Settings::lan());
    let wish = KeyringWish::Install(key(1));
    let asked = network.call(0, |pool, now, out| pool.ask_keyring(&wish, 7, WAIT, now, out));
    assert_eq!(asked, Err(KeyError::NoKeyring));
}

#[test]
fn a_pool_is_sealed_live_in_two_steps() {
    // First all hold the key and send in the clear; one after the other seals; then all verify.
    let mut network = Network::new(1);
    for at in 0..4 {
        let mut setup = network.setup(&format!("m{at}"), Settings::lan());
        let mut keyring = Keyring::new(key(1));
        keyring.verifies_incoming = false;
        keyring.seals_outgoing = at >= 2;
        setup.keyring = Some(keyring);
        network.add_setup(setup);
    }
    network.join_all();
    network.run_for(60 * SECOND);
    for node in &network.nodes {
        assert_eq!(node.pool.counters().refused.total(), 0);
        assert_eq!(node.pool.gauges().n_active, 4);
    }
}
