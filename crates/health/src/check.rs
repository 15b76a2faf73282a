//! From results in a row to a status: thresholds, terms of TTL checks, output that may wait.
//!
//! A check that failed once may be unlucky; its author says how many results in a row make a
//! status. The counters start full, so that the very first result counts at once and a new
//! instance does not wait for its third good result. A warning counts as good. Of a failing check
//! that has passed the warning threshold but not the critical one the status is warning. A result
//! that does not suffice leaves status and output as they are.
//!
//! A new status is told to the catalog at once; a new output under the same status is no news to
//! anybody's routing and may wait, so that a check that prints the time costs no write each run.

use std::time::Duration;

use muster_model::definition::{CheckDefinition, Rule};
use muster_model::{Check, Status, Text};
use rand::Rng;

use crate::Moment;
use crate::capture::bounded;

/// One result of running a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// What it found.
    pub status: Status,
    /// What it said.
    pub output: Text,
}

/// How many results in a row make a status. Each at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Good ones before passing or warning.
    pub success_before_passing: u16,
    /// Bad ones before warning. At most `failures_before_critical`.
    pub failures_before_warning: u16,
    /// Bad ones before critical.
    pub failures_before_critical: u16,
}

/// How observations are kept.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// About how long an output waits that comes without a new status: half of this to 1.5 of it.
    pub update_interval: Duration,
    /// Whether outputs are thrown away.
    pub discard_output: bool,
    /// Bytes of output kept; a check may only ask for less.
    pub output_bytes_max: usize,
}

/// What an observation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing new.
    Nothing,
    /// A new output under the same status: the catalog hears of it later.
    Output,
    /// A new status: the catalog hears of it now.
    Status,
}

/// What is remembered of a check between its observations.
#[derive(Clone, Debug)]
pub struct Pulse {
    counts: Counts,
    /// When the word on a TTL check no longer holds.
    expires_at: Option<Moment>,
    /// Since when it has been critical, counted from the first observation that said so.
    critical_since: Option<Moment>,
    /// When an output that waits is told to the catalog.
    output_due_at: Option<Moment>,
    /// Since when it has had its status, if this process has seen that begin.
    status_since: Option<Moment>,
    /// When it was last observed.
    heard_at: Option<Moment>,
}

impl Thresholds {
    /// Those of a definition. TTL and alias checks know none: each word counts.
    pub fn of(definition: &CheckDefinition) -> Thresholds {
        let (good, warning, critical) = match definition.rule {
            Rule::Ttl { .. } | Rule::Alias { .. } | Rule::None => (1, 1, 1),
            _ => (
                definition.success_before_passing,
                definition.failures_before_warning,
                definition.failures_before_critical,
            ),
        };
        let critical = critical.max(1);
        let warning = if warning == 0 { critical } else { warning.min(critical) };
        Thresholds {
            success_before_passing: good.max(1),
            failures_before_warning: warning,
            failures_before_critical: critical,
        }
    }
}

/// Results in a row.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    thresholds: Thresholds,
    n_good: u16,
    n_bad: u16,
}

impl Counts {
    /// Full counters: the first result counts at once.
    pub fn full(thresholds: Thresholds) -> Counts {
        Counts {
            thresholds,
            n_good: thresholds.success_before_passing,
            n_bad: thresholds.failures_before_critical,
        }
    }

    /// Counts a result; gives the status it makes, or nothing where it does not suffice.
    pub fn count(&mut self, observed: Status) -> Option<Status> {
        if observed == Status::Critical {
            self.n_good = 0;
            self.n_bad = self.n_bad.saturating_add(1);
            return self.failing();
        }
        self.n_bad = 0;
        self.n_good = self.n_good.saturating_add(1);
        (self.n_good >= self.thresholds.success_before_passing).then_some(observed)
    }

    fn failing(&self) -> Option<Status> {
        if self.n_bad >= self.thresholds.failures_before_critical {
            Some(Status::Critical)
        } else if self.n_bad >= self.thresholds.failures_before_warning {
            Some(Status::Warning)
        } else {
            None
        }
    }
}

impl Pulse {
    /// That of a check declared at `now`. A TTL check has its whole ttl to be heard of.
    pub fn new(definition: &CheckDefinition, now: Moment) -> Pulse {
        let expires_at = match definition.rule {
            Rule::Ttl { ttl } => Some(now + ttl),
            _ => None,
        };
        Pulse {
            counts: Counts::full(Thresholds::of(definition)),
            expires_at,
            critical_since: None,
            output_due_at: None,
            status_since: None,
            heard_at: None,
        }
    }

    /// The same for a rule that was declared anew: the check has kept its status.
    pub fn following(self, earlier: &Pulse) -> Pulse {
        Pulse { status_since: earlier.status_since, heard_at: earlier.heard_at, ..self }
    }

    /// Takes an observation in, and alters `check` if it suffices.
    pub fn observe(
        &mut self,
        check: &mut Check,
        definition: &CheckDefinition,
        settings: &Settings,
        observation: Observation,
        at: (Moment, &mut impl Rng),
    ) -> Heard {
        let (now, chance) = at;
        // What is heard first may have been so for long, before this process.
        let is_first = self.heard_at.replace(now).is_none();
        if let Rule::Ttl { ttl } = definition.rule {
            self.expires_at = Some(now + ttl);
        }
        let Some(status) = self.counts.count(observation.status) else { return Heard::Nothing };
        let output = settings.kept(definition, observation.output);
        let before = check.status;
        let heard = self.tell(check, settings, Observation { status, output }, now, chance);
        if check.status != before {
            self.status_since = (!is_first).then_some(now);
        }
        heard
    }

    /// The word on a TTL check no longer holds, if `now` is past its term.
    pub fn expire(
        &mut self,
        check: &mut Check,
        definition: &CheckDefinition,
        settings: &Settings,
        now: Moment,
    ) -> Heard {
        if self.expires_at.is_none_or(|at| now < at) {
            return Heard::Nothing;
        }
        self.expires_at = None;
        let output = match &*check.output {
            "" => "TTL expired".into(),
            last => format!("TTL expired (last output before timeout follows): {last}").into(),
        };
        self.critical_since.get_or_insert(now);
        if check.status != Status::Critical {
            self.status_since = Some(now);
        }
        check.status = Status::Critical;
        check.output = bounded(output, settings.output_bytes_max_of(definition));
        self.output_due_at = None;
        Heard::Status
    }

    /// Takes up the word of an earlier process, which holds for `rest` from now.
    pub fn restore(&mut self, rest: Duration, now: Moment) {
        self.expires_at = Some(now + rest);
        self.status_since = None;
    }

    /// Whether an output that waited is due; it no longer waits then.
    pub fn take_due_output(&mut self, now: Moment) -> bool {
        let is_due = self.output_due_at.is_some_and(|at| at <= now);
        if is_due {
            self.output_due_at = None;
        }
        is_due
    }

    /// Whether an output waits to be told.
    pub fn has_waiting_output(&self) -> bool {
        self.output_due_at.is_some()
    }

    /// When the word on a TTL check no longer holds.
    pub fn expires_at(&self) -> Option<Moment> {
        self.expires_at
    }

    /// Since when it has had its status, if this process has seen that begin.
    pub fn status_since(&self) -> Option<Moment> {
        self.status_since
    }

    /// When it was last observed, whatever that came to.
    pub fn heard_at(&self) -> Option<Moment> {
        self.heard_at
    }

    /// When the check has been critical for too long.
    pub fn deregisters_at(&self, definition: &CheckDefinition) -> Option<Moment> {
        let after = definition.deregister_critical_after;
        let after = (!after.is_zero()).then(|| after.max(DEREGISTER_AFTER_MIN))?;
        Some(self.critical_since? + after)
    }

    /// The next moment at which something follows from time alone. A node is never deregistered
    /// because it has been critical for long, only an instance is.
    pub fn next_deadline(
        &self,
        definition: &CheckDefinition,
        is_about_node: bool,
    ) -> Option<Moment> {
        let deregisters_at = self.deregisters_at(definition).filter(|_| !is_about_node);
        [self.expires_at, self.output_due_at, deregisters_at].into_iter().flatten().min()
    }

    fn tell(
        &mut self,
        check: &mut Check,
        settings: &Settings,
        word: Observation,
        now: Moment,
        chance: &mut impl Rng,
    ) -> Heard {
        match word.status {
            Status::Critical => {
                self.critical_since.get_or_insert(now);
            }
            _ => self.critical_since = None,
        }
        if word.status == check.status && word.output == check.output {
            return Heard::Nothing;
        }
        check.output = word.output;
        if word.status == check.status && !settings.update_interval.is_zero() {
            if self.output_due_at.is_none() {
                let wait = settings.update_interval.mul_f64(chance.random_range(0.5..1.5));
                self.output_due_at = Some(now + wait);
            }
            return Heard::Output;
        }
        check.status = word.status;
        self.output_due_at = None;
        Heard::Status
    }
}

/// No check may stay critical for less than this before its instance is deregistered.
pub const DEREGISTER_AFTER_MIN: Duration = Duration::from_secs(60);

impl Settings {
    /// The part of an output that is kept.
    fn kept(&self, definition: &CheckDefinition, output: Text) -> Text {
        if self.discard_output {
            return Text::default();
        }
        bounded(output, self.output_bytes_max_of(definition))
    }

    /// Bytes of output kept of a check.
    pub fn output_bytes_max_of(&self, definition: &CheckDefinition) -> usize {
        match definition.output_max {
            0 => self.output_bytes_max,
            own => self.output_bytes_max.min(own as usize),
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            update_interval: Duration::from_secs(5 * 60),
            discard_output: false,
            output_bytes_max: muster_model::limits::CHECK_OUTPUT_BYTES_MAX,
        }
    }
}
