//! Eureka's words for how an instance is, and the rule by which an operator's word overrules it.

use muster_model::Status;

/// How an instance is, in Eureka's words. In the order in which the hash code names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Word {
    /// Not well.
    Down,
    /// Switched off: our maintenance.
    OutOfService,
    /// Not ready yet.
    Starting,
    /// Nobody knows; as an override: there is none.
    #[default]
    Unknown,
    /// Takes requests.
    Up,
}

impl Word {
    /// All of them, in the order of the hash code.
    pub(crate) const ALL: [Word; 5] =
        [Word::Down, Word::OutOfService, Word::Starting, Word::Unknown, Word::Up];

    /// As it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Word::Down => "DOWN",
            Word::OutOfService => "OUT_OF_SERVICE",
            Word::Starting => "STARTING",
            Word::Unknown => "UNKNOWN",
            Word::Up => "UP",
        }
    }

    /// The word that is written so.
    pub(crate) fn parse(text: &str) -> Option<Word> {
        Word::ALL.into_iter().find(|word| word.as_str() == text)
    }

    /// What comes of an instance's own word and an operator's, if there is one: who is not ready
    /// does not become so by decree.
    pub(crate) fn overruled(self, by: Option<Word>) -> Word {
        match self {
            Word::Down | Word::Starting | Word::Unknown => self,
            Word::Up | Word::OutOfService => by.unwrap_or(self),
        }
    }

    /// Our word for it. Whoever is out of service has a maintenance check beside it.
    pub(crate) fn status(self) -> Status {
        match self {
            Word::Up | Word::OutOfService => Status::Passing,
            Word::Down | Word::Starting | Word::Unknown => Status::Critical,
        }
    }
}

/// Eureka's summary of a whole registry: how many instances there are with each word. Clients
/// compute it too, and fetch everything anew when theirs is another.
pub(crate) fn hash_code(counts: &[u64; 5]) -> String {
    let parts = Word::ALL.into_iter().zip(counts).filter(|(_, count)| **count > 0);
    parts.map(|(word, count)| format!("{}_{count}_", word.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_code_counts_by_word_in_the_order_of_the_words() {
        assert_eq!(hash_code(&[1, 0, 0, 0, 2]), "DOWN_1_UP_2_");
        assert_eq!(hash_code(&[0; 5]), "");
        let written: Vec<&str> = Word::ALL.iter().map(|word| word.as_str()).collect();
        assert!(written.is_sorted());
    }

    #[test]
    fn an_operator_rules_over_who_is_up_and_not_over_who_is_not_ready() {
        let out = Some(Word::OutOfService);
        assert_eq!(Word::Up.overruled(out), Word::OutOfService);
        assert_eq!(Word::OutOfService.overruled(Some(Word::Up)), Word::Up);
        assert_eq!(Word::Starting.overruled(Some(Word::Up)), Word::Starting);
        assert_eq!(Word::Down.overruled(out), Word::Down);
        assert_eq!(Word::OutOfService.overruled(None), Word::OutOfService);
    }
}
