//! Broadcasts: rumors with a transmit budget, the youngest first.
//!
//! Each is told a number of times that grows with the logarithm of the pool, by each member that
//! hears it. What is told of a member takes the place of what was told of it before. The queue is
//! bounded: what has been told most often makes room.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::limits::{BROADCASTS_MAX, BROADCASTS_TRIED_MAX};
use crate::member::Name;

/// What a broadcast is about: there is one of each at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// The status or profile of a member.
    Member(Name),
    /// An event, by its id.
    Event(u64),
    /// A question, by its id.
    Question(u64),
}

/// How soon a broadcast is sent: the least told first, of these the youngest.
type Turn = (u32, Reverse<u64>);

/// The broadcasts of a pool.
#[derive(Debug, Default)]
pub(crate) struct Broadcasts {
    /// An encoded message each.
    queue: BTreeMap<Turn, (Topic, Arc<[u8]>)>,
    turns: BTreeMap<Topic, Turn>,
    n_added: u64,
}

impl Broadcasts {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether something of this topic still waits to be told.
    pub(crate) fn is_waiting(&self, topic: &Topic) -> bool {
        self.turns.contains_key(topic)
    }

    /// Adds one. Whether another had to make room for it.
    pub(crate) fn add(&mut self, topic: Topic, message: Vec<u8>) -> bool {
        if let Some(turn) = self.turns.remove(&topic) {
            self.queue.remove(&turn);
        }
        let is_full = self.queue.len() >= BROADCASTS_MAX;
        if is_full && let Some((_, (dropped, _))) = self.queue.pop_last() {
            self.turns.remove(&dropped);
        }
        self.n_added += 1;
        self.put((0, Reverse(self.n_added)), topic, message.into());
        is_full
    }

    /// Fills what room a packet has, and counts each broadcast as told once more; who has been
    /// told `times_max` times is done.
    pub(crate) fn fill(&mut self, packet: &mut Vec<u8>, packet_bytes_max: usize, times_max: u32) {
        let mut told = Vec::new();
        let mut room = packet_bytes_max.saturating_sub(packet.len());
        for (turn, (_, message)) in self.queue.iter().take(BROADCASTS_TRIED_MAX) {
            if message.len() <= room {
                room -= message.len();
                packet.extend_from_slice(message);
                told.push(*turn);
            }
        }
        for turn in told {
            let Some((topic, message)) = self.queue.remove(&turn) else { continue };
            if turn.0 + 1 >= times_max {
                self.turns.remove(&topic);
            } else {
                self.put((turn.0 + 1, turn.1), topic, message);
            }
        }
    }

    fn put(&mut self, turn: Turn, topic: Topic, message: Arc<[u8]>) {
        self.turns.insert(topic.clone(), turn);
        self.queue.insert(turn, (topic, message));
        debug_assert_eq!(self.turns.len(), self.queue.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(broadcasts: &mut Broadcasts, room: usize, times_max: u32) -> Vec<u8> {
        let mut packet = Vec::new();
        broadcasts.fill(&mut packet, room, times_max);
        packet
    }

    #[test]
    fn the_least_told_and_youngest_goes_first() {
        let mut broadcasts = Broadcasts::default();
        broadcasts.add(Topic::Event(1), vec![1]);
        broadcasts.add(Topic::Event(2), vec![2]);
        assert_eq!(filled(&mut broadcasts, 1, 3), [2]);
        assert_eq!(filled(&mut broadcasts, 1, 3), [1]);
        broadcasts.add(Topic::Event(3), vec![3]);
        assert_eq!(filled(&mut broadcasts, 8, 3), [3, 2, 1]);
    }

    #[test]
    fn one_is_told_as_often_as_its_budget_allows() {
        let mut broadcasts = Broadcasts::default();
        broadcasts.add(Topic::Event(1), vec![1]);
        for _ in 0..3 {
            assert!(broadcasts.is_waiting(&Topic::Event(1)));
            assert_eq!(filled(&mut broadcasts, 8, 3), [1]);
        }
        assert!(!broadcasts.is_waiting(&Topic::Event(1)));
        assert_eq!(filled(&mut broadcasts, 8, 3), []);
    }

    #[test]
    fn news_of_a_topic_takes_the_place_of_older_news() {
        let mut broadcasts = Broadcasts::default();
        broadcasts.add(Topic::Event(1), vec![1]);
        filled(&mut broadcasts, 8, 3);
        broadcasts.add(Topic::Event(1), vec![9]);
        assert_eq!(broadcasts.len(), 1);
        assert_eq!(filled(&mut broadcasts, 8, 3), [9]);
    }

    #[test]
    fn what_does_not_fit_is_passed_over() {
        let mut broadcasts = Broadcasts::default();
        broadcasts.add(Topic::Event(1), vec![1]);
        broadcasts.add(Topic::Event(2), vec![2; 10]);
        assert_eq!(filled(&mut broadcasts, 5, 3), [1]);
        assert_eq!(broadcasts.len(), 2);
    }

    #[test]
    fn the_most_told_makes_room() {
        let mut broadcasts = Broadcasts::default();
        broadcasts.add(Topic::Event(0), vec![0]);
        filled(&mut broadcasts, 8, 9);
        for n in 1..=BROADCASTS_MAX as u64 {
            broadcasts.add(Topic::Event(n), vec![1]);
        }
        assert_eq!(broadcasts.len(), BROADCASTS_MAX);
        assert!(!broadcasts.is_waiting(&Topic::Event(0)));
    }
}
