//! A pool: one member's view of one gossip pool, and all that it does about it.
//!
//! Every call is a turn: something happened (an [`Input`], or a wish of the agent), the time is
//! `now`, and what is to be done about it is appended to `out`. [`Pool::next_deadline`] says when
//! the pool wants to be called even if nothing happens; earlier calls do no harm, and a late one
//! is noticed: a member that could not run gives others the time that it did not listen.
//!
//! What a pool does is in the folder, a file each:
//! - `packets`: what arrives, and how packets are filled;
//! - `probes`: one SWIM round after the other; `rumors`: what is believed, and why; `graces`: when
//!   this member is in no position to judge;
//! - `exchanges` and `joins`: push-pull, and the first one; `leaves`: going, and being sent away;
//! - `events`, `questions`: what is said to all; `upkeep`: what is done from time to time.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use thiserror::Error;

use crate::awareness::Awareness;
use crate::broadcasts::Broadcasts;
use crate::coordinate::{Coordinate, Vivaldi};
use crate::counters::{Counters, Gauges};
use crate::keyring::Keyring;
use crate::limits::{LABEL_BYTES_MAX, SNAPSHOT_PEERS_MAX, TIMERS_AT_A_TIME_MAX};
use crate::member::{Member, Name, Profile, Status, Tags};
use crate::members::Members;
use crate::moment::Moment;
use crate::port::{Input, Output, Turn};
use crate::refused::RefusedLog;
use crate::settings::Settings;
use crate::snapshot::snapshot_of;
use crate::timers::{Timer, Timers};
use crate::wire::envelope::Envelope;

use events::Events;
use exchanges::Exchanges;
use joins::Joins;
use leaves::Phase;
use probes::Probes;
use questions::Questions;
use upkeep::Armed;

mod admission;
mod events;
mod exchanges;
mod graces;
mod joins;
mod leaves;
mod packets;
mod probes;
mod questions;
mod rumors;
mod upkeep;

pub use joins::JoinError;
pub use leaves::ForceLeaveError;

/// What a pool is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How it behaves.
    pub settings: Settings,
    /// What this member says of itself.
    pub profile: Profile,
    /// Which pool this is, at most 64 bytes, such as `dc1.lan`: another pool's packets are refused.
    pub label: String,
    /// The keys that seal the pool, if any.
    pub keyring: Option<Keyring>,
    /// The beginning of all chance, nonces of sealed packets among it: taken from the machine's
    /// entropy, and never used twice but to repeat a test.
    pub seed: [u8; 32],
}

/// Why there can be no such pool.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SetupError {
    /// The label is too long.
    #[error("the pool's label has {0} bytes; at most {LABEL_BYTES_MAX}: shorten the datacenter")]
    LabelTooLong(usize),
}

/// One member's view of one gossip pool.
#[derive(Debug)]
pub struct Pool {
    settings: Settings,
    envelope: Envelope,
    me: Member,
    phase: Phase,
    /// The others.
    members: Members,
    timers: Timers,
    armed: Armed,
    broadcasts: Broadcasts,
    awareness: Awareness,
    probes: Probes,
    exchanges: Exchanges,
    joins: Joins,
    events: Events,
    questions: Questions,
    vivaldi: Vivaldi,
    /// Names and the addresses that claim them in vain, told already.
    conflicts: BTreeSet<(Name, SocketAddr)>,
    refused: RefusedLog,
    /// What the wall clock said at the last call, since 1970, if anybody told.
    wall_clock: Option<Duration>,
    clock_off_told_at: Option<Moment>,
    counters: Counters,
    /// How often anything that is believed of a member changed.
    n_changes: u64,
    rng: StdRng,
    called_at: Moment,
    /// When anybody of this pool was heard last.
    heard_at: Moment,
}

impl Pool {
    /// A pool in which this member is alone.
    ///
    /// # Errors
    /// If the label is too long.
    pub fn new(setup: Setup, now: Moment) -> Result<Pool, SetupError> {
        let Setup { settings, profile, label, keyring, seed } = setup;
        if label.len() > LABEL_BYTES_MAX {
            return Err(SetupError::LabelTooLong(label.len()));
        }
        let settings = settings.bounded();
        let me = Member {
            profile,
            status: Status::Alive,
            incarnation: 1,
            since: now,
            held_before: Duration::ZERO,
        };
        Ok(Pool {
            envelope: Envelope::new(&label, keyring),
            awareness: Awareness::new(settings.lifeguard.awareness_max),
            settings,
            me,
            phase: Phase::Present,
            members: Members::default(),
            timers: Timers::default(),
            armed: Armed::default(),
            broadcasts: Broadcasts::default(),
            probes: Probes::default(),
            exchanges: Exchanges::default(),
            joins: Joins::default(),
            events: Events::default(),
            questions: Questions::default(),
            vivaldi: Vivaldi::default(),
            conflicts: BTreeSet::new(),
            refused: RefusedLog::default(),
            wall_clock: None,
            clock_off_told_at: None,
            counters: Counters::default(),
            n_changes: 0,
            rng: StdRng::from_seed(seed),
            called_at: now,
            heard_at: now,
        })
    }

    /// Something happened.
    pub fn handle(&mut self, input: Input<'_>, now: Moment, out: &mut Vec<Output>) {
        self.turn(now, out, |pool, turn| match input {
            Input::Time => {}
            Input::Packet { from, bytes } => pool.take_packet(from, bytes, turn),
            Input::ExchangeAsked { from, stream, bytes } => {
                pool.answer_exchange(from, stream, bytes, turn);
            }
            Input::ExchangeAnswered { exchange, bytes } => {
                pool.take_exchange_answer(exchange, bytes, turn);
            }
            Input::ExchangeFailed { exchange, reason } => {
                pool.exchange_failed(exchange, reason.to_owned(), turn);
            }
        });
    }

    /// What the machine's wall clock says, since 1970: to be told before each call. A pool that is
    /// never told compares no clocks.
    pub fn set_wall_clock(&mut self, wall: Duration) {
        self.wall_clock = Some(wall);
    }

    /// When the pool is to be called with [`Input::Time`] if nothing else happens before. Changes
    /// with each call.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.timers.next_at()
    }

    /// Runs what happens in one turn: first what is new, then what is due, then what follows.
    fn turn<R>(
        &mut self,
        now: Moment,
        out: &mut Vec<Output>,
        happens: impl FnOnce(&mut Pool, &mut Turn<'_>) -> R,
    ) -> R {
        let now = now.max(self.called_at);
        let mut turn = Turn { now, out };
        self.notice_stall(now);
        self.called_at = now;
        let result = happens(self, &mut turn);
        for _ in 0..TIMERS_AT_A_TIME_MAX {
            let Some(timer) = self.timers.pop_due(now) else { break };
            self.run(timer, &mut turn);
        }
        self.arm(now);
        result
    }

    fn run(&mut self, timer: Timer, turn: &mut Turn<'_>) {
        if self.phase == Phase::Gone {
            return;
        }
        match timer {
            Timer::Probe(number) => self.probe(number, turn),
            Timer::IndirectProbe(number) => self.probe_indirectly(number, turn),
            Timer::Nack(number) => self.send_nack(number, turn),
            Timer::RelayEnds(number) => self.end_relay(number),
            Timer::Suspicion(name) => self.judge(&name, turn),
            Timer::Gossip => self.gossip(turn),
            Timer::PushPull => self.push_pull(turn),
            Timer::CatchUp => self.catch_up(turn),
            Timer::Reconnect => self.reconnect(turn),
            Timer::Reap => self.reap(turn),
            Timer::ExchangeEnds(exchange) => self.end_exchange(exchange, turn),
            Timer::JoinAgain(token) => self.join_again(token, turn),
            Timer::Leave => self.go_on_leaving(turn),
            Timer::AnswerAgain(question) => self.answer_again(question, turn),
            Timer::AskAgain(question) => self.ask_again(question, turn),
            Timer::QuestionEnds(question) => self.end_question(question, turn),
        }
    }

    /// This member as it announces itself.
    pub fn me(&self) -> &Member {
        &self.me
    }

    /// All members by name, this one included, whatever their status.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        let known = self.members.iter().filter(|record| !record.is_pruned);
        let mut members: Vec<&Member> = known.map(|record| &record.member).collect();
        members.push(&self.me);
        members.sort_unstable_by_key(|member| member.name());
        members.into_iter()
    }

    /// The member of this name.
    pub fn member(&self, name: &str) -> Option<&Member> {
        if self.me.name().as_str() == name {
            return Some(&self.me);
        }
        self.members.find(name).filter(|record| !record.is_pruned).map(|record| &record.member)
    }

    /// Announces other tags.
    pub fn set_tags(&mut self, tags: Tags, now: Moment, out: &mut Vec<Output>) {
        self.turn(now, out, |pool, _| {
            if pool.me.profile.tags != tags {
                pool.me.profile.tags = tags;
                pool.me.incarnation += 1;
                pool.announce_me();
            }
        });
    }

    /// Where this member stands on the round-trip map.
    pub fn coordinate(&self) -> &Coordinate {
        self.vivaldi.place()
    }

    /// Where a member stood when it last answered a probe of this one.
    pub fn coordinate_of(&self, name: &str) -> Option<&Coordinate> {
        if self.me.name().as_str() == name {
            return Some(self.vivaldi.place());
        }
        self.members.find(name)?.place.as_deref().map(|place| &place.coordinate)
    }

    /// The estimated round trip to a member.
    pub fn distance_to(&self, name: &str) -> Option<Duration> {
        let seconds = self.coordinate().distance(self.coordinate_of(name)?);
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The pool's label.
    pub fn label(&self) -> &str {
        self.envelope.label()
    }

    /// The keys of this member.
    pub fn keyring(&self) -> Option<&Keyring> {
        self.envelope.keyring.as_ref()
    }

    /// What was counted since the pool began.
    pub fn counters(&self) -> Counters {
        Counters { refused: self.refused.counts(), ..self.counters }
    }

    /// How the pool stands now.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            n_active: self.n_active(),
            n_failed: self.members.n_failed(),
            n_known: self.members.len() + 1,
            awareness: self.awareness.score(),
            n_broadcasts: self.broadcasts.len(),
        }
    }

    /// Peers to join after a restart, as bytes for [`crate::snapshot::peers_of`].
    pub fn snapshot(&self) -> Vec<u8> {
        let active = self.members.iter().filter(|record| record.is_active());
        let peers: Vec<SocketAddr> =
            active.take(SNAPSHOT_PEERS_MAX).map(|record| record.member.address()).collect();
        snapshot_of(&peers)
    }

    /// Members that take part, this one included.
    fn n_active(&self) -> usize {
        self.members.n_active() + 1
    }
}
