//! foca as a judge: another body of SWIM, by other hands, lives through the same days.
//!
//! Both are told to the millisecond who dies and who stands still for a moment. When all is quiet
//! again, both have to believe the same of everybody.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::{Buf, BufMut};
use foca::{Config, Foca, Header, Identity, Member, Message, NoCustomBroadcast, Notification};
use foca::{Runtime, State, Timer};
use muster_gossip::Settings;
use proptest::prelude::*;
use rand_next::rngs::StdRng;
use rand_next::{RngExt, SeedableRng};

use crate::network::Network;
use crate::scenarios::plain;

const SECOND: Duration = Duration::from_secs(1);
const N: usize = 12;

/// What happens to one member, so many seconds after the last thing that happened.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Dies,
    /// For a second and a half: long enough to be suspected, too short to fail.
    StandsStill,
}

type Day = Vec<(u32, usize, Fate)>;

/// Who is believed to live, by each that does.
type Views = Vec<Vec<usize>>;

fn ours(day: &Day, settings: &Settings, seed: u64) -> Views {
    let mut network = Network::joined(seed, N, settings);
    network.loss = 0.01;
    for (after, at, fate) in day {
        network.run_for(SECOND * *after);
        match fate {
            Fate::Dies => network.kill(*at),
            Fate::StandsStill => network.pause(*at, SECOND * 3 / 2),
        }
    }
    network.run_for(60 * SECOND);
    let living = network.nodes.iter().filter(|node| !node.is_down);
    let believed = living.map(|node| {
        let active = node.pool.members().filter(|member| member.status.is_active());
        let names = active.map(|member| member.name().as_str()[1..].to_owned());
        let mut numbers: Vec<usize> =
            names.map(|number| number.parse().expect("m and a number")).collect();
        numbers.sort_unstable();
        numbers
    });
    believed.collect()
}

fn theirs(day: &Day, seed: u64) -> Views {
    let mut oracle = Oracle::new(seed);
    for (after, at, fate) in day {
        oracle.run_for(SECOND * *after);
        match fate {
            Fate::Dies => oracle.is_down[*at] = true,
            Fate::StandsStill => oracle.still_until[*at] = oracle.now + SECOND * 3 / 2,
        }
    }
    oracle.run_for(60 * SECOND);
    let living = (0..N).filter(|at| !oracle.is_down[*at]);
    let believed = living.map(|at| {
        let others = oracle.members[at].iter_members().map(|member| member.id().0 as usize);
        let mut numbers: Vec<usize> = others.chain([at]).collect();
        numbers.sort_unstable();
        numbers
    });
    believed.collect()
}

fn days() -> impl Strategy<Value = Day> {
    let fate = prop_oneof![Just(Fate::Dies), Just(Fate::StandsStill)];
    prop::collection::vec((2..15_u32, 1..N, fate), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        max_shrink_iters: 30,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn two_bodies_of_swim_come_to_believe_the_same(day in days(), seed in any::<u64>()) {
        let judged = theirs(&day, seed);
        prop_assert_eq!(&ours(&day, &plain(), seed), &judged, "plain");
        prop_assert_eq!(&ours(&day, &Settings::lan(), seed), &judged, "with Lifeguard");
    }
}

/// A network of foca, as small as it can be.
struct Oracle {
    now: Duration,
    members: Vec<Foca<Id, Numbers, StdRng, NoCustomBroadcast>>,
    is_down: Vec<bool>,
    still_until: Vec<Duration>,
    queue: BTreeMap<(Duration, u64), (usize, Due)>,
    n_queued: u64,
    rng: StdRng,
}

enum Due {
    Packet(Vec<u8>),
    Timer(Timer<Id>),
}

/// What one member wants done.
#[derive(Default)]
struct Wants {
    packets: Vec<(usize, Vec<u8>)>,
    timers: Vec<(Duration, Timer<Id>)>,
}

impl Runtime<Id> for Wants {
    fn notify(&mut self, _: Notification<'_, Id>) {}

    fn send_to(&mut self, to: Id, data: &[u8]) {
        self.packets.push((to.0 as usize, data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Id>, after: Duration) {
        self.timers.push((after, event));
    }
}

impl Oracle {
    fn new(seed: u64) -> Oracle {
        let n = NonZeroU32::new(N as u32).expect("it is not zero");
        let members = (0..N).map(|at| {
            let rng = StdRng::seed_from_u64(seed ^ at as u64);
            Foca::new(Id(at as u16, 0), Config::new_lan(n), rng, Numbers)
        });
        let mut oracle = Oracle {
            now: Duration::ZERO,
            members: members.collect(),
            is_down: vec![false; N],
            still_until: vec![Duration::ZERO; N],
            queue: BTreeMap::new(),
            n_queued: 0,
            rng: StdRng::seed_from_u64(seed),
        };
        for at in 0..N {
            let others = (0..N as u16).filter(|other| *other as usize != at);
            let others: Vec<_> = others.map(|id| Member::alive(Id(id, 0))).collect();
            oracle
                .call(at, |foca, wants| foca.apply_many(others.into_iter(), false, wants))
                .expect("a fresh member takes others in");
        }
        oracle
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((due_at, _), (at, due)) = entry.remove_entry();
            self.now = due_at;
            if self.is_down[at] {
                continue;
            }
            if self.now < self.still_until[at] {
                let until = self.still_until[at];
                self.queue(until, at, due);
                continue;
            }
            // What foca refuses changes nothing in it.
            let _ = self.call(at, |foca, wants| match due {
                Due::Packet(bytes) => foca.handle_data(&bytes, wants),
                Due::Timer(timer) => foca.handle_timer(timer, wants),
            });
        }
        self.now = end;
    }

    fn call<R>(
        &mut self,
        at: usize,
        call: impl FnOnce(&mut Foca<Id, Numbers, StdRng, NoCustomBroadcast>, &mut Wants) -> R,
    ) -> R {
        let mut wants = Wants::default();
        let result = call(&mut self.members[at], &mut wants);
        for (after, timer) in wants.timers {
            self.queue(self.now + after, at, Due::Timer(timer));
        }
        for (to, bytes) in wants.packets {
            if !self.rng.random_bool(0.01) {
                let way = Duration::from_micros(self.rng.random_range(200..1_000));
                self.queue(self.now + way, to, Due::Packet(bytes));
            }
        }
        result
    }

    fn queue(&mut self, due_at: Duration, at: usize, due: Due) {
        self.n_queued += 1;
        self.queue.insert((due_at, self.n_queued), (at, due));
    }
}

/// A member of foca's, and how often it came back: who was held for down there, as happens to some
/// that only stood still, cannot refute and has to become another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id(u16, u16);

impl Identity for Id {
    type Addr = u16;

    fn renew(&self) -> Option<Id> {
        Some(Id(self.0, self.1 + 1))
    }

    fn addr(&self) -> u16 {
        self.0
    }

    fn win_addr_conflict(&self, other: &Id) -> bool {
        self.1 > other.1
    }
}

/// foca's messages as numbers: kind, number of the probe, who is meant.
struct Numbers;

#[derive(Debug, thiserror::Error)]
#[error("not what foca says")]
struct NotFoca;

impl foca::Codec<Id> for Numbers {
    type Error = NotFoca;

    fn encode_header(&mut self, header: &Header<Id>, mut buf: impl BufMut) -> Result<(), NotFoca> {
        if buf.remaining_mut() < 16 {
            return Err(NotFoca);
        }
        let (kind, number, meant) = match header.message {
            Message::Ping(number) => (0, number, Id(0, 0)),
            Message::Ack(number) => (1, number, Id(0, 0)),
            Message::PingReq { target, probe_number } => (2, probe_number, target),
            Message::IndirectPing { origin, probe_number } => (3, probe_number, origin),
            Message::IndirectAck { target, probe_number } => (4, probe_number, target),
            Message::ForwardedAck { origin, probe_number } => (5, probe_number, origin),
            Message::Announce => (6, 0, Id(0, 0)),
            Message::Feed => (7, 0, Id(0, 0)),
            Message::Gossip => (8, 0, Id(0, 0)),
            Message::Broadcast => (9, 0, Id(0, 0)),
            Message::TurnUndead => (10, 0, Id(0, 0)),
        };
        for id in [header.src, header.dst, meant] {
            buf.put_u16(id.0);
            buf.put_u16(id.1);
        }
        buf.put_u16(header.src_incarnation);
        buf.put_u8(kind);
        buf.put_u8(number);
        Ok(())
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Id>, NotFoca> {
        if buf.remaining() < 16 {
            return Err(NotFoca);
        }
        let [src, dst, meant] = std::array::from_fn(|_| Id(buf.get_u16(), buf.get_u16()));
        let src_incarnation = buf.get_u16();
        let (kind, probe_number) = (buf.get_u8(), buf.get_u8());
        let message = match kind {
            0 => Message::Ping(probe_number),
            1 => Message::Ack(probe_number),
            2 => Message::PingReq { target: meant, probe_number },
            3 => Message::IndirectPing { origin: meant, probe_number },
            4 => Message::IndirectAck { target: meant, probe_number },
            5 => Message::ForwardedAck { origin: meant, probe_number },
            6 => Message::Announce,
            7 => Message::Feed,
            8 => Message::Gossip,
            9 => Message::Broadcast,
            10 => Message::TurnUndead,
            _ => return Err(NotFoca),
        };
        Ok(Header { src, src_incarnation, dst, message })
    }

    fn encode_member(&mut self, member: &Member<Id>, mut buf: impl BufMut) -> Result<(), NotFoca> {
        if buf.remaining_mut() < 7 {
            return Err(NotFoca);
        }
        buf.put_u16(member.id().0);
        buf.put_u16(member.id().1);
        buf.put_u16(member.incarnation());
        buf.put_u8(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        Ok(())
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Id>, NotFoca> {
        if buf.remaining() < 7 {
            return Err(NotFoca);
        }
        let (id, incarnation) = (Id(buf.get_u16(), buf.get_u16()), buf.get_u16());
        let state = match buf.get_u8() {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            _ => return Err(NotFoca),
        };
        Ok(Member::new(id, incarnation, state))
    }
}
