//! The figures of docs/decisions/gossip-engine.md: what Lifeguard is worth against plain SWIM, and
//! what a pool costs. All in virtual time and from fixed seeds, so a run gives the same numbers.
//!
//! `cargo run --release -p muster-gossip --example figures -- load detection bursts slow bootstrap large`

#![allow(clippy::print_stdout, reason = "it is there to print")]

use std::time::Duration;

use muster_gossip::Settings;

#[path = "../tests/pool/network.rs"]
#[allow(dead_code, reason = "the scripts use more of it")]
mod network;
#[path = "../tests/pool/scenarios.rs"]
mod scenarios;

use scenarios::{
    FalseDeaths, Illness, bootstrap, bursts, detection, load, memberlist, one_mute, one_slow,
    plain, quantile,
};

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let figures: [(&str, fn()); 6] = [
        ("load", print_load),
        ("detection", print_detection),
        ("bursts", print_bursts),
        ("slow", print_slow),
        ("bootstrap", || print_bootstrap(&[100, 500, 1_000])),
        ("large", || print_bootstrap(&[2_000])),
    ];
    for (name, print) in figures {
        if wanted.is_empty() || wanted.iter().any(|want| want == name) {
            println!("\n## {name}");
            print();
        }
    }
}

fn variants() -> [(&'static str, Settings); 3] {
    [("plain SWIM", plain()), ("memberlist's", memberlist()), ("ours", Settings::lan())]
}

fn print_load() {
    for n in [16, 64, 256, 1_024] {
        let load = load(n, &Settings::lan(), 1);
        println!("{n:5} members: {:.3} packets/s, {:.1} B/s each", load.packets, load.bytes);
    }
}

fn print_detection() {
    for (name, settings) in variants() {
        let found = detection(1_000, 25, &settings, 1);
        let [first, all] = [&found.first, &found.all].map(|times| {
            format!("p50 {:.1} p99 {:.1}", quantile(times, 0.5), quantile(times, 0.99))
        });
        println!("{name:13} first {first}; all {all} (s after death, 1,000 members)");
    }
}

fn print_bursts() {
    let ms = Duration::from_millis;
    for illness in [Illness::Stopped, Illness::Blocked] {
        for (name, settings) in variants() {
            let mut all = FalseDeaths::default();
            for pause in [2_048, 8_192, 32_768] {
                for run in [1, 256] {
                    all += bursts((128, 16, illness), (ms(pause), ms(run)), &settings, 1);
                }
            }
            println!("{name:13} 16 of 128 {illness:?} in bursts: {all:?}");
        }
    }
}

fn print_slow() {
    for (name, settings) in variants() {
        let slow = one_slow(128, 10, &settings, 1);
        let mute = one_mute(128, 10, &settings, 1);
        println!("{name:13} one of 128 at 1 %: {slow:?}");
        println!("{name:13} one of 128 mute:   {mute:?}");
    }
}

fn print_bootstrap(sizes: &[usize]) {
    for &n in sizes {
        let bootstrap = bootstrap(n, &Settings::lan(), 1);
        let log2 = (n as f64).log2();
        println!(
            "{n:5} members at once: one view after {} rounds ({:.1} x log2 n), deepest queue {}",
            bootstrap.rounds,
            bootstrap.rounds / log2,
            bootstrap.deepest,
        );
    }
}
