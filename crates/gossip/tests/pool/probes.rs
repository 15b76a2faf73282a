//! Probes: who doubts whom, and who doubts itself.

use std::time::Duration;

use muster_gossip::{Notice, Settings, Status};

use crate::network::{Network, failed, names_of};

const SECOND: Duration = Duration::from_secs(1);

fn awareness(network: &Network, at: usize) -> u32 {
    network.nodes[at].pool.gauges().awareness
}

#[test]
fn a_dead_target_is_no_sign_of_ones_own_slowness() {
    let mut network = Network::joined(1, 6, &Settings::lan());
    network.kill(5);
    for _ in 0..15 {
        network.run_for(SECOND);
        for at in 0..5 {
            assert_eq!(awareness(&network, at), 0, "nacks say that the others hear");
        }
    }
    assert!(network.all_see(&[0, 1, 2, 3, 4], 5, Status::Failed));
}

#[test]
fn a_member_that_hears_nobody_doubts_itself_and_judges_nobody() {
    let mut network = Network::joined(1, 10, &Settings::lan());
    network.nodes[0].side = 1;
    network.run_for(40 * SECOND);
    assert!(awareness(&network, 0) >= 4, "{}", awareness(&network, 0));
    assert_eq!(names_of(&network.take_notices(0), failed), [""; 0]);
    network.nodes[0].side = 0;
    assert!(network.run_until(20 * SECOND, |network| {
        let all_active = |at: usize| network.nodes[at].pool.gauges().n_active == 10;
        (0..10).all(all_active) && awareness(network, 0) == 0
    }));
    for at in 1..10 {
        assert_eq!(names_of(&network.take_notices(at), failed), ["m0"]);
    }
}

#[test]
fn a_member_that_is_left_alone_comes_to_know_it() {
    let mut network = Network::joined(1, 5, &Settings::lan());
    for at in 1..5 {
        network.kill(at);
    }
    assert!(
        network.run_until(300 * SECOND, |network| { network.nodes[0].pool.gauges().n_active == 1 })
    );
}

#[test]
fn a_broken_link_between_two_members_fails_neither() {
    // Datagrams between two of them are lost; the others find the way around.
    let mut network = Network::joined(1, 8, &Settings::lan());
    network.broken = Some((2, 3));
    network.run_for(300 * SECOND);
    for at in 0..8 {
        let notices = network.take_notices(at);
        assert_eq!(names_of(&notices, failed), [""; 0]);
        let suspected = |notice: &Notice| matches!(notice, Notice::Suspected(_));
        assert!(!notices.iter().any(suspected));
    }
}

#[test]
fn a_suspect_hears_of_it_with_the_next_probe() {
    let mut network = Network::joined(1, 3, &Settings::lan());
    // One of them stands still for long enough to be suspected, and misses the rumor.
    network.pause(2, SECOND * 5 / 2);
    assert!(
        network
            .run_until(SECOND * 5 / 2, |network| { network.sees(0, 2) == Some(Status::Suspect) })
    );
    network.clear_inbox(2);
    assert!(
        network.run_until(SECOND * 5 / 2, |network| { network.all_see(&[0, 1], 2, Status::Alive) })
    );
}

#[test]
fn a_pool_that_is_quiet_wants_nothing_but_probes() {
    let mut network = Network::new(1);
    let alone = network.add("alone", Settings::lan());
    assert_eq!(network.nodes[alone].pool.next_deadline(), None);

    let mut network = Network::joined(1, 2, &Settings::lan());
    network.run_for(60 * SECOND);
    let before = network.nodes[0].pool.counters();
    network.run_for(60 * SECOND);
    let after = network.nodes[0].pool.counters();
    assert_eq!(after.packets_out - before.packets_out, 120, "a ping and an ack a second");
    assert!((2..=6).contains(&(after.exchanges_begun - before.exchanges_begun)));
}
