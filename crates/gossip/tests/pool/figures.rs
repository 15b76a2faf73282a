//! What Lifeguard is worth and what a pool costs, in small: `examples/figures.rs` has it in large.

use std::time::Duration;

use muster_gossip::Settings;

use crate::scenarios::{
    Illness, bootstrap, bursts, detection, load, memberlist, one_mute, one_slow, plain, quantile,
};

#[test]
fn the_load_of_a_member_does_not_depend_on_the_size_of_the_pool() {
    let (small, large) = (load(8, &Settings::lan(), 1), load(64, &Settings::lan(), 1));
    assert!((small.packets - 2.0).abs() < 0.1, "{small:?}: a ping and an ack");
    assert!((large.packets / small.packets - 1.0).abs() < 0.1, "{large:?}");
    assert!((large.bytes / small.bytes - 1.0).abs() < 0.1, "{large:?}");
}

#[test]
fn a_death_is_found_sooner_than_with_the_settings_of_others() {
    let median = |settings| quantile(&detection(64, 5, &settings, 1).all, 0.5);
    let (ours, theirs) = (median(Settings::lan()), median(memberlist()));
    assert!(ours < 0.7 * theirs, "{ours} s against {theirs} s");
}

#[test]
fn members_that_stand_still_in_bursts_accuse_no_healthy_ones() {
    let ms = Duration::from_millis;
    for illness in [Illness::Stopped, Illness::Blocked] {
        let deaths = |settings| bursts((32, 6, illness), (ms(10_000), ms(16)), &settings, 1);
        let (swim, ours) = (deaths(plain()), deaths(Settings::lan()));
        assert_eq!((ours.seen, ours.seen_by_healthy), (0, 0), "{illness:?}: {ours:?}");
        assert!(illness == Illness::Stopped || swim.seen >= 50, "it is ill enough: {swim:?}");
    }
}

#[test]
fn one_slow_member_and_one_that_nobody_hears_poison_nothing() {
    for deaths in [one_slow(16, 3, &Settings::lan(), 1), one_mute(16, 3, &Settings::lan(), 1)] {
        assert_eq!(deaths.seen_by_healthy, 0, "{deaths:?}");
    }
}

#[test]
fn a_pool_that_begins_at_once_has_one_view_after_a_few_rounds() {
    let begun = bootstrap(64, &Settings::lan(), 1);
    assert!(begun.rounds <= 2.0 * 64_f64.log2(), "{begun:?}");
    assert!(begun.deepest <= 128, "{begun:?}");
}
