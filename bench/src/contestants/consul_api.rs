//! Consul's HTTP API and DNS as clients of muster and of Consul speak them.

use std::net::SocketAddr;

use serde_json::json;

use crate::Result;
use crate::contestant::{
    Addresses, Connection, Deed, Doing, Instance, Kind, LISTED, Question, Watched, next, value,
};
use crate::dns::Resolver;
use crate::http::{self, get, request};
use crate::together::Together;

/// What can be done through this API.
pub(super) fn can(kind: Kind) -> bool {
    !matches!(kind, Kind::Registry | Kind::Bare | Kind::WatchTogether | Kind::WatchOnStream)
}

/// Connects to a server that speaks it.
pub(super) async fn connect(to: &Addresses) -> Result<Box<dyn Connection>> {
    let http_address = *to.get("http").ok_or("no address for HTTP")?;
    let http = http::Connection::open(http_address).await?;
    let dns_address = *to.get("dns").ok_or("no address for DNS")?;
    Ok(Box::new(Client { http, http_address, dns: Resolver::new(dns_address), together: None }))
}

/// Whether the server at these addresses leads.
pub(super) async fn leads(server: &Addresses) -> Result<bool> {
    let mut http = http::Connection::open(*server.get("http").ok_or("no address")?).await?;
    let answer = http.ask(&get("/v1/status/leader")).await?;
    let own = server.get("server").ok_or("no address among servers")?;
    Ok(String::from_utf8_lossy(&answer.body).trim() == format!("\"{own}\""))
}

struct Client {
    http: http::Connection,
    http_address: SocketAddr,
    dns: Resolver,
    together: Option<Together>,
}

impl Connection for Client {
    fn perform(&mut self, deed: Deed) -> Doing<'_, usize> {
        Box::pin(async move {
            let asked = match deed {
                Deed::Ask(_) | Deed::AskOverTcp(_) => return self.dns.perform(deed).await,
                Deed::Put(number) => request("PUT", &format!("/v1/kv/bench/{number}"), &value()),
                Deed::Get(number) => get(&format!("/v1/kv/bench/{number}")),
                Deed::Create(number) => {
                    request("PUT", &format!("/v1/kv/created/{number}?cas=0"), &value())
                }
                Deed::List => get(&format!("/v1/kv/bench/{LISTED}?recurse")),
                Deed::Register(instance) => {
                    request("PUT", "/v1/catalog/register", &registration(instance))
                }
                Deed::Deregister(instance) => {
                    request("PUT", "/v1/catalog/deregister", &deregistration(instance))
                }
                Deed::Vouch(number) => {
                    request("PUT", "/v1/agent/service/register", &definition(number))
                }
                Deed::Renew(number) => {
                    request("PUT", &format!("/v1/agent/check/pass/service:local-{number}"), "")
                }
                Deed::Discover(service) => get(&found(&service.name())),
                Deed::DiscoverStale(service) => get(&(found(&service.name()) + "&stale")),
                deed => return Err(format!("Consul's API does not know {deed:?}").into()),
            };
            self.http.exchange(&asked).await
        })
    }

    fn park(&mut self, watched: Watched) -> Doing<'_, ()> {
        Box::pin(async move {
            let (target, mark) = match watched {
                Watched::Pair(number) => (format!("/v1/kv/bench/{number}"), '?'),
                Watched::Service(service) => (found(&service.name()), '&'),
            };
            let answer = self.http.ask(&get(&target)).await?;
            let index = answer.header("x-consul-index").ok_or("no index")?;
            self.http.send(&get(&format!("{target}{mark}index={index}&wait=9m"))).await
        })
    }

    fn woken(&mut self) -> Doing<'_, ()> {
        Box::pin(async move {
            match self.http.answer().await?.status {
                200 => Ok(()),
                status => Err(format!("a watcher was answered with {status}").into()),
            }
        })
    }

    fn park_together(&mut self, pair: usize, n_watches: usize) -> Doing<'_, ()> {
        Box::pin(async move {
            let mut together = Together::open(self.http_address).await?;
            let target = format!("/v1/kv/bench/{pair}");
            let index = together.read(&target, "x-consul-index").await?;
            for _ in 0..n_watches {
                together.park(&format!("{target}?index={index}&wait=9m"))?;
            }
            self.together = Some(together);
            Ok(())
        })
    }

    fn all_woken(&mut self) -> Doing<'_, ()> {
        Box::pin(
            async move { self.together.as_mut().ok_or("it watches nothing")?.all_answered().await },
        )
    }

    fn is_silent(&mut self) -> Doing<'_, bool> {
        Box::pin(async move { Ok(self.http.is_silent()) })
    }
}

fn found(service: &str) -> String {
    format!("/v1/health/service/{service}?passing")
}

/// An instance on its node with 2 tags, 2 facts and a check with 60 bytes of output.
fn registration(instance: Instance) -> String {
    let (id, name, node) = (instance.id(), instance.service.name(), instance.node());
    json!({
        "Node": format!("node-{node}"),
        "Address": instance.address(),
        "Service": {
            "ID": id,
            "Service": name,
            "Tags": ["v1", format!("shard-{}", instance.number % 16)],
            "Meta": { "version": format!("1.{}", instance.version), "zone": "a" },
            "Port": instance.port(),
        },
        "Check": {
            "Node": format!("node-{node}"),
            "CheckID": format!("service:{id}"),
            "Name": format!("Service '{name}' check"),
            "Status": "passing",
            "ServiceID": id,
            "Output": format!("HTTP GET http://10.0.0.1:8000/health: 200 OK, {:>14}", instance.number),
        },
    })
    .to_string()
}

fn deregistration(instance: Instance) -> String {
    json!({ "Node": format!("node-{}", instance.node()), "ServiceID": instance.id() }).to_string()
}

/// A local service with a check that has to be renewed.
fn definition(number: usize) -> String {
    json!({
        "ID": format!("local-{number}"),
        "Name": format!("local-{}", number % 100),
        "Tags": ["v1", "primary"],
        "Meta": { "version": next().to_string(), "zone": "a" },
        "Port": 8_000 + number % 1_000,
        "Check": { "TTL": "3600s", "Status": "passing" },
    })
    .to_string()
}

/// The question that a server of DNS is asked first.
pub(super) const FIRST_QUESTION: Deed = Deed::Ask(Question::Missing);
