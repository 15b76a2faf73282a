//! A network in virtual time: pools that talk over links that delay, lose and cut, all from one
//! seed. The same seed gives the same run, to the bit: [`Network::trace`] is the proof.
//!
//! A datagram is lost by chance, a stream is not, but a cut lets neither through. A paused member
//! hears nothing; what arrives waits in a bounded inbox, as it does in a socket, and when it runs
//! again it finds its alarms overdue, before or after it reads what waited.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use muster_gossip::port::JoinResult;
use muster_gossip::{
    Input, Member, Moment, Name, Notice, Output, Pool, Profile, Settings, Setup, Status, Tags,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Datagrams that a socket keeps for a member that does not read.
const INBOX_MAX: usize = 512;
const LABEL: &str = "test.lan";

/// A network and all who are on it.
pub(crate) struct Network {
    pub(crate) now: Moment,
    pub(crate) nodes: Vec<Node>,
    /// The share of datagrams that are lost.
    pub(crate) loss: f64,
    /// The least and the longest way of a datagram.
    pub(crate) latency: (Duration, Duration),
    /// Two members between which no datagram goes.
    pub(crate) broken: Option<(usize, usize)>,
    /// Which notices are kept; a large network would drown in those of its beginning.
    pub(crate) keeps: fn(&Notice) -> bool,
    flights: BTreeMap<(Moment, u64), Flight>,
    wakes: BTreeSet<(Moment, usize)>,
    by_address: BTreeMap<SocketAddr, usize>,
    streams: BTreeMap<u64, Stream>,
    n_flights: u64,
    rng: StdRng,
    trace: u32,
}

/// One process.
pub(crate) struct Node {
    pub(crate) pool: Pool,
    pub(crate) notices: Vec<(Moment, Notice)>,
    pub(crate) is_down: bool,
    /// Members on different sides do not reach each other.
    pub(crate) side: u8,
    /// What this one sends is lost.
    pub(crate) is_mute: bool,
    resumes_at: Option<Moment>,
    /// What it sends and what it should hear waits, while its alarms go off in time.
    is_blocked: bool,
    outbox: Vec<Output>,
    inbox: VecDeque<Arrival>,
    wakes_at: Option<Moment>,
}

struct Stream {
    asker: usize,
    asked: usize,
    exchange: u64,
}

struct Flight {
    from: usize,
    to: usize,
    what: Arrival,
}

enum Arrival {
    Packet(SocketAddr, Vec<u8>),
    Asked(SocketAddr, u64, Vec<u8>),
    Answered(u64, Vec<u8>),
    Refused(u64),
    Resume,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Network {
        Network {
            now: Moment::default(),
            nodes: Vec::new(),
            loss: 0.0,
            latency: (Duration::from_micros(200), Duration::from_millis(1)),
            broken: None,
            keeps: |_| true,
            flights: BTreeMap::new(),
            wakes: BTreeSet::new(),
            by_address: BTreeMap::new(),
            streams: BTreeMap::new(),
            n_flights: 0,
            rng: StdRng::seed_from_u64(seed),
            trace: 0,
        }
    }

    /// A network of so many members that all know each other.
    pub(crate) fn joined(seed: u64, n: usize, settings: &Settings) -> Network {
        let mut network = Network::new(seed);
        for at in 0..n {
            network.add(&format!("m{at}"), settings.clone());
        }
        network.join_all();
        network
    }

    /// All join the first, one after the other in time, and the run goes on until all know all.
    pub(crate) fn join_all(&mut self) {
        let n = self.nodes.len();
        for at in 1..n {
            self.join(at, &[0]);
            self.run_for(Duration::from_millis(5));
        }
        let all_know_all =
            |network: &Network| network.nodes.iter().all(|node| node.pool.gauges().n_active == n);
        assert!(self.run_until(Duration::from_secs(120), all_know_all), "not all know all");
    }

    pub(crate) fn add(&mut self, name: &str, settings: Settings) -> usize {
        let setup = self.setup(name, settings);
        self.add_setup(setup)
    }

    /// What [`Network::add`] adds, to be altered before [`Network::add_setup`].
    pub(crate) fn setup(&mut self, name: &str, settings: Settings) -> Setup {
        let at = self.nodes.len() as u32;
        let [_, b, c, d] = at.to_be_bytes();
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let mut id = [0; 16];
        id[..4].copy_from_slice(&at.to_be_bytes());
        let profile = Profile {
            name: Name::parse(name).expect("a name of a test is short"),
            address: ([10, b, c, d], 8301).into(),
            id,
            tags: Tags::default(),
        };
        Setup { settings, profile, label: LABEL.to_owned(), keyring: None, seed }
    }

    pub(crate) fn add_setup(&mut self, setup: Setup) -> usize {
        let at = self.nodes.len();
        self.by_address.insert(setup.profile.address, at);
        self.nodes.push(Node {
            pool: Pool::new(setup, self.now).expect("the label is short"),
            notices: Vec::new(),
            is_down: false,
            side: 0,
            is_mute: false,
            resumes_at: None,
            is_blocked: false,
            outbox: Vec::new(),
            inbox: VecDeque::new(),
            wakes_at: None,
        });
        at
    }

    /// Calls a pool, and does what it asks for.
    pub(crate) fn call<R>(
        &mut self,
        at: usize,
        call: impl FnOnce(&mut Pool, Moment, &mut Vec<Output>) -> R,
    ) -> R {
        let mut out = Vec::new();
        let result = call(&mut self.nodes[at].pool, self.now, &mut out);
        self.carry_out(at, out);
        result
    }

    pub(crate) fn join(&mut self, at: usize, others: &[usize]) {
        let addresses: Vec<SocketAddr> = others.iter().map(|other| self.address(*other)).collect();
        self.call(at, |pool, now, out| pool.join(&addresses, 1, now, out))
            .expect("a test joins once at a time");
    }

    /// The process ends without a word.
    pub(crate) fn kill(&mut self, at: usize) {
        self.nodes[at].is_down = true;
        if let Some(wakes_at) = self.nodes[at].wakes_at.take() {
            self.wakes.remove(&(wakes_at, at));
        }
    }

    /// The process does not run for a while.
    pub(crate) fn pause(&mut self, at: usize, duration: Duration) {
        let resumes_at = self.now + duration;
        self.nodes[at].resumes_at = Some(resumes_at);
        if let Some(wakes_at) = self.nodes[at].wakes_at.take() {
            self.wakes.remove(&(wakes_at, at));
        }
        self.fly(resumes_at, Flight { from: at, to: at, what: Arrival::Resume });
    }

    /// The process runs, but nothing goes in or out of it for a while.
    pub(crate) fn block(&mut self, at: usize, duration: Duration) {
        let resumes_at = self.now + duration;
        self.nodes[at].resumes_at = Some(resumes_at);
        self.nodes[at].is_blocked = true;
        self.fly(resumes_at, Flight { from: at, to: at, what: Arrival::Resume });
    }

    /// What waited for a member that does not run is lost.
    pub(crate) fn clear_inbox(&mut self, at: usize) {
        self.nodes[at].inbox.clear();
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until it is so, at most for that long: whether it is so.
    pub(crate) fn run_until(&mut self, limit: Duration, is_so: impl Fn(&Network) -> bool) -> bool {
        let end = self.now + limit;
        let mut looked_at = self.now;
        loop {
            // Looking at all members after each packet would take longer than the run.
            if self.now.since(looked_at) >= Duration::from_millis(10) || self.now == looked_at {
                looked_at = self.now;
                if is_so(self) {
                    return true;
                }
            }
            if !self.step(end) {
                self.now = end;
                return is_so(self);
            }
        }
    }

    pub(crate) fn address(&self, at: usize) -> SocketAddr {
        self.nodes[at].pool.me().address()
    }

    pub(crate) fn name(&self, at: usize) -> &str {
        self.nodes[at].pool.me().name().as_str()
    }

    /// What one member believes of another.
    pub(crate) fn sees(&self, at: usize, other: usize) -> Option<Status> {
        self.sees_name(at, self.name(other))
    }

    pub(crate) fn sees_name(&self, at: usize, name: &str) -> Option<Status> {
        self.nodes[at].pool.member(name).map(|member| member.status)
    }

    /// Whether all of these believe this of a member.
    pub(crate) fn all_see(&self, these: &[usize], other: usize, status: Status) -> bool {
        these.iter().all(|at| self.sees(*at, other) == Some(status))
    }

    /// What a member was told since it was asked last.
    pub(crate) fn take_notices(&mut self, at: usize) -> Vec<Notice> {
        let notices = std::mem::take(&mut self.nodes[at].notices);
        notices.into_iter().map(|(_, notice)| notice).collect()
    }

    pub(crate) fn take_join_result(&mut self, at: usize) -> JoinResult {
        let notices = self.take_notices(at);
        let results = notices.into_iter().filter_map(|notice| match notice {
            Notice::JoinFinished(result) => Some(result),
            _ => None,
        });
        results.last().expect("the join is over")
    }

    /// A digest of all that was sent, when and by whom.
    pub(crate) fn trace(&self) -> u32 {
        self.trace
    }

    /// Does the next thing that happens before `end`: whether there was one.
    fn step(&mut self, end: Moment) -> bool {
        let flies_at = self.flights.first_key_value().map(|((at, _), _)| *at);
        let wakes_at = self.wakes.first().map(|(at, _)| *at);
        let Some(at) = flies_at.into_iter().chain(wakes_at).min().filter(|at| *at <= end) else {
            return false;
        };
        self.now = at;
        if flies_at == Some(at) {
            let (_, flight) = self.flights.pop_first().expect("one was seen");
            self.land(flight);
        } else {
            let (_, node) = self.wakes.pop_first().expect("one was seen");
            self.nodes[node].wakes_at = None;
            self.call(node, |pool, now, out| pool.handle(Input::Time, now, out));
        }
        true
    }

    fn land(&mut self, Flight { from, to, what }: Flight) {
        if matches!(what, Arrival::Resume) {
            return self.resume(to);
        }
        let is_cut = self.nodes[from].side != self.nodes[to].side;
        let is_gone = is_cut || self.nodes[to].is_down;
        if is_gone {
            if let Arrival::Asked(_, stream, _) = what
                && !is_cut
                && let Some(stream) = self.streams.remove(&stream)
            {
                let what = Arrival::Refused(stream.exchange);
                self.fly(self.now, Flight { from: to, to: stream.asker, what });
            }
            return;
        }
        if self.nodes[to].resumes_at.is_some() {
            if self.nodes[to].inbox.len() < INBOX_MAX {
                self.nodes[to].inbox.push_back(what);
            }
            return;
        }
        self.hand_over(to, what);
    }

    fn hand_over(&mut self, to: usize, what: Arrival) {
        self.call(to, |pool, now, out| {
            let input = match &what {
                Arrival::Packet(from, bytes) => Input::Packet { from: *from, bytes },
                Arrival::Asked(from, stream, bytes) => {
                    Input::ExchangeAsked { from: *from, stream: *stream, bytes }
                }
                Arrival::Answered(exchange, bytes) => {
                    Input::ExchangeAnswered { exchange: *exchange, bytes }
                }
                Arrival::Refused(exchange) => {
                    Input::ExchangeFailed { exchange: *exchange, reason: "connection refused" }
                }
                Arrival::Resume => Input::Time,
            };
            pool.handle(input, now, out);
        });
    }

    fn resume(&mut self, at: usize) {
        if self.nodes[at].resumes_at != Some(self.now) {
            return;
        }
        self.nodes[at].resumes_at = None;
        self.nodes[at].is_blocked = false;
        let outbox = std::mem::take(&mut self.nodes[at].outbox);
        self.carry_out(at, outbox);
        let reads_first = self.rng.random_bool(0.5);
        let inbox = std::mem::take(&mut self.nodes[at].inbox);
        if !reads_first {
            self.hand_over(at, Arrival::Resume);
        }
        for what in inbox {
            self.hand_over(at, what);
        }
        self.hand_over(at, Arrival::Resume);
    }

    fn carry_out(&mut self, at: usize, out: Vec<Output>) {
        for output in out {
            if self.nodes[at].is_blocked && !matches!(output, Output::Notice(_)) {
                self.nodes[at].outbox.push(output);
                continue;
            }
            self.witness(at, &output);
            match output {
                Output::Packet { to, bytes } => {
                    let is_lost = self.nodes[at].is_mute || self.rng.random_bool(self.loss);
                    let to = self.by_address.get(&to).copied().filter(|to| {
                        self.broken != Some((at, *to)) && self.broken != Some((*to, at))
                    });
                    if let (Some(to), false) = (to, is_lost) {
                        let what = Arrival::Packet(self.address(at), bytes);
                        self.send(Flight { from: at, to, what }, 1);
                    }
                }
                Output::Exchange { exchange, to, bytes } => self.open(at, exchange, to, bytes),
                Output::Answer { stream, bytes } => {
                    if let Some(Stream { asker, asked, exchange }) = self.streams.remove(&stream) {
                        let what = Arrival::Answered(exchange, bytes);
                        self.send(Flight { from: asked, to: asker, what }, 1);
                    }
                }
                Output::Notice(notice) => {
                    if (self.keeps)(&notice) {
                        self.nodes[at].notices.push((self.now, notice));
                    }
                }
            }
        }
        self.schedule(at);
    }

    fn open(&mut self, at: usize, exchange: u64, to: SocketAddr, bytes: Vec<u8>) {
        let Some(&to) = self.by_address.get(&to).filter(|_| !self.nodes[at].is_mute) else {
            return;
        };
        self.n_flights += 1;
        let stream = self.n_flights;
        self.streams.insert(stream, Stream { asker: at, asked: to, exchange });
        let what = Arrival::Asked(self.address(at), stream, bytes);
        self.send(Flight { from: at, to, what }, 3);
    }

    fn send(&mut self, flight: Flight, n_ways: u32) {
        let (least, longest) = self.latency;
        let way = least + (longest - least).mul_f64(self.rng.random_range(0.0..1.0));
        self.fly(self.now + way * n_ways, flight);
    }

    fn fly(&mut self, lands_at: Moment, flight: Flight) {
        self.n_flights += 1;
        self.flights.insert((lands_at, self.n_flights), flight);
    }

    fn schedule(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if let Some(wakes_at) = node.wakes_at.take() {
            self.wakes.remove(&(wakes_at, at));
        }
        if !node.is_down && (node.resumes_at.is_none() || node.is_blocked) {
            node.wakes_at = node.pool.next_deadline();
            if let Some(wakes_at) = node.wakes_at {
                self.wakes.insert((wakes_at.max(self.now), at));
                node.wakes_at = Some(wakes_at.max(self.now));
            }
        }
    }

    fn witness(&mut self, at: usize, output: &Output) {
        let nanos = self.now.since_start().as_nanos() as u64;
        let mut trace = crc32c::crc32c_append(self.trace, &nanos.to_le_bytes());
        trace = crc32c::crc32c_append(trace, &at.to_le_bytes());
        self.trace = match output {
            Output::Packet { bytes, .. } | Output::Answer { bytes, .. } => {
                crc32c::crc32c_append(trace, bytes)
            }
            Output::Exchange { bytes, .. } => crc32c::crc32c_append(trace, bytes),
            Output::Notice(_) => trace,
        };
    }
}

/// The members that a kind of notice was about.
pub(crate) fn names_of(notices: &[Notice], of_kind: fn(&Notice) -> Option<&Member>) -> Vec<&str> {
    notices.iter().filter_map(of_kind).map(|member| member.name().as_str()).collect()
}

pub(crate) fn joined(notice: &Notice) -> Option<&Member> {
    if let Notice::Joined(member) = notice { Some(member) } else { None }
}

pub(crate) fn failed(notice: &Notice) -> Option<&Member> {
    if let Notice::Failed(member) = notice { Some(member) } else { None }
}

pub(crate) fn left(notice: &Notice) -> Option<&Member> {
    if let Notice::Left(member) = notice { Some(member) } else { None }
}
