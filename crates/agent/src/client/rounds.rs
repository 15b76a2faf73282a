//! Equal questions travel once.
//!
//! A thousand readers that wake for one change ask the same in the same moment. Whoever asks while
//! that question is under way waits for the next round of it, which begins when the present one is
//! over and serves all who came until then: its answer is one to a question asked after theirs, so
//! it is as fresh as each of them wanted. So there are two trips at most for any number of readers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_registry::{Answered, Refusal};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::wire::Ask;

/// What came of a round.
type Result = std::result::Result<Answered, Refusal>;
type Round = watch::Sender<Option<Result>>;

/// The rounds that are under way.
pub(crate) struct Rounds {
    /// For each question that is under way, the round that follows it, if somebody waits for one.
    under_way: Mutex<HashMap<Arc<Ask>, Option<Round>>>,
    questions_max: usize,
}

/// A place in a round.
pub(crate) struct Joined {
    coming: watch::Receiver<Option<Result>>,
    /// The round, where it is the first of its question: whoever is given it has to run it.
    pub(crate) first: Option<(Arc<Ask>, Round)>,
}

impl Rounds {
    pub(crate) fn new(questions_max: usize) -> Rounds {
        Rounds { under_way: Mutex::default(), questions_max }
    }

    /// Questions that are under way.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Takes part in a question.
    pub(crate) fn join(&self, ask: Ask) -> std::result::Result<Joined, Refusal> {
        let mut under_way = self.lock();
        if let Some(next) = under_way.get_mut(&ask) {
            let round = next.get_or_insert_with(|| watch::Sender::new(None));
            return Ok(Joined { coming: round.subscribe(), first: None });
        }
        if under_way.len() >= self.questions_max {
            return Err(Refusal::TooMany("requests are waiting"));
        }
        let (ask, round) = (Arc::new(ask), watch::Sender::new(None));
        under_way.insert(ask.clone(), None);
        Ok(Joined { coming: round.subscribe(), first: Some((ask, round)) })
    }

    /// Runs a question, round after round, until nobody waits for another.
    pub(crate) async fn run<F>(&self, ask: Arc<Ask>, first: Round, fetch: impl Fn(Arc<Ask>) -> F)
    where
        F: Future<Output = Result>,
    {
        let mut departure = Departure { rounds: self, ask: Some(ask.clone()) };
        let mut round = first;
        loop {
            tokio::select! {
                result = fetch(ask.clone()) => drop(round.send_replace(Some(result))),
                // Nobody waits any more.
                () = round.closed() => {}
            }
            let mut under_way = self.lock();
            match under_way.get_mut(&ask).and_then(Option::take) {
                Some(next) => round = next,
                None => {
                    under_way.remove(&ask);
                    departure.ask = None;
                    return;
                }
            }
        }
    }

    /// Nothing that runs under the lock leaves the data half changed.
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<Ask>, Option<Round>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Joined {
    /// Waits for what comes of the round.
    pub(crate) async fn result(mut self, deadline: Instant) -> Result {
        match timeout_at(deadline, self.coming.wait_for(Option::is_some)).await {
            Ok(Ok(result)) => result.clone().unwrap_or(Err(Refusal::Stopping)),
            Ok(Err(_)) => Err(Refusal::Stopping),
            Err(_) => Err(Refusal::Late),
        }
    }
}

/// Takes a question out of the table where the one who ran it was dropped.
struct Departure<'a> {
    rounds: &'a Rounds,
    ask: Option<Arc<Ask>>,
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        if let Some(ask) = &self.ask {
            self.rounds.lock().remove(ask);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use muster_model::answer::{Answer, Body};
    use muster_model::{Index, Query};
    use muster_registry::{Freshness, Standing};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::wire::Asker;

    fn ask() -> Ask {
        let (asker, freshness) = (Asker::default(), Freshness::Default);
        Ask { asker, query: Query::Roots, freshness, not_before: 0 }
    }

    fn answered(as_of: Index) -> Answered {
        let answer = Arc::new(Answer::new(1, Vec::new(), Body::Keys(Vec::new())));
        Answered { answer, as_of, standing: Standing::default() }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[tokio::test]
    async fn a_thousand_that_ask_the_same_make_two_trips() {
        let rounds = Arc::new(Rounds::new(10));
        let gate = Arc::new(Semaphore::new(0));
        let n_trips = Arc::new(AtomicUsize::new(0));
        let mut first = rounds.join(ask()).unwrap();
        let (key, round) = first.first.take().unwrap();
        let running = tokio::spawn({
            let (rounds, gate, n_trips) = (rounds.clone(), gate.clone(), n_trips.clone());
            async move {
                let fetch = |_| async {
                    gate.acquire().await.expect("never closed").forget();
                    Ok(answered(n_trips.fetch_add(1, Ordering::SeqCst) as Index + 1))
                };
                rounds.run(key, round, fetch).await;
            }
        });
        let others: Vec<Joined> = (0..1_000).map(|_| rounds.join(ask()).unwrap()).collect();
        assert!(others.iter().all(|joined| joined.first.is_none()));
        gate.add_permits(2);
        assert_eq!(first.result(soon()).await.unwrap().as_of, 1);
        for joined in others {
            // Whoever came while the first was under way is given an answer asked for later.
            assert_eq!(joined.result(soon()).await.unwrap().as_of, 2);
        }
        running.await.unwrap();
        assert_eq!((n_trips.load(Ordering::SeqCst), rounds.len()), (2, 0));
    }

    #[tokio::test]
    async fn a_question_that_nobody_waits_for_is_given_up() {
        let rounds = Rounds::new(10);
        let mut joined = rounds.join(ask()).unwrap();
        let (key, round) = joined.first.take().unwrap();
        drop(joined);
        rounds.run(key, round, |_| std::future::pending()).await;
        assert_eq!(rounds.len(), 0);
    }

    #[tokio::test]
    async fn a_runner_that_is_dropped_tells_those_who_wait() {
        let rounds = Arc::new(Rounds::new(10));
        let mut joined = rounds.join(ask()).unwrap();
        let (key, round) = joined.first.take().unwrap();
        let running = tokio::spawn({
            let rounds = rounds.clone();
            async move { rounds.run(key, round, |_| std::future::pending()).await }
        });
        tokio::task::yield_now().await;
        running.abort();
        assert_eq!(joined.result(soon()).await.unwrap_err(), Refusal::Stopping);
        assert_eq!(rounds.len(), 0);
    }

    #[test]
    fn more_questions_than_the_limit_are_refused() {
        let rounds = Rounds::new(1);
        let _first = rounds.join(ask()).unwrap();
        let other = Ask { query: Query::Usage, ..ask() };
        assert_eq!(rounds.join(other).err(), Some(Refusal::TooMany("requests are waiting")));
        assert!(rounds.join(ask()).is_ok());
    }
}
