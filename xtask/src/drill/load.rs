//! Clients of a cluster, at work while a drill makes trouble.
//!
//! Writers go from server to server with kept connections, write their slots of the [`Ledger`] in
//! turn, and before they overwrite a pair ask for it, `consistent`: what is there must be exactly
//! what was promised. Readers ask any server for any slot, `consistent`; a witness at every server
//! asks it for what it has, `stale`, and for a name over DNS. A server that the drill has closed is
//! left alone by all of them, and what they had under way there has no known outcome.
//!
//! [`under_load`] is the whole of it: the clients begin, the drill makes its trouble, the clients
//! end, and every server is asked for everything and held against the ledger.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::connection::{Answer, Connection};
use super::fleet::{self, told};
use super::lab::{Door, Lab};
use super::ledger::{Ending, Kind, Ledger, Slot};
use super::pulse::Pulse;
use super::{Chance, Order, witness};

/// Clients that write at a time.
const N_WRITERS: usize = 6;
/// Clients that read `consistent` at a time.
const N_READERS: usize = 2;
/// Slots of each writer.
const N_SLOTS: usize = 32;
/// Requests on one connection before a client goes on to the next server.
const REQUESTS_ON_ONE: usize = 64;
/// The pause of a client between two writes, and between two reads.
const WRITE_PACE: Duration = Duration::from_millis(1);
const READ_PACE: Duration = Duration::from_millis(5);
/// The pause after an answer that grants nothing.
const BREATH: Duration = Duration::from_millis(5);
/// How long a client waits for one answer.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How often the drill looks whether what it waits for has come.
const GLANCE: Duration = Duration::from_micros(500);
/// How long clients may be without what the drill waits for.
const COMES_WITHIN: Duration = Duration::from_secs(300);
/// How long replicas may take to agree once nobody writes.
const AGREE_WITHIN: Duration = Duration::from_secs(20);
/// How long a server without trouble may take for an answer that needs nobody else.
const WITNESS_GAP_MAX: Duration = Duration::from_millis(300);
/// Broken promises that are remembered.
const N_FAULTS_MAX: usize = 20;
/// The name that is asked over DNS all the time.
pub(super) const STEADY: &str = "drill-steady";

/// What the clients share.
pub(super) struct Load {
    pub(super) doors: Arc<Vec<Door>>,
    pub(super) ledger: Ledger,
    /// Acknowledged writes.
    pub(super) writes: Pulse,
    pub(super) counts: Counts,
    is_over: AtomicBool,
    faults: Mutex<Vec<String>>,
    seed: u64,
}

/// What was counted, and the longest silences of witnesses.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) n_refused: AtomicUsize,
    pub(super) n_unknown: AtomicUsize,
    pub(super) n_consistent: AtomicUsize,
    pub(super) n_stale: AtomicUsize,
    pub(super) n_names: AtomicUsize,
    pub(super) stale_gap_us: AtomicU64,
    pub(super) names_gap_us: AtomicU64,
}

/// Lets clients work while `trouble` is made, then judges; gives what `trouble` gave and what the
/// clients did in one line.
pub(super) fn under_load<T>(
    lab: &mut Lab,
    seed: u64,
    trouble: impl FnOnce(&mut Lab, &Load) -> Result<T, String>,
) -> Result<(T, String), String> {
    register_steady(lab)?;
    let load = Load::new(lab.doors.clone(), seed);
    let began_at = Instant::now();
    let (made, wrote_for) = std::thread::scope(|scope| {
        let load = &load;
        let over = Over(load);
        for client in 0..N_WRITERS {
            scope.spawn(move || load.write_on(client));
        }
        for client in 0..N_READERS {
            scope.spawn(move || load.read_on(client));
        }
        for at in 0..load.doors.len() {
            scope.spawn(move || witness::look_on(load, at));
        }
        let made = trouble(lab, load);
        drop(over);
        (made, began_at.elapsed())
    });
    load.check()?;
    let made = made?;
    let n_slots = load.compare(lab)?;
    Ok((made, load.figures(wrote_for, n_slots)))
}

/// Ends the clients when it is dropped, also when the drill panics.
struct Over<'a>(&'a Load);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

/// What is always there, for witnesses to ask for.
fn register_steady(lab: &Lab) -> Result<(), String> {
    let instance = json!({ "ID": STEADY, "Service": STEADY, "Port": 80 });
    let body = json!({ "Node": STEADY, "Address": "192.0.2.9", "Service": instance });
    lab.put("/v1/catalog/register", body.to_string().as_bytes())
}

// ------------------------------------------------------------------------------------------------
// What the drill asks of it
// ------------------------------------------------------------------------------------------------

impl Load {
    fn new(doors: Arc<Vec<Door>>, seed: u64) -> Self {
        Self {
            doors,
            ledger: Ledger::new(N_WRITERS, N_SLOTS),
            writes: Pulse::new(),
            counts: Counts::default(),
            is_over: AtomicBool::new(false),
            faults: Mutex::default(),
            seed,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Waits until so many more writes are acknowledged.
    pub(super) fn until_written(&self, n_writes: usize) -> Result<(), String> {
        let n_wanted = self.writes.n_all() + n_writes;
        self.until("writes are acknowledged", || self.writes.n_all() >= n_wanted)
    }

    /// Waits until so many writes are acknowledged that were begun after the measurement was.
    pub(super) fn until_fresh(&self, n_writes: usize) -> Result<(), String> {
        self.until("writes go on", || self.writes.n_fresh() >= n_writes)
    }

    fn until(&self, what: &str, has_come: impl Fn() -> bool) -> Result<(), String> {
        let started_at = Instant::now();
        while !has_come() {
            self.check()?;
            if started_at.elapsed() > COMES_WITHIN {
                return Err(format!("waited {COMES_WITHIN:?} in vain until {what}"));
            }
            std::thread::sleep(GLANCE);
        }
        self.check()
    }

    /// Notes a broken promise.
    pub(super) fn fault(&self, why: String) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if faults.len() < N_FAULTS_MAX {
            faults.push(why);
        }
    }

    /// Fails if a promise was broken.
    pub(super) fn check(&self) -> Result<(), String> {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if faults.is_empty() {
            return Ok(());
        }
        Err(format!("broken promises:\n  {}", faults.join("\n  ")))
    }

    /// Fails if a server without trouble did not answer at once, `stale` or over DNS.
    pub(super) fn check_witnesses(&self, order: &Order) -> Result<(), String> {
        let (stale, names) = self.witness_gaps();
        if order.is_too_long(stale.max(names), WITNESS_GAP_MAX) {
            return Err(format!(
                "servers without trouble were silent: stale reads for {stale:?}, DNS for \
                 {names:?}; {WITNESS_GAP_MAX:?} is allowed"
            ));
        }
        Ok(())
    }

    fn witness_gaps(&self) -> (Duration, Duration) {
        let of = |gap: &AtomicU64| Duration::from_micros(gap.load(Ordering::Relaxed));
        (of(&self.counts.stale_gap_us), of(&self.counts.names_gap_us))
    }

    fn figures(&self, wrote_for: Duration, n_slots: usize) -> String {
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let n_acknowledged = self.writes.n_all();
        let (stale, names) = self.witness_gaps();
        format!(
            "{n_acknowledged} writes acknowledged ({:.0}/s), none lost in {n_slots} slots; {} \
             refused, {} of unknown outcome; {} consistent reads, none stale; {} stale reads and {} \
             DNS answers, longest silence {} and {} ms",
            n_acknowledged as f64 / wrote_for.as_secs_f64(),
            count(&self.counts.n_refused),
            count(&self.counts.n_unknown),
            count(&self.counts.n_consistent),
            count(&self.counts.n_stale),
            count(&self.counts.n_names),
            stale.as_millis(),
            names.as_millis(),
        )
    }
}

// ------------------------------------------------------------------------------------------------
// Writing
// ------------------------------------------------------------------------------------------------

/// A client's connection, and how long it keeps to it.
pub(super) struct Line {
    pub(super) connection: Connection,
    pub(super) at: usize,
    n_left: usize,
}

impl Load {
    fn write_on(&self, client: usize) {
        let mut line = None;
        let mut turn = 0;
        while !self.is_over() {
            std::thread::sleep(WRITE_PACE);
            let Some(mut held) = self.line(line.take(), client) else { continue };
            let place = self.ledger.place(client, turn);
            turn += 1;
            if self.write_once(&mut held.connection, place).is_ok() {
                line = Some(held);
            } else {
                std::thread::sleep(BREATH);
            }
        }
    }

    /// One checked write; an error says that this connection is of no more use for now.
    fn write_once(&self, connection: &mut Connection, place: usize) -> Result<(), ()> {
        let slot = self.ledger.slot(place);
        if slot.kind == Kind::Pair && slot.promised > 0 {
            let found = read(connection, &slot, "consistent").map_err(|_| ())?.ok_or(())?;
            self.counts.n_consistent.fetch_add(1, Ordering::Relaxed);
            if found.0 != Some(slot.promised) {
                let (name, promised) = (&slot.name, slot.promised);
                self.fault(format!("{name}: {promised} was acknowledged last, found {found:?}"));
            }
        }
        let version = self.ledger.ask(place);
        let (path, body) = request(&slot, version);
        let begun_at = Instant::now();
        let answered = connection.ask("PUT", &path, &body);
        let ending = answered.as_ref().map_or(Ending::Unknown, ending_of);
        self.ledger.end(place, ending);
        match ending {
            Ending::Acknowledged => self.writes.beat(begun_at),
            Ending::Refused => _ = self.counts.n_refused.fetch_add(1, Ordering::Relaxed),
            Ending::Unknown => _ = self.counts.n_unknown.fetch_add(1, Ordering::Relaxed),
        }
        if ending == Ending::Acknowledged { Ok(()) } else { Err(()) }
    }

    /// The connection that is held while it is good, else one to the next server that is open.
    fn line(&self, held: Option<Line>, client: usize) -> Option<Line> {
        let n_doors = self.doors.len();
        let first = held.as_ref().map_or(client, |line| line.at + 1);
        if let Some(mut line) = held
            && line.n_left > 0
            && self.doors[line.at].is_open()
        {
            line.n_left -= 1;
            return Some(line);
        }
        let mut places = (0..n_doors).map(|step| (first + step) % n_doors);
        places.find_map(|at| {
            let door = Some(&self.doors[at]).filter(|door| door.is_open())?;
            let connection = Connection::open_within(&door.http, SILENCE_MAX).ok()?;
            Some(Line { connection, at, n_left: REQUESTS_ON_ONE })
        })
    }
}

fn request(slot: &Slot, version: u64) -> (String, Vec<u8>) {
    let name = &slot.name;
    match slot.kind {
        Kind::Pair => (format!("/v1/kv/drill/{name}"), fleet::value_of(version)),
        Kind::Instance => {
            let meta = json!({ "version": version.to_string() });
            let instance = json!({ "ID": name, "Service": name, "Port": 80, "Meta": meta });
            let body = json!({ "Node": STEADY, "Address": "192.0.2.9", "Service": instance });
            ("/v1/catalog/register".to_owned(), body.to_string().into_bytes())
        }
    }
}

/// What an answer says of a write: these words of ours promise that nothing was written.
pub(super) fn ending_of(answer: &Answer) -> Ending {
    let says = String::from_utf8_lossy(&answer.body);
    match answer.status {
        200 => Ending::Acknowledged,
        _ if says.contains("No cluster leader") => Ending::Refused,
        _ if says.contains("writes are refused") => Ending::Refused,
        _ => Ending::Unknown,
    }
}

// ------------------------------------------------------------------------------------------------
// Reading
// ------------------------------------------------------------------------------------------------

/// What a read found: a version, or that nothing is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found(pub(super) Option<u64>);

/// Reads a slot; `None` if the server refuses to say.
pub(super) fn read(
    connection: &mut Connection,
    slot: &Slot,
    freshness: &str,
) -> std::io::Result<Option<Found>> {
    let answer = connection.ask("GET", &path_of(slot, freshness), b"")?;
    found_in(slot, &answer).map_err(std::io::Error::other)
}

pub(super) fn path_of(slot: &Slot, freshness: &str) -> String {
    match slot.kind {
        Kind::Pair => format!("/v1/kv/drill/{}?raw&{freshness}", slot.name),
        Kind::Instance => format!("/v1/catalog/service/{}?{freshness}", slot.name),
    }
}

pub(super) fn found_in(slot: &Slot, answer: &Answer) -> Result<Option<Found>, String> {
    let damaged = || format!("{}: what is there is damaged: {}", slot.name, told(answer));
    match (answer.status, slot.kind) {
        (404, Kind::Pair) => Ok(Some(Found(None))),
        (200, Kind::Pair) => {
            let version = fleet::version_of(&answer.body).ok_or_else(damaged)?;
            Ok(Some(Found(Some(version))))
        }
        (200, Kind::Instance) => {
            let list = serde_json::from_slice::<serde_json::Value>(&answer.body);
            let list = list.map_err(|_| damaged())?;
            let Some(instance) = fleet::items(&list).first() else { return Ok(Some(Found(None))) };
            let version = instance["ServiceMeta"]["version"].as_str();
            let version = version.and_then(|word| word.parse().ok()).ok_or_else(damaged)?;
            Ok(Some(Found(Some(version))))
        }
        _ => Ok(None),
    }
}

impl Load {
    fn read_on(&self, client: usize) {
        let mut chance = Chance(self.seed.wrapping_add(client as u64));
        let mut line = None;
        while !self.is_over() {
            std::thread::sleep(READ_PACE);
            let Some(mut held) = self.line(line.take(), client) else { continue };
            let place = chance.below(self.ledger.n_live() as u64) as usize;
            let before = self.ledger.slot(place);
            match read(&mut held.connection, &before, "consistent") {
                Ok(Some(found)) => {
                    self.counts.n_consistent.fetch_add(1, Ordering::Relaxed);
                    if let Err(why) = self.ledger.judge(place, &before, found.0) {
                        self.fault(format!("a consistent read at server {}: {why}", held.at + 1));
                    }
                    line = Some(held);
                }
                Ok(None) | Err(_) => std::thread::sleep(BREATH),
            }
        }
    }

    /// Holds what every server has against the ledger; gives how many slots there are.
    fn compare(&self, lab: &Lab) -> Result<usize, String> {
        let allowed = self.ledger.allowed();
        for at in lab.running() {
            let found = everything(lab, at, "consistent")?;
            let broken: Vec<String> = allowed
                .iter()
                .filter(|(name, (_, allowed))| !allowed.admits(found.get(*name).copied()))
                .map(|(name, (_, allowed))| {
                    format!("{name}: {allowed:?}, and {:?} is there", found.get(name))
                })
                .take(N_FAULTS_MAX)
                .collect();
            if !broken.is_empty() {
                let server = at + 1;
                return Err(format!("server {server} lost promises:\n  {}", broken.join("\n  ")));
            }
        }
        agree(lab)?;
        Ok(allowed.len())
    }
}

/// Waits until all servers have the same, each by itself.
fn agree(lab: &Lab) -> Result<(), String> {
    let started_at = Instant::now();
    loop {
        let all: Vec<_> =
            lab.running().map(|at| everything(lab, at, "stale")).collect::<Result<_, _>>()?;
        if all.windows(2).all(|pair| pair[0] == pair[1]) {
            return Ok(());
        }
        if started_at.elapsed() > AGREE_WITHIN {
            return Err(format!("the servers do not agree {AGREE_WITHIN:?} after the last write"));
        }
        std::thread::sleep(BREATH);
    }
}

/// The version of every slot that a server has.
fn everything(lab: &Lab, at: usize, freshness: &str) -> Result<BTreeMap<String, u64>, String> {
    let mut connection = lab.connect(at)?;
    let mut found = BTreeMap::new();
    let pairs = fleet::read(&mut connection, &format!("/v1/kv/drill/?recurse&{freshness}"))?;
    for pair in fleet::items(&pairs) {
        let (key, version) = fleet::pair(pair)?;
        found.insert(key.trim_start_matches("drill/").to_owned(), version);
    }
    let path = format!("/v1/catalog/node/{STEADY}?{freshness}");
    let node = fleet::read(&mut connection, &path)?;
    for (name, instance) in node["Services"].as_object().into_iter().flatten() {
        let version = instance["Meta"]["version"].as_str().and_then(|word| word.parse().ok());
        found.extend(version.map(|version| (name.clone(), version)));
    }
    Ok(found)
}
