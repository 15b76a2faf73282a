//! Coordinates: measured by probes, good enough to tell near from far.

use std::time::Duration;

use muster_gossip::Settings;

use crate::network::Network;

#[test]
fn the_estimated_round_trip_is_near_the_true_one() {
    let mut network = Network::new(1);
    let ms = Duration::from_millis;
    network.latency = (ms(10), ms(11));
    for at in 0..6 {
        network.add(&format!("m{at}"), Settings::lan());
    }
    network.join_all();
    network.run_for(Duration::from_secs(600));
    for from in 0..6 {
        for to in (0..6).filter(|to| *to != from) {
            let told = network.nodes[from].pool.distance_to(network.name(to)).unwrap();
            assert!((ms(16)..ms(27)).contains(&told), "{told:?} of 20 to 22 ms");
        }
    }
    assert_eq!(network.nodes[0].pool.coordinate_of("nobody"), None);
    assert!(network.nodes[0].pool.coordinate().error < 0.5);
}
