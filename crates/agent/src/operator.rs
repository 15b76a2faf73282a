//! Members, voters, keys, backup, logs, numbers and the machine, for those who run the agent.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_gossip::Status;
use muster_gossip::coordinate::Coordinate;
use muster_model::Text;
use muster_model::coordinate::NodeCoordinate;
use muster_registry::cluster::{
    AutopilotView, Datacenter, KeyringReach, KeyringReport, KeyringWish, Member, MemberStatus,
    Pool, RaftView, ServerKey, Versions,
};
use muster_registry::operator::{HostFacts, LogLine, Metric, Saved, SettingValue};
use muster_registry::{Call, Freshness, Operator, Pending, Refusal};
use muster_world::World;
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;
use tracing::warn;

use crate::agent::Agent;
use crate::helm::Ask;
use crate::membership::Membership;

pub(crate) mod figures;
mod keys;
pub(crate) mod views;

/// The versions of the gossip protocol and of what rides on it, as Consul's members name them.
/// Ours is another protocol; they are told because tools read them.
const PROTOCOL: Versions = Versions { min: 1, max: 5, current: 2 };
const PAYLOAD: Versions = Versions { min: 2, max: 5, current: 4 };
/// How long handing over and being taken out of the group may take before leaving.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

impl Operator for Agent {
    fn members(&self, pool: Pool) -> Vec<Member> {
        self.gossip(pool).map(|pool| members_of(pool)).unwrap_or_default()
    }

    fn join<'a>(
        &'a self,
        _: &'a Call,
        address: &'a str,
        pool: Pool,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move { self.wanted(pool)?.join(&[address.to_owned()]).await.map(drop) })
    }

    fn force_leave<'a>(
        &'a self,
        _: &'a Call,
        node: &'a str,
        prune: bool,
        pool: Pool,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move { self.wanted(pool)?.force_leave(node, prune).await })
    }

    fn leave<'a>(&'a self, _: &'a Call) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            self.leave_the_group().await;
            if let Some(wan) = &self.wan {
                wan.leave().await;
            }
            self.lan.leave().await;
            self.stop();
            Ok(())
        })
    }

    fn reload<'a>(&'a self, _: &'a Call) -> Pending<'a, Result<Vec<Text>, Refusal>> {
        (self.setup.reload)()
    }

    fn raft<'a>(
        &'a self,
        call: &'a Call,
        freshness: Freshness,
    ) -> Pending<'a, Result<RaftView, Refusal>> {
        Box::pin(async move {
            self.refuse_elsewhere(call)?;
            let servers = match freshness {
                Freshness::Stale => self.own_sight(),
                _ => self.leaders_sight(call).await?,
            };
            Ok(views::raft(&self.lan.members().borrow(), &servers, self.group_facts()))
        })
    }

    fn remove_server<'a>(
        &'a self,
        call: &'a Call,
        server: ServerKey,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            self.refuse_elsewhere(call)?;
            let servers = self.leaders_sight(call).await?;
            let found = servers.iter().find(|own| match &server {
                ServerKey::Id(id) => self.full_id(&own.voter) == *id,
                ServerKey::Address(address) => own.voter.address == **address,
            });
            let (what, wished) = match &server {
                ServerKey::Id(id) => ("id", id),
                ServerKey::Address(address) => ("address", address),
            };
            let Some(found) = found else {
                return Err(Refusal::Unknown(format!("no server has {what} {wished:?}")));
            };
            if servers.iter().filter(|server| server.is_voter).count() <= 1 && found.is_voter {
                let why = "is the last server that votes; it cannot be removed";
                return Err(Refusal::Invalid(format!("{what} {wished:?} {why}")));
            }
            self.ask_leader(Ask::Remove(found.voter.id), call).await.map(drop)
        })
    }

    fn transfer_leadership<'a>(
        &'a self,
        call: &'a Call,
        to: Option<Text>,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            self.refuse_elsewhere(call)?;
            let servers = self.leaders_sight(call).await?;
            let next = match to {
                None if servers.iter().filter(|server| server.is_voter).count() < 2 => {
                    return Err(Refusal::Invalid("cannot find peer".to_owned()));
                }
                None => None,
                Some(id) => {
                    let found = servers.iter().find(|own| self.full_id(&own.voter) == id);
                    let Some(found) = found else {
                        return Err(Refusal::Unknown(format!("no server has id {id:?}")));
                    };
                    if found.is_leader {
                        let why = "cannot transfer leadership to itself".to_owned();
                        return Err(Refusal::Invalid(why));
                    }
                    Some(found.voter.id)
                }
            };
            self.ask_leader(Ask::Transfer(next), call).await.map(drop)
        })
    }

    fn autopilot<'a>(&'a self, call: &'a Call) -> Pending<'a, Result<AutopilotView, Refusal>> {
        Box::pin(async move {
            self.refuse_elsewhere(call)?;
            let servers = self.leaders_sight(call).await?;
            let wall = self.world.wall_clock();
            Ok(views::autopilot(&self.lan.members().borrow(), &servers, wall))
        })
    }

    fn keyring<'a>(
        &'a self,
        _: &'a Call,
        wish: KeyringWish,
        reach: KeyringReach,
    ) -> Pending<'a, Result<Vec<KeyringReport>, Refusal>> {
        Box::pin(async move {
            let mut reports = Vec::new();
            for pool in [Pool::Wan, Pool::Lan] {
                let Some(gossip) = self.gossip(pool) else { continue };
                if !(pool == Pool::Wan && reach.is_local_only) {
                    let identity = &self.setup.identity;
                    reports.push(keys::ask(gossip, identity, pool, &wish, reach).await?);
                }
            }
            Ok(reports)
        })
    }

    fn datacenters<'a>(&'a self, _: &'a Call) -> Pending<'a, Result<Vec<Datacenter>, Refusal>> {
        Box::pin(async move { self.known_datacenters().await })
    }

    fn save<'a>(
        &'a self,
        call: &'a Call,
        freshness: Freshness,
    ) -> Pending<'a, Result<Saved, Refusal>> {
        Box::pin(self.save_state(call, freshness))
    }

    fn restore<'a>(
        &'a self,
        call: &'a Call,
        blocks: mpsc::Receiver<Result<Bytes, std::io::Error>>,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(self.restore_state(call, blocks))
    }

    fn log_lines(&self) -> broadcast::Receiver<Arc<LogLine>> {
        self.logs.listen()
    }

    fn metrics(&self) -> Vec<Metric> {
        self.gather_metrics()
    }

    fn host(&self) -> HostFacts {
        host_facts(&*self.world, &self.setup.data_folder)
    }

    fn settings(&self) -> SettingValue {
        self.setup.settings.clone()
    }

    fn uptime(&self) -> Duration {
        self.started_at.elapsed()
    }
}

impl Agent {
    /// What only this datacenter's servers can say or do is refused for others.
    fn refuse_elsewhere(&self, call: &Call) -> Result<(), Refusal> {
        match &call.datacenter {
            Some(other) if *other != self.setup.identity.datacenter => {
                Err(Refusal::NoDatacenter(other.clone()))
            }
            _ => Ok(()),
        }
    }

    fn gossip(&self, pool: Pool) -> Option<&Arc<Membership>> {
        match pool {
            Pool::Lan => Some(&self.lan),
            Pool::Wan => self.wan.as_ref(),
        }
    }

    fn wanted(&self, pool: Pool) -> Result<&Arc<Membership>, Refusal> {
        let why = "this agent takes no part in the WAN pool: it is off in its configuration";
        self.gossip(pool).ok_or_else(|| Refusal::Unsupported(why.to_owned()))
    }

    /// Is no longer a voter when this is done, if the others can do without.
    async fn leave_the_group(&self) {
        let servers = self.consensus.servers();
        let own = self.consensus.node();
        let is_in_it = servers.iter().any(|server| server.voter.id == own);
        if !is_in_it || servers.iter().filter(|server| server.is_voter).count() <= 1 {
            return;
        }
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        self.hand_over(deadline).await;
        let call = Call { deadline: Some(deadline), ..Call::default() };
        if let Err(refusal) = self.ask_leader(Ask::Remove(own), &call).await {
            warn!(%refusal, "this server leaves without having been taken out of the group");
        }
    }

    /// The datacenters of the WAN pool, this agent's own first, then the nearer first.
    async fn known_datacenters(&self) -> Result<Vec<Datacenter>, Refusal> {
        let own = &self.setup.identity.datacenter;
        let Some(wan) = &self.wan else {
            return Ok(vec![Datacenter { name: own.clone(), servers: Vec::new() }]);
        };
        let places: BTreeMap<String, Coordinate> = wan.places().await?.into_iter().collect();
        let me = places.get(&format!("{}.{own}", self.setup.identity.node));
        let mut known: BTreeMap<Text, (Vec<NodeCoordinate>, Vec<f64>)> = BTreeMap::new();
        for member in self.members(Pool::Wan) {
            let Some(datacenter) = member.tag("dc").cloned() else { continue };
            let place = places.get(member.name.as_str());
            let (servers, distances) = known.entry(datacenter).or_default();
            distances.push(match (me, place) {
                (Some(me), Some(place)) => me.distance(place),
                _ => f64::MAX,
            });
            let coordinate = place.map(to_model).unwrap_or_default();
            servers.push(NodeCoordinate {
                node: member.name,
                segment: Text::default(),
                coordinate,
            });
        }
        let mut sorted: Vec<(bool, f64, Datacenter)> = known
            .into_iter()
            .map(|(name, (servers, mut distances))| {
                distances.sort_by(f64::total_cmp);
                (name != *own, distances[distances.len() / 2], Datacenter { name, servers })
            })
            .collect();
        sorted
            .sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.name.cmp(&b.2.name)));
        Ok(sorted.into_iter().map(|(_, _, datacenter)| datacenter).collect())
    }
}

/// A place on the map, in the words of the model.
pub(crate) fn to_model(place: &Coordinate) -> muster_model::coordinate::Coordinate {
    muster_model::coordinate::Coordinate {
        vector: place.vector,
        error: place.error,
        adjustment: place.adjustment,
        height: place.height,
    }
}

/// The members of a pool, in the order of their names.
pub(crate) fn members_of(pool: &Membership) -> Vec<Member> {
    pool.members().borrow().iter().map(to_member).collect()
}

/// Facts about the machine of a data folder.
pub(crate) fn host_facts(world: &dyn World, data_folder: &Path) -> HostFacts {
    let machine = world.machine(data_folder);
    HostFacts {
        collected_at: u64::try_from(world.wall_clock().as_nanos()).unwrap_or(u64::MAX),
        hostname: machine.hostname.into(),
        os: std::env::consts::OS.into(),
        kernel: machine.kernel.into(),
        architecture: std::env::consts::ARCH.into(),
        n_processors: machine.n_processors,
        uptime_s: machine.uptime.as_secs(),
        memory_bytes: machine.memory_bytes,
        memory_available_bytes: machine.memory_available_bytes,
        disk_bytes: machine.disk_bytes,
        disk_free_bytes: machine.disk_free_bytes,
    }
}

fn status_of(member: &muster_gossip::Member) -> MemberStatus {
    match member.status {
        Status::Alive | Status::Suspect => MemberStatus::Alive,
        Status::Leaving => MemberStatus::Leaving,
        Status::Left => MemberStatus::Left,
        Status::Failed => MemberStatus::Failed,
    }
}

fn to_member(member: &muster_gossip::Member) -> Member {
    let tags = member.profile.tags.iter();
    Member {
        name: member.name().as_str().into(),
        address: member.address().ip().to_string().into(),
        port: member.address().port(),
        tags: tags.map(|(key, value)| (Text::from(key), Text::from(value))).collect(),
        status: status_of(member),
        protocol: PROTOCOL,
        payload: PAYLOAD,
    }
}
