//! The contestants that run side by side for a workload, and how they are compared.
//!
//! They take turns, round by round, so that a busy neighbor of the machine hits all of them. One
//! that fails is named with its reason and stands aside; the others go on.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::Result;
use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::contestant::{Contestant, Deed, Kind};
use crate::figures::{Figures, Round, quantile, summary};
use crate::load::{self, Crew, Deeds};
use crate::report::{AtMost, CPU, Row};
use crate::syncs;

/// Connections that prepare what a workload needs.
const PREPARING: usize = 16;
/// One in so many deeds of a round is done before it, to see how many of them fit into a round.
const PROBED_SHARE: usize = 8;
/// A round that takes longer is none: its contestant hangs.
const ROUND_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a profile looks on, at least.
const PROFILED: Duration = Duration::from_secs(3);
/// One in so many deeds of a round is done again to count syncs.
const COUNTED_SHARE: usize = 4;

/// The contestants of a workload.
pub(crate) struct Field<'a> {
    pub(crate) bench: &'a mut Bench,
    pub(crate) entrants: Vec<Entrant>,
}

/// One that takes part, while it runs.
pub(crate) struct Entrant {
    pub(crate) cluster: Cluster,
    /// Once it failed it stands aside.
    is_aside: bool,
    /// Deeds that it was asked for so far.
    n_done: usize,
}

/// What is compared.
pub(crate) struct Work {
    says: String,
    deeds: Deeds,
    n_connections: usize,
    n_deeds: usize,
    /// Deeds that fall due each second; without, the load saturates.
    rate: Option<f64>,
    at_most: Option<AtMost>,
    /// Milliseconds that half of all deeds, and 99 of a hundred, may take.
    waits_at_most: Option<(AtMost, AtMost)>,
    is_against_bare: bool,
    /// What one more connection does meanwhile, and how often.
    meanwhile: Option<(Duration, Deeds)>,
}

impl Work {
    /// Deeds by their numbers, by one connection until told otherwise.
    pub(crate) fn new(
        says: impl Into<String>,
        n_deeds: usize,
        deeds: impl Fn(usize) -> Deed + Send + Sync + 'static,
    ) -> Work {
        Work {
            says: says.into(),
            deeds: Arc::new(deeds),
            n_connections: 1,
            n_deeds,
            rate: None,
            at_most: None,
            waits_at_most: None,
            is_against_bare: false,
            meanwhile: None,
        }
    }

    /// By so many connections.
    pub(crate) fn by(mut self, n_connections: usize) -> Work {
        self.n_connections = n_connections;
        self
    }

    /// Due at so many a second.
    pub(crate) fn at_rate(mut self, rate: f64) -> Work {
        self.rate = Some(rate);
        self
    }

    /// While one more connection does another deed from time to time.
    pub(crate) fn meanwhile(
        mut self,
        interval: Duration,
        deeds: impl Fn(usize) -> Deed + Send + Sync + 'static,
    ) -> Work {
        self.meanwhile = Some((interval, Arc::new(deeds)));
        self
    }

    /// What muster may cost.
    pub(crate) fn at_most(mut self, at_most: AtMost) -> Work {
        self.at_most = Some(at_most);
        self
    }

    /// How many milliseconds half of all deeds may take, and 99 of a hundred: rows of their own.
    pub(crate) fn waits_at_most(mut self, p50: AtMost, p99: AtMost) -> Work {
        self.waits_at_most = Some((p50, p99));
        self
    }

    /// Beside a bare handler that answers as many bytes as the first contestant.
    pub(crate) fn against_bare(mut self) -> Work {
        self.is_against_bare = true;
        self
    }

    fn kind(&self) -> Kind {
        (self.deeds)(0).kind()
    }
}

impl<'a> Field<'a> {
    /// Starts every contestant that can do one of these, with so many servers each.
    pub(crate) async fn start(bench: &'a mut Bench, kinds: &[Kind], n_servers: usize) -> Field<'a> {
        let takes_part =
            |contestant: &&Rc<dyn Contestant>| kinds.iter().any(|kind| contestant.can(*kind));
        let contestants: Vec<_> = bench.contestants.iter().filter(takes_part).cloned().collect();
        let mut entrants = Vec::new();
        for contestant in contestants {
            match Cluster::start(&contestant, n_servers).await {
                Ok(cluster) => entrants.push(Entrant { cluster, is_aside: false, n_done: 0 }),
                Err(error) => bench.report.leave_out(contestant.name(), "start", &error),
            }
        }
        Field { bench, entrants }
    }

    /// Has everybody who can do these deeds do them, unmeasured.
    pub(crate) async fn prepare(&mut self, deeds: &[Deed]) {
        for entrant in &mut self.entrants {
            let can = |deed: &&Deed| entrant.cluster.contestant.can(deed.kind());
            let own: Vec<Deed> = deeds.iter().filter(can).copied().collect();
            if let Err(error) = prepare(&entrant.cluster, own).await {
                entrant.stand_aside(self.bench, "preparing", &error);
            }
        }
    }

    /// Measures one after the other, and adds the rows that come of it. Whoever was measured ends, so
    /// that the next one has the machine to itself.
    pub(crate) async fn each(
        &mut self,
        what: &str,
        measure: impl AsyncFn(&mut Cluster) -> Result<Vec<Row>>,
    ) {
        for entrant in &mut self.entrants {
            let recorder = self.bench.profile(&entrant.cluster, what);
            match measure(&mut entrant.cluster).await {
                Ok(rows) => self.bench.report.rows.extend(rows),
                Err(error) => entrant.stand_aside(self.bench, what, &error),
            }
            entrant.cluster.kill_all();
            self.bench.keep_profile(recorder, what);
        }
    }

    /// Compares all who can do a work; adds a row for each.
    pub(crate) async fn compare(&mut self, work: Work) {
        eprintln!("  {}", work.says);
        let mut turns = self.turns(&work).await;
        for _ in 0..self.bench.n_rounds {
            for turn in &mut turns {
                self.take(turn, &work).await;
            }
        }
        let bare = turns.iter().find(|turn| turn.is_floor).map(|turn| turn.cost().0);
        self.add_waits(&work, &turns);
        for mut turn in turns.into_iter().filter(|turn| !turn.rounds.is_empty()) {
            let syncs = self.count_syncs(&mut turn, &work).await;
            self.profile(&mut turn, &work).await;
            let (figure, spread) = turn.cost();
            let cluster = &self.entrants[turn.entrant].cluster;
            let name = cluster.contestant.name().to_string();
            let figures = Figures { syncs, ..Figures::of(&turn.rounds) };
            let mut row = Row::new(&work.says, &name, (figure, spread), CPU);
            row.floor = bare.filter(|_| !turn.is_floor);
            row.at_most = work.at_most;
            row.details = Some(figures);
            self.bench.report.rows.push(row);
        }
    }

    /// Adds rows for how long deeds took, if the work asks for them.
    fn add_waits(&mut self, work: &Work, turns: &[Turn]) {
        let Some((p50, p99)) = work.waits_at_most else { return };
        for (what, share, at_most) in [("p50", 0.5, p50), ("p99", 0.99, p99)] {
            for turn in turns.iter().filter(|turn| !turn.rounds.is_empty()) {
                let waits = turn.rounds.iter().map(|round| quantile(&round.took, share) / 1e3);
                let name = self.entrants[turn.entrant].cluster.contestant.name();
                let says = format!("{}: {what}", work.says);
                let row = Row::new(&says, name, summary(waits), "ms").at_most(at_most);
                self.bench.report.rows.push(row);
            }
        }
    }

    /// Warms everybody up who takes part in a work.
    async fn turns(&mut self, work: &Work) -> Vec<Turn> {
        let mut turns = Vec::new();
        let mut n_bytes = 0;
        for number in 0..self.entrants.len() {
            let entrant = &mut self.entrants[number];
            let is_bare = entrant.cluster.contestant.can(Kind::Bare);
            let takes_part =
                entrant.cluster.contestant.can(work.kind()) || (is_bare && work.is_against_bare);
            if entrant.is_aside || !takes_part {
                continue;
            }
            let deeds = match is_bare {
                true => Arc::new(move |_| Deed::Bare(n_bytes)),
                false => work.deeds.clone(),
            };
            match within_a_round(entrant.warm_up(work, &deeds, self.bench.round_max)).await {
                Ok(warm) => {
                    n_bytes = if n_bytes == 0 { warm.n_bytes } else { n_bytes };
                    let is_floor = entrant.is_floor();
                    let (n_deeds, crew) = (warm.n_deeds, warm.crew);
                    let rounds = Vec::new();
                    turns.push(Turn { entrant: number, is_floor, deeds, n_deeds, crew, rounds });
                }
                Err(error) => entrant.stand_aside(self.bench, &work.says, &error),
            }
        }
        turns
    }

    /// One round of one contestant.
    async fn take(&mut self, turn: &mut Turn, work: &Work) {
        let entrant = &mut self.entrants[turn.entrant];
        if entrant.is_aside {
            return;
        }
        match entrant.round(turn, work, turn.n_deeds).await {
            Ok(round) => turn.rounds.push(round),
            Err(error) => entrant.stand_aside(self.bench, &work.says, &error),
        }
    }

    /// Looks on during rounds of their own.
    async fn profile(&mut self, turn: &mut Turn, work: &Work) {
        let entrant = &mut self.entrants[turn.entrant];
        let Some(recorder) = self.bench.profile(&entrant.cluster, &work.says) else { return };
        let begun = Instant::now();
        while begun.elapsed() < PROFILED && !entrant.is_aside {
            if let Err(error) = entrant.round(turn, work, turn.n_deeds).await {
                entrant.stand_aside(self.bench, &work.says, &error);
            }
        }
        self.bench.keep_profile(Some(recorder), &work.says);
    }

    /// Syncs per deed, counted in a round of its own, since counting costs.
    async fn count_syncs(&mut self, turn: &mut Turn, work: &Work) -> Option<f64> {
        let entrant = &mut self.entrants[turn.entrant];
        if entrant.is_aside || !(turn.deeds)(0).is_write() || !self.bench.counts_syncs {
            return None;
        }
        let n_deeds = (turn.n_deeds / COUNTED_SHARE).max(work.n_connections);
        let counter = syncs::Counter::attach(&entrant.cluster.process_ids())?;
        let round = entrant.round(turn, work, n_deeds).await;
        let n_syncs = counter.count()?;
        round.is_ok().then(|| n_syncs as f64 / n_deeds as f64)
    }
}

/// A contestant's part in one comparison.
struct Turn {
    entrant: usize,
    is_floor: bool,
    deeds: Deeds,
    /// In each round.
    n_deeds: usize,
    crew: Crew,
    rounds: Vec<Round>,
}

/// A crew that has begun.
struct Warm {
    crew: Crew,
    n_deeds: usize,
    /// Of the first answer.
    n_bytes: usize,
}

impl Turn {
    /// The median CPU time, and its spread.
    fn cost(&self) -> (f64, (f64, f64)) {
        summary(self.rounds.iter().map(|round| round.cpu))
    }
}

impl Entrant {
    /// Whether it is a floor.
    pub(crate) fn is_floor(&self) -> bool {
        self.cluster.contestant.name() == crate::report::FLOOR
    }

    fn stand_aside(&mut self, bench: &mut Bench, what: &str, error: &crate::Error) {
        self.is_aside = true;
        let why = match self.cluster.is_running() {
            Ok(()) => error.to_string(),
            Err(ended) => format!("{error}; {ended}"),
        };
        bench.report.leave_out(self.cluster.contestant.name(), what, &why.into());
    }

    /// Opens the crew, sees how many deeds fit into a round, and does one that does not count.
    async fn warm_up(&mut self, work: &Work, deeds: &Deeds, round_max: Duration) -> Result<Warm> {
        let mut crew = self.cluster.crew(work.n_connections).await?;
        let first = self.numbers(1);
        let n_bytes = crew[0].perform(deeds(first.start)).await?;
        let n_least = (work.n_deeds / PROBED_SHARE).max(work.n_connections).min(work.n_deeds);
        let numbers = self.numbers(n_least);
        let probe = load::closed(&self.cluster, &mut crew, deeds, numbers).await?;
        let n_fit = (probe.rate * round_max.as_secs_f64()) as usize;
        let n_deeds = match work.rate {
            None => n_fit.clamp(n_least, work.n_deeds),
            Some(_) => work.n_deeds,
        };
        let numbers = self.numbers(n_deeds);
        load::closed(&self.cluster, &mut crew, deeds, numbers).await?;
        Ok(Warm { crew, n_deeds, n_bytes })
    }

    async fn round(&mut self, turn: &mut Turn, work: &Work, n_deeds: usize) -> Result<Round> {
        let other = self.begin_other(work).await?;
        let numbers = self.numbers(n_deeds);
        let (crew, deeds) = (&mut turn.crew, &turn.deeds);
        let round = within_a_round(async {
            match work.rate {
                None => load::closed(&self.cluster, crew, deeds, numbers).await,
                Some(rate) => load::open(&self.cluster, crew, deeds, numbers, rate).await,
            }
        });
        let round = round.await;
        if let Some(other) = other {
            other.abort();
        }
        round
    }

    /// Begins what one more connection does meanwhile.
    async fn begin_other(&mut self, work: &Work) -> Result<Option<tokio::task::JoinHandle<()>>> {
        let Some((interval, deeds)) = work.meanwhile.clone() else { return Ok(None) };
        let first = self.numbers(1).start;
        if !self.cluster.contestant.can(deeds(first).kind()) {
            return Ok(None);
        }
        let mut connection = self.cluster.connect(0).await?;
        Ok(Some(tokio::spawn(async move {
            let mut number = first;
            while connection.perform(deeds(number)).await.is_ok() {
                number += 1;
                tokio::time::sleep(interval).await;
            }
        })))
    }

    /// The numbers of the next deeds: no two writes are alike.
    fn numbers(&mut self, n_deeds: usize) -> Range<usize> {
        let first = self.n_done;
        self.n_done += n_deeds;
        first..self.n_done
    }
}

/// What comes of measuring, unless the contestant hangs.
async fn within_a_round<T>(measuring: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(ROUND_TIMEOUT, measuring).await.map_err(|_| "it hangs")?
}

/// Has a cluster do some deeds, in turns by a few connections.
pub(crate) async fn prepare(cluster: &Cluster, deeds: Vec<Deed>) -> Result<()> {
    if deeds.is_empty() {
        return Ok(());
    }
    let mut crew = cluster.crew(PREPARING.min(deeds.len())).await?;
    let n_deeds = deeds.len();
    let deeds: Deeds = Arc::new(move |number| deeds[number]);
    load::closed(cluster, &mut crew, &deeds, 0..n_deeds).await?;
    Ok(())
}
