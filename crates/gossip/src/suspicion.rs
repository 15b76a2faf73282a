//! Suspicion: the bounded doubt before a member counts as failed (Lifeguard, section IV.B).
//!
//! It begins long, because the one suspecter may be the slow one, and shrinks with the logarithm
//! of independent suspecters to its shortest:
//! `longest - (longest - shortest) * ln(c + 1) / ln(k + 1)` after `c` of `k` confirmations.

use std::time::Duration;

use crate::member::Name;
use crate::moment::Moment;
use crate::settings::Settings;

/// Times its shortest that a suspicion is in a pool of too few members to confirm it: there is one
/// witness less than in any other, and the pool is small enough to wait.
const UNCONFIRMED: f64 = 1.5;
/// Times its longest that a suspicion may last where nobody at all is heard.
const PATIENCE: u32 = 4;

/// A member under suspicion.
#[derive(Clone, Debug)]
pub(crate) struct Suspicion {
    started_at: Moment,
    shortest: Duration,
    longest: Duration,
    /// How long it is where it cannot be confirmed.
    alone: Duration,
    /// Confirmations that make it the shortest; 0 if there are too few members to confirm.
    needed: u32,
    /// Who suspects, the first included: at most `needed + 1`, each once.
    suspecters: Vec<Name>,
    /// Given because the one who judges could not listen for that long.
    grace: Duration,
    /// When the alarm goes off that counts.
    alarm_at: Moment,
}

impl Suspicion {
    /// Begins one, said by `from`, in a pool of so many active members.
    pub(crate) fn begin(
        settings: &Settings,
        n_active: usize,
        from: Name,
        now: Moment,
    ) -> Suspicion {
        let scale = (n_active.max(1) as f64).log10().max(1.0);
        let scaled = settings.probe_interval.mul_f64(settings.suspicion_mult * scale);
        let shortest = scaled.max(settings.suspicion_min);
        let lifeguard = &settings.lifeguard;
        // The suspect and this member itself confirm nothing.
        let others = n_active.saturating_sub(2);
        let is_confirmable = others >= lifeguard.confirmations as usize;
        let needed = if is_confirmable { lifeguard.confirmations } else { 0 };
        let mut suspicion = Suspicion {
            started_at: now,
            shortest,
            longest: shortest.mul_f64(lifeguard.suspicion_max_mult),
            alone: if is_confirmable { shortest } else { shortest.mul_f64(UNCONFIRMED) },
            needed,
            suspecters: vec![from],
            grace: Duration::ZERO,
            alarm_at: now,
        };
        suspicion.alarm_at = suspicion.ends_at();
        suspicion
    }

    /// When an alarm is to be set: it now ends earlier than the alarm goes off, or the alarm that
    /// counts went off too early.
    pub(crate) fn alarm(&mut self, now: Moment) -> Option<Moment> {
        let ends_at = self.ends_at();
        if ends_at >= self.alarm_at && now < self.alarm_at {
            return None;
        }
        self.alarm_at = ends_at;
        Some(ends_at)
    }

    /// Another says it too: whether that is news that should be spread.
    pub(crate) fn confirm(&mut self, from: &Name) -> bool {
        if self.suspecters.len() > self.needed as usize || self.suspecters.contains(from) {
            return false;
        }
        self.suspecters.push(from.clone());
        true
    }

    /// Gives the suspect more time.
    pub(crate) fn extend(&mut self, grace: Duration) {
        self.grace = self.grace.saturating_add(grace);
    }

    /// Whether who judges may still wait until it hears anybody: there is an end to that too.
    pub(crate) fn is_young(&self, now: Moment) -> bool {
        now.since(self.started_at) < self.longest.saturating_mul(PATIENCE)
    }

    /// When the suspect counts as failed.
    pub(crate) fn ends_at(&self) -> Moment {
        self.started_at + self.lasts() + self.grace
    }

    fn lasts(&self) -> Duration {
        if self.needed == 0 {
            return self.alone;
        }
        let confirmations = self.suspecters.len() as f64 - 1.0;
        let shrunk = (confirmations + 1.0).ln() / (f64::from(self.needed) + 1.0).ln();
        let span = self.longest.saturating_sub(self.shortest);
        self.longest.saturating_sub(span.mul_f64(shrunk.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Lifeguard;

    fn name(characters: &str) -> Name {
        Name::parse(characters).unwrap()
    }

    fn seconds(suspicion: &Suspicion) -> f64 {
        (suspicion.ends_at().since_start().as_secs_f64() * 100.0).round() / 100.0
    }

    #[test]
    fn independent_suspecters_shorten_it() {
        let settings = Settings { suspicion_mult: 2.0, ..Settings::lan() };
        let start = Moment::default();
        let mut suspicion = Suspicion::begin(&settings, 100, name("a"), start);
        assert_eq!(seconds(&suspicion), 24.0);
        assert!(!suspicion.confirm(&name("a")), "the same one again is no confirmation");
        assert!(suspicion.confirm(&name("b")));
        assert_eq!(seconds(&suspicion), 14.0);
        assert!(suspicion.confirm(&name("c")));
        assert!(suspicion.confirm(&name("d")));
        assert_eq!(seconds(&suspicion), 4.0);
        assert!(!suspicion.confirm(&name("e")), "enough is enough");
        assert_eq!(seconds(&suspicion), 4.0);
    }

    #[test]
    fn one_alarm_counts_at_a_time() {
        let settings = Settings { suspicion_mult: 2.0, ..Settings::lan() };
        let at = |seconds| Moment::after_start(Duration::from_secs(seconds));
        let mut suspicion = Suspicion::begin(&settings, 100, name("a"), at(0));
        assert_eq!((suspicion.ends_at(), suspicion.alarm(at(1))), (at(24), None));
        suspicion.confirm(&name("b"));
        assert_eq!(suspicion.alarm(at(1)), Some(at(14)));
        suspicion.extend(Duration::from_secs(5));
        assert_eq!(suspicion.alarm(at(13)), None, "the one set goes off first");
        assert_eq!(suspicion.alarm(at(14)), Some(at(19)));
        assert_eq!(suspicion.alarm(at(14)), None, "another that goes off sets none");
    }

    #[test]
    fn it_is_longer_than_the_shortest_where_nobody_could_confirm() {
        let settings = Settings::lan();
        let suspicion = Suspicion::begin(&settings, 3, name("a"), Moment::default());
        assert_eq!(seconds(&suspicion), 4.5);
    }

    #[test]
    fn it_grows_with_the_logarithm_of_the_pool() {
        let lifeguard = Lifeguard::off();
        let settings = Settings { suspicion_mult: 4.0, lifeguard, ..Settings::lan() };
        let lasts = |n| seconds(&Suspicion::begin(&settings, n, name("a"), Moment::default()));
        assert_eq!((lasts(5), lasts(100), lasts(1_000)), (4.0, 8.0, 12.0));
    }
}
