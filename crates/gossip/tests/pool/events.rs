//! Events: to all, once, and not to who came later.

use std::time::Duration;

use muster_gossip::event::{Event, EventError};
use muster_gossip::{Notice, Settings};

use crate::network::Network;

const SECOND: Duration = Duration::from_secs(1);

fn fire(network: &mut Network, at: usize, name: &str, payload: &[u8]) -> Result<u64, EventError> {
    network.call(at, |pool, now, out| pool.fire(name, payload, now, out))
}

fn heard(network: &mut Network, at: usize) -> Vec<Event> {
    let notices = network.take_notices(at).into_iter();
    let events = notices.filter_map(|notice| match notice {
        Notice::Event(event) => Some(event),
        _ => None,
    });
    events.collect()
}

#[test]
fn an_event_reaches_each_member_once() {
    let mut network = Network::joined(1, 30, &Settings::lan());
    network.loss = 0.05;
    fire(&mut network, 3, "deploy", b"web").unwrap();
    network.run_for(120 * SECOND);
    for at in 0..30 {
        let events = heard(&mut network, at);
        assert_eq!(events.len(), 1, "{}", network.name(at));
        assert_eq!((events[0].name.as_str(), &events[0].payload[..]), ("deploy", &b"web"[..]));
        assert_eq!(network.nodes[at].pool.recent_events().count(), 1);
    }
}

#[test]
fn the_same_event_fired_twice_is_two_events() {
    let mut network = Network::joined(1, 3, &Settings::lan());
    fire(&mut network, 0, "deploy", b"").unwrap();
    fire(&mut network, 1, "deploy", b"").unwrap();
    network.run_for(5 * SECOND);
    assert_eq!(heard(&mut network, 2).len(), 2);
}

#[test]
fn who_saw_an_event_fires_later_ones() {
    let mut network = Network::joined(1, 3, &Settings::lan());
    let first = fire(&mut network, 0, "first", b"").unwrap();
    network.run_for(SECOND);
    let second = fire(&mut network, 2, "second", b"").unwrap();
    assert!(second > first);
}

#[test]
fn who_joins_later_does_not_hear_what_was_before() {
    let mut network = Network::joined(1, 3, &Settings::lan());
    fire(&mut network, 0, "before", b"").unwrap();
    network.run_for(SECOND);
    let late = network.add("late", Settings::lan());
    network.join(late, &[1]);
    network.run_for(120 * SECOND);
    assert_eq!(heard(&mut network, late), []);
    fire(&mut network, 0, "after", b"").unwrap();
    network.run_for(5 * SECOND);
    assert_eq!(heard(&mut network, late)[0].name, "after");
}

#[test]
fn who_was_cut_off_hears_by_push_pull() {
    let mut network = Network::joined(1, 4, &Settings::lan());
    network.nodes[3].side = 1;
    fire(&mut network, 0, "deploy", b"").unwrap();
    network.run_for(5 * SECOND);
    network.nodes[3].side = 0;
    assert_eq!(heard(&mut network, 3), []);
    network.run_for(60 * SECOND);
    assert_eq!(heard(&mut network, 3).len(), 1);
}

#[test]
fn an_event_is_bounded_and_has_a_name() {
    let mut network = Network::joined(1, 2, &Settings::lan());
    assert!(fire(&mut network, 0, "twelve-bytes", &[0; 1_012]).is_ok());
    let refused = fire(&mut network, 0, "twelve-bytes", &[0; 1_013]);
    assert_eq!(refused, Err(EventError::TooLong(1_025)));
    assert_eq!(fire(&mut network, 0, "", b"x"), Err(EventError::NoName));
}

#[test]
fn a_flood_of_events_is_bounded_everywhere() {
    let mut network = Network::joined(1, 3, &Settings::lan());
    for n in 0..10_000_u32 {
        fire(&mut network, 0, "flood", &n.to_be_bytes()).unwrap();
    }
    network.run_for(30 * SECOND);
    for node in &network.nodes {
        assert!(node.pool.recent_events().count() <= 256);
        assert!(node.pool.gauges().n_broadcasts <= 4_096);
    }
    assert!(network.nodes[0].pool.counters().broadcasts_dropped > 0);
}
