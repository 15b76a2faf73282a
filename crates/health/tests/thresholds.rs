//! From results in a row to a status: scripts a stranger can read, and a naive second opinion.
//!
//! A script is a text file in `tests/scripts/thresholds/`. `check` begins one, with its thresholds;
//! each other line is a result and, after the arrow, the status that is then told.

use std::time::Duration;

use muster_health::Moment;
use muster_health::check::{Counts, Observation, Pulse, Settings, Thresholds};
use muster_model::definition::{CheckDefinition, Rule};
use muster_model::{Check, Status, Text};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;

#[test]
fn results_come_to_the_status_that_the_scripts_say() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/thresholds");
    let mut n_scripts = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        play(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap());
        n_scripts += 1;
    }
    assert!(n_scripts >= 3);
}

fn play(name: &str, script: &str) {
    let mut player = Player::default();
    for (number, line) in script.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let place = format!("{name}:{}", number + 1);
        match line.split_once("->") {
            _ if line.is_empty() => {}
            Some((step, expected)) => player.step(step.trim(), expected.trim(), &place),
            None => player.begin(line.strip_prefix("check").expect(&place), &place),
        }
    }
}

#[derive(Default)]
struct Player {
    now: Moment,
    check: Check,
    definition: CheckDefinition,
    pulse: Option<Pulse>,
}

impl Player {
    fn begin(&mut self, facts: &str, place: &str) {
        let http = Rule::Tcp { address: "".into(), use_tls: false, tls: Default::default() };
        self.definition = CheckDefinition { rule: http, ..CheckDefinition::default() };
        for fact in facts.split_whitespace() {
            let (key, value) = fact.split_once('=').expect(place);
            let number: u16 = value.parse().expect(place);
            let definition = &mut self.definition;
            match key {
                "success_before_passing" => definition.success_before_passing = number,
                "failures_before_warning" => definition.failures_before_warning = number,
                "failures_before_critical" => definition.failures_before_critical = number,
                "ttl_s" => {
                    definition.rule = Rule::Ttl { ttl: Duration::from_secs(number.into()) };
                }
                _ => panic!("{place}: unknown fact {key}"),
            }
        }
        self.check = Check::default();
        self.pulse = Some(Pulse::new(&self.definition, self.now));
    }

    fn step(&mut self, step: &str, expected: &str, place: &str) {
        let pulse = self.pulse.as_mut().expect("a script begins with check");
        let settings = Settings::default();
        if let Some(seconds) = step.strip_prefix("after ").and_then(|s| s.strip_suffix('s')) {
            self.now = self.now + Duration::from_secs(seconds.parse().expect(place));
            pulse.expire(&mut self.check, &self.definition, &settings, self.now);
        } else {
            let (status, output) = step.split_once(' ').unwrap_or((step, ""));
            let status = status.parse().expect(place);
            let observation = Observation { status, output: output.trim().into() };
            let mut chance = SmallRng::seed_from_u64(1);
            let at = (self.now, &mut chance);
            pulse.observe(&mut self.check, &self.definition, &settings, observation, at);
        }
        let (status, output) = expected.split_once(' ').unwrap_or((expected, ""));
        assert_eq!(self.check.status.as_str(), status, "{place}");
        if !output.is_empty() {
            assert_eq!(self.check.output, Text::from(output.trim()), "{place}");
        }
    }
}

/// The contract word for word: looks back over all results each time.
fn naive(thresholds: Thresholds, results: &[Status]) -> Option<Status> {
    let mut told = None;
    for end in 1..=results.len() {
        let last = results[end - 1];
        let is_bad = |status: &Status| *status == Status::Critical;
        let row = results[..end]
            .iter()
            .rev()
            .take_while(|status| is_bad(status) == is_bad(&last))
            .count();
        let reaches = |n_needed: u16| row == end || row >= n_needed as usize;
        told = match last {
            Status::Critical if reaches(thresholds.failures_before_critical) => Some(last),
            Status::Critical if reaches(thresholds.failures_before_warning) => {
                Some(Status::Warning)
            }
            Status::Critical => told,
            good if reaches(thresholds.success_before_passing) => Some(good),
            _ => told,
        };
    }
    told
}

proptest! {
    #[test]
    fn counting_agrees_with_looking_back(
        success_before_passing in 1_u16..5,
        failures_before_critical in 1_u16..6,
        warning in 1_u16..6,
        results in prop::collection::vec(
            prop::sample::select(Status::ALL.to_vec()), 0..40,
        ),
    ) {
        let thresholds = Thresholds {
            success_before_passing,
            failures_before_warning: warning.min(failures_before_critical),
            failures_before_critical,
        };
        let mut counts = Counts::full(thresholds);
        let mut told = None;
        for n_results in 1..=results.len() {
            told = counts.count(results[n_results - 1]).or(told);
            prop_assert_eq!(told, naive(thresholds, &results[..n_results]));
        }
    }
}
