//! The guard: doubt before mass expiry.
//!
//! When a third of all nodes or half of a service seem to die within seconds, then more often than
//! not it is the network between, a switch, or this server itself that is ill, and an empty answer
//! does more harm than one that is a little old. So mass failure is doubted: within a bound it is
//! believed at once, beyond the bound the last status is kept, visibly, and let go slowly.
//!
//! ```text
//!              n_failed within the window             released, a tenth a minute
//! judge ──────────────► within the bound ─► Proceed       ▲
//!            │                                            │ 15 minutes at most
//!            └────────► beyond it ────────► Doubted ──────┤
//!                                                         ▼ recovers: forgotten
//! ```
//!
//! - **Crowds.** Failures are counted among [`Crowd`]s: all nodes, and each service. A subject may
//!   belong to several (a node carries services); it is doubted if it is beyond the bound of one of
//!   them. A subject counts once in each, however much it carries: one machine that dies is one
//!   failure, so of one or of three machines every one still fails at once.
//! - **The bound.** At least 5 in the window, and more than the crowd's fraction of its population.
//! - **Who is within it.** In the order in which they are judged: the first ones up to the bound
//!   proceed at once, only what comes after them is doubted. When the first of them is judged
//!   nobody can know that others will follow, and to wait and see would slow down every single
//!   failure for the sake of a rare burst. What proceeded is not taken back when the guard opens: it
//!   would turn a status that clients have acted upon, and it is bounded.
//! - **Open until empty.** As long as a crowd has doubted subjects its guard is open, and whatever
//!   else of it is judged is doubted too, at the end of the line. Otherwise a failure that spreads
//!   more slowly than the window would take one bound after another.
//! - **Release.** A minute after it opened and each minute from then on, a tenth of the most that
//!   were doubted at once (at least one), oldest first; nobody is doubted for longer than 15
//!   minutes. The tenth is of the most and not of the rest, so the line ends, and single failures of
//!   an ordinary day, which are slower than that, cannot keep the guard open for ever.
//! - **Population.** The greatest that was given for those still in the window: what failed and was
//!   removed from the catalog a moment ago does not lower the bound for what comes next.
//!
//! Left out, because it is never doubted and must not be brought here: deregistration, failed
//! checks, sessions, locks. The guard lives in the leader's memory. A new leader takes over what
//! was doubted ([`Guard::inherit`]) with a full term, as it does with leases.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use muster_model::Text;

use crate::Moment;

/// The time between two releases.
const RELEASE_INTERVAL: Duration = Duration::from_secs(60);

/// The numbers of the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Off: everything proceeds, and what was doubted is released.
    pub is_on: bool,
    /// Failures within this count together. Longer: slower bursts are seen, and unrelated failures
    /// of a large fleet add up.
    pub window: Duration,
    /// The guard opens where more than this fraction of all nodes fails.
    pub nodes_bound: Fraction,
    /// The guard opens where more than this fraction of a service fails.
    pub service_bound: Fraction,
    /// The guard never opens for fewer failures than this, so that small crowds fail as they are.
    pub n_failed_min: usize,
    /// Of a hundred that were doubted, how many are released a minute; rounded up. 1 to 100.
    pub release_percent: u32,
    /// Nobody is doubted for longer.
    pub doubt_max: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            is_on: true,
            window: Duration::from_secs(30),
            nodes_bound: Fraction { numerator: 1, denominator: 3 },
            service_bound: Fraction { numerator: 1, denominator: 2 },
            n_failed_min: 5,
            release_percent: 10,
            doubt_max: Duration::from_secs(15 * 60),
        }
    }
}

/// A part of a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    /// Above the line.
    pub numerator: u32,
    /// Below it. Not 0.
    pub denominator: u32,
}

impl Fraction {
    /// Whether `n` of `whole` are more than this.
    pub fn is_exceeded_by(self, n: usize, whole: usize) -> bool {
        n as u128 * u128::from(self.denominator) > whole as u128 * u128::from(self.numerator)
    }
}

/// Among whom failures are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Crowd {
    /// All nodes that agents vouch for.
    Nodes,
    /// What carries this service: nodes, and instances that live by a lease.
    Service(Text),
}

/// A crowd that a subject belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The crowd.
    pub crowd: Crowd,
    /// How many belong to it now and are not known to have failed; this subject included.
    pub population: usize,
}

/// Who may be doubted, in this house. The guard itself takes any key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A node that an agent vouches for, by its folded name.
    Node(Text),
    /// An instance that lives by a lease.
    Instance {
        /// The folded name of its node.
        node: Text,
        /// Its id.
        id: Text,
    },
}

/// What the guard makes of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Believed: it may fail or expire now.
    Proceed,
    /// Its last status is kept for now.
    Doubted,
}

/// Since when and why a subject is doubted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Since when.
    pub since: Moment,
    /// The crowd whose bound it was beyond.
    pub crowd: Crowd,
    /// How many of the crowd had failed within the window, this one included.
    pub n_failed: usize,
    /// How many the crowd had.
    pub population: usize,
    /// The window.
    pub window: Duration,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Doubt { n_failed, population, .. } = self;
        match &self.crowd {
            Crowd::Nodes => write!(f, "{n_failed} of {population} nodes failed")?,
            Crowd::Service(name) => write!(f, "{n_failed} of {population} with {name} failed")?,
        }
        write!(f, " within {} s", self.window.as_secs())
    }
}

/// The guard over subjects of one kind of key. See the module for its rules.
#[derive(Debug)]
pub struct Guard<K> {
    settings: Settings,
    /// Who was judged within the window or is doubted, and so at most everybody there is.
    known: BTreeMap<K, Known>,
    /// The same, without those whose time in the window is over.
    judged: BTreeSet<(Moment, K)>,
    /// Crowds that someone known belongs to.
    crowds: BTreeMap<Crowd, Members<K>>,
}

#[derive(Debug)]
struct Known {
    judged_at: Moment,
    /// Where it counts as failed while it is in the window.
    shares: Vec<Share>,
    standing: Standing,
}

#[derive(Debug)]
enum Standing {
    /// It proceeded, or was released a moment ago: asking again changes nothing.
    Believed,
    Doubted(Doubt),
}

/// Those of a crowd who failed.
#[derive(Debug)]
struct Members<K> {
    /// Within the window, whatever the verdict; each with the population given for it.
    failed: BTreeSet<(usize, K)>,
    /// In the order in which they are released.
    doubted: BTreeSet<(Moment, K)>,
    /// The most that were doubted at once since the guard opened here.
    n_doubted_most: usize,
    next_release_at: Moment,
}

// ------------------------------------------------------------------------------------------------
// Judging
// ------------------------------------------------------------------------------------------------

impl<K: Ord + Clone> Guard<K> {
    /// A guard that doubts nobody yet.
    pub fn new(settings: Settings) -> Guard<K> {
        Guard { settings, known: BTreeMap::new(), judged: BTreeSet::new(), crowds: BTreeMap::new() }
    }

    /// Takes other numbers from now on. Where they switch the guard off, the next
    /// [`Guard::release`] gives everybody.
    pub fn reconfigure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// A subject is about to fail or expire. Asking again about the same one changes nothing,
    /// until it recovers or has proceeded for as long as the window.
    pub fn judge(&mut self, subject: &K, shares: &[Share], now: Moment) -> Verdict {
        if !self.settings.is_on {
            return Verdict::Proceed;
        }
        self.close_window(now);
        if let Some(known) = self.known.get(subject) {
            return known.standing.verdict();
        }
        for share in shares {
            let members = self.crowds.entry(share.crowd.clone()).or_default();
            members.failed.insert((share.population, subject.clone()));
        }
        let standing = match shares.iter().find_map(|share| self.doubt_in(&share.crowd, now)) {
            Some(doubt) => self.hold(subject, doubt),
            None => Standing::Believed,
        };
        let verdict = standing.verdict();
        self.judged.insert((now, subject.clone()));
        let known = Known { judged_at: now, shares: shares.to_vec(), standing };
        self.known.insert(subject.clone(), known);
        verdict
    }

    /// An earlier leader doubted this subject: it stays doubted, for a full term.
    pub fn inherit(&mut self, subject: &K, share: &Share, now: Moment) {
        if !self.settings.is_on || self.known.contains_key(subject) {
            return;
        }
        let members = self.crowds.entry(share.crowd.clone()).or_default();
        let n_failed = members.doubted.len() + 1;
        let population = share.population.max(n_failed);
        let standing = self.hold(subject, self.doubt(&share.crowd, (n_failed, population), now));
        let known = Known { judged_at: now, shares: Vec::new(), standing };
        self.known.insert(subject.clone(), known);
    }

    /// A subject is well again, was renewed, or has left for good: it is forgotten. Whether it was
    /// doubted.
    pub fn recover(&mut self, subject: &K) -> bool {
        let Some(known) = self.known.remove(subject) else { return false };
        self.judged.remove(&(known.judged_at, subject.clone()));
        self.uncount(subject, &known.shares);
        let Standing::Doubted(doubt) = known.standing else { return false };
        if let Some(members) = self.crowds.get_mut(&doubt.crowd) {
            members.doubted.remove(&(doubt.since, subject.clone()));
        }
        self.drop_if_empty(&doubt.crowd);
        true
    }

    /// Why a failure in this crowd is doubted, if it is; it has been counted already.
    fn doubt_in(&self, crowd: &Crowd, now: Moment) -> Option<Doubt> {
        let members = self.crowds.get(crowd)?;
        let n_failed = members.failed.len();
        let population = members.failed.last().map_or(0, |(greatest, _)| *greatest).max(n_failed);
        let bound = match crowd {
            Crowd::Nodes => self.settings.nodes_bound,
            Crowd::Service(_) => self.settings.service_bound,
        };
        let is_beyond =
            n_failed >= self.settings.n_failed_min && bound.is_exceeded_by(n_failed, population);
        let is_open = !members.doubted.is_empty();
        (is_beyond || is_open).then(|| self.doubt(crowd, (n_failed, population), now))
    }

    fn doubt(&self, crowd: &Crowd, numbers: (usize, usize), now: Moment) -> Doubt {
        let (n_failed, population) = numbers;
        let window = self.settings.window;
        Doubt { since: now, crowd: crowd.clone(), n_failed, population, window }
    }

    /// Puts a subject at the end of its crowd's line.
    fn hold(&mut self, subject: &K, doubt: Doubt) -> Standing {
        let members = self.crowds.entry(doubt.crowd.clone()).or_default();
        if members.doubted.is_empty() {
            members.n_doubted_most = 0;
            members.next_release_at = doubt.since + RELEASE_INTERVAL;
        }
        members.doubted.insert((doubt.since, subject.clone()));
        members.n_doubted_most = members.n_doubted_most.max(members.doubted.len());
        Standing::Doubted(doubt)
    }

    /// Forgets who was judged longer ago than the window, unless they are doubted.
    fn close_window(&mut self, now: Moment) {
        while let Some((judged_at, _)) = self.judged.first()
            && *judged_at + self.settings.window <= now
        {
            let Some((_, subject)) = self.judged.pop_first() else { return };
            let known = self.known.get_mut(&subject).expect("who was judged is known");
            let shares = std::mem::take(&mut known.shares);
            if matches!(known.standing, Standing::Believed) {
                self.known.remove(&subject);
            }
            self.uncount(&subject, &shares);
        }
    }

    /// A subject no longer counts as failed.
    fn uncount(&mut self, subject: &K, shares: &[Share]) {
        for share in shares {
            if let Some(members) = self.crowds.get_mut(&share.crowd) {
                members.failed.remove(&(share.population, subject.clone()));
            }
            self.drop_if_empty(&share.crowd);
        }
    }

    fn drop_if_empty(&mut self, crowd: &Crowd) {
        let is_empty =
            |members: &Members<K>| members.failed.is_empty() && members.doubted.is_empty();
        if self.crowds.get(crowd).is_some_and(is_empty) {
            self.crowds.remove(crowd);
        }
    }
}

// ------------------------------------------------------------------------------------------------
// Releasing
// ------------------------------------------------------------------------------------------------

impl<K: Ord + Clone> Guard<K> {
    /// Who is doubted no longer and shall fail or expire now, oldest first within each crowd. To be
    /// called at [`Guard::next_deadline`]; early calls are harmless. Asked about them within the
    /// window, [`Guard::judge`] says [`Verdict::Proceed`].
    pub fn release(&mut self, now: Moment) -> Vec<K> {
        self.close_window(now);
        let settings = self.settings;
        let crowds = self.crowds.values_mut();
        let due: Vec<K> = crowds.flat_map(|members| members.take_due(&settings, now)).collect();
        for subject in &due {
            self.believe(subject, now);
        }
        due
    }

    /// When [`Guard::release`] has somebody to release.
    pub fn next_deadline(&self) -> Option<Moment> {
        let lines = self.crowds.values();
        lines.filter_map(|members| members.next_deadline(&self.settings)).min()
    }

    /// What was doubted proceeds: it is remembered for as long as the window.
    fn believe(&mut self, subject: &K, now: Moment) {
        let known = self.known.get_mut(subject).expect("who is doubted is known");
        self.judged.remove(&(known.judged_at, subject.clone()));
        self.judged.insert((now, subject.clone()));
        known.judged_at = now;
        let shares = std::mem::take(&mut known.shares);
        let believed = std::mem::replace(&mut known.standing, Standing::Believed);
        self.uncount(subject, &shares);
        if let Standing::Doubted(doubt) = believed {
            self.drop_if_empty(&doubt.crowd);
        }
    }
}

impl<K: Ord + Clone> Members<K> {
    fn take_due(&mut self, settings: &Settings, now: Moment) -> Vec<K> {
        if !settings.is_on {
            return std::mem::take(&mut self.doubted).into_iter().map(|(_, who)| who).collect();
        }
        let mut due = Vec::new();
        while !self.doubted.is_empty() && self.next_release_at <= now {
            let n_of_hundred = self.n_doubted_most * settings.release_percent as usize;
            for _ in 0..n_of_hundred.div_ceil(100).max(1) {
                due.extend(self.doubted.pop_first().map(|(_, who)| who));
            }
            self.next_release_at = self.next_release_at + RELEASE_INTERVAL;
        }
        while let Some((since, _)) = self.doubted.first()
            && *since + settings.doubt_max <= now
        {
            due.extend(self.doubted.pop_first().map(|(_, who)| who));
        }
        due
    }

    fn next_deadline(&self, settings: &Settings) -> Option<Moment> {
        let (oldest, _) = self.doubted.first()?;
        Some(match settings.is_on {
            true => self.next_release_at.min(*oldest + settings.doubt_max),
            false => *oldest,
        })
    }
}

impl<K> Default for Members<K> {
    fn default() -> Members<K> {
        Members {
            failed: BTreeSet::new(),
            doubted: BTreeSet::new(),
            n_doubted_most: 0,
            next_release_at: Moment::default(),
        }
    }
}

impl Standing {
    fn verdict(&self) -> Verdict {
        match self {
            Standing::Believed => Verdict::Proceed,
            Standing::Doubted(_) => Verdict::Doubted,
        }
    }
}

// ------------------------------------------------------------------------------------------------
// Looking
// ------------------------------------------------------------------------------------------------

impl<K: Ord + Clone> Guard<K> {
    /// Who is doubted, since when and why, in the order of their keys.
    pub fn doubted(&self) -> impl Iterator<Item = (&K, &Doubt)> {
        self.known.iter().filter_map(|(subject, known)| match &known.standing {
            Standing::Doubted(doubt) => Some((subject, doubt)),
            Standing::Believed => None,
        })
    }

    /// Since when and why a subject is doubted, if it is.
    pub fn doubt_of(&self, subject: &K) -> Option<&Doubt> {
        match &self.known.get(subject)?.standing {
            Standing::Doubted(doubt) => Some(doubt),
            Standing::Believed => None,
        }
    }

    /// Whether a subject is doubted, or proceeded within the window.
    pub fn knows(&self, subject: &K) -> bool {
        self.known.contains_key(subject)
    }

    /// Crowds whose guard is open, each with how many of it are doubted.
    pub fn open(&self) -> impl Iterator<Item = (&Crowd, usize)> {
        let all = self.crowds.iter().map(|(crowd, members)| (crowd, members.doubted.len()));
        all.filter(|(_, n_doubted)| *n_doubted > 0)
    }
}
