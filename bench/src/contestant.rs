//! Who takes part: what a contestant has to tell and do, and the deeds that workloads are made of.
//!
//! A contestant says how its servers are started and how a deed is spoken to them. It is one file
//! under [`crate::contestants`]; everything else (pinning, waiting, counting, comparing) is the
//! same for all.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Result;
use crate::process::Launch;

/// Something under way.
pub(crate) type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// The addresses of one server, by what is spoken there.
pub(crate) type Addresses = BTreeMap<String, SocketAddr>;

/// A server, or a floor, that is measured.
pub(crate) trait Contestant {
    /// What the tables call it.
    fn name(&self) -> &str;

    /// Whether it can do this, in a way that one of its users would.
    fn can(&self, kind: Kind) -> bool;

    /// Sees to it that it is on the machine, and gives its version. The error says what would help.
    fn install(&self) -> Result<String>;

    /// How as many servers as there are folders are started, which form one cluster.
    fn plans(&self, folders: &[PathBuf]) -> Result<Vec<Plan>>;

    /// What a new server is asked first: once it has done this, it is ready.
    fn first_deed(&self) -> Deed {
        Deed::Put(0)
    }

    /// Opens a connection to a server.
    fn connect<'a>(&'a self, to: &'a Addresses) -> Doing<'a, Box<dyn Connection>>;

    /// Whether this server of several leads.
    fn leads<'a>(&'a self, _server: &'a Addresses) -> Doing<'a, bool> {
        Box::pin(async { Ok(true) })
    }
}

/// How one server is started, and where it will be found.
pub(crate) struct Plan {
    pub(crate) launch: Launch,
    /// Its addresses, if they were chosen for it.
    pub(crate) addresses: Addresses,
    /// The file in which it writes its addresses, if it chooses them.
    pub(crate) ready_file: Option<PathBuf>,
}

/// One connection of a client.
pub(crate) trait Connection: Send {
    /// Does it, and gives the bytes of the answer's body.
    fn perform(&mut self, deed: Deed) -> Doing<'_, usize>;

    /// Begins to watch; what is there already has been read.
    fn park(&mut self, _watched: Watched) -> Doing<'_, ()> {
        Box::pin(async { Err("it watches nothing".into()) })
    }

    /// Waits until what is watched has changed.
    fn woken(&mut self) -> Doing<'_, ()> {
        Box::pin(async { Err("it watches nothing".into()) })
    }

    /// Begins so many watches of a pair over this one connection, each asked and answered for itself.
    fn park_together(&mut self, _pair: usize, _n_watches: usize) -> Doing<'_, ()> {
        Box::pin(async { Err("it has one watch for each connection".into()) })
    }

    /// Begins so many watches of a pair as numbers or names on one stream.
    fn park_on_stream(&mut self, _pair: usize, _n_watches: usize) -> Doing<'_, ()> {
        Box::pin(async { Err("it has no stream for many watches".into()) })
    }

    /// Waits until all of them have told of a change.
    fn all_woken(&mut self) -> Doing<'_, ()> {
        Box::pin(async { Err("it watches nothing".into()) })
    }

    /// Whether nothing has been told since it was parked.
    fn is_silent(&mut self) -> Doing<'_, bool> {
        Box::pin(async { Ok(true) })
    }
}

/// What a client may want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Writes the pair of this number, 256 bytes.
    Put(usize),
    /// Reads the pair of this number, as fresh as the server's default.
    Get(usize),
    /// Writes the new pair of this number, 256 bytes, provided that it is not there.
    Create(usize),
    /// Reads the pairs whose numbers begin with [`LISTED`].
    List,
    /// Puts an instance with its check in the catalog.
    Register(Instance),
    /// Takes an instance out of the catalog.
    Deregister(Instance),
    /// Declares an instance with a check that has to be renewed to the agent.
    Vouch(usize),
    /// Renews the instance of this number.
    Renew(usize),
    /// Reads the well instances of a service, as fresh as the server's default.
    Discover(Service),
    /// The same, as this server knows it.
    DiscoverStale(Service),
    /// Asks a question of DNS.
    Ask(Question),
    /// The same over TCP.
    AskOverTcp(Question),
    /// Reads all instances of all services.
    Registry,
    /// The same, compressed.
    RegistryCompressed,
    /// Reads what changed lately.
    Delta,
    /// Reads so many bytes that mean nothing: a floor.
    Bare(usize),
}

/// A deed or a watch without its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Put,
    Get,
    Create,
    List,
    Register,
    Deregister,
    Vouch,
    Renew,
    Discover,
    DiscoverStale,
    Ask,
    AskOverTcp,
    Registry,
    Bare,
    WatchPair,
    /// Many watches of a pair over one connection.
    WatchTogether,
    /// Many watches of a pair on one stream.
    WatchOnStream,
    WatchService,
}

impl Deed {
    /// Its kind.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Deed::Put(_) => Kind::Put,
            Deed::Get(_) => Kind::Get,
            Deed::Create(_) => Kind::Create,
            Deed::List => Kind::List,
            Deed::Register(_) => Kind::Register,
            Deed::Deregister(_) => Kind::Deregister,
            Deed::Vouch(_) => Kind::Vouch,
            Deed::Renew(_) => Kind::Renew,
            Deed::Discover(_) => Kind::Discover,
            Deed::DiscoverStale(_) => Kind::DiscoverStale,
            Deed::Ask(_) => Kind::Ask,
            Deed::AskOverTcp(_) => Kind::AskOverTcp,
            Deed::Registry | Deed::RegistryCompressed | Deed::Delta => Kind::Registry,
            Deed::Bare(_) => Kind::Bare,
        }
    }

    /// Whether it is to be on a disk before it is answered.
    pub(crate) fn is_write(self) -> bool {
        let kind = self.kind();
        matches!(kind, Kind::Put | Kind::Create | Kind::Register | Kind::Deregister | Kind::Vouch)
    }
}

/// A question of DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Addresses and ports of a service.
    Srv(Service),
    /// Addresses of a service.
    A(Service),
    /// A name that does not exist.
    Missing,
}

/// What may be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// The pair of this number.
    Pair(usize),
    /// The well instances of a service.
    Service(Service),
}

impl Watched {
    /// What one has to be able to do.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Watched::Pair(_) => Kind::WatchPair,
            Watched::Service(_) => Kind::WatchService,
        }
    }
}

/// The services of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Has one instance.
    One,
    /// Has ten.
    Ten,
    /// Has a hundred.
    Hundred,
    /// Has a thousand.
    Thousand,
    /// One of many, by number.
    Fleet(usize),
}

impl Service {
    /// Its name.
    pub(crate) fn name(self) -> String {
        match self {
            Service::One => "one".into(),
            Service::Ten => "ten".into(),
            Service::Hundred => "hundred".into(),
            Service::Thousand => "thousand".into(),
            Service::Fleet(number) => format!("service-{number}"),
        }
    }

    /// Its instances, for a service that has so many.
    pub(crate) fn instances(self, n_instances: usize) -> impl Iterator<Item = Instance> {
        (0..n_instances).map(move |number| Instance { service: self, number, version: 0 })
    }
}

/// An instance of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) service: Service,
    pub(crate) number: usize,
    /// What is different when it is registered again: a write that changes nothing would cost less.
    pub(crate) version: usize,
}

impl Instance {
    /// Its id.
    pub(crate) fn id(self) -> String {
        format!("{}-{}", self.service.name(), self.number)
    }

    /// The number of the node it is on, of a thousand.
    pub(crate) fn node(self) -> usize {
        self.number % 1_000
    }

    /// The address of its node.
    pub(crate) fn address(self) -> String {
        let node = self.node();
        format!("10.0.{}.{}", node / 256, node % 256)
    }

    /// Its port.
    pub(crate) fn port(self) -> usize {
        8_000 + self.number % 1_000
    }
}

/// How the numbers of the pairs begin that are listed: 19, 190 to 199 and 1900 to 1999, where there
/// are two thousand.
pub(crate) const LISTED: &str = "19";

/// The value of a pair, 256 bytes; two in a row are never alike.
pub(crate) fn value() -> String {
    format!("{:>256}", next())
}

/// Another number each time: a write that changes nothing would cost less.
pub(crate) fn next() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
