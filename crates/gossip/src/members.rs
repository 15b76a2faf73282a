//! The other members that are known, in the order in which they are probed.
//!
//! SWIM probes in shuffled rounds, so that each member is probed by each other within two rounds:
//! the list is walked, and shuffled when its end is reached; who is new is put at a random place.
//! Names find their place through a map that is never walked, so its order decides nothing.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::coordinate::{Coordinate, LatencyFilter};
use crate::limits::MEMBERS_MAX;
use crate::member::{Member, Name, Status};
use crate::moment::Moment;
use crate::suspicion::Suspicion;

/// A member with what this one alone knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) member: Member,
    /// Present exactly while the status is suspect.
    pub(crate) suspicion: Option<Box<Suspicion>>,
    /// Where it stands on the map, if it ever answered a probe.
    pub(crate) place: Option<Box<Place>>,
    /// An operator wants it forgotten: it is listed no more, and kept only so that nobody brings
    /// it back.
    pub(crate) is_pruned: bool,
}

/// Where a member stands on the map.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) coordinate: Coordinate,
    pub(crate) latencies: LatencyFilter,
}

/// The other members.
#[derive(Debug, Default)]
pub(crate) struct Members {
    records: Vec<Record>,
    by_name: HashMap<Name, usize, FixedState>,
    /// Which is probed next.
    cursor: usize,
    n_active: usize,
    n_failed: usize,
}

impl Record {
    /// A member that nobody doubts.
    pub(crate) fn new(member: Member) -> Record {
        Record { member, suspicion: None, place: None, is_pruned: false }
    }

    /// Whether it takes part.
    pub(crate) fn is_active(&self) -> bool {
        self.member.status.is_active()
    }
}

impl Members {
    /// How many are known, in whatever status.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// How many take part.
    pub(crate) fn n_active(&self) -> usize {
        self.n_active
    }

    /// How many failed.
    pub(crate) fn n_failed(&self) -> usize {
        self.n_failed
    }

    /// All of them, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    /// The suspicions under way.
    pub(crate) fn suspicions_mut(&mut self) -> impl Iterator<Item = &mut Suspicion> {
        self.records.iter_mut().filter_map(|record| record.suspicion.as_deref_mut())
    }

    /// The member of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Record> {
        self.records.get(*self.by_name.get(name)?)
    }

    /// The member of this name, for all but its name and its status.
    pub(crate) fn find_mut(&mut self, name: &str) -> Option<&mut Record> {
        self.records.get_mut(*self.by_name.get(name)?)
    }

    /// Takes in a member that is not known yet: whether there was room.
    pub(crate) fn insert(&mut self, record: Record, rng: &mut StdRng) -> bool {
        if self.records.len() >= MEMBERS_MAX {
            return false;
        }
        debug_assert!(!self.by_name.contains_key(record.member.name()));
        self.count(record.member.status, true);
        let last = self.records.len();
        self.records.push(record);
        let place = rng.random_range(0..=last);
        self.records.swap(place, last);
        self.by_name.insert(self.records[place].member.name().clone(), place);
        self.by_name.insert(self.records[last].member.name().clone(), last);
        true
    }

    /// Changes what is believed of a member. Whoever sets it suspect adds the suspicion.
    pub(crate) fn set_status(&mut self, name: &str, status: Status, incarnation: u64, now: Moment) {
        let Some(&place) = self.by_name.get(name) else { return };
        let record = &mut self.records[place];
        let was = record.member.status;
        record.member.incarnation = incarnation;
        if was == status {
            return;
        }
        record.member.status = status;
        record.member.since = now;
        record.member.held_before = std::time::Duration::ZERO;
        record.suspicion = None;
        self.count(was, false);
        self.count(status, true);
    }

    /// Forgets those that `is_over` says it of, and gives them back.
    pub(crate) fn remove_if(&mut self, is_over: impl Fn(&Record) -> bool) -> Vec<Record> {
        let (gone, kept): (Vec<Record>, Vec<Record>) =
            std::mem::take(&mut self.records).into_iter().partition(is_over);
        self.records = kept;
        for record in &gone {
            self.count(record.member.status, false);
        }
        if !gone.is_empty() {
            self.index();
        }
        gone
    }

    /// The next member to probe.
    pub(crate) fn next_to_probe(&mut self, rng: &mut StdRng) -> Option<Name> {
        if self.n_active == 0 {
            return None;
        }
        // Twice: the rest of this round and all of the next.
        for _ in 0..2 * self.records.len() {
            if self.cursor >= self.records.len() {
                self.records.shuffle(rng);
                self.index();
                self.cursor = 0;
            }
            self.cursor += 1;
            let record = &self.records[self.cursor - 1];
            if record.is_active() {
                return Some(record.member.name().clone());
            }
        }
        None
    }

    /// Up to `n` different members that `fits`, by chance.
    pub(crate) fn sample(
        &self,
        n: usize,
        rng: &mut StdRng,
        fits: impl Fn(&Record) -> bool,
    ) -> Vec<&Record> {
        // Few members: all who fit are looked at. Many: chance soon finds some who fit.
        if self.records.len() <= 8 * n {
            let mut found: Vec<&Record> = self.records.iter().filter(|r| fits(r)).collect();
            found.shuffle(rng);
            found.truncate(n);
            return found;
        }
        let mut places: Vec<usize> = Vec::with_capacity(n);
        for _ in 0..16 * n {
            if places.len() == n {
                break;
            }
            let place = rng.random_range(0..self.records.len());
            if !places.contains(&place) && fits(&self.records[place]) {
                places.push(place);
            }
        }
        places.into_iter().map(|place| &self.records[place]).collect()
    }

    /// A failed member, by chance.
    pub(crate) fn sample_failed(&self, rng: &mut StdRng) -> Option<&Record> {
        if self.n_failed == 0 {
            return None;
        }
        let chosen = rng.random_range(0..self.n_failed);
        self.records.iter().filter(|record| record.member.status == Status::Failed).nth(chosen)
    }

    fn count(&mut self, status: Status, is_more: bool) {
        let counted = match status {
            Status::Alive | Status::Leaving | Status::Suspect => &mut self.n_active,
            Status::Failed => &mut self.n_failed,
            Status::Left => return,
        };
        if is_more { *counted += 1 } else { *counted -= 1 }
    }

    fn index(&mut self) {
        self.by_name.clear();
        for (place, record) in self.records.iter().enumerate() {
            self.by_name.insert(record.member.name().clone(), place);
        }
        self.cursor = self.cursor.min(self.records.len());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use rand::SeedableRng;

    use super::*;
    use crate::member::{Profile, Tags};

    fn record(n: usize) -> Record {
        let profile = Profile {
            name: Name::parse(&format!("m{n}")).unwrap(),
            address: ([127, 0, 0, 1], 1_000 + n as u16).into(),
            id: [0; 16],
            tags: Tags::default(),
        };
        Record::new(Member {
            profile,
            status: Status::Alive,
            incarnation: 1,
            since: Moment::default(),
            held_before: Duration::ZERO,
        })
    }

    fn ten() -> (Members, StdRng) {
        let (mut members, mut rng) = (Members::default(), StdRng::seed_from_u64(1));
        for n in 0..10 {
            assert!(members.insert(record(n), &mut rng));
        }
        (members, rng)
    }

    #[test]
    fn a_round_probes_each_active_member_once() {
        let (mut members, mut rng) = ten();
        members.set_status("m3", Status::Failed, 1, Moment::default());
        assert_eq!((members.n_active(), members.n_failed()), (9, 1));
        // The walk begins in the middle of a round.
        for _ in 0..9 {
            members.next_to_probe(&mut rng);
        }
        for _ in 0..3 {
            let round: BTreeSet<Name> =
                (0..9).map(|_| members.next_to_probe(&mut rng).unwrap()).collect();
            assert_eq!(round.len(), 9);
            assert!(!round.contains("m3"));
        }
    }

    #[test]
    fn names_are_found_after_shuffles_and_removals() {
        let (mut members, mut rng) = ten();
        for _ in 0..25 {
            members.next_to_probe(&mut rng);
        }
        let gone = members.remove_if(|record| record.member.name().as_str() < "m4");
        assert_eq!((gone.len(), members.len(), members.n_active()), (4, 6, 6));
        assert!(members.find("m2").is_none());
        for n in 4..10 {
            let name = format!("m{n}");
            assert_eq!(members.find(&name).unwrap().member.name().as_str(), name);
        }
    }

    #[test]
    fn a_sample_has_no_member_twice() {
        let (members, mut rng) = ten();
        for n in [1, 3, 20] {
            let sample = members.sample(n, &mut rng, |record| record.is_active());
            let names: BTreeSet<&Name> = sample.iter().map(|record| record.member.name()).collect();
            assert_eq!(names.len(), n.min(10));
        }
    }
}
