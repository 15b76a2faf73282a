//! Packets: what arrives is opened, read and acted on; what leaves is filled with broadcasts.

use std::net::SocketAddr;

use rand::Rng;

use crate::limits::PACKET_BYTES_MAX;
use crate::member::Status;
use crate::moment::Moment;
use crate::port::{Notice, Output, Turn};
use crate::refused::Refused;
use crate::wire::envelope::Kind;
use crate::wire::{Message, messages};

use super::Pool;
use super::leaves::Phase;

/// With this many packets' worth of broadcasts waiting for each member told, more packets are
/// sent at a time, so that a mass of news is told sooner.
const BURST_PACKETS_MAX: usize = 4;
const BURST_ABOVE: usize = 64;

impl Pool {
    pub(super) fn take_packet(&mut self, from: SocketAddr, bytes: &[u8], turn: &mut Turn<'_>) {
        self.counters.packets_in += 1;
        self.counters.packet_bytes_in += bytes.len() as u64;
        if self.phase == Phase::Gone {
            return;
        }
        if bytes.len() > PACKET_BYTES_MAX {
            return self.refuse(from, Refused::TooLong, turn);
        }
        let opened = self.envelope.open(Kind::Packet, bytes).map(|content| content.into_owned());
        let content = match opened {
            Ok(content) => content,
            Err(why) => return self.refuse(from, why, turn),
        };
        self.notice_voice(turn);
        for message in messages(&content) {
            match message {
                Ok(message) => self.take_message(from, message, turn),
                Err(_) => return self.refuse(from, Refused::Damaged, turn),
            }
        }
    }

    fn take_message(&mut self, from: SocketAddr, message: Message, turn: &mut Turn<'_>) {
        match message {
            Message::Ping { number, target, from: asker } => {
                if target == *self.me.name() {
                    self.answer_ping(number, &asker, from, turn);
                }
            }
            Message::Ack { number, coordinate } => self.take_ack(number, coordinate, from, turn),
            Message::Nack { number } => self.take_nack(number),
            Message::PingFor { number, target, address, wait_ms } => {
                self.ping_for(number, target, address, (from, wait_ms), turn);
            }
            Message::Rumor(rumor) => self.hear(rumor, turn),
            Message::Event(event) => self.take_event(event, turn),
            Message::Question(question) => self.take_question(question, turn),
            Message::Answer(answer) => self.take_answer(answer, from, turn),
            Message::AnswerTaken { question } => self.answer_taken(question),
            Message::NameTaken { name, holder } => {
                if name == *self.me.name() && holder != self.me.address() {
                    self.tell_conflict(name, holder, self.me.address(), turn);
                }
            }
        }
    }

    /// Counts wrong input, and tells of it when it is time.
    pub(super) fn refuse(&mut self, from: SocketAddr, why: Refused, turn: &mut Turn<'_>) {
        if let Some(told) = self.refused.add(from, why, turn.now) {
            turn.tell(Notice::Refused(told));
        }
    }

    /// Sends messages, and broadcasts in the room that they leave.
    pub(super) fn send(&mut self, to: SocketAddr, messages: &[Message], turn: &mut Turn<'_>) {
        let mut content = Vec::new();
        for message in messages {
            message.append_to(&mut content);
        }
        self.send_filled(to, content, turn);
    }

    /// Sends messages and nothing else, to who may be nobody of ours: an answer that is no larger
    /// than the question cannot be turned against others.
    pub(super) fn send_bare(&mut self, to: SocketAddr, messages: &[Message], turn: &mut Turn<'_>) {
        let mut content = Vec::new();
        for message in messages {
            message.append_to(&mut content);
        }
        self.send_content(to, &content, turn);
    }

    fn send_filled(&mut self, to: SocketAddr, mut content: Vec<u8>, turn: &mut Turn<'_>) {
        let room = PACKET_BYTES_MAX - self.envelope.overhead();
        let times_max = self.transmissions_max();
        self.broadcasts.fill(&mut content, room, times_max);
        if !content.is_empty() {
            self.send_content(to, &content, turn);
        }
    }

    fn send_content(&mut self, to: SocketAddr, content: &[u8], turn: &mut Turn<'_>) {
        let bytes = self.envelope.close(Kind::Packet, content, &mut self.rng);
        self.counters.packets_out += 1;
        self.counters.packet_bytes_out += bytes.len() as u64;
        turn.out.push(Output::Packet { to, bytes });
    }

    /// One round of telling broadcasts.
    pub(super) fn gossip(&mut self, turn: &mut Turn<'_>) {
        self.armed.gossip = false;
        self.armed.gossiped_at = Some(turn.now);
        let n_packets = (self.broadcasts.len() / BURST_ABOVE + 1).min(BURST_PACKETS_MAX);
        for to in self.listeners(turn.now) {
            for _ in 0..n_packets {
                self.send_filled(to, Vec::new(), turn);
            }
        }
        self.leave_sooner_if_told(turn);
    }

    /// Who is told in a round: active members, and those that failed so lately that they may
    /// only have been away.
    fn listeners(&mut self, now: Moment) -> Vec<SocketAddr> {
        let is_lately = self.settings.gossip_to_failed_for;
        let chosen = self.members.sample(self.settings.gossip_nodes, &mut self.rng, |record| {
            record.is_active()
                || record.member.status == Status::Failed
                    && record.member.status_age(now) < is_lately
        });
        chosen.into_iter().map(|record| record.member.address()).collect()
    }

    /// How often each broadcast is told: grows with the logarithm of the pool.
    fn transmissions_max(&self) -> u32 {
        let scale = ((self.n_active() + 1) as f64).log10().ceil();
        self.settings.retransmit_mult.saturating_mul(scale.max(1.0) as u32)
    }

    /// A chance duration below this one.
    pub(super) fn up_to(&mut self, duration: std::time::Duration) -> std::time::Duration {
        duration.mul_f64(self.rng.random_range(0.0..1.0))
    }
}
