//! The trace of a run: a hash over everything that crosses an edge, and the story in words.
//!
//! The hash takes in every message with the moment it arrives, every change of a file, and what
//! the clients heard. Two runs of one seed that have the same hash did the same, byte for byte.
//! The story is for people: faults, elections, what the agents log and, if asked for, every
//! message, so that the stories of two runs that differ can be laid side by side.

use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::quality::FixedState;

use crate::limits::STORY_LINES_MAX;

/// A host, counted from 0.
pub type HostNumber = usize;

/// How much of a run is told in words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Telling {
    /// Faults and elections.
    #[default]
    Little,
    /// Also what agents log.
    Logs,
    /// Also every message and every change of a file.
    Everything,
}

/// The trace of a run. Clones share it.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

struct Inner {
    now: Duration,
    /// The host whose code runs at this moment.
    acting: Option<HostNumber>,
    names: Vec<String>,
    hash: u64,
    n_messages: u64,
    n_changes: u64,
    telling: Telling,
    story: Vec<String>,
}

/// How much a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Messages that arrived.
    pub n_messages: u64,
    /// Changes of files, syncs among them.
    pub n_changes: u64,
}

impl Trace {
    /// An empty trace.
    #[must_use]
    pub fn new(telling: Telling) -> Trace {
        Trace(Arc::new(Mutex::new(Inner {
            now: Duration::ZERO,
            acting: None,
            names: Vec::new(),
            hash: 0,
            n_messages: 0,
            n_changes: 0,
            telling,
            story: Vec::new(),
        })))
    }

    /// The time since the run began, as of the step that is being made.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.lock().now
    }

    /// A hash over everything so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.lock().hash
    }

    /// How much was done so far.
    #[must_use]
    pub fn work(&self) -> Work {
        let inner = self.lock();
        Work { n_messages: inner.n_messages, n_changes: inner.n_changes }
    }

    /// How much is told.
    #[must_use]
    pub fn telling(&self) -> Telling {
        self.lock().telling
    }

    /// The story so far.
    #[must_use]
    pub fn story(&self) -> Vec<String> {
        self.lock().story.clone()
    }

    /// Adds a line about the run as a whole.
    pub fn tell(&self, line: &str) {
        self.lock().tell("", line);
    }

    /// Adds a line about a host.
    pub fn tell_of(&self, host: HostNumber, line: &str) {
        let mut inner = self.lock();
        let name = inner.name(host);
        inner.tell(&name, line);
    }

    /// Adds a line that the code of a host logged.
    pub(crate) fn tell_log(&self, line: &str) {
        let mut inner = self.lock();
        if inner.telling >= Telling::Logs {
            let name = inner.acting.map_or_else(String::new, |host| inner.name(host));
            inner.tell(&name, line);
        }
    }

    /// Takes something into the hash, such as what a client heard.
    pub fn take_in(&self, bytes: &[u8]) {
        self.lock().mix(0, 0, 0, bytes);
    }

    pub(crate) fn set_now(&self, now: Duration) {
        self.lock().now = now;
    }

    pub(crate) fn set_acting(&self, host: Option<HostNumber>) {
        self.lock().acting = host;
    }

    pub(crate) fn add_host(&self, name: &str) {
        self.lock().names.push(name.to_owned());
    }

    /// A message of some kind arrived.
    pub(crate) fn message(&self, from: HostNumber, to: HostNumber, kind: &str, bytes: &[u8]) {
        let mut inner = self.lock();
        inner.n_messages += 1;
        inner.mix(1, from as u64, to as u64, kind.as_bytes());
        inner.mix(2, 0, 0, bytes);
        if inner.telling == Telling::Everything {
            let (name, n_bytes, hash) = (inner.name(from), bytes.len(), inner.hash);
            let line = format!("{kind} from {name}: {n_bytes} bytes [{hash:016x}]");
            let name = inner.name(to);
            inner.tell(&name, &line);
        }
    }

    /// A file was changed, or synced.
    pub(crate) fn change(&self, host: HostNumber, what: &str, path: &str, at: u64, bytes: &[u8]) {
        let mut inner = self.lock();
        inner.n_changes += 1;
        inner.mix(3, host as u64, at, path.as_bytes());
        inner.mix(4, 0, 0, what.as_bytes());
        inner.mix(5, 0, 0, bytes);
        if inner.telling == Telling::Everything {
            let (n_bytes, hash) = (bytes.len(), inner.hash);
            let line = format!("{what} {path} at {at}: {n_bytes} bytes [{hash:016x}]");
            let name = inner.name(host);
            inner.tell(&name, &line);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn mix(&mut self, kind: u64, a: u64, b: u64, bytes: &[u8]) {
        let mut hasher = FixedState::with_seed(self.hash).build_hasher();
        hasher.write_u64(self.now.as_nanos() as u64);
        hasher.write_u64(kind);
        hasher.write_u64(a);
        hasher.write_u64(b);
        hasher.write(bytes);
        self.hash = hasher.finish();
    }

    fn name(&self, host: HostNumber) -> String {
        self.names.get(host).cloned().unwrap_or_default()
    }

    fn tell(&mut self, who: &str, line: &str) {
        if self.story.len() >= STORY_LINES_MAX {
            return;
        }
        let mut told = String::new();
        // Writing to a String cannot fail.
        let _ = write!(told, "{:>10.3} {who:<9} {line}", self.now.as_secs_f64());
        self.story.push(told);
    }
}
