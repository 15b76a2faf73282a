//! The network between simulated hosts: streams and datagrams by IP address, with faults.
//!
//! What a host sends during a step is put on its way with the time at which it will arrive, and
//! `Network::deliver` hands over what has arrived between the steps. Nothing here waits: a
//! socket that has nothing keeps the waker of whoever asked.
//!
//! Streams behave as TCP's do as far as a program can tell: in order, with a bounded window; a
//! cut link stalls them, and when it is whole again they go on after a while, or are reset; they
//! are reset at once when the process at the other end dies, and fall silent when its machine
//! loses power, until something is sent and the machine is up again. Datagrams are lost, doubled
//! and overtake each other.
//!
//! Left out: IPv6, Unix sockets, routes, bandwidth, the limits of a machine's socket buffers.

mod connection;
mod datagram;
mod links;
mod listener;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

use self::connection::{Connection, Piece, Side};
use self::datagram::{Parcel, Socket};
use self::links::Links;
use self::listener::Door;
use crate::chance::chance_for;
use crate::limits::{FIRST_FREE_PORT, HEAL_NOTICED_MAX, RETRANSMIT_AFTER};
use crate::trace::{HostNumber, Trace};

pub use self::links::{Latency, LinkFaults};

/// The part of stalled streams that do not survive until their link is whole again.
const RESET_ON_HEAL: f64 = 0.3;

/// The network. Clones share it.
#[derive(Clone)]
pub struct Network(Arc<Mutex<Net>>);

struct Net {
    now: Duration,
    chance: SmallRng,
    trace: Trace,
    links: Links,
    hosts: Vec<Port>,
    by_name: BTreeMap<String, HostNumber>,
    connections: BTreeMap<u64, Connection>,
    sockets: BTreeMap<u64, Socket>,
    next_id: u64,
    /// By the time of arrival, then in the order of sending.
    in_flight: BTreeMap<(Duration, u64), Packet>,
    /// To be woken when nobody holds the lock any more.
    woken: Vec<Waker>,
}

/// A host's place on the network.
struct Port {
    has_power: bool,
    doors: BTreeMap<u16, Door>,
    bound: BTreeMap<u16, Vec<u64>>,
    next_port: u16,
}

/// Something on its way.
enum Packet {
    Piece {
        connection: u64,
        from: Side,
        piece: Piece,
    },
    /// A stream's sender tries again to pass what is held.
    Retry {
        connection: u64,
        from: Side,
    },
    Parcel(Parcel),
    /// Nobody listens where this socket sent something.
    Refused {
        socket: u64,
        from: HostNumber,
        to: HostNumber,
    },
}

/// The address of a host.
#[must_use]
pub fn ip_of(host: HostNumber) -> Ipv4Addr {
    let [high, low] = (host as u16 + 1).to_be_bytes();
    Ipv4Addr::new(10, 0, high, low)
}

impl Network {
    /// A network without hosts.
    #[must_use]
    pub fn new(seed: u64, latency: Latency, trace: Trace) -> Network {
        Network(Arc::new(Mutex::new(Net {
            now: Duration::ZERO,
            chance: chance_for(seed, "network"),
            trace,
            links: Links::new(latency),
            hosts: Vec::new(),
            by_name: BTreeMap::new(),
            connections: BTreeMap::new(),
            sockets: BTreeMap::new(),
            next_id: 0,
            in_flight: BTreeMap::new(),
            woken: Vec::new(),
        })))
    }

    /// What is wrong with the link from one host to another.
    #[must_use]
    pub fn faults(&self, from: HostNumber, to: HostNumber) -> LinkFaults {
        self.with(|net| net.links.faults(from, to))
    }

    /// Changes what is wrong with the link from one host to another.
    pub fn set_faults(&self, from: HostNumber, to: HostNumber, faults: LinkFaults) {
        self.with(|net| {
            let was_cut = net.links.is_cut(from, to);
            net.links.set_faults(from, to, faults);
            if was_cut && !faults.is_cut {
                net.retry_held(|sender, receiver| sender == from && receiver == to, true);
            }
        });
    }

    /// Makes every link whole.
    pub fn heal(&self) {
        let n_hosts = self.with(|net| net.hosts.len());
        for from in 0..n_hosts {
            for to in 0..n_hosts {
                self.set_faults(from, to, LinkFaults::default());
            }
        }
    }

    pub(crate) fn add_host(&self, name: &str) -> HostNumber {
        self.with(|net| {
            let number = net.hosts.len();
            net.links.add_host(&mut net.chance);
            net.hosts.push(Port {
                has_power: true,
                doors: BTreeMap::new(),
                bound: BTreeMap::new(),
                next_port: FIRST_FREE_PORT,
            });
            net.by_name.insert(name.to_owned(), number);
            number
        })
    }

    /// Hands over everything that has arrived.
    pub(crate) fn deliver(&self, now: Duration) {
        self.with(|net| {
            net.now = now;
            while let Some(entry) = net.in_flight.first_entry() {
                if entry.key().0 > now {
                    break;
                }
                let packet = entry.remove();
                net.arrive(packet);
            }
        });
    }

    /// The process of a host dies: its machine closes what it had open.
    pub(crate) fn kill(&self, host: HostNumber) {
        self.with(|net| {
            net.close_doors(host);
            net.close_sockets(host);
            for id in net.ids_of_connections() {
                let sides = net.connections[&id].sides_at(host);
                sides.for_each(|side| net.close(id, side));
            }
        });
    }

    /// The machine of a host loses power: nobody is told.
    pub(crate) fn cut_power(&self, host: HostNumber) {
        self.with(|net| {
            net.hosts[host].has_power = false;
            net.leave_doors(host);
            net.close_sockets(host);
            for id in net.ids_of_connections() {
                let connection = net.connections.get_mut(&id).expect("it was just listed");
                for side in connection.sides_at(host) {
                    let end = connection.end_mut(side);
                    end.is_gone = true;
                    end.held.clear();
                    net.woken.extend(end.wakers());
                }
                net.forget_if_abandoned(id);
            }
        });
    }

    /// The machine of a host has power again: what is sent to it is answered, if only by a refusal.
    pub(crate) fn restore_power(&self, host: HostNumber) {
        self.with(|net| {
            net.hosts[host].has_power = true;
            net.retry_held(|_, receiver| receiver == host, false);
        });
    }

    /// The address of a `name:port` or `ip:port`.
    pub(crate) fn resolve(&self, target: &str) -> Option<SocketAddr> {
        if let Ok(address) = target.parse() {
            return Some(address);
        }
        let (name, port) = target.rsplit_once(':')?;
        let host = self.with(|net| net.by_name.get(name).copied())?;
        Some(SocketAddr::new(ip_of(host).into(), port.parse().ok()?))
    }

    /// Does something with the network, and then wakes whom it woke: a waker may run code that
    /// comes back here.
    fn with<T>(&self, act: impl FnOnce(&mut Net) -> T) -> T {
        let mut net = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut net);
        let woken = std::mem::take(&mut net.woken);
        drop(net);
        woken.into_iter().for_each(Waker::wake);
        result
    }
}

// ------------------------------------------------------------------------------------------------
// Sending and arriving
// ------------------------------------------------------------------------------------------------

impl Net {
    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn put_on_its_way(&mut self, arrives_at: Duration, packet: Packet) {
        let id = self.fresh_id();
        self.in_flight.insert((arrives_at, id), packet);
    }

    /// Sends a piece behind what this end sent before.
    fn send(&mut self, connection: u64, from: Side, piece: Piece) {
        let Some(found) = self.connections.get_mut(&connection) else { return };
        let receiver = found.end(from.other()).host;
        let end = found.end_mut(from);
        let passage = self.links.pass(end.host, receiver, &mut self.chance);
        let late = if passage.is_lost { RETRANSMIT_AFTER } else { Duration::ZERO };
        let arrives_at = (self.now + passage.after + late).max(end.not_before);
        end.not_before = arrives_at;
        self.put_on_its_way(arrives_at, Packet::Piece { connection, from, piece });
    }

    fn arrive(&mut self, packet: Packet) {
        match packet {
            Packet::Piece { connection, from, piece } => self.pass(connection, from, piece),
            Packet::Retry { connection, from } => self.retry(connection, from),
            Packet::Parcel(parcel) => self.receive(parcel),
            Packet::Refused { socket, from, to } => {
                if !self.is_blocked(from, to) {
                    self.refuse(socket);
                }
            }
        }
    }

    fn is_blocked(&self, from: HostNumber, to: HostNumber) -> bool {
        self.links.is_cut(from, to) || !self.hosts[to].has_power
    }

    /// Lets a piece pass if it can, else holds it.
    fn pass(&mut self, id: u64, from: Side, piece: Piece) {
        let Some(connection) = self.connections.get(&id) else { return };
        let (sender, receiver) = (connection.end(from).host, connection.end(from.other()).host);
        let is_blocked = self.is_blocked(sender, receiver);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let end = connection.end_mut(from);
        if is_blocked || !end.held.is_empty() {
            end.hold(piece);
            return;
        }
        self.trace.message(sender, receiver, piece.kind(), piece.bytes());
        self.take(id, from.other(), piece);
    }

    /// Lets everything pass that an end had to hold, if it can.
    fn retry(&mut self, id: u64, from: Side) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let held = std::mem::take(&mut connection.end_mut(from).held);
        for piece in held {
            self.pass(id, from, piece);
        }
    }

    /// What is held on some links is tried again before long; with a fault behind it, some streams
    /// have been given up by then.
    fn retry_held(&mut self, is_one: impl Fn(HostNumber, HostNumber) -> bool, may_reset: bool) {
        for id in self.ids_of_connections() {
            for from in [Side::Opener, Side::Accepter] {
                let connection = &self.connections[&id];
                let (sender, receiver) = (connection.end(from), connection.end(from.other()));
                if sender.held.is_empty() || !is_one(sender.host, receiver.host) {
                    continue;
                }
                let noticed = HEAL_NOTICED_MAX.mul_f64(self.chance.random_range(0.0..1.0));
                if may_reset && self.chance.random_bool(RESET_ON_HEAL) {
                    self.give_up(id);
                    break;
                }
                let retry = Packet::Retry { connection: id, from };
                self.put_on_its_way(self.now + noticed, retry);
            }
        }
    }

    /// A piece has come to an end.
    fn take(&mut self, id: u64, to: Side, piece: Piece) {
        if matches!(piece, Piece::Open) {
            return self.knock(id);
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let end = connection.end_mut(to);
        if end.is_gone {
            if !matches!(piece, Piece::Reset | Piece::Credit(_) | Piece::Finish) {
                self.send(id, to, Piece::Reset);
            }
            return;
        }
        match piece {
            Piece::Open => {}
            Piece::Opened => end.is_open = true,
            Piece::Data(bytes) => end.received.push_back(bytes),
            Piece::Credit(n_bytes) => {
                end.n_unread = end.n_unread.saturating_sub(n_bytes);
                self.woken.extend(end.writer.take());
                return;
            }
            Piece::Finish => end.has_peer_finished = true,
            Piece::Reset => {
                end.is_reset = true;
                self.woken.extend(end.writer.take());
            }
        }
        self.woken.extend(end.reader.take());
    }

    /// Both ends give a stream up, each by itself.
    fn give_up(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        for side in [Side::Opener, Side::Accepter] {
            let end = connection.end_mut(side);
            end.is_reset = true;
            end.held.clear();
            self.woken.extend(end.wakers());
        }
    }

    /// An end is dropped: the other is told, in order or, where something was left unread, not.
    fn close(&mut self, id: u64, side: Side) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let end = connection.end_mut(side);
        if std::mem::replace(&mut end.is_gone, true) {
            return;
        }
        self.woken.extend(end.wakers());
        let is_rude = !end.received.is_empty();
        let must_tell = !end.is_reset && (is_rude || !end.has_finished);
        if must_tell {
            self.send(id, side, if is_rude { Piece::Reset } else { Piece::Finish });
        }
        self.forget_if_abandoned(id);
    }

    fn forget_if_abandoned(&mut self, id: u64) {
        if self.connections.get(&id).is_some_and(Connection::is_abandoned) {
            self.connections.remove(&id);
        }
    }

    fn ids_of_connections(&self) -> Vec<u64> {
        self.connections.keys().copied().collect()
    }
}

// ------------------------------------------------------------------------------------------------
// Addresses
// ------------------------------------------------------------------------------------------------

impl Net {
    /// The host that an address leads to, seen from another.
    fn host_at(&self, address: IpAddr, from: HostNumber) -> Option<HostNumber> {
        let IpAddr::V4(address) = address else { return None };
        if address.is_loopback() || address.is_unspecified() {
            return Some(from);
        }
        let [10, 0, high, low] = address.octets() else { return None };
        let number = usize::from(u16::from_be_bytes([high, low])).checked_sub(1)?;
        (number < self.hosts.len()).then_some(number)
    }

    /// The address under which a host speaks with another.
    fn own_ip(&self, host: HostNumber, to: IpAddr) -> IpAddr {
        if to.is_loopback() || to.is_unspecified() { to } else { ip_of(host).into() }
    }

    /// Whether a host may listen at an address.
    fn has_address(&self, host: HostNumber, address: IpAddr) -> bool {
        self.host_at(address, host) == Some(host)
    }

    fn free_port(&mut self, host: HostNumber) -> u16 {
        let port = &mut self.hosts[host];
        let taken: BTreeSet<u16> = port.doors.keys().chain(port.bound.keys()).copied().collect();
        loop {
            let candidate = port.next_port;
            port.next_port = candidate.checked_add(1).unwrap_or(FIRST_FREE_PORT);
            if !taken.contains(&candidate) {
                return candidate;
            }
        }
    }
}

/// Keeps the waker of whoever waits; one that it replaces is woken and goes.
fn park(place: &mut Option<Waker>, context: &Context<'_>, woken: &mut Vec<Waker>) {
    if !place.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
        woken.extend(place.replace(context.waker().clone()));
    }
}
