//! Several servers in one process, and links between them that a test can cut.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use muster_consensus::peers::Pending;
use muster_consensus::{
    Consensus, Founding, Line, LineReceiver, LineSender, OnFatal, Peers, Settings, Unreachable,
    Urgency, Voter,
};
use muster_world::{Memory, Real, World};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Applied, start_among};

/// Messages that wait on a line.
const WAITING: usize = 16;

/// Who runs, and which links are cut.
#[derive(Default)]
pub struct Links {
    running: Mutex<BTreeMap<u64, Arc<Consensus>>>,
    cut: Mutex<BTreeSet<u64>>,
    silent: Mutex<BTreeSet<u64>>,
    n_opened: AtomicUsize,
}

/// A server of the test.
pub struct Server {
    pub id: u64,
    pub consensus: Arc<Consensus>,
    pub applied: Applied,
    pub world: Arc<dyn World>,
}

pub fn voter(id: u64) -> Voter {
    Voter { id, address: format!("server-{id}") }
}

fn settings(id: u64) -> Settings {
    Settings { address: voter(id).address, founding: Founding::Wait, ..Settings::default() }
}

/// What one server sees of the others.
struct Way {
    from: u64,
    links: Arc<Links>,
}

impl Links {
    /// Starts a server on a disk of its own; it belongs to no group yet.
    pub async fn start(self: &Arc<Self>, id: u64) -> Server {
        self.start_with(id, |_| {}).await
    }

    pub async fn start_with(self: &Arc<Self>, id: u64, change: fn(&mut Settings)) -> Server {
        let world: Arc<dyn World> = Arc::new(Real::with_files(Arc::new(Memory::new())));
        let mut settings = settings(id);
        change(&mut settings);
        self.start_on(id, world, settings).await
    }

    pub async fn start_on(
        self: &Arc<Self>,
        id: u64,
        world: Arc<dyn World>,
        settings: Settings,
    ) -> Server {
        let way = Arc::new(Way { from: id, links: self.clone() });
        let died: OnFatal = Arc::new(move |fatal| panic!("server {id} would end: {fatal}"));
        let started = start_among(&world, Path::new("/d"), id, settings, way, died).await;
        let (consensus, applied) = started.unwrap();
        let consensus = Arc::new(consensus);
        self.running.lock().unwrap().insert(id, consensus.clone());
        Server { id, consensus, applied, world }
    }

    /// Starts servers 1 to n as one group, and waits until one of them leads.
    pub async fn group(self: &Arc<Self>, n: u64) -> Vec<Server> {
        let mut servers = Vec::new();
        for id in 1..=n {
            servers.push(self.start(id).await);
        }
        let voters: Vec<Voter> = (1..=n).map(voter).collect();
        servers[0].consensus.found(&voters).await.unwrap();
        leader_of(&servers).await;
        servers
    }

    /// Cuts a server off from all others.
    pub fn cut(&self, id: u64) {
        self.cut.lock().unwrap().insert(id);
    }

    /// Nothing that is sent to a server or by it arrives, and nobody is told.
    pub fn silence(&self, id: u64) {
        self.silent.lock().unwrap().insert(id);
    }

    pub fn heal(&self) {
        self.cut.lock().unwrap().clear();
        self.silent.lock().unwrap().clear();
    }

    /// How often somebody tried to open a line.
    pub fn n_opened(&self) -> usize {
        self.n_opened.load(Ordering::Relaxed)
    }

    fn is_silent(&self, from: u64, to: u64) -> bool {
        let silent = self.silent.lock().unwrap();
        silent.contains(&from) || silent.contains(&to)
    }

    /// A process that ends without a word.
    pub fn kill(&self, server: Server) -> Arc<dyn World> {
        self.running.lock().unwrap().remove(&server.id);
        server.world.clone()
    }

    fn reach(&self, from: u64, to: u64) -> Result<Arc<Consensus>, Unreachable> {
        let cut = self.cut.lock().unwrap();
        let found = self.running.lock().unwrap().get(&to).cloned();
        let is_cut = cut.contains(&from) || cut.contains(&to);
        found.filter(|_| !is_cut).ok_or_else(|| unreachable(false))
    }
}

/// The position among the servers of the one that leads and of which all know it.
pub async fn leader_of(servers: &[Server]) -> usize {
    let deadline = super::soon();
    loop {
        let leaders: BTreeSet<Option<u64>> = servers
            .iter()
            .map(|server| server.consensus.leader().map(|leader| leader.id))
            .collect();
        let leads = |s: &Server| s.consensus.leadership().borrow().is_leader;
        if let (1, Some(position)) = (leaders.len(), servers.iter().position(leads))
            && leaders.first() == Some(&Some(servers[position].id))
        {
            return position;
        }
        assert!(Instant::now() < deadline, "nobody leads: {leaders:?}");
        tokio::task::yield_now().await;
        let mut news = servers[0].consensus.leadership();
        // News or a moment: either is a reason to look again.
        let moment = Instant::now() + std::time::Duration::from_millis(5);
        let _ = timeout_at(moment, news.changed()).await;
    }
}

fn unreachable(may_have_arrived: bool) -> Unreachable {
    Unreachable { why: "the link is cut".to_owned(), may_have_arrived }
}

impl Peers for Way {
    fn call<'a>(
        &'a self,
        to: &'a Voter,
        _: Urgency,
        message: Bytes,
        deadline: Instant,
    ) -> Pending<'a, Result<Bytes, Unreachable>> {
        Box::pin(async move {
            let peer = self.links.reach(self.from, to.id)?;
            if self.links.is_silent(self.from, to.id) {
                sleep_until(deadline).await;
                return Err(unreachable(true));
            }
            let answer = timeout_at(deadline, peer.answer(&message, deadline)).await;
            let answer = answer.map_err(|_| unreachable(true))?.map_err(|_| unreachable(true))?;
            // The answer has to come back, too.
            self.links.reach(self.from, to.id).map_err(|_| unreachable(true))?;
            Ok(answer)
        })
    }

    fn open<'a>(
        &'a self,
        to: &'a Voter,
        _: Urgency,
        first: Bytes,
        _: Instant,
    ) -> Pending<'a, Result<Line, Unreachable>> {
        self.links.n_opened.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let peer = self.links.reach(self.from, to.id)?;
            let (there, from_here) = self.pipe(to.id);
            let (here, from_there) = self.pipe(to.id);
            let line = Line { sender: here, receiver: from_here };
            tokio::spawn(async move { peer.serve_line(&first, line).await });
            Ok(Line { sender: there, receiver: from_there })
        })
    }
}

impl Way {
    fn pipe(&self, to: u64) -> (Box<dyn LineSender>, Box<dyn LineReceiver>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let link = (self.from, to, self.links.clone());
        (Box::new(Sends { sender: Some(sender), link }), Box::new(Receives { receiver }))
    }
}

struct Sends {
    sender: Option<mpsc::Sender<Option<Bytes>>>,
    link: (u64, u64, Arc<Links>),
}

impl LineSender for Sends {
    fn send(&mut self, message: Bytes) -> Pending<'_, Result<(), Unreachable>> {
        Box::pin(async move {
            let (from, to, links) = &self.link;
            links.reach(*from, *to)?;
            if links.is_silent(*from, *to) {
                return Ok(());
            }
            let sender = self.sender.as_ref().ok_or_else(|| unreachable(true))?;
            sender.send(Some(message)).await.map_err(|_| unreachable(true))
        })
    }

    fn end(&mut self) -> Pending<'_, Result<(), Unreachable>> {
        Box::pin(async move {
            let Some(sender) = self.sender.take() else { return Ok(()) };
            sender.send(None).await.map_err(|_| unreachable(true))
        })
    }
}

struct Receives {
    receiver: mpsc::Receiver<Option<Bytes>>,
}

impl LineReceiver for Receives {
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, Unreachable>> {
        Box::pin(async move { self.receiver.recv().await.ok_or_else(|| unreachable(true)) })
    }
}
