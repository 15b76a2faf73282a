//! Probes: one SWIM round after the other.
//!
//! ```text
//! at 0                 ping the next member
//! at probe_timeout     still silent: ping again, and have some others ping it
//!   80 % of the rest   who was asked and heard nothing says so: a nack
//! at probe_interval    silent: suspect it, and begin the next round
//! ```
//!
//! Awareness stretches all of it. Missing nacks are a sign that it is this member that does not
//! hear (Lifeguard, section IV.A). A suspected member is told with the ping, so that it can refute
//! in the answer (the buddy system, section IV.C).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::coordinate::Coordinate;
use crate::limits::{RELAY_TIMEOUT_MAX, RELAYS_MAX};
use crate::member::{Name, Status};
use crate::members::{Place, Record};
use crate::moment::Moment;
use crate::port::Turn;
use crate::timers::Timer;
use crate::wire::{Message, Rumor};

use super::Pool;

/// The rounds of this member, and the probes that it makes for others.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// The round under way.
    current: Option<Probe>,
    /// By the number of the ping that was sent for another.
    relays: BTreeMap<u32, Relay>,
    last_number: u32,
}

#[derive(Debug)]
struct Probe {
    number: u32,
    target: Name,
    address: SocketAddr,
    /// Of the target when the round began: what it says at a later one is a sign of life.
    incarnation: u64,
    sent_at: Moment,
    indirect_at: Moment,
    ends_at: Moment,
    is_answered: bool,
    n_relays: u32,
    n_nacks: u32,
}

#[derive(Debug)]
struct Relay {
    asker: SocketAddr,
    /// The number that the asker knows.
    number: u32,
}

impl Probes {
    fn next_number(&mut self) -> u32 {
        self.last_number = self.last_number.wrapping_add(1);
        self.last_number
    }

    fn current(&mut self, number: u32) -> Option<&mut Probe> {
        self.current.as_mut().filter(|probe| probe.number == number)
    }
}

impl Pool {
    /// The first round begins at this time.
    pub(super) fn begin_probing(&mut self, at: Moment) {
        self.probes.current = None;
        self.timers.set(at, Timer::Probe(self.probes.last_number));
    }

    /// Ends the round of this number, if it is still under way, and begins the next.
    pub(super) fn probe(&mut self, number: u32, turn: &mut Turn<'_>) {
        if let Some(probe) = &self.probes.current {
            if probe.number != number {
                return;
            }
            if probe.ends_at > turn.now {
                self.timers.set(probe.ends_at, Timer::Probe(number));
                return;
            }
        }
        if let Some(probe) = self.probes.current.take()
            && !probe.is_answered
        {
            self.probe_failed(&probe, turn);
        }
        let next = self.members.next_to_probe(&mut self.rng);
        let Some(record) = next.and_then(|name| self.members.find(name.as_str())) else {
            self.armed.probe = false;
            return;
        };
        let (target, address) = (record.member.name().clone(), record.member.address());
        let (incarnation, doubt) = (record.member.incarnation, self.doubt_of(record));
        let number = self.probes.next_number();
        let indirect_at = turn.now + self.awareness.stretch(self.settings.probe_timeout);
        let ends_at = turn.now + self.awareness.stretch(self.settings.probe_interval);
        self.counters.probes += 1;
        self.probes.current = Some(Probe {
            number,
            target: target.clone(),
            address,
            incarnation,
            sent_at: turn.now,
            indirect_at,
            ends_at,
            is_answered: false,
            n_relays: 0,
            n_nacks: 0,
        });
        self.timers.set(indirect_at, Timer::IndirectProbe(number));
        self.timers.set(ends_at, Timer::Probe(number));
        self.ping(number, target, address, doubt, turn);
    }

    /// The direct ping was not answered: have others try.
    pub(super) fn probe_indirectly(&mut self, number: u32, turn: &mut Turn<'_>) {
        let Some(probe) = self.probes.current(number).filter(|probe| !probe.is_answered) else {
            return;
        };
        if probe.indirect_at > turn.now {
            let at = probe.indirect_at;
            return self.timers.set(at, Timer::IndirectProbe(number));
        }
        let (target, address) = (probe.target.clone(), probe.address);
        let wait_ms = probe.ends_at.since(turn.now).as_millis() as u32;
        let Some(record) = self.members.find(target.as_str()) else { return };
        let doubt = self.doubt_of(record);
        let n = self.settings.indirect_probes;
        let helpers = self.members.sample(n, &mut self.rng, |record| {
            record.member.status == Status::Alive && *record.member.name() != target
        });
        let helpers: Vec<SocketAddr> =
            helpers.into_iter().map(|record| record.member.address()).collect();
        if let Some(probe) = self.probes.current(number) {
            probe.n_relays = helpers.len() as u32;
        }
        // Either of the two datagrams may have been lost: where others send a stream, ping again.
        self.ping(number, target.clone(), address, doubt, turn);
        for helper in helpers {
            let target = target.clone();
            self.send(helper, &[Message::PingFor { number, target, address, wait_ms }], turn);
        }
    }

    /// Nobody has heard from the target.
    fn probe_failed(&mut self, probe: &Probe, turn: &mut Turn<'_>) {
        self.counters.probes_failed += 1;
        if probe.n_relays == 0 || !self.settings.lifeguard.nacks {
            self.awareness.doubt(1);
        } else {
            self.awareness.doubt(probe.n_relays.saturating_sub(probe.n_nacks));
        }
        let from = self.me.name().clone();
        self.hear_suspect(&probe.target, probe.incarnation, from, turn);
    }

    fn ping(
        &mut self,
        number: u32,
        target: Name,
        to: SocketAddr,
        doubt: Option<Rumor>,
        turn: &mut Turn<'_>,
    ) {
        let ping = Message::Ping { number, target, from: self.me.name().clone() };
        match doubt {
            Some(rumor) => self.send(to, &[Message::Rumor(rumor), ping], turn),
            None => self.send(to, &[ping], turn),
        }
    }

    /// What a member should be told of itself, so that it can refute.
    fn doubt_of(&self, record: &Record) -> Option<Rumor> {
        if !self.settings.lifeguard.buddy {
            return None;
        }
        let (name, from) = (record.member.name().clone(), self.me.name().clone());
        let incarnation = record.member.incarnation;
        match record.member.status {
            Status::Suspect => Some(Rumor::Suspect { name, incarnation, from }),
            Status::Failed => Some(Rumor::Failed { name, incarnation, from }),
            Status::Left => Some(Rumor::Left { name, incarnation, is_pruned: false }),
            Status::Alive | Status::Leaving => None,
        }
    }

    /// Someone asks whether this member lives. If it is believed not to live itself, it is told
    /// so with the answer.
    pub(super) fn answer_ping(
        &mut self,
        number: u32,
        asker: &Name,
        to: SocketAddr,
        turn: &mut Turn<'_>,
    ) {
        let coordinate = Some(self.vivaldi.place().clone());
        let ack = Message::Ack { number, coordinate };
        let known = self.members.find(asker.as_str());
        let Some(record) = known.filter(|record| record.member.address() == to) else {
            return self.send_bare(to, &[ack], turn);
        };
        match self.doubt_of(record) {
            Some(rumor) => self.send(to, &[Message::Rumor(rumor), ack], turn),
            None => self.send(to, &[ack], turn),
        }
    }

    /// A member lives: the one of this round, or one that another wanted to know about.
    pub(super) fn take_ack(
        &mut self,
        number: u32,
        coordinate: Option<Coordinate>,
        from: SocketAddr,
        turn: &mut Turn<'_>,
    ) {
        if let Some(relay) = self.probes.relays.remove(&number) {
            let ack = Message::Ack { number: relay.number, coordinate: None };
            return self.send(relay.asker, &[ack], turn);
        }
        let Some(probe) = self.probes.current(number).filter(|probe| !probe.is_answered) else {
            return;
        };
        probe.is_answered = true;
        // However long it would have waited for an answer, it waits no longer for the next round.
        probe.ends_at = (probe.sent_at + self.settings.probe_interval).max(turn.now);
        self.timers.set(probe.ends_at, Timer::Probe(number));
        self.awareness.trust();
        let is_direct = from == probe.address && turn.now < probe.indirect_at;
        let round_trip = turn.now.since(probe.sent_at);
        let target = probe.target.clone();
        if let Some(coordinate) = coordinate.filter(|place| is_direct && place.is_sound()) {
            self.learn_place(&target, coordinate, round_trip);
        }
    }

    fn learn_place(&mut self, name: &Name, coordinate: Coordinate, round_trip: Duration) {
        let Some(record) = self.members.find_mut(name.as_str()) else { return };
        let place = record.place.get_or_insert_with(|| Box::new(Place::default()));
        place.coordinate = coordinate;
        let typical = place.latencies.median(round_trip);
        self.vivaldi.sample(&place.coordinate, typical, &mut self.rng);
    }

    pub(super) fn take_nack(&mut self, number: u32) {
        if let Some(probe) = self.probes.current(number) {
            probe.n_nacks = (probe.n_nacks + 1).min(probe.n_relays);
        }
    }

    /// Another member does not hear from this one, and asks this member to try.
    pub(super) fn ping_for(
        &mut self,
        number: u32,
        target: Name,
        address: SocketAddr,
        (asker, wait_ms): (SocketAddr, u32),
        turn: &mut Turn<'_>,
    ) {
        if target == *self.me.name() {
            return self.send(asker, &[Message::Ack { number, coordinate: None }], turn);
        }
        if self.probes.relays.len() >= RELAYS_MAX {
            return;
        }
        let wait = Duration::from_millis(wait_ms.into()).min(RELAY_TIMEOUT_MAX);
        let own = self.probes.next_number();
        self.probes.relays.insert(own, Relay { asker, number });
        if self.settings.lifeguard.nacks {
            self.timers.set(turn.now + wait * 4 / 5, Timer::Nack(own));
        }
        self.timers.set(turn.now + wait, Timer::RelayEnds(own));
        let ping = Message::Ping { number: own, target, from: self.me.name().clone() };
        self.send(address, &[ping], turn);
    }

    /// Says to who asked that there was no answer; one may still come.
    pub(super) fn send_nack(&mut self, number: u32, turn: &mut Turn<'_>) {
        if let Some(&Relay { asker, number }) = self.probes.relays.get(&number) {
            self.send(asker, &[Message::Nack { number }], turn);
        }
    }

    pub(super) fn end_relay(&mut self, number: u32) {
        self.probes.relays.remove(&number);
    }

    /// Gives the round under way more time.
    pub(super) fn extend_probe(&mut self, grace: Duration) {
        if let Some(probe) = &mut self.probes.current {
            probe.indirect_at = probe.indirect_at + grace;
            probe.ends_at = probe.ends_at + grace;
        }
    }
}
