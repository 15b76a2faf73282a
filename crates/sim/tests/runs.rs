//! Whole runs: they go well, they are the same again, and what is planted is found.
#![allow(clippy::disallowed_methods, reason = "a sweep is bounded on the real clock")]

use std::time::{Duration, Instant};

use muster_sim::Telling;
use muster_sim::run::{Order, Report, run, run_with};

/// How long the sweep may take, beyond its first runs.
const SWEEP_TIME: Duration = Duration::from_secs(40);
const SWEEP_SEEDS: std::ops::Range<u64> = 0..40;
const SWEEP_SEEDS_MIN: u64 = 4;

fn assert_well(report: &Report) {
    let (seed, story) = (report.order.seed, report.story.join("\n"));
    assert!(report.wrong.is_empty(), "seed {seed}\n{story}\n{}", report.wrong.join("\n"));
    assert!(report.n_faults >= 5);
    assert!(report.history.operations.len() > 1_000);
}

#[test]
fn runs_of_many_seeds_go_well() {
    let began = Instant::now();
    for seed in SWEEP_SEEDS {
        if seed >= SWEEP_SEEDS_MIN && began.elapsed() > SWEEP_TIME {
            break;
        }
        assert_well(&run(Order::minute(seed)));
    }
}

#[test]
fn a_run_is_the_same_again_byte_for_byte() {
    let order = Order { telling: Telling::Everything, ..Order::minute(1_000) };
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

#[test]
fn acknowledging_before_anything_is_on_disk_is_found() {
    let found = (0..20).any(|seed| {
        let lying = run_with(Order::minute(seed), |cluster| {
            cluster.change_disk_faults(0, |faults| faults.syncs_do_nothing = true);
        });
        lying.wrong.iter().any(|why| why.contains("acknowledged"))
    });
    assert!(found, "a disk that forgets what was acknowledged looks like any other");
}
