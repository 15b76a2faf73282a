//! Rumors: what is believed of a member, and why.
//!
//! ```text
//!            suspect i >= known             failed i >= known
//!   alive ─────────────────────► suspect ───────────────────► failed
//!     ▲  ◄─────────────────────     │    suspicion ended         │
//!     │      alive i > known        └───────────┬────────────────┘ left i >= known
//!     └─────────────────────────────────────────┴──────────────► left
//!            alive i > known
//! ```
//!
//! Only the member itself raises its incarnation, and it does so to refute. What changes a belief
//! is spread again; what does not is not. Who said that it is leaving and then gives no answer has
//! left. A name belongs to the address that has it: a claim from another address is heard only
//! once the holder failed or left.

use std::net::SocketAddr;

use crate::limits::CONFLICTS_MAX;
use crate::member::{Member, Name, Profile, Status};
use crate::members::Record;
use crate::moment::Moment;
use crate::port::{Conflict, Notice, Turn};
use crate::suspicion::Suspicion;
use crate::timers::Timer;
use crate::wire::{Known, Message, Rumor, is_credible};

use super::Pool;
use super::leaves::Phase;
use crate::broadcasts::Topic;

/// How near the end of its remembrance a member is not taken in any more, so that members do not
/// give back to each other what they have just forgotten.
const REAP_MARGIN: f64 = 0.95;

impl Pool {
    /// Hears a rumor.
    pub(super) fn hear(&mut self, rumor: Rumor, turn: &mut Turn<'_>) {
        match rumor {
            Rumor::Alive { profile, incarnation, is_leaving } => {
                let status = if is_leaving { Status::Leaving } else { Status::Alive };
                self.hear_alive(profile, incarnation, status, false, turn);
            }
            Rumor::Suspect { name, incarnation, from } => {
                self.hear_suspect(&name, incarnation, from, turn);
            }
            Rumor::Failed { name, incarnation, from } => {
                self.hear_failed(&name, incarnation, from, turn);
            }
            Rumor::Left { name, incarnation, is_pruned } => {
                self.hear_left(&name, incarnation, is_pruned, turn);
            }
        }
    }

    /// A member is said to live: by itself, if it is first-hand.
    fn hear_alive(
        &mut self,
        profile: Profile,
        incarnation: u64,
        status: Status,
        is_first_hand: bool,
        turn: &mut Turn<'_>,
    ) {
        if !is_credible(incarnation) {
            return;
        }
        if profile.name == *self.me.name() {
            return self.hear_of_me(profile, incarnation, turn);
        }
        let Some(record) = self.members.find(profile.name.as_str()) else {
            return self.meet(profile, incarnation, status, turn);
        };
        let is_news = incarnation > record.member.incarnation;
        let is_at_home = record.member.address() == profile.address;
        if !is_at_home && !self.may_move(record, &profile, turn.now) {
            if is_news || is_first_hand {
                self.dispute(profile, turn);
            }
            return;
        }
        if is_news {
            self.believe_alive(profile, incarnation, status, turn);
        }
    }

    fn believe_alive(
        &mut self,
        profile: Profile,
        incarnation: u64,
        status: Status,
        turn: &mut Turn<'_>,
    ) {
        let name = profile.name.clone();
        let Some(record) = self.members.find_mut(name.as_str()) else { return };
        let was = record.member.status;
        let is_changed = record.member.profile != profile || status != was;
        record.member.profile = profile.clone();
        record.is_pruned = false;
        self.members.set_status(name.as_str(), status, incarnation, turn.now);
        self.conflicts.retain(|(known, _)| *known != name);
        self.n_changes += 1;
        let is_leaving = status == Status::Leaving;
        self.spread(name.clone(), Rumor::Alive { profile, incarnation, is_leaving });
        let Some(member) = self.member(name.as_str()).cloned() else { return };
        match was {
            Status::Failed | Status::Left => turn.tell(Notice::Joined(member)),
            Status::Suspect => turn.tell(Notice::Refuted(member)),
            Status::Alive | Status::Leaving if is_changed => turn.tell(Notice::Updated(member)),
            Status::Alive | Status::Leaving => {}
        }
    }

    /// Takes in a member that is new here.
    fn meet(&mut self, profile: Profile, incarnation: u64, status: Status, turn: &mut Turn<'_>) {
        let member = new_member(profile.clone(), incarnation, status, turn.now);
        if !self.members.insert(Record::new(member.clone()), &mut self.rng) {
            return self.tell_limit(TOO_MANY_MEMBERS, turn);
        }
        self.n_changes += 1;
        let is_leaving = status == Status::Leaving;
        let name = profile.name.clone();
        self.spread(name, Rumor::Alive { profile, incarnation, is_leaving });
        turn.tell(Notice::Joined(member));
    }

    /// A member is said not to have answered `from`.
    pub(super) fn hear_suspect(
        &mut self,
        name: &Name,
        incarnation: u64,
        from: Name,
        turn: &mut Turn<'_>,
    ) {
        if name == self.me.name() {
            return self.refute(incarnation, true);
        }
        let n_active = self.n_active();
        let Some(record) = self.members.find_mut(name.as_str()) else { return };
        if incarnation < record.member.incarnation || !is_credible(incarnation) {
            return;
        }
        match record.member.status {
            Status::Failed | Status::Left => return,
            Status::Leaving => return self.hear_left(name, incarnation, false, turn),
            Status::Suspect => {
                let Some(suspicion) = &mut record.suspicion else { return };
                if !suspicion.confirm(&from) {
                    return;
                }
                if let Some(at) = suspicion.alarm(turn.now) {
                    self.timers.set(at, Timer::Suspicion(name.clone()));
                }
            }
            Status::Alive => {
                let suspicion = Suspicion::begin(&self.settings, n_active, from.clone(), turn.now);
                self.timers.set(suspicion.ends_at(), Timer::Suspicion(name.clone()));
                self.believe(name, Status::Suspect, incarnation, turn);
                if let Some(record) = self.members.find_mut(name.as_str()) {
                    record.suspicion = Some(Box::new(suspicion));
                }
            }
        }
        self.spread(name.clone(), Rumor::Suspect { name: name.clone(), incarnation, from });
    }

    /// The suspicion of a member may have ended.
    pub(super) fn judge(&mut self, name: &Name, turn: &mut Turn<'_>) {
        let is_silent = self.is_silent(turn.now);
        let Some(record) = self.members.find_mut(name.as_str()) else { return };
        let Some(suspicion) = &mut record.suspicion else { return };
        if is_silent && suspicion.is_young(turn.now) {
            suspicion.extend(self.settings.probe_interval);
        }
        if suspicion.ends_at() > turn.now {
            if let Some(at) = suspicion.alarm(turn.now) {
                self.timers.set(at, Timer::Suspicion(name.clone()));
            }
            return;
        }
        let incarnation = record.member.incarnation;
        let from = self.me.name().clone();
        self.hear_failed(name, incarnation, from, turn);
    }

    /// A member is said not to have refuted.
    fn hear_failed(&mut self, name: &Name, incarnation: u64, from: Name, turn: &mut Turn<'_>) {
        if name == self.me.name() {
            return self.refute(incarnation, true);
        }
        let Some(record) = self.members.find(name.as_str()) else { return };
        if incarnation < record.member.incarnation
            || !record.is_active()
            || !is_credible(incarnation)
        {
            return;
        }
        if record.member.status == Status::Leaving {
            return self.hear_left(name, incarnation, false, turn);
        }
        self.believe(name, Status::Failed, incarnation, turn);
        self.spread(name.clone(), Rumor::Failed { name: name.clone(), incarnation, from });
    }

    /// A member is said to have left.
    pub(super) fn hear_left(
        &mut self,
        name: &Name,
        incarnation: u64,
        is_pruned: bool,
        turn: &mut Turn<'_>,
    ) {
        if name == self.me.name() {
            return self.refute(incarnation, false);
        }
        let Some(record) = self.members.find(name.as_str()) else { return };
        let is_new = record.member.status != Status::Left || (is_pruned && !record.is_pruned);
        if incarnation < record.member.incarnation || !is_new || !is_credible(incarnation) {
            return;
        }
        if record.member.status != Status::Left {
            self.believe(name, Status::Left, incarnation, turn);
        }
        if is_pruned && let Some(record) = self.members.find_mut(name.as_str()) {
            record.is_pruned = true;
            turn.tell(Notice::Reaped(record.member.clone()));
        }
        self.spread(name.clone(), Rumor::Left { name: name.clone(), incarnation, is_pruned });
    }

    /// Believes something worse than before of a member that is known.
    fn believe(&mut self, name: &Name, status: Status, incarnation: u64, turn: &mut Turn<'_>) {
        self.members.set_status(name.as_str(), status, incarnation, turn.now);
        self.n_changes += 1;
        if !status.is_active() {
            self.conflicts.retain(|(known, _)| known != name);
        }
        let Some(record) = self.members.find(name.as_str()) else { return };
        let member = record.member.clone();
        turn.tell(match status {
            Status::Suspect => Notice::Suspected(member),
            Status::Failed => Notice::Failed(member),
            Status::Left => Notice::Left(member),
            Status::Alive | Status::Leaving => Notice::Updated(member),
        });
    }

    /// Takes what another member knows of one: `from` itself, if it is first-hand.
    pub(super) fn merge(&mut self, known: Known, from: &Name, turn: &mut Turn<'_>) {
        let Known { profile, incarnation, status, .. } = &known;
        let (name, incarnation, is_first_hand) =
            (&profile.name, *incarnation, profile.name == *from);
        let is_met = self.members.find(name.as_str()).is_some() || name == self.me.name();
        match status {
            Status::Alive | Status::Leaving => {
                self.hear_alive(profile.clone(), incarnation, *status, is_first_hand, turn);
            }
            Status::Suspect => {
                if name != self.me.name() {
                    self.hear_alive(profile.clone(), incarnation, Status::Alive, false, turn);
                }
                self.hear_suspect(name, incarnation, from.clone(), turn);
            }
            Status::Failed | Status::Left if !is_met => self.remember(known, turn),
            // Who is believed to have failed elsewhere gets the chance to refute here.
            Status::Failed => self.hear_suspect(name, incarnation, from.clone(), turn),
            Status::Left => self.hear_left(name, incarnation, known.is_pruned, turn),
        }
    }

    /// Takes in one that failed or left before this member could meet it. It is not spread.
    fn remember(&mut self, known: Known, turn: &mut Turn<'_>) {
        let age = std::time::Duration::from_secs(known.status_age_s);
        let kept_for = self.settings.kept_for(known.status, false);
        if known.is_pruned
            || age >= kept_for.mul_f64(REAP_MARGIN)
            || !is_credible(known.incarnation)
        {
            return;
        }
        let mut member = new_member(known.profile, known.incarnation, known.status, turn.now);
        member.held_before = age;
        if self.members.insert(Record::new(member.clone()), &mut self.rng) {
            self.n_changes += 1;
            let is_failed = known.status == Status::Failed;
            turn.tell(if is_failed { Notice::Failed(member) } else { Notice::Left(member) });
        }
    }

    /// This member is said to live: as it is now, or as it was before it started again, or at an
    /// address that is not its own.
    fn hear_of_me(&mut self, profile: Profile, incarnation: u64, turn: &mut Turn<'_>) {
        if profile.address != self.me.address() {
            let name = profile.name.clone();
            return self.tell_conflict(name, profile.address, self.me.address(), turn);
        }
        let is_older_self = incarnation == self.me.incarnation && profile != self.me.profile;
        if incarnation > self.me.incarnation || is_older_self {
            self.refute(incarnation, false);
        }
    }

    /// Overrules what is said of this member, unless it has left. Being suspected is a sign of
    /// one's own slowness.
    fn refute(&mut self, incarnation: u64, is_doubted: bool) {
        let is_stale = incarnation < self.me.incarnation || !is_credible(incarnation);
        if is_stale || self.phase.has_left() {
            return;
        }
        self.me.incarnation = incarnation + 1;
        if is_doubted {
            self.counters.refutations += 1;
            self.awareness.doubt(1);
        }
        self.announce_me();
    }

    /// Spreads what this member says of itself.
    pub(super) fn announce_me(&mut self) {
        self.me.status = self.phase.status();
        let (name, incarnation) = (self.me.name().clone(), self.me.incarnation);
        let rumor = if self.phase.has_left() {
            Rumor::Left { name: name.clone(), incarnation, is_pruned: false }
        } else {
            let is_leaving = self.phase == Phase::Leaving;
            Rumor::Alive { profile: self.me.profile.clone(), incarnation, is_leaving }
        };
        self.spread(name, rumor);
    }

    pub(super) fn spread(&mut self, about: Name, rumor: Rumor) {
        self.broadcast(Topic::Member(about), &Message::Rumor(rumor));
    }

    /// Tells all members, by and by.
    pub(super) fn broadcast(&mut self, topic: Topic, message: &Message) {
        if self.broadcasts.add(topic, message.to_bytes()) {
            self.counters.broadcasts_dropped += 1;
        }
    }

    /// Whether a member of this name may be at another address than the one that is known.
    fn may_move(&self, record: &Record, profile: &Profile, now: Moment) -> bool {
        match record.member.status {
            Status::Alive | Status::Leaving | Status::Suspect => false,
            Status::Left => true,
            Status::Failed => {
                record.member.profile.id == profile.id
                    || record.member.status_age(now) >= self.settings.name_reclaim_after
            }
        }
    }

    /// Turns a claim to a name away, and says so to who made it.
    fn dispute(&mut self, claim: Profile, turn: &mut Turn<'_>) {
        let Some(record) = self.members.find(claim.name.as_str()) else { return };
        let holder = record.member.address();
        if self.conflicts.contains(&(claim.name.clone(), claim.address)) {
            return;
        }
        self.tell_conflict(claim.name.clone(), holder, claim.address, turn);
        self.send(claim.address, &[Message::NameTaken { name: claim.name, holder }], turn);
    }

    /// Tells of a conflict, once.
    pub(super) fn tell_conflict(
        &mut self,
        name: Name,
        holder: SocketAddr,
        claimant: SocketAddr,
        turn: &mut Turn<'_>,
    ) {
        let is_refused_here = claimant == self.me.address();
        let other = if is_refused_here { holder } else { claimant };
        if !self.conflicts.insert((name.clone(), other)) {
            return;
        }
        if self.conflicts.len() > CONFLICTS_MAX {
            self.conflicts.pop_first();
        }
        self.counters.name_conflicts += 1;
        turn.tell(Notice::Conflict(Conflict { name, holder, claimant, is_refused_here }));
    }
}

const TOO_MANY_MEMBERS: &str = "this pool knows as many members as it can: split it into more \
                                datacenters, or let failed members be forgotten sooner";

fn new_member(profile: Profile, incarnation: u64, status: Status, now: Moment) -> Member {
    Member { profile, status, incarnation, since: now, held_before: std::time::Duration::ZERO }
}
