//! Joining, failing, coming back, leaving, and who has a name.

use std::time::Duration;

use muster_gossip::{Notice, Settings, Status, Tags};

use crate::network::{Network, failed, joined, left, names_of};

const SECOND: Duration = Duration::from_secs(1);

fn five() -> Network {
    let mut network = Network::joined(1, 5, &Settings::lan());
    for at in 0..5 {
        network.take_notices(at);
    }
    network
}

#[test]
fn a_member_that_joins_one_is_known_to_all() {
    let mut network = Network::joined(1, 5, &Settings::lan());
    let newcomer = network.add("late", Settings::lan());
    network.join(newcomer, &[3]);
    assert!(network.run_until(2 * SECOND, |network| {
        network.all_see(&[0, 1, 2, 3, 4], newcomer, Status::Alive)
    }));
    assert_eq!(network.nodes[newcomer].pool.members().count(), 6);
    let notices = network.take_notices(newcomer);
    assert_eq!(names_of(&notices, joined).len(), 5);
    let Some(Notice::JoinFinished(result)) = notices.last() else { panic!("{notices:?}") };
    assert_eq!((result.n_joined, result.failures.len()), (1, 0));
}

#[test]
fn a_join_is_tried_again_and_says_who_did_not_answer() {
    let mut network = Network::new(1);
    let (here, there) =
        (network.add("here", Settings::lan()), network.add("there", Settings::lan()));
    network.kill(there);
    network.join(here, &[there]);
    network.run_for(SECOND / 2);
    network.nodes[there].is_down = false;
    network.run_for(2 * SECOND);
    assert_eq!(network.take_join_result(here).n_joined, 1, "the second attempt");

    let nobody = network.add("nobody", Settings::lan());
    network.kill(nobody);
    network.join(here, &[nobody]);
    network.run_for(10 * SECOND);
    let result = network.take_join_result(here);
    assert_eq!(result.n_joined, 0);
    assert_eq!(result.failures, [(network.address(nobody), "connection refused".to_owned())]);
}

#[test]
fn a_member_that_is_given_its_own_address_too_looks_for_the_others() {
    let mut network = Network::new(1);
    for name in ["early", "late"] {
        network.add(name, Settings::lan());
    }
    network.nodes[1].is_down = true;
    network.join(0, &[0, 1]);
    network.run_for(Duration::from_secs(1));
    network.nodes[1].is_down = false;
    network.run_for(Duration::from_secs(60));
    let result = network.take_join_result(0);
    assert_eq!((result.n_joined, result.failures.len()), (1, 0));
    assert!(network.nodes.iter().all(|node| node.pool.gauges().n_active == 2));
}

#[test]
fn a_member_that_dies_is_suspected_then_failed_everywhere() {
    let mut network = five();
    network.kill(4);
    assert!(network.run_until(8 * SECOND, |network| {
        (0..4).any(|at| network.sees(at, 4) == Some(Status::Suspect))
    }));
    assert!(
        network.run_until(20 * SECOND, |network| {
            network.all_see(&[0, 1, 2, 3], 4, Status::Failed)
        })
    );
    for at in 0..4 {
        let notices = network.take_notices(at);
        assert_eq!(names_of(&notices, failed), ["m4"]);
    }
    assert_eq!(network.nodes[0].pool.gauges().n_active, 4);
}

#[test]
fn a_member_that_was_only_slow_refutes() {
    let mut network = five();
    network.pause(4, 3 * SECOND);
    assert!(network.run_until(3 * SECOND, |network| {
        (0..4).any(|at| network.sees(at, 4) == Some(Status::Suspect))
    }));
    assert!(
        network
            .run_until(3 * SECOND, |network| { network.all_see(&[0, 1, 2, 3], 4, Status::Alive) })
    );
    assert!(network.nodes[4].pool.me().incarnation > 1);
    for at in 0..5 {
        assert_eq!(names_of(&network.take_notices(at), failed), [""; 0]);
    }
}

#[test]
fn a_failed_member_that_runs_again_is_back_at_once() {
    let mut network = five();
    network.pause(4, 20 * SECOND);
    network.run_for(19 * SECOND);
    assert!(network.all_see(&[0, 1, 2, 3], 4, Status::Failed));
    network.run_for(SECOND);
    assert!(
        network.run_until(SECOND, |network| { network.all_see(&[0, 1, 2, 3], 4, Status::Alive) })
    );
    assert_eq!(names_of(&network.take_notices(0), joined), ["m4"]);
}

#[test]
fn a_member_that_starts_again_is_back_with_its_new_tags() {
    let mut network = five();
    network.kill(4);
    network.run_until(20 * SECOND, |network| network.all_see(&[0, 1, 2, 3], 4, Status::Failed));
    // Another process at the same address, with no memory of the first.
    let mut setup = network.setup("m4", Settings::lan());
    setup.profile.address = network.address(4);
    setup.profile.tags = Tags::new([("build", "2")]).unwrap();
    let again = network.add_setup(setup);
    network.join(again, &[0]);
    assert!(
        network.run_until(2 * SECOND, |network| {
            network.all_see(&[0, 1, 2, 3], again, Status::Alive)
        })
    );
    let seen = network.nodes[2].pool.member("m4").unwrap();
    assert_eq!(seen.profile.tags.value("build"), Some("2"));
}

#[test]
fn changed_tags_reach_all() {
    let mut network = five();
    let tags = Tags::new([("role", "server")]).unwrap();
    network.call(2, |pool, now, out| pool.set_tags(tags.clone(), now, out));
    assert!(network.run_until(2 * SECOND, |network| {
        network.nodes.iter().all(|node| node.pool.member("m2").unwrap().profile.tags == tags)
    }));
    let updated = |notice: &Notice| matches!(notice, Notice::Updated(m) if m.profile.tags == tags);
    assert!(network.take_notices(0).iter().any(updated));
}

#[test]
fn a_member_that_leaves_says_so_and_is_not_failed() {
    let mut network = five();
    network.call(4, |pool, now, out| pool.leave(now, out));
    assert!(network.run_until(4 * SECOND, |network| {
        network.nodes[4].notices.iter().any(|(_, notice)| *notice == Notice::LeaveFinished)
    }));
    assert!(network.all_see(&[0, 1, 2, 3], 4, Status::Left), "all heard it before it ended");
    network.kill(4);
    network.run_for(20 * SECOND);
    for at in 0..4 {
        let notices = network.take_notices(at);
        assert_eq!((names_of(&notices, left), names_of(&notices, failed)), (vec!["m4"], vec![]));
    }
    assert_eq!(network.nodes[4].pool.next_deadline(), None);
}

#[test]
fn a_member_that_dies_while_leaving_has_left() {
    let mut network = five();
    network.call(4, |pool, now, out| pool.leave(now, out));
    network.run_for(SECOND / 5);
    assert!(network.all_see(&[0, 1, 2, 3], 4, Status::Leaving));
    network.kill(4);
    assert!(
        network
            .run_until(20 * SECOND, |network| { network.all_see(&[0, 1, 2, 3], 4, Status::Left) })
    );
}

#[test]
fn who_is_alone_has_left_at_once() {
    let mut network = Network::new(1);
    let alone = network.add("alone", Settings::lan());
    network.call(alone, |pool, now, out| pool.leave(now, out));
    assert_eq!(network.take_notices(alone), [Notice::LeaveFinished]);
}

#[test]
fn a_failed_member_can_be_declared_to_have_left_by_anybody() {
    let mut network = five();
    network.kill(4);
    network.run_until(20 * SECOND, |network| network.all_see(&[0, 1, 2, 3], 4, Status::Failed));
    network.call(1, |pool, now, out| pool.force_leave("m4", false, now, out)).unwrap();
    assert!(
        network
            .run_until(2 * SECOND, |network| { network.all_see(&[0, 1, 2, 3], 4, Status::Left) })
    );
    assert!(network.call(1, |pool, now, out| pool.force_leave("m1", false, now, out)).is_err());
    assert!(network.call(1, |pool, now, out| pool.force_leave("m9", false, now, out)).is_err());
}

#[test]
fn a_pruned_member_is_forgotten_and_stays_forgotten() {
    let mut network = five();
    network.kill(4);
    network.run_until(20 * SECOND, |network| network.all_see(&[0, 1, 2, 3], 4, Status::Failed));
    // One does not hear of it, and knows the member as failed until it is told by push-pull.
    network.nodes[3].side = 1;
    network.call(1, |pool, now, out| pool.force_leave("m4", true, now, out)).unwrap();
    network.run_for(SECOND);
    network.nodes[3].side = 0;
    network.run_for(120 * SECOND);
    for at in 0..4 {
        assert_eq!(network.sees(at, 4), None);
        assert!(network.take_notices(at).iter().any(|notice| matches!(notice, Notice::Reaped(_))));
    }
}

#[test]
fn a_living_member_that_is_declared_to_have_left_refutes() {
    let mut network = five();
    network.call(1, |pool, now, out| pool.force_leave("m4", false, now, out)).unwrap();
    assert_eq!(network.sees(1, 4), Some(Status::Left));
    assert!(
        network
            .run_until(2 * SECOND, |network| { network.all_see(&[0, 1, 2, 3], 4, Status::Alive) })
    );
}

#[test]
fn members_that_failed_or_left_are_forgotten_in_time_and_not_given_back() {
    let minutes = |n: u64| Duration::from_secs(n * 60);
    let settings = Settings {
        reap_left_after: minutes(24),
        reap_failed_after: minutes(72),
        push_pull_interval: 60 * SECOND,
        ..Settings::lan()
    };
    let mut network = Network::joined(1, 4, &settings);
    network.call(2, |pool, now, out| pool.leave(now, out));
    network.run_for(5 * SECOND);
    network.kill(2);
    network.kill(3);
    network.run_for(minutes(20));
    assert!(network.all_see(&[0, 1], 2, Status::Left));
    // A newcomer learns of both late, and forgets them when the others do.
    let late = network.add("late", settings);
    network.join(late, &[0]);
    network.run_for(minutes(6));
    for at in [0, 1, late] {
        assert_eq!(network.sees(at, 2), None, "left");
        assert_eq!(network.sees(at, 3), Some(Status::Failed), "failed");
    }
    network.run_for(minutes(50));
    for at in [0, 1, late] {
        assert_eq!(network.sees(at, 3), None);
        let reaped = |notice: &Notice| matches!(notice, Notice::Reaped(_));
        assert_eq!(network.take_notices(at).iter().filter(|notice| reaped(notice)).count(), 2);
    }
}

#[test]
fn a_name_stays_with_who_has_it_and_both_sides_are_told() {
    let mut network = five();
    let claimant = network.add("m4", Settings::lan());
    network.join(claimant, &[0]);
    network.run_for(5 * SECOND);
    let holder = network.address(4);
    assert_eq!(network.nodes[0].pool.member("m4").unwrap().address(), holder);

    let conflicts = |notices: Vec<Notice>| -> Vec<_> {
        let found = notices.into_iter().filter_map(|notice| match notice {
            Notice::Conflict(conflict) => Some(conflict),
            _ => None,
        });
        found.collect()
    };
    let told = conflicts(network.take_notices(0));
    assert_eq!(told.len(), 1, "once");
    assert_eq!((told[0].holder, told[0].claimant), (holder, network.address(claimant)));
    assert!(!told[0].is_refused_here);

    let notices = network.take_notices(claimant);
    let result = notices.iter().find_map(|notice| match notice {
        Notice::JoinFinished(result) => Some(result),
        _ => None,
    });
    let reason = &result.unwrap().failures[0].1;
    assert!(reason.contains("the name m4 is held by"), "{reason}");
    let told = conflicts(notices);
    assert!(told.iter().all(|conflict| conflict.is_refused_here), "{told:?}");
    assert_eq!(told.len(), 1, "once");
}

#[test]
fn a_name_is_free_again_when_its_holder_failed() {
    let mut network = five();
    network.kill(4);
    network.run_until(20 * SECOND, |network| network.all_see(&[0, 1, 2, 3], 4, Status::Failed));

    // The same node at another address is let in at once, another node only after a while.
    let mut setup = network.setup("m4", Settings::lan());
    let other_id = setup.profile.id;
    setup.profile.id = network.nodes[4].pool.me().profile.id;
    let moved = network.add_setup(setup);
    network.join(moved, &[0]);
    network.run_for(2 * SECOND);
    assert_eq!(network.nodes[1].pool.member("m4").unwrap().address(), network.address(moved));

    network.kill(moved);
    network.run_until(20 * SECOND, |network| network.all_see(&[0, 1, 2, 3], 4, Status::Failed));
    let mut setup = network.setup("m4", Settings::lan());
    setup.profile.id = other_id;
    let other = network.add_setup(setup);
    network.join(other, &[0]);
    network.run_for(2 * SECOND);
    assert_eq!(network.sees(1, 4), Some(Status::Failed));
    network.run_for(30 * SECOND);
    network.join(other, &[0]);
    network.run_for(2 * SECOND);
    assert_eq!(network.nodes[1].pool.member("m4").unwrap().address(), network.address(other));
}

#[test]
fn halves_that_were_cut_apart_find_each_other() {
    let mut network = Network::joined(1, 10, &Settings::lan());
    for at in 5..10 {
        network.nodes[at].side = 1;
    }
    network.run_for(600 * SECOND);
    assert_eq!(network.nodes[0].pool.gauges().n_active, 5);
    assert_eq!(network.nodes[9].pool.gauges().n_active, 5);
    for node in &mut network.nodes {
        node.side = 0;
    }
    assert!(network.run_until(60 * SECOND, |network| {
        network.nodes.iter().all(|node| node.pool.gauges().n_active == 10)
    }));
}

#[test]
fn a_lossy_network_makes_nobody_fail() {
    let mut network = Network::joined(1, 20, &Settings::lan());
    network.loss = 0.10;
    network.run_for(300 * SECOND);
    for at in 0..20 {
        assert_eq!(names_of(&network.take_notices(at), failed), [""; 0]);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut network = Network::joined(seed, 10, &Settings::lan());
        network.loss = 0.05;
        network.pause(3, 5 * SECOND);
        network.kill(7);
        network.run_for(30 * SECOND);
        network.trace()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn peers_are_found_again_from_a_snapshot() {
    let network = five();
    let snapshot = network.nodes[0].pool.snapshot();
    let mut peers = muster_gossip::snapshot::peers_of(&snapshot).unwrap();
    peers.sort();
    let others: Vec<_> = (1..5).map(|at| network.address(at)).collect();
    assert_eq!(peers, others);
}
