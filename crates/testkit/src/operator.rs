//! What the agent that runs nothing has for those who run it.
//!
//! Members, voters, keys and datacenters are what the test put into its `Cluster`; what changes
//! them is granted where a cluster would grant it, and only noted. The machine and the numbers are
//! the same every time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_model::Text;
use muster_registry::cluster::{
    AutopilotView, Datacenter, KeyringReach, KeyringReport, KeyringWish, Member, Pool, RaftView,
    ServerKey,
};
use muster_registry::operator::{HostFacts, LogLine, Metric, MetricValue, Saved, SettingValue};
use muster_registry::{Call, Freshness, LocalAgent, Operator, Pending, Refusal, Standing};
use tokio::sync::{broadcast, mpsc};

use crate::Agent;

impl Operator for Agent {
    fn members(&self, pool: Pool) -> Vec<Member> {
        self.cluster().members(pool).to_vec()
    }

    fn join<'a>(
        &'a self,
        _: &'a Call,
        address: &'a str,
        pool: Pool,
    ) -> Pending<'a, Result<(), Refusal>> {
        self.note(format!("join {address} {pool:?}"))
    }

    fn force_leave<'a>(
        &'a self,
        _: &'a Call,
        node: &'a str,
        prune: bool,
        pool: Pool,
    ) -> Pending<'a, Result<(), Refusal>> {
        if !self.cluster().members(pool).iter().any(|member| *member.name == *node) {
            let refusal = Refusal::Unknown(format!("no member is called {node:?}"));
            return refused(refusal);
        }
        self.note(format!("force-leave {node} prune={prune} {pool:?}"))
    }

    fn leave<'a>(&'a self, _: &'a Call) -> Pending<'a, Result<(), Refusal>> {
        self.note("leave".to_owned())
    }

    fn reload<'a>(&'a self, _: &'a Call) -> Pending<'a, Result<Vec<Text>, Refusal>> {
        let noted = self.note("reload".to_owned());
        Box::pin(async move {
            noted.await?;
            Ok(self.remarks())
        })
    }

    fn raft<'a>(
        &'a self,
        call: &'a Call,
        freshness: Freshness,
    ) -> Pending<'a, Result<RaftView, Refusal>> {
        let view = elsewhere(call).and_then(|()| {
            let view = self.raft_view();
            let is_led = view.leader_address.is_some() || freshness == Freshness::Stale;
            is_led.then_some(view).ok_or(Refusal::NoLeader)
        });
        Box::pin(std::future::ready(view))
    }

    fn remove_server<'a>(
        &'a self,
        call: &'a Call,
        server: ServerKey,
    ) -> Pending<'a, Result<(), Refusal>> {
        let servers = self.cluster().servers.clone();
        let found = servers.iter().find(|own| match &server {
            ServerKey::Id(id) => own.id == *id,
            ServerKey::Address(address) => own.address == *address,
        });
        if let Err(refusal) = elsewhere(call) {
            return refused(refusal);
        }
        match found {
            None => refused(Refusal::Unknown(format!("no server is {server:?}"))),
            Some(own) if servers.len() == 1 => refused(Refusal::Invalid(format!(
                "{} is the last server that votes; it cannot be removed",
                own.id
            ))),
            Some(own) => self.note(format!("remove {}", own.id)),
        }
    }

    fn transfer_leadership<'a>(
        &'a self,
        call: &'a Call,
        to: Option<Text>,
    ) -> Pending<'a, Result<(), Refusal>> {
        if let Err(refusal) = elsewhere(call) {
            return refused(refusal);
        }
        let servers = self.cluster().servers.clone();
        let Some(id) = to else {
            if servers.len() == 1 {
                return refused(Refusal::Invalid("cannot find peer".to_owned()));
            }
            return self.note("transfer to anybody".to_owned());
        };
        match servers.iter().find(|own| own.id == id) {
            None => refused(Refusal::Unknown(format!("no server has id {id:?}"))),
            Some(own) if own.is_leader => {
                refused(Refusal::Invalid("cannot transfer leadership to itself".to_owned()))
            }
            Some(own) => self.note(format!("transfer to {}", own.node)),
        }
    }

    fn autopilot<'a>(&'a self, call: &'a Call) -> Pending<'a, Result<AutopilotView, Refusal>> {
        let view = elsewhere(call).map(|()| {
            let mut view = self.cluster().autopilot.clone();
            let (index, own_id) = (self.bench.state().index(), &self.identity().node_id);
            for server in view.servers.iter_mut().filter(|server| server.id == *own_id) {
                server.last_index = index;
            }
            view
        });
        Box::pin(std::future::ready(view))
    }

    fn keyring<'a>(
        &'a self,
        _: &'a Call,
        wish: KeyringWish,
        reach: KeyringReach,
    ) -> Pending<'a, Result<Vec<KeyringReport>, Refusal>> {
        let is_list = wish == KeyringWish::List;
        let (what, key) = match &wish {
            KeyringWish::List => ("list", ""),
            KeyringWish::Install(key) => ("install", key.reveal().as_str()),
            KeyringWish::Use(key) => ("use", key.reveal().as_str()),
            KeyringWish::Remove(key) => ("remove", key.reveal().as_str()),
        };
        let granted = self.note(format!("{what} {key} {reach:?}"));
        let mut reports = self.cluster().keyring.clone();
        reports.retain(|report| report.pool == Pool::Lan || !reach.is_local_only);
        if !is_list {
            reports.iter_mut().for_each(|report| report.keys.clear());
        }
        Box::pin(async move { granted.await.map(|()| reports) })
    }

    fn datacenters<'a>(&'a self, call: &'a Call) -> Pending<'a, Result<Vec<Datacenter>, Refusal>> {
        let known = elsewhere(call).map(|()| self.cluster().datacenters.clone());
        Box::pin(std::future::ready(known))
    }

    fn save<'a>(
        &'a self,
        _: &'a Call,
        freshness: Freshness,
    ) -> Pending<'a, Result<Saved, Refusal>> {
        let state = self.bench.state();
        let saved: Vec<Bytes> = state.save().collect();
        let (sender, blocks) = mpsc::channel(saved.len().max(1));
        for block in saved {
            sender.try_send(Ok(block)).expect("the channel has room for every block");
        }
        let standing = Standing { knows_leader: true, last_contact: Duration::ZERO, freshness };
        let saved = Saved { index: state.index(), standing, blocks };
        Box::pin(std::future::ready(Ok(saved)))
    }

    fn restore<'a>(
        &'a self,
        _: &'a Call,
        mut blocks: mpsc::Receiver<Result<Bytes, std::io::Error>>,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let mut n_bytes = 0;
            while let Some(block) = blocks.recv().await {
                let block = block.map_err(|error| Refusal::Invalid(error.to_string()))?;
                n_bytes += block.len();
            }
            self.note(format!("restore {n_bytes} bytes")).await
        })
    }

    fn log_lines(&self) -> broadcast::Receiver<Arc<LogLine>> {
        self.log.subscribe()
    }

    fn metrics(&self) -> Vec<Metric> {
        let metric = |name: &str, value| Metric { name: name.into(), labels: vec![], value };
        vec![
            metric("runtime.alloc_bytes", MetricValue::Gauge(1024.0)),
            metric("rpc.request", MetricValue::Counter(3)),
            metric(
                "raft.commitTime",
                MetricValue::Sample { count: 2, sum: 3.0, min: 1.0, max: 2.0 },
            ),
        ]
    }

    fn host(&self) -> HostFacts {
        HostFacts {
            collected_at: 1_795_461_360_000_000_000,
            hostname: "host".into(),
            os: "linux".into(),
            n_processors: 1,
            ..HostFacts::default()
        }
    }

    fn settings(&self) -> SettingValue {
        SettingValue::Map(vec![("log_level".into(), SettingValue::Text("info".into()))])
    }

    fn uptime(&self) -> Duration {
        Duration::from_secs(1)
    }
}

impl Agent {
    /// The servers as the test has them; the log is the bench's.
    fn raft_view(&self) -> RaftView {
        let cluster = self.cluster();
        let (index, own_id) = (self.bench.state().index(), &self.identity().node_id);
        let mut servers = cluster.servers.clone();
        for server in servers.iter_mut().filter(|server| server.id == *own_id) {
            server.last_index = index;
        }
        RaftView {
            servers,
            leader_address: cluster.leader_address.clone(),
            term: cluster.term,
            last_index: index,
            commit_index: index,
            applied_index: index,
            voters_index: cluster.voters_index,
            snapshot_index: 0,
        }
    }
}

/// There is no datacenter but the bench's own.
fn elsewhere(call: &Call) -> Result<(), Refusal> {
    call.datacenter.clone().map_or(Ok(()), |other| Err(Refusal::NoDatacenter(other)))
}

fn refused(refusal: Refusal) -> Pending<'static, Result<(), Refusal>> {
    Box::pin(std::future::ready(Err(refusal)))
}
