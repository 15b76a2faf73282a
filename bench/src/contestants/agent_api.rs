//! muster's own protocol, as a client agent speaks it to a server: one stream tells of everything that
//! anybody behind that agent waits for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_agent::wire::{self, Follow, News, Wanted};
use muster_model::Scope;
use muster_rpc::{Exchange, Hello, Lane, Limits, Plain, Pool};
use muster_world::Real;
use tokio::time::Instant;

use super::consul_api;
use crate::Result;
use crate::contestant::{Addresses, Connection, Deed, Doing, Kind};

/// How long a server may take to begin a stream.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether what clients of the agents' protocol do has this kind.
pub(super) fn can(kind: Kind) -> bool {
    kind == Kind::WatchOnStream
}

/// Connects to a server. What is not watching goes through Consul's API.
pub(super) async fn connect(to: &Addresses) -> Result<Box<dyn Connection>> {
    let others = consul_api::connect(to).await?;
    let server = *to.get("server").ok_or("no address among servers")?;
    Ok(Box::new(Agent { others, server, following: None }))
}

struct Agent {
    others: Box<dyn Connection>,
    server: SocketAddr,
    following: Option<Stream>,
}

/// What a server tells an agent of changes.
struct Stream {
    exchange: Exchange,
    /// The scope of the pair that changes.
    watched: Scope,
    /// The connections that it came over end with it.
    _pool: Arc<Pool>,
}

impl Connection for Agent {
    fn perform(&mut self, deed: Deed) -> Doing<'_, usize> {
        self.others.perform(deed)
    }

    /// Watches the pair and so many others less one: to the server, all who wait for one pair behind
    /// an agent are one.
    fn park_on_stream(&mut self, pair: usize, n_watches: usize) -> Doing<'_, ()> {
        Box::pin(async move {
            let mut stream = Stream::open(self.server, pair).await?;
            let others = (1..n_watches).map(|number| format!("bench/other/{number}"));
            let scopes = others.map(|key| Scope::Pair(key.into())).chain([stream.watched.clone()]);
            let News::Still { index, .. } = stream.next().await? else {
                return Err("a stream begins with how the server stands".into());
            };
            let wanted = Wanted::More { number: 1, since: index, scopes: scopes.collect() };
            stream.exchange.send(muster_model::encode(&wanted)).await?;
            while stream.next().await? != News::Settled(1) {}
            self.following = Some(stream);
            Ok(())
        })
    }

    fn all_woken(&mut self) -> Doing<'_, ()> {
        Box::pin(async move {
            let stream = self.following.as_mut().ok_or("nothing is watched")?;
            loop {
                if let News::Changed(_, changes) = stream.next().await?
                    && changes.iter().any(|change| change.scopes.contains(&stream.watched))
                {
                    return Ok(());
                }
            }
        })
    }
}

impl Stream {
    async fn open(server: SocketAddr, pair: usize) -> Result<Stream> {
        let hello = Hello {
            datacenter: "dc1".into(),
            node_id: 0,
            node: "bench-client".into(),
            is_server: false,
            extra: Bytes::new(),
        };
        let pool = Pool::new(Arc::new(Real::new()), hello, Limits::default(), Arc::new(Plain));
        let body = muster_model::encode(&Follow::default());
        let deadline = Instant::now() + PATIENCE;
        let exchange = pool.open(server, Lane::Call, wire::CHANGES, body, deadline).await?;
        let watched = Scope::Pair(format!("bench/{pair}").into());
        Ok(Stream { exchange, watched, _pool: pool })
    }

    async fn next(&mut self) -> Result<News> {
        let item = self.exchange.next().await?.ok_or("the server ended a stream")?;
        Ok(muster_model::decode(&item)?)
    }
}
