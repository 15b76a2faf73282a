//! A witness at one server: asks it, all the time, what it can answer alone.
//!
//! Reads with `stale` and DNS need neither a leader nor a quorum, so a server to which nothing was
//! done answers every one of them, however the others fare. Nor may a server go back: what it had
//! it has, until it is started anew.

use std::collections::HashMap;
use std::io;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Chance;
use super::connection::Connection;
use super::lab::Door;
use super::ledger::Slot;
use super::load::{self, Load, STEADY};

/// The pause between two questions.
const PACE: Duration = Duration::from_millis(2);
/// How long a server may be silent before it counts as gone.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// The longest answer over DNS.
const DNS_BYTES_MAX: usize = 4096;

/// Asks the server behind one door while it is open.
pub(super) fn look_on(load: &Load, at: usize) {
    let mut chance = Chance(at as u64);
    while !load.is_over() {
        let epoch = load.doors[at].epoch();
        if !load.doors[at].is_open() {
            std::thread::sleep(PACE);
            continue;
        }
        let ended = look_while_open(load, at, epoch, &mut chance);
        // What fails while the door is closed shows nothing.
        if let Err(error) = ended
            && load.doors[at].epoch() == epoch
        {
            load.fault(format!("server {} without trouble: {error}", at + 1));
            std::thread::sleep(SILENCE_MAX);
        }
    }
}

fn look_while_open(load: &Load, at: usize, epoch: u64, chance: &mut Chance) -> io::Result<()> {
    let door = &load.doors[at];
    let counts = &load.counts;
    let mut connection = Connection::open_within(&door.http, SILENCE_MAX)?;
    let names = UdpSocket::bind((door.local_host(), 0))?;
    names.connect(&door.dns)?;
    names.set_read_timeout(Some(SILENCE_MAX))?;
    let mut had = HashMap::new();
    let (mut read_at, mut named_at) = (Instant::now(), Instant::now());
    let mut id = 0u16;
    while door.epoch() == epoch && !load.is_over() {
        std::thread::sleep(PACE);
        let slot = load.ledger.slot(chance.below(load.ledger.n_live() as u64) as usize);
        let found = load::read(&mut connection, &slot, "stale")
            .map_err(|error| io::Error::other(format!("a stale read: {error}")))?;
        let Some(found) = found else { return Err(io::Error::other("a stale read is refused")) };
        went_on(&mut had, &slot, found.0.unwrap_or_default())?;
        note(door, epoch, &mut read_at, &counts.n_stale, &counts.stale_gap_us);
        id = id.wrapping_add(1);
        look_up(&names, id).map_err(|error| io::Error::other(format!("DNS: {error}")))?;
        note(door, epoch, &mut named_at, &counts.n_names, &counts.names_gap_us);
    }
    Ok(())
}

/// Counts an answer and the silence before it, unless the door was closed meanwhile.
fn note(door: &Door, epoch: u64, last: &mut Instant, count: &AtomicUsize, gap_us: &AtomicU64) {
    if door.epoch() == epoch {
        let silence = u64::try_from(last.elapsed().as_micros()).unwrap_or(u64::MAX);
        gap_us.fetch_max(silence, Ordering::Relaxed);
        count.fetch_add(1, Ordering::Relaxed);
    }
    *last = Instant::now();
}

/// A server that had a version of a slot has it or a later one.
fn went_on(had: &mut HashMap<String, u64>, slot: &Slot, found: u64) -> io::Result<()> {
    let last = had.entry(slot.name.clone()).or_default();
    if found < *last {
        return Err(io::Error::other(format!("{} went back from {last} to {found}", slot.name)));
    }
    *last = found;
    Ok(())
}

/// Asks for the address of the steady service.
fn look_up(socket: &UdpSocket, id: u16) -> io::Result<()> {
    socket.send(&question(id))?;
    let mut answer = [0; DNS_BYTES_MAX];
    loop {
        let n_bytes = socket.recv(&mut answer)?;
        if answer[..2] == id.to_be_bytes() {
            return judge(&answer[..n_bytes]);
        }
    }
}

/// A question for the A records of the steady service (RFC 1035, section 4.1).
fn question(id: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    // Recursion desired; one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in [STEADY, "service", "consul"] {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    // The root; type A, class IN.
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// No error, and at least one answer.
fn judge(answer: &[u8]) -> io::Result<()> {
    match answer.first_chunk::<12>() {
        Some(head) if head[3] & 0x0f == 0 && u16::from_be_bytes([head[6], head[7]]) > 0 => Ok(()),
        Some(head) => Err(io::Error::other(format!("no address: {head:02x?}"))),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_address_is_none() {
        assert!(judge(&[0, 1, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]).is_ok());
        assert!(judge(&[0, 1, 0x85, 0x83, 0, 1, 0, 0, 0, 1, 0, 0]).is_err());
        assert!(judge(&[0, 1]).is_err());
    }

    #[test]
    fn the_question_names_the_steady_service() {
        let asked = question(7);
        assert_eq!(asked[..6], [0, 7, 1, 0, 0, 1]);
        assert_eq!(asked[12] as usize, STEADY.len());
        assert_eq!(asked.len(), 12 + 1 + STEADY.len() + 8 + 7 + 1 + 4);
    }
}
