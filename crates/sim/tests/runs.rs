//! Whole runs, not optimized and so only a few: they go well and are the same again. Hundreds of
//! them, and those with planted mistakes, are `cargo xtask sim`'s.

use std::time::Duration;

use muster_sim::Telling;
use muster_sim::run::{Order, Report, run};

fn assert_well(report: &Report) {
    let (seed, story) = (report.order.seed, report.story.join("\n"));
    assert!(report.wrong.is_empty(), "seed {seed}\n{story}\n{}", report.wrong.join("\n"));
    assert!(report.n_faults >= 5);
    assert!(report.history.operations.len() > 500);
}

#[test]
fn a_server_alone_keeps_its_promises() {
    for seed in 0..3 {
        assert_well(&run(Order::minute(seed)));
    }
}

#[test]
fn three_servers_keep_their_promises() {
    assert_well(&run(Order { n_servers: 3, ..Order::minute(0) }));
}

#[test]
fn a_run_is_the_same_again_byte_for_byte() {
    let time = Duration::from_secs(15);
    let telling = Telling::Everything;
    let order = Order { telling, time, n_servers: 3, ..Order::minute(1_000) };
    let (first, second) = (run(order), run(order));
    let lines = first.story.iter().zip(&second.story);
    for (number, (one, other)) in lines.enumerate() {
        assert_eq!(one, other, "line {number} of the story");
    }
    assert_eq!(first.hash, second.hash);
    assert_eq!(first.history, second.history);
    // Whoever asks for less is told less of the same.
    assert_eq!(run(Order { telling: Telling::Little, ..order }).hash, first.hash);
}
